"""NeuMF: neural collaborative filtering for personalized ranking (section 15.6).

Two towers, each with embeddings of its own. Generalized matrix factorization (GMF) multiplies a
user's and an item's factors element by element (eq. 15.6.1), a multilayer perceptron (MLP) reads
the two side by side (eq. 15.6.2), and their outputs become one score (eq. 15.6.3, where a sigmoid
is around it):

    x = p_u * q_i              z = relu(W3 relu(W2 relu(W1 [u_u; v_i] + b1) + b2) + b3)
    y_hat[u, i] = h . [x; z]

The chapter's code leaves the weights h out and takes the sum: head ``sum``. Head ``linear`` has
them, and head ``sigmoid``, that of the chapter's later editions, puts a sigmoid on top. Through it
and the sigmoid of the BPR loss so little gradient comes back that Adam follows the weight decay
alone: all weights shrink to nothing, every score is 1/2, and the hit rate of 0.075 and the AUC of
0.531 are those of the order of the items' numbers (with ``--wd 0`` it learns).

Training wants an item that the user has seen to score higher than one drawn at random that the
user has not (section 15.5). Run it, from the root of the checkout:

    python chapters/neumf.py --seed 3
    python chapters/neumf.py --head sigmoid
    python chapters/neumf.py --loss hinge     # an exercise of the section
"""

from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy

from d2l_recsys.backend import gluon, init, mx, nn, np, npx
from d2l_recsys.errors import SettingError
from d2l_recsys.layers.operators import concatenate, score_all_pairs
from d2l_recsys.losses import RANKING_LOSSES
from d2l_recsys.model_bases.contract import Recommender
from d2l_recsys.runs.run import RankingRun
from d2l_recsys.sampling import pairwise_loader
from d2l_recsys.sections import command_line
from d2l_recsys.sections.options import section
from d2l_recsys.settings import Choice, RankingLoss, as_choice
from d2l_recsys.train import train_ranking


class Head(Choice):
    """How the two towers' outputs become a score."""

    sum = "sum"
    linear = "linear"
    sigmoid = "sigmoid"


class NeuMF(nn.HybridBlock, Recommender):
    """GMF and MLP, eq. 15.6.1-3.

    Called with int arrays ``user_id`` and ``item_id`` of shape (n,), zero-based; returns n scores.
    ``P`` and ``Q`` are the embeddings of the GMF, ``U`` and ``V`` those of the MLP, all of
    ``num_factors`` numbers; ``nums_hiddens`` are the widths of the MLP's layers.

    Raises SettingError for an unknown ``head`` and for an MLP without a layer.
    """

    def __init__(
        self,
        num_factors: int,
        num_users: int,
        num_items: int,
        nums_hiddens: Sequence[int],
        head: str = "sum",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.head = as_choice(Head, "head", head)
        if not nums_hiddens:
            raise SettingError("--nums-hiddens is empty; the MLP needs a layer")
        self.P = nn.Embedding(num_users, num_factors)
        self.Q = nn.Embedding(num_items, num_factors)
        self.U = nn.Embedding(num_users, num_factors)
        self.V = nn.Embedding(num_items, num_factors)
        self.mlp = nn.HybridSequential()
        in_units = 2 * num_factors
        for num_hiddens in nums_hiddens:
            self.mlp.add(nn.Dense(num_hiddens, activation="relu", in_units=in_units))
            in_units = num_hiddens
        if self.head is not Head.sum:
            self.prediction = nn.Dense(1, use_bias=False, in_units=num_factors + in_units)

    def hybrid_forward(self, F, user_id, item_id):
        """Score the pairs; F is ``mxnet.nd`` or, once hybridized, ``mxnet.symbol``."""
        gmf = self.P(user_id) * self.Q(item_id)
        mlp = self.mlp(concatenate(F, self.U(user_id), self.V(item_id)))
        both = concatenate(F, gmf, mlp)
        if self.head is Head.sum:
            return F.np.sum(both, axis=-1)
        score = F.np.squeeze(self.prediction(both), axis=-1)
        return F.npx.sigmoid(score) if self.head is Head.sigmoid else score

    def score_all(self, users: np.ndarray, sequences: Optional[np.ndarray] = None) -> np.ndarray:
        """Scores of all items for each of ``users``, (len(users), num_items).

        The GMF is one product of matrices; the MLP is ``score_all_pairs``.
        """
        Q, V = (part.weight.data(users.ctx) for part in (self.Q, self.V))
        h_gmf, h_mlp = self._weights(users.ctx)
        mlp = score_all_pairs(self.mlp, h_mlp, self.U(users), V)
        scores = np.dot(self.P(users) * h_gmf, Q.T) + mlp
        return npx.sigmoid(scores) if self.head is Head.sigmoid else scores

    def item_vectors(self) -> numpy.ndarray:
        """The items' factors in the GMF, each times its weight, (num_items, num_factors)."""
        Q = self.Q.weight.data()
        return (Q * self._weights(Q.ctx)[0]).asnumpy()

    def _weights(self, ctx: mx.Context) -> Tuple[np.ndarray, np.ndarray]:
        """The weights h, of the GMF's outputs (1, num_factors) and of the MLP's (units,)."""
        num_factors, units = self.Q.weight.shape[1], self.mlp[-1].weight.shape[0]
        if self.head is Head.sum:
            h = np.ones((1, num_factors + units), ctx=ctx)
        else:
            h = self.prediction.weight.data(ctx)
        return h[:, :num_factors], h[0, num_factors:]


@section("neumf")
def main(
    run: RankingRun,
    num_epochs: int = 10,
    num_factors: int = 10,
    nums_hiddens: List[int] = (10, 10, 10),
    lr: float = 0.01,
    wd: float = 1e-5,
    batch_size: int = 1024,
    head: Head = Head.sum,
    loss: RankingLoss = RankingLoss.bpr,
) -> Dict[str, Any]:
    """Train NeuMF on MovieLens-100K (section 15.6)."""
    data = run.data
    train_iter = pairwise_loader(data, [data.users, data.items], batch_size, run.streams)

    net = run.build(NeuMF, num_factors, *data.sizes, nums_hiddens, head)
    net.initialize(ctx=run.devices, init=init.Normal(0.01))
    trainer = gluon.Trainer(net.collect_params(), "adam", {"learning_rate": lr, "wd": wd})
    history = train_ranking(
        net,
        train_iter,
        data.test_items,
        RANKING_LOSSES[loss](),
        trainer,
        None,
        *data.sizes,
        num_epochs,
        run.devices,
        **run.options,
    )
    return run.finish(history, compares=head is Head.sum and loss is RankingLoss.bpr)


if __name__ == "__main__":
    command_line.run(main)
