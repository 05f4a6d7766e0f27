"""NeuMF on ratings: the two towers of section 15.6 predict what is rated (He et al. 2017).

GMF and MLP are those of ``chapters/neumf.py``; the head that joins them is linear and has a bias:

    r_hat[u, i] = h . [p_u * q_i; z] + b

What is minimised is the squared error over the observed ratings, as in section 15.3. The bias
starts at the mean rating. (A step of Adam moves it by no more than about the learning rate: from 0
it would be on its way for much of the training.)

Items are ranked by the ratings predicted, and so they are ranked badly. The loss knows observed
ratings alone: which of the other items a user would come to see is not in it, nor that most of them
never will be, and an item that hardly anyone has seen was rated by the few who chose to. What is
seen next is as a rule what many see, not what would be rated best; a low error of ratings is no
sign of a good ranking (Cremonesi et al. 2010). Run it, from the root of the checkout:

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
    """NeuMF whose scores are ratings: head ``linear``, and a bias.

    Arguments and inputs are those of ``NeuMF``; returns n predicted ratings. It wants first weights
    like Xavier's: from those of section 15.6 the MLP comes to return 0 for every pair.
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
        """Predict; F is ``mxnet.nd`` or, once hybridized, ``mxnet.symbol``."""
        return super().hybrid_forward(F, user_id, item_id) + bias

    def score_all(self, users: np.ndarray, sequences: Optional[np.ndarray] = None) -> np.ndarray:
        """The ratings of all items by each of ``users``, (len(users), num_items)."""
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
