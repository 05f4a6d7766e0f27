"""The tutorial's autoencoder of rows of ratings (Hinton and Salakhutdinov 2006).

Each user has a row x with a rating of 1 to 5 for each rated item, and 0 for every other item. The
encoder has 32 rectified units, the decoder is linear, and the loss is the mean over all items:

    x_hat = W . relu(V . x + mu) + b
    loss = (1 / num_items) * sum over all items i of (x_i - x_hat_i)^2

The net learns from one row a step, in the order of the users, with Adam. Nothing is held out.

**Why its units die.** With Adam, each weight moves by about ``lr`` a step, whatever the size of the
gradient. A row has about a hundred ratings of 3 or 4. So one step with the rate 0.01 moves the
input of a unit by about 100 * 3.5 * 0.01 = 3.5, and a few steps in the same direction turn it off
for every user. The gradient of a rectifier that is off is 0, so it stays off: it is *dead*. Without
units, only the bias b is left. So x_hat is the same for all users: about the mean row, whose loss
is the number ``mean_row_loss``. All users then get the same scores, which are highest for the items
with the most and the best ratings. (The loss is a little above that of the mean row, because b
follows the last rows.)

One change mends this: a smaller step. ``--lr 0.0003`` keeps most units alive, and gives different
lists.

The companions of this idea are ``chapters/extras/autoencoder.py`` (which items a user has seen,
sigmoid units, batches of users), ``cdae.py``, which is denoising (it leaves out a part of each row
in training and must restore it), and ``multvae.py``, which is variational (the hidden layer is a
distribution). In section 15.4, AutoRec's loss leaves out the items that are not rated.

Run this file from the root of the checkout:

    python chapters/tutorial/autoencoder.py
    python chapters/tutorial/autoencoder.py --lr 0.0003
"""

from typing import Any, Dict, Optional

import numpy
from typing_extensions import Annotated

from d2l_recsys.backend import nn, np
from d2l_recsys.layers.initial_weights import draw_evenly
from d2l_recsys.loaders.batches import BatchLoader
from d2l_recsys.loaders.interactions import RankingData, check_rows, rating_rows
from d2l_recsys.model_bases.contract import Recommender
from d2l_recsys.recommend import in_words, recommend
from d2l_recsys.runs.run import AllRatingsRun
from d2l_recsys.sections import command_line
from d2l_recsys.sections.options import section
from d2l_recsys.training.objectives import own_loss

# The length of the lists that are counted and shown.
LIST_LENGTH = 5


class TutorialAutoencoder(nn.HybridBlock, Recommender):
    """An autoencoder with one hidden layer of rectified units.

    Called with rows, float32 (n, num_items); returns the restored rows, of the same shape.
    """

    reads_rows = True

    def __init__(self, num_hidden: int, num_items: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.num_items = num_items
        self.encoder = nn.Dense(num_hidden, activation="relu", in_units=num_items)
        self.decoder = nn.Dense(num_items, in_units=num_hidden)

    def hybrid_forward(self, F, rows):
        """Restore the rows; F is ``mxnet.nd`` or, once hybridized, ``mxnet.symbol``."""
        return self.decoder(self.encoder(rows))

    def batch_loss(self, F, rows):
        """Return the mean squared error of each row over all items: (n,)."""
        return F.np.mean(F.np.square(self(rows) - rows), axis=1)

    def user_inputs(self, data: RankingData) -> numpy.ndarray:
        """Return a row of ratings for each user, float32 (num_users, num_items); 0 for none."""
        return rating_rows(data)

    def score_all(self, users: np.ndarray, rows: Optional[np.ndarray] = None) -> np.ndarray:
        """Return the restored rows, (len(users), num_items); they depend only on ``rows``.

        Raises DataError if ``rows`` is None or does not have ``num_items`` columns.
        """
        check_rows(rows, self.num_items)
        return self(rows)

    def item_vectors(self) -> numpy.ndarray:
        """Return the decoder weights W, (num_items, num_hidden): a row for each item."""
        return self.decoder.weight.data().asnumpy()


def units_and_lists(net: TutorialAutoencoder, rows: numpy.ndarray) -> Dict[str, int]:
    """Count what is left of the net's answers to different ``rows``.

    ``dead_units`` is the number of hidden units that are 0 for every row. ``num_lists`` is the
    number of different lists of the five items with the highest scores, over all rows.
    """
    inputs = np.array(rows, ctx=net.decoder.weight.list_ctx()[0])
    hidden, scores = net.encoder(inputs).asnumpy(), net(inputs).asnumpy()
    lists = numpy.argsort(-scores, axis=1, kind="stable")[:, :LIST_LENGTH]
    return {
        "dead_units": int((hidden <= 0).all(axis=0).sum()),
        "num_lists": len(numpy.unique(lists, axis=0)),
    }


def mean_row_loss(rows: numpy.ndarray) -> float:
    """The loss of a model that restores the mean row for every user: a control."""
    return float(numpy.square(rows - rows.mean(axis=0, dtype=numpy.float64)).mean())


@section("tutorial_autoencoder")
def main(
    run: AllRatingsRun,
    num_epochs: int = 20,
    num_hidden: int = 32,
    lr: float = 0.01,
    wd: float = 0.0,
    batch_size: int = 1,
    user: Annotated[int, "Id (as in u.data) of the user who gets recommendations."] = 837,
) -> Dict[str, Any]:
    """Train an autoencoder on the users' rows of ratings as the tutorial does."""
    data = run.data
    rows = rating_rows(data)
    control = {"mean_row_loss": mean_row_loss(rows)}

    def prepare(net: TutorialAutoencoder) -> None:
        for layer in (net.encoder, net.decoder):
            draw_evenly(layer)

    result = run.train(
        TutorialAutoencoder,
        num_hidden,
        data.num_items,
        loss=own_loss,
        train_iter=BatchLoader(rows, batch_size=batch_size),
        lr=lr,
        wd=wd,
        prepare=prepare,
        measure=lambda net: {**units_and_lists(net, rows), **control},
    )
    numbers = result["defined"]
    run.say(
        f"dead units: {numbers['dead_units']} of {num_hidden}; different lists of "
        f"{data.num_users} users: {numbers['num_lists']}; loss of the mean row: "
        f"{numbers['mean_row_loss']:.3f}"
    )
    if not run.quiet:
        best = recommend(run.trained, user, LIST_LENGTH, run.data_dir)
        run.say(f"user {user}: {in_words(best)}")
    return result


if __name__ == "__main__":
    command_line.run(main)
