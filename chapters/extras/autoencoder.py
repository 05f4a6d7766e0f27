"""Autoencoder: a net that compresses and restores what a user has seen, to recommend items.

Each user u has a row x_u with a number for each item: 1 if the user has seen the item, 0 otherwise.
The net maps this row to a hidden layer that is much smaller than the row, and from there back to a
row (Hinton and Salakhutdinov 2006):

    x_hat_u = W . sigmoid(V . x_u + mu) + b

The hidden layer is too small to store the row itself. It can only store what many users share. So
an item gets a high output if users with similar rows have seen it, and these outputs rank the
unseen items. The loss is the squared error over the whole row. An item that the user has not seen
counts as 0:

    sum over users u of |x_u - x_hat_u|^2

The optimizer's weight decay keeps the weights small. AutoRec, in section 15.4 of the book, is the
same net on ratings; its loss leaves out the items that were not rated.

Run this file from the root of the checkout:

    python chapters/extras/autoencoder.py --seed 3
"""

from typing import Any, Dict, Optional

import numpy

from d2l_recsys.backend import nn, np
from d2l_recsys.loaders.interactions import RankingData, check_rows, row_loader, seen_rows
from d2l_recsys.model_bases.contract import Recommender
from d2l_recsys.runs.run import CompanionRun
from d2l_recsys.sections import command_line
from d2l_recsys.sections.options import section
from d2l_recsys.training.objectives import own_loss


class Autoencoder(nn.HybridBlock, Recommender):
    """An autoencoder with one hidden layer.

    Called with rows, float32 (n, num_items); returns the restored rows, of the same shape.
    """

    reads_rows = True

    def __init__(self, num_hidden: int, num_items: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.num_items = num_items
        self.encoder = nn.Dense(num_hidden, activation="sigmoid", in_units=num_items)
        self.decoder = nn.Dense(num_items, in_units=num_hidden)

    def hybrid_forward(self, F, rows):
        """Restore the rows; F is ``mxnet.nd`` or, once hybridized, ``mxnet.symbol``."""
        return self.decoder(self.encoder(rows))

    def batch_loss(self, F, rows):
        """Return the squared error of each row, summed over all items: (n,)."""
        return F.np.sum(F.np.square(self(rows) - rows), axis=1)

    def user_inputs(self, data: RankingData) -> numpy.ndarray:
        """Return a row for each user with 1 at the items seen, as ``seen_rows`` does."""
        return seen_rows(data)

    def score_all(self, users: np.ndarray, rows: Optional[np.ndarray] = None) -> np.ndarray:
        """Return the scores of all items for each user, (len(users), num_items).

        The scores depend only on the users' ``rows``, not on ``users``. Raises DataError if
        ``rows`` is None or does not have ``num_items`` columns.
        """
        check_rows(rows, self.num_items)
        return self(rows)

    def item_vectors(self) -> numpy.ndarray:
        """Return the decoder weights W, (num_items, num_hidden): a row for each item."""
        return self.decoder.weight.data().asnumpy()


@section("autoencoder")
def main(
    run: CompanionRun,
    num_epochs: int = 20,
    num_hidden: int = 32,
    lr: float = 0.01,
    wd: float = 1e-5,
    batch_size: int = 64,
) -> Dict[str, Any]:
    """Train an autoencoder on the users' rows of MovieLens-100K."""
    return run.train(
        Autoencoder,
        num_hidden,
        run.data.num_items,
        loss=own_loss,
        train_iter=row_loader(seen_rows(run.data), batch_size=batch_size, streams=run.streams),
        lr=lr,
        wd=wd,
    )


if __name__ == "__main__":
    command_line.run(main)
