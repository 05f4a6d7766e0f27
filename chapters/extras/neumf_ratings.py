"""NeuMF on ratings: the two towers of section 15.6 predict ratings (He et al. 2017).

The towers GMF and MLP are the same as in ``chapters/neumf.py``. A linear layer with a bias turns
their outputs into a rating. * multiplies element by element, and z is the output of the MLP:

    r_hat[u, i] = h . [p_u * q_i; z] + b

Training minimizes the squared error over the observed ratings, as in section 15.3. The bias starts
at the mean rating. (A step of Adam moves the bias by about the learning rate or less. If it started
at 0, it would take much of the training to reach the mean.)

The items are ranked by the predicted ratings, and this ranking is poor. The loss uses the observed
ratings only. It does not say which of the other items a user will see, nor that the user will never
see most of them. An item that hardly anyone has seen was rated by the few users who chose it, so
its ratings may be high. But the next item of a user is usually an item that many users see, not the
item that the user would rate best. So a low error on ratings does not mean a good ranking
(Cremonesi et al. 2010).

Run this file from the root of the checkout:

    python chapters/extras/neumf_ratings.py --seed 3
"""

from typing import Any, Dict, List, Optional, Sequence

from d2l_recsys.backend import gluon, np
from d2l_recsys.chapters.neumf import NeuMF
from d2l_recsys.evaluation.evaluators import evaluate_rating
from d2l_recsys.loaders.batches import BatchLoader, training_loader
from d2l_recsys.runs.run import CompanionRun
from d2l_recsys.sections import command_line
from d2l_recsys.sections.options import section
from d2l_recsys.training.objectives import rating_loss


class NeuMFRatings(NeuMF):
    """NeuMF that predicts ratings: it has the head ``linear`` and a bias.

    Arguments and inputs are as in ``NeuMF``; returns n predicted ratings. Initialize the weights
    with Xavier's values. With the small initial weights of section 15.6, training ends with an MLP
    that returns 0 for every pair.
    """

    def __init__(
        self,
        num_factors: int,
        num_users: int,
        num_items: int,
        nums_hiddens: Sequence[int],
        **kwargs: Any,
    ) -> None:
        super().__init__(num_factors, num_users, num_items, nums_hiddens, "linear", **kwargs)
        self.bias = self.params.get("bias", shape=(1,), init="zeros")

    def hybrid_forward(self, F, user_id, item_id, bias):
        """Predict the ratings; F is ``mxnet.nd`` or, once hybridized, ``mxnet.symbol``."""
        return super().hybrid_forward(F, user_id, item_id) + bias

    def score_all(self, users: np.ndarray, sequences: Optional[np.ndarray] = None) -> np.ndarray:
        """Return the predicted ratings of all items, (len(users), num_items)."""
        return super().score_all(users) + self.bias.data(users.ctx)


@section("neumf_ratings")
def main(
    run: CompanionRun,
    num_epochs: int = 5,
    num_factors: int = 8,
    nums_hiddens: List[int] = (16, 8, 4),
    lr: float = 0.001,
    wd: float = 0.0,
    batch_size: int = 256,
) -> Dict[str, Any]:
    """Train NeuMF on the ratings of MovieLens-100K."""
    data = run.data
    ratings = data.users, data.items, data.ratings
    in_order = BatchLoader(*ratings, batch_size=2**15)

    def train_rmse(net: NeuMFRatings) -> Dict[str, float]:
        rmse = evaluate_rating(net, in_order, run.devices).defined["test_rmse"]
        return {"train_rmse": rmse}

    return run.train(
        NeuMFRatings,
        num_factors,
        *data.sizes,
        nums_hiddens,
        loss=lambda net: rating_loss(net, gluon.loss.L2Loss()),
        train_iter=training_loader(*ratings, batch_size=batch_size, rng=run.streams.shuffle),
        lr=lr,
        wd=wd,
        prepare=lambda net: net.bias.set_data(np.full((1,), data.ratings.mean())),
        measure=train_rmse,
    )


if __name__ == "__main__":
    command_line.run(main)
