"""MLP: a multilayer perceptron on pairs, the second tower of NeuMF on its own (He et al. 2017).

Matrix factorization multiplies the factors of a user and an item. Here the two vectors of factors
are put side by side, and the layers of a perceptron learn how they combine (eq. 10 of the paper):

    z_1 = [u_u; v_i]        z_(l + 1) = relu(W_l z_l + b_l)        y_hat[u, i] = h . z_L

By default, each layer after the first has half as many units as the layer before it. The losses are
the same as in ``gmf.py``. A perceptron can approximate an inner product, but it does not easily
learn one: Rendle et al. (2020) found that this needs many units and much data.

Run this file from the root of the checkout:

    python chapters/extras/mlp.py --seed 3
    python chapters/extras/mlp.py --nums-hiddens 16 --nums-hiddens 8
"""

from typing import Any, Dict, List, Optional, Sequence

import numpy

from d2l_recsys.backend import init, nn, np
from d2l_recsys.errors import SettingError
from d2l_recsys.layers.operators import concatenate, score_all_pairs
from d2l_recsys.model_bases.contract import Recommender
from d2l_recsys.runs.run import CompanionRun
from d2l_recsys.sections import command_line
from d2l_recsys.sections.options import section
from d2l_recsys.settings import RankingLoss


class MLP(nn.HybridBlock, Recommender):
    """A multilayer perceptron on pairs of a user and an item.

    Called with int arrays ``user_id`` and ``item_id`` of shape (n,), zero-based; returns n scores.
    ``U`` and ``V`` are the embeddings of users and items, with ``num_factors`` numbers each.
    ``nums_hiddens`` has the width of each layer. Raises SettingError if it is empty.

    The weights of the layers start at Xavier's random values. If they started as small as the
    embeddings, the gradient behind three layers would be so small that the model learns nothing.
    """

    def __init__(
        self,
        num_factors: int,
        num_users: int,
        num_items: int,
        nums_hiddens: Sequence[int],
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not nums_hiddens:
            raise SettingError("--nums-hiddens is empty; the MLP needs a layer")
        self.U = nn.Embedding(num_users, num_factors)
        self.V = nn.Embedding(num_items, num_factors)
        self.mlp = nn.HybridSequential()
        in_units = 2 * num_factors
        for units in nums_hiddens:
            self.mlp.add(
                nn.Dense(units, activation="relu", in_units=in_units, weight_initializer="xavier")
            )
            in_units = units
        self.h = nn.Dense(1, use_bias=False, in_units=in_units, weight_initializer="xavier")

    def hybrid_forward(self, F, user_id, item_id):
        """Score the pairs; F is ``mxnet.nd`` or, once hybridized, ``mxnet.symbol``."""
        hidden = self.mlp(concatenate(F, self.U(user_id), self.V(item_id)))
        return F.np.squeeze(self.h(hidden), axis=-1)

    def score_all(self, users: np.ndarray, sequences: Optional[np.ndarray] = None) -> np.ndarray:
        """Return the scores of all items for each of ``users``, (len(users), num_items)."""
        V, h = (part.weight.data(users.ctx) for part in (self.V, self.h))
        return score_all_pairs(self.mlp, h[0], self.U(users), V)

    def item_vectors(self) -> numpy.ndarray:
        """Return each item's part of the first layer's sums, (num_items, nums_hiddens[0])."""
        V, W = self.V.weight.data(), self.mlp[0].weight.data()
        return np.dot(V, W[:, -V.shape[1] :].T).asnumpy()


@section("mlp")
def main(
    run: CompanionRun,
    num_epochs: int = 24,
    num_factors: int = 64,
    nums_hiddens: List[int] = (32, 16, 8),
    lr: float = 0.01,
    wd: float = 1e-5,
    batch_size: int = 1024,
    loss: RankingLoss = RankingLoss.log,
    margin: float = 1.0,
    num_negatives: int = 10,
) -> Dict[str, Any]:
    """Train the MLP on MovieLens-100K."""
    sizes = num_factors, *run.data.sizes, nums_hiddens
    pairs = {"loss": loss, "margin": margin, "num_negatives": num_negatives}
    options = {"batch_size": batch_size, "lr": lr, "wd": wd, "initializer": init.Normal(0.01)}
    return run.train_on_pairs(MLP, *sizes, **pairs, **options)


if __name__ == "__main__":
    command_line.run(main)
