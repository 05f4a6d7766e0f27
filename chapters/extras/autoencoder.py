"""Autoencoder: what a user has seen, through a few hidden units and back.

A row of the matrix of what was seen, x_u, 1 at the user's items and 0 at the others, goes through a
hidden layer that is too small for it and has to come out again (Hinton and Salakhutdinov 2006):

    x_hat_u = W . sigmoid(V . x_u + mu) + b

To get through, it must be told by what users have in common; so an item comes out high that others
with such a row have seen, and the unseen ones are ranked by that. The error is squared and summed
over the whole row: an item that was not seen counts as 0.

    sum over users u of |x_u - x_hat_u|^2

The optimizer's weight decay keeps the weights small. AutoRec in the chapter (section 15.4) is the
same net on ratings, and leaves out of the error what was not rated. Run it, from the root of the
checkout:

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
    """An autoencoder of one hidden layer.

    Called with rows, float32 (n, num_items); returns them as they come out, of the same shape.
    """

    reads_rows = True

    def __init__(self, num_hidden: int, num_items: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.num_items = num_items
        self.encoder = nn.Dense(num_hidden, activation="sigmoid", in_units=num_items)
        self.decoder = nn.Dense(num_items, in_units=num_hidden)

    def hybrid_forward(self, F, rows):
        """Give the rows back; F is ``mxnet.nd`` or, once hybridized, ``mxnet.symbol``."""
        return self.decoder(self.encoder(rows))

    def batch_loss(self, F, rows):
        """The squared error of each row, summed over all items: (n,)."""
        return F.np.sum(F.np.square(self(rows) - rows), axis=1)

    def user_inputs(self, data: RankingData) -> numpy.ndarray:
        """What each user has seen, as ``seen_rows``."""
        return seen_rows(data)

    def score_all(self, users: np.ndarray, rows: Optional[np.ndarray] = None) -> np.ndarray:
        """Scores of all items for each of ``users``, (len(users), num_items), from their ``rows``.

        Raises DataError as ``check_rows`` does.
        """
        check_rows(rows, self.num_items)
        return self(rows)

    def item_vectors(self) -> numpy.ndarray:
        """The items' rows of the decoder's weights W, (num_items, num_hidden)."""
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
    """Train an autoencoder of users' rows on MovieLens-100K."""
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
