"""AutoRec: an autoencoder that predicts missing ratings (section 15.4).

A row R_i of the rating matrix holds the ratings of one item by all users, and 0 for each missing
rating. The autoencoder maps the row to a hidden layer and from there to a complete row, with a
rating for every user (eq. 15.4.1):

    h(R_i) = W . sigmoid(V . R_i + mu) + b

The loss counts only the observed ratings O; the missing ratings are masked (eq. 15.4.2):

    sum over items i of |R_i - h(R_i)|^2 over O  +  lambda (|W|^2 + |V|^2)

The optimizer's weight decay takes the place of the second term. As in the chapter's code, it also
acts on the biases mu and b. The RMSE is computed on the test ratings, a random tenth of all
ratings. The user-based variant completes the rows of users: it is the same model on the transposed
matrix. Run the section from the root of the checkout:

    python chapters/autorec.py
    python chapters/autorec.py --variant user
    python chapters/autorec.py --nums-hiddens 500,250,500     # several hidden layers, an exercise

The chapter compares this RMSE with the RMSE of matrix factorization, but the two have different
test sets. ``python chapters/mf.py --split random`` uses the test set of AutoRec (with the same
seed). ``python chapters/autorec.py --split seq-aware`` uses the chapter's test set for matrix
factorization.
"""

from typing import Any, Dict, List, Optional, Sequence, Union

import numpy
from typing_extensions import Annotated

from d2l_recsys.backend import autograd, gluon, init, nn, np
from d2l_recsys.data import load_data_ml100k, read_data_ml100k, split_data_ml100k
from d2l_recsys.errors import DataError, SettingError
from d2l_recsys.evaluation.evaluators import evaluate_reconstruction
from d2l_recsys.loaders.batches import BatchLoader, training_loader
from d2l_recsys.loaders.interactions import RankingData, interaction_matrix
from d2l_recsys.model_bases.contract import Recommender
from d2l_recsys.runs.run import Run
from d2l_recsys.saved_models.ids import RatingIds
from d2l_recsys.sections import command_line
from d2l_recsys.sections.options import section
from d2l_recsys.settings import Activation, Choice, Split, as_choice
from d2l_recsys.train import train_recsys_rating

ROWS_PER_EVALUATION = 1024
NUM_HIDDEN = 500


class Variant(Choice):
    """What a row holds: the ratings of one item by all users, or the ratings by one user."""

    item = "item"
    user = "user"


class AutoRec(gluon.Block, Recommender):
    """The autoencoder of eq. 15.4.1.

    ``num_hidden`` is the number of units of the hidden layer, or a list with the units of several
    hidden layers, from the input to the output. ``encoder_activation`` is the activation of the
    hidden layers, and ``decoder_activation`` that of the output.

    Called with rows of ratings, float32 (n, row_length), with 0 for a missing rating. Returns
    complete rows of the same shape. In training, the output is 0 where the input is 0, so missing
    ratings have no gradient.

    ``variant`` says whether a row belongs to an item or to a user. Raises SettingError for an
    unknown ``variant``.
    """

    reads_rows = True

    def __init__(
        self,
        num_hidden: Union[int, Sequence[int]],
        row_length: int,
        dropout: float = 0.05,
        variant: str = "item",
        encoder_activation: str = "sigmoid",
        decoder_activation: str = "identity",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.variant = as_choice(Variant, "variant", variant)
        first, *others = [num_hidden] if isinstance(num_hidden, int) else num_hidden
        activations = {
            "encoder_activation": encoder_activation,
            "decoder_activation": decoder_activation,
        }
        # Gluon has no activation called identity.
        encoding, decoding = (
            None if as_choice(Activation, option, name) is Activation.identity else name
            for option, name in activations.items()
        )
        self.encoder = nn.Dense(first, activation=encoding, in_units=row_length)
        self.hidden = nn.Sequential()
        for in_units, units in zip([first, *others], others):
            self.hidden.add(nn.Dense(units, activation=encoding, in_units=in_units))
        self.decoder = nn.Dense(
            row_length, activation=decoding, in_units=others[-1] if others else first
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, ratings: np.ndarray) -> np.ndarray:
        """Predict the ratings in the rows."""
        completed = self.decoder(self.dropout(self.hidden(self.encoder(ratings))))
        return completed * np.sign(ratings) if autograd.is_training() else completed

    def user_inputs(self, data: RankingData) -> numpy.ndarray:
        """The second argument of ``score_all`` for each user, float32 (num_users, num_items).

        Variant ``user``: the user's ratings, with 0 for a missing rating. Variant ``item``: the
        ratings that the model predicts for the user. (They depend on the ratings of all users, so
        they are computed here, for all items at once.) Raises DataError if the rows of ``data``
        have another length than the model's.
        """
        length = data.num_items if self.variant is Variant.user else data.num_users
        if self.encoder.weight.shape[1] != length:
            raise DataError(
                f"AutoRec reads {self.variant.value}s' rows of {self.encoder.weight.shape[1]} "
                f"numbers, but the rows of this data have {length}; train the model again"
            )
        matrix = interaction_matrix(data.users, data.items, *data.sizes, data.ratings).toarray()
        if self.variant is Variant.user:
            return matrix
        ctx = self.decoder.bias.list_ctx()[0]
        starts = range(0, data.num_items, ROWS_PER_EVALUATION)
        rows = (matrix.T[start : start + ROWS_PER_EVALUATION] for start in starts)
        return numpy.concatenate([self(np.array(part, ctx=ctx)).asnumpy() for part in rows]).T

    def score_all(self, users: np.ndarray, rows: Optional[np.ndarray] = None) -> np.ndarray:
        """Predicted ratings of all items by each of ``users``, (len(users), num_items).

        ``rows`` holds the rows that ``user_inputs`` returns for these users. Raises DataError if
        ``rows`` is None.
        """
        if rows is None:
            raise DataError(
                "AutoRec needs the rows of the users: pass the rows that user_inputs returns"
            )
        return self(rows) if self.variant is Variant.user else rows


@section("autorec")
def main(
    run: Run,
    num_epochs: int = 25,
    num_hidden: int = NUM_HIDDEN,
    dropout: float = 0.05,
    lr: float = 0.002,
    wd: float = 1e-5,
    batch_size: int = 256,
    split: Split = Split.random,
    variant: Variant = Variant.item,
    nums_hiddens: Annotated[
        List[int], "Units of each hidden layer, if there are several; replaces --num-hidden."
    ] = (),
    encoder_activation: Annotated[
        Activation, "Activation of the hidden layers."
    ] = Activation.sigmoid,
    decoder_activation: Annotated[Activation, "Activation of the output."] = Activation.identity,
) -> Dict[str, Any]:
    """Train AutoRec on MovieLens-100K (section 15.4)."""
    data, *counts = read_data_ml100k(run.data_dir)
    parts = split_data_ml100k(data, *counts, split, test_ratio=0.1, rng=run.streams.split)
    train_matrix, test_matrix = (load_data_ml100k(part, *counts)[-1] for part in parts)
    if variant is Variant.user:
        train_matrix, test_matrix = train_matrix.T, test_matrix.T
    train_iter = training_loader(train_matrix, batch_size=batch_size, rng=run.streams.shuffle)
    test_iter = BatchLoader(train_matrix, batch_size=ROWS_PER_EVALUATION)

    ids = RatingIds.consecutive(*counts)
    if nums_hiddens and num_hidden != NUM_HIDDEN:
        raise SettingError(
            "--num-hidden has no effect beside --nums-hiddens; leave one of them out"
        )
    layers = nums_hiddens or num_hidden, train_matrix.shape[1], dropout
    activations = encoder_activation, decoder_activation
    net = run.build(AutoRec, *layers, variant, *activations, ids=ids)
    net.initialize(ctx=run.devices, init=init.Normal(0.01))
    loss = gluon.loss.L2Loss()
    trainer = gluon.Trainer(net.collect_params(), run.optimizer(lr, wd))
    history = train_recsys_rating(
        net,
        train_iter,
        test_iter,
        loss,
        trainer,
        num_epochs,
        run.devices,
        evaluate_reconstruction,
        inter_mat=test_matrix,
        **run.options,
    )
    compares = variant is Variant.item and split is Split.random and not nums_hiddens
    return run.finish(history, compares=compares)


if __name__ == "__main__":
    command_line.run(main)
