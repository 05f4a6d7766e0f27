"""GMF: generalized matrix factorization, NeuMF's first tower alone (He et al. 2017).

A user's and an item's factors are multiplied element by element, and weights h, which matrix
factorization has fixed at 1, make a score of the products (eq. 9 of the paper):

    y_hat[u, i] = h . (p_u * q_i)

The paper reads the score as log odds that the user has seen the item, and trains on the seen items
and on as many drawn at random (``--loss log``); ``bpr`` wants a seen item to lead one that is not,
as NeuMF in the chapter does. Run it, from the root of the checkout:

    python chapters/extras/gmf.py --seed 3
    python chapters/extras/gmf.py --loss bpr
"""

from typing import Any, Dict, Optional

import numpy

from d2l_recsys.backend import init, nn, np
from d2l_recsys.model_bases.contract import Recommender
from d2l_recsys.runs.run import CompanionRun
from d2l_recsys.sections import command_line
from d2l_recsys.sections.options import section
from d2l_recsys.settings import RankingLoss


class GMF(nn.HybridBlock, Recommender):
    """Generalized matrix factorization.

    Called with int arrays ``user_id`` and ``item_id`` of shape (n,), zero-based; returns n scores.
    """

    def __init__(self, num_factors: int, num_users: int, num_items: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.P = nn.Embedding(num_users, num_factors)
        self.Q = nn.Embedding(num_items, num_factors)
        self.h = nn.Dense(1, use_bias=False, in_units=num_factors, weight_initializer="ones")

    def hybrid_forward(self, F, user_id, item_id):
        """Score the pairs; F is ``mxnet.nd`` or, once hybridized, ``mxnet.symbol``."""
        return F.np.squeeze(self.h(self.P(user_id) * self.Q(item_id)), axis=-1)

    def score_all(self, users: np.ndarray, sequences: Optional[np.ndarray] = None) -> np.ndarray:
        """Scores of all items for each of ``users``, (len(users), num_items): one product."""
        Q, h = (part.weight.data(users.ctx) for part in (self.Q, self.h))
        return np.dot(self.P(users) * h, Q.T)

    def item_vectors(self) -> numpy.ndarray:
        """The items' factors, each times its weight, (num_items, num_factors)."""
        return (self.Q.weight.data() * self.h.weight.data()).asnumpy()


@section("gmf")
def main(
    run: CompanionRun,
    num_epochs: int = 18,
    num_factors: int = 64,
    lr: float = 0.002,
    wd: float = 1e-5,
    batch_size: int = 1024,
    loss: RankingLoss = RankingLoss.log,
) -> Dict[str, Any]:
    """Train GMF on MovieLens-100K."""
    return run.train_on_pairs(
        GMF,
        num_factors,
        *run.data.sizes,
        loss=loss,
        batch_size=batch_size,
        lr=lr,
        wd=wd,
        initializer=init.Normal(0.01),
    )


if __name__ == "__main__":
    command_line.run(main)
