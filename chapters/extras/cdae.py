"""CDAE: a denoising autoencoder with a vector for each user (Wu et al. 2016).

Each user u has a row x_u with a number for each item: 1 if the user has seen the item, 0 otherwise.
A denoising autoencoder (Vincent et al. 2008) reads a row from which a random share q of the numbers
is missing, and has to restore the whole row. So it cannot copy its input. It has to learn which
items occur together. This is also the task of a recommender, which knows only a part of what a user
likes. The numbers that remain are scaled so that the sum of the row stays the same on average:

    x~_ui = x_ui / (1 - q) with probability 1 - q, else 0

The hidden layer reads this row, and in addition adds a vector p_u that belongs to the user
(section 3 of the paper):

    z_u = sigmoid(V . x~_u + p_u + mu)
    y_hat_u = W . z_u + b

With ``--loss log``, an output is the log odds that the user has seen the item, and the loss is the
logistic loss. With ``--loss square``, an output is the number in the row, and the loss is the
squared error. Both losses are sums over all items of the whole row x_u, so an unseen item counts as
0. (The paper draws a random sample of the unseen items. This saves time on data sets with more
items than this one.) To rank items, the net reads the whole row, with nothing missing.

The biases b start at the best output that is the same for all users: the share of users who have
seen the item, or its log odds. If the biases started at 0, all log odds would have to fall at
first. This fall would push the hidden units to the flat parts of the sigmoid, and the net would
predict only the popularity of the items, however long it is trained.

Run this file from the root of the checkout:

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
    """Loss of a row: logistic loss of log odds (log), or squared error of numbers (square)."""

    log = "log"
    square = "square"


def first_biases(rows: numpy.ndarray, loss: str) -> numpy.ndarray:
    """Return the best output that is the same for all users, float32 (num_items,).

    This output is the share of ``rows`` with a 1 at the item. With the loss ``log`` it is the log
    odds of this share. To keep the log odds finite, a share of 0 is set to half of 1 / len(rows),
    and a share of 1 to 1 minus this number.
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
    the outputs, of the shape of the rows. In training, a random share ``corruption`` of each row is
    set to 0 before the row reaches the hidden layer.

    Raises SettingError if ``loss`` is unknown.
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
        """Restore the rows; F is ``mxnet.nd`` or, once hybridized, ``mxnet.symbol``."""
        hidden = self.encoder(self.corrupt(rows)) + self.P(user_id)
        return self.decoder(F.npx.sigmoid(hidden))

    def batch_loss(self, F, user_id, rows):
        """Return the loss of each row, summed over all items: (n,)."""
        outputs = self(user_id, rows)
        if self.loss is RowLoss.square:
            errors = F.np.square(outputs - rows)
        else:
            # This equals -x ln sigmoid(y) - (1 - x) ln(1 - sigmoid(y)) for every x.
            errors = softplus(F, outputs) - rows * outputs
        return F.np.sum(errors, axis=1)

    def user_inputs(self, data: RankingData) -> numpy.ndarray:
        """Return a row for each user with 1 at the items seen, as ``seen_rows`` does."""
        return seen_rows(data)

    def score_all(self, users: np.ndarray, rows: Optional[np.ndarray] = None) -> np.ndarray:
        """Return the scores of all items for each of ``users``, (len(users), num_items).

        ``rows`` has the row of each user. Raises DataError if ``rows`` is None or does not have
        ``num_items`` columns.
        """
        check_rows(rows, self.num_items)
        return self(users, rows)

    def item_vectors(self) -> numpy.ndarray:
        """Return the decoder weights W, (num_items, num_hidden): a row for each item."""
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
