"""CDAE: a denoising autoencoder that knows whose row it mends (Wu et al. 2016).

A denoising autoencoder (Vincent et al. 2008) gets a row from which a share q of the numbers is
missing, and is to give the whole one back. So it cannot copy, and learns which items stand for each
other: the task of a recommender, who has part of what a user likes. What is left of x_u is scaled,
that the sum stays what it was on average,

    x~_ui = x_ui / (1 - q) with probability 1 - q, else 0

and the hidden layer has, beside what it sees of the items, a vector of the user's own (section 3 of
the paper):

    z_u = sigmoid(V . x~_u + p_u + mu)
    y_hat_u = W . z_u + b

With ``--loss log`` the outputs are log odds that the user has seen an item, and the error is the
logistic one; with ``square`` they are the numbers of the row, and it is squared. It is summed over
all items of the user, so that an item that was not seen counts as 0 (the paper draws some of those
at random, to save time on more items than ours). Scores come from the whole row.

The biases b begin where users of whom nothing is known belong, at the share of all users who have
seen the item, or its log odds. Begun at 0, all log odds have to fall at first; they take the hidden
units along, to where a sigmoid is flat, and what comes out is the items' popularity, for good. Run
it, from the root of the checkout:

    python chapters/extras/cdae.py --seed 3
    python chapters/extras/cdae.py --loss square
"""

from typing import Any, Dict, Optional

import numpy

from d2l_recsys.backend import nn, np
from d2l_recsys.loaders.interactions import RankingData, check_rows, row_loader, seen_rows
from d2l_recsys.losses import softplus
from d2l_recsys.model_bases.contract import Recommender
from d2l_recsys.runs.run import CompanionRun
from d2l_recsys.sections import command_line
from d2l_recsys.sections.options import section
from d2l_recsys.settings import Choice, as_choice
from d2l_recsys.training.objectives import own_loss


class RowLoss(Choice):
    """The error of a row: of log odds, or of its numbers."""

    log = "log"
    square = "square"


def first_biases(rows: numpy.ndarray, loss: str) -> numpy.ndarray:
    """What comes out best for every user alike, float32 (num_items,).

    The share of ``rows`` that are 1 at an item, or with the loss ``log`` its log odds; where there
    is none or no other, half a row is taken for them.
    """
    share = rows.mean(axis=0, dtype=numpy.float64)
    if as_choice(RowLoss, "loss", loss) is RowLoss.log:
        half = 0.5 / len(rows)
        share = numpy.clip(share, half, 1 - half)
        share = numpy.log(share) - numpy.log1p(-share)
    return share.astype("float32")


class CDAE(nn.HybridBlock, Recommender):
    """The collaborative denoising autoencoder.

    Called with an int array ``user_id`` (n,), zero-based, and rows, float32 (n, num_items); returns
    the outputs, of the shape of the rows. In training a share ``corruption`` of each row is missing
    when it reaches the hidden layer.

    Raises SettingError for an unknown ``loss``.
    """

    reads_rows = True

    def __init__(
        self,
        num_hidden: int,
        num_users: int,
        num_items: int,
        corruption: float = 0.2,
        loss: str = "log",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.num_items, self.loss = num_items, as_choice(RowLoss, "loss", loss)
        self.corrupt = nn.Dropout(corruption)
        self.P = nn.Embedding(num_users, num_hidden)
        self.encoder = nn.Dense(num_hidden, in_units=num_items)
        self.decoder = nn.Dense(num_items, in_units=num_hidden)

    def hybrid_forward(self, F, user_id, rows):
        """Mend the rows; F is ``mxnet.nd`` or, once hybridized, ``mxnet.symbol``."""
        hidden = self.encoder(self.corrupt(rows)) + self.P(user_id)
        return self.decoder(F.npx.sigmoid(hidden))

    def batch_loss(self, F, user_id, rows):
        """The error of each row, summed over all items: (n,)."""
        outputs = self(user_id, rows)
        if self.loss is RowLoss.square:
            errors = F.np.square(outputs - rows)
        else:
            # -x ln sigmoid(y) - (1 - x) ln(1 - sigmoid(y)), for any x.
            errors = softplus(F, outputs) - rows * outputs
        return F.np.sum(errors, axis=1)

    def user_inputs(self, data: RankingData) -> numpy.ndarray:
        """What each user has seen, as ``seen_rows``."""
        return seen_rows(data)

    def score_all(self, users: np.ndarray, rows: Optional[np.ndarray] = None) -> np.ndarray:
        """Scores of all items for each of ``users``, (len(users), num_items), from their ``rows``.

        Raises DataError as ``check_rows`` does.
        """
        check_rows(rows, self.num_items)
        return self(users, rows)

    def item_vectors(self) -> numpy.ndarray:
        """The items' rows of the decoder's weights W, (num_items, num_hidden)."""
        return self.decoder.weight.data().asnumpy()


@section("cdae")
def main(
    run: CompanionRun,
    num_epochs: int = 24,
    num_hidden: int = 200,
    corruption: float = 0.2,
    lr: float = 0.005,
    wd: float = 0.001,
    batch_size: int = 64,
    loss: RowLoss = RowLoss.log,
) -> Dict[str, Any]:
    """Train CDAE on MovieLens-100K."""
    data = run.data
    users, rows = numpy.arange(data.num_users, dtype="int32"), seen_rows(data)

    def prepare(net: CDAE) -> None:
        net.decoder.bias.set_data(np.array(first_biases(rows, loss)))

    return run.train(
        CDAE,
        num_hidden,
        *data.sizes,
        corruption,
        loss,
        loss=own_loss,
        train_iter=row_loader(users, rows, batch_size=batch_size, streams=run.streams),
        lr=lr,
        wd=wd,
        prepare=prepare,
    )


if __name__ == "__main__":
    command_line.run(main)
