"""GMF: generalized matrix factorization, the first tower of NeuMF on its own (He et al. 2017).

The factors of a user and of an item are multiplied element by element. The weights h turn the
products into a score; in matrix factorization these weights are fixed at 1 (eq. 9 of the paper):

    y_hat[u, i] = h . (p_u * q_i)

With ``--loss log``, as in the paper, the score is the log odds that the user has seen the item. The
model learns from the seen items and from as many random unseen items. With ``--loss bpr``, as in
the chapter's NeuMF, a seen item must score higher than a random unseen item.

Run this file from the root of the checkout:

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
        """Return the scores of all items for each of ``users``, (len(users), num_items)."""
        Q, h = (part.weight.data(users.ctx) for part in (self.Q, self.h))
        return np.dot(self.P(users) * h, Q.T)

    def item_vectors(self) -> numpy.ndarray:
        """Return the item factors, each multiplied by its weight h, (num_items, num_factors)."""
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
    margin: float = 1.0,
    num_negatives: int = 10,
) -> Dict[str, Any]:
    """Train GMF on MovieLens-100K."""
    return run.train_on_pairs(
        GMF,
        num_factors,
        *run.data.sizes,
        loss=loss,
        margin=margin,
        num_negatives=num_negatives,
        batch_size=batch_size,
        lr=lr,
        wd=wd,
        initializer=init.Normal(0.01),
    )


if __name__ == "__main__":
    command_line.run(main)
