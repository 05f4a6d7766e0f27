"""AutoRec: ratings completed by an autoencoder (section 15.4).

A row of the rating matrix, one item's ratings by all users, goes through a hidden layer and comes
out complete (eq. 15.4.1):

    h(R_i) = W . sigmoid(V . R_i + mu) + b

Training sees the observed ratings O alone: the others are masked (eq. 15.4.2)

    sum over items i of |R_i - h(R_i)|^2 over O  +  lambda (|W|^2 + |V|^2)

(the optimizer's weight decay, as in the chapter, reaches the biases as well). The RMSE is over the
test ratings, a random tenth. The user-based variant completes users' rows instead: the same model
on the transposed matrix. Run it, from the root of the checkout:

    python chapters/autorec.py
    python chapters/autorec.py --variant user

The chapter sets its RMSE beside that of matrix factorization, but on another test set;
``python chapters/mf.py --split random`` has the same one, and ``--split seq-aware`` here has the
chapter's for matrix factorization.
"""

from typing import Any, Dict, Optional

import numpy

from d2l_recsys.backend import autograd, gluon, init, nn, np
from d2l_recsys.data import load_data_ml100k, read_data_ml100k, split_data_ml100k
from d2l_recsys.errors import DataError
from d2l_recsys.evaluation.evaluators import evaluate_reconstruction
from d2l_recsys.loaders.batches import BatchLoader, training_loader
from d2l_recsys.loaders.interactions import RankingData, interaction_matrix
from d2l_recsys.model_bases.contract import Recommender
from d2l_recsys.runs.run import Run
from d2l_recsys.saved_models.ids import RatingIds
from d2l_recsys.sections import command_line
from d2l_recsys.sections.options import section
from d2l_recsys.settings import Choice, Split, as_choice
from d2l_recsys.train import train_recsys_rating

ROWS_PER_EVALUATION = 1024


class Variant(Choice):
    """Whose ratings make a row: those that an item was given, or those that a user gave."""

    item = "item"
    user = "user"


class AutoRec(gluon.Block, Recommender):
    """The autoencoder, eq. 15.4.1.

    Called with rows of ratings, float32 (n, row_length), 0 where there is none; returns them
    completed. In training only what was observed comes back, the rest is 0 and has no gradient.

    ``variant`` says whose the rows are. Raises SettingError for an unknown one.
    """

    reads_rows = True

    def __init__(
        self,
        num_hidden: int,
        row_length: int,
        dropout: float = 0.05,
        variant: str = "item",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.variant = as_choice(Variant, "variant", variant)
        self.encoder = nn.Dense(num_hidden, activation="sigmoid", in_units=row_length)
        self.decoder = nn.Dense(row_length, in_units=num_hidden)
        self.dropout = nn.Dropout(dropout)

    def forward(self, ratings: np.ndarray) -> np.ndarray:
        """Complete the rows."""
        completed = self.decoder(self.dropout(self.encoder(ratings)))
        return completed * np.sign(ratings) if autograd.is_training() else completed

    def user_inputs(self, data: RankingData) -> numpy.ndarray:
        """What ``score_all`` takes of each user, float32 (num_users, num_items).

        The user's ratings, 0 where there is none. Where rows are items', an item's scores take the
        ratings of all users, so there it is the completed matrix. Raises DataError where the rows
        are of another length.
        """
        length = data.num_items if self.variant is Variant.user else data.num_users
        if self.encoder.weight.shape[1] != length:
            raise DataError(
                f"AutoRec reads {self.variant.value}s' rows of {self.encoder.weight.shape[1]} "
                f"numbers, here they have {length}; train it again"
            )
        matrix = interaction_matrix(data.users, data.items, *data.sizes, data.ratings).toarray()
        if self.variant is Variant.user:
            return matrix
        ctx = self.decoder.bias.list_ctx()[0]
        starts = range(0, data.num_items, ROWS_PER_EVALUATION)
        rows = (matrix.T[start : start + ROWS_PER_EVALUATION] for start in starts)
        return numpy.concatenate([self(np.array(part, ctx=ctx)).asnumpy() for part in rows]).T

    def score_all(self, users: np.ndarray, rows: Optional[np.ndarray] = None) -> np.ndarray:
        """The ratings of all items by each of ``users``, (len(users), num_items).

        ``rows`` holds what ``user_inputs`` returns of them. Raises DataError without it.
        """
        if rows is None:
            raise DataError("AutoRec completes ratings: give it those of the users")
        return self(rows) if self.variant is Variant.user else rows


@section("autorec")
def main(
    run: Run,
    num_epochs: int = 25,
    num_hidden: int = 500,
    dropout: float = 0.05,
    lr: float = 0.002,
    wd: float = 1e-5,
    batch_size: int = 256,
    split: Split = Split.random,
    variant: Variant = Variant.item,
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
    net = run.build(AutoRec, num_hidden, train_matrix.shape[1], dropout, variant, ids=ids)
    net.initialize(ctx=run.devices, init=init.Normal(0.01))
    loss = gluon.loss.L2Loss()
    trainer = gluon.Trainer(net.collect_params(), "adam", {"learning_rate": lr, "wd": wd})
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
    compares = variant is Variant.item and split is Split.random
    return run.finish(history, compares=compares)


if __name__ == "__main__":
    command_line.run(main)
