"""NeuMF: neural collaborative filtering for personalized ranking (section 15.6).

The model has two towers, each with its own embeddings. Generalized matrix factorization (GMF)
multiplies a user's and an item's factors element by element (eq. 15.6.1). A multilayer perceptron
(MLP) reads a user's and an item's factors as one long vector (eq. 15.6.2). The outputs x and z of
the towers become one score (eq. 15.6.3, which also applies a sigmoid):

    x = p_u * q_i              z = relu(W3 relu(W2 relu(W1 [u_u; v_i] + b1) + b2) + b3)
    y_hat[u, i] = h . [x; z]

``--head`` chooses this last step. ``sum`` is the chapter's code: without the weights h, it adds up
the numbers of x and z. ``linear`` has the weights h. ``sigmoid``, from the chapter's later
editions, has the weights h and applies a sigmoid to the score.

With the default options, the head ``sigmoid`` does not learn. The BPR loss has a sigmoid as well,
and the gradient through both sigmoids is so small that Adam follows only the weight decay. All
weights shrink to 0, and every score becomes 1/2. The printed hit rate of 0.075 and AUC of 0.531
then come only from the order of the items' numbers. With ``--wd 0`` this head learns.

Training makes an item that the user has seen score higher than a negative item, which is drawn at
random from the items that the user has not seen (section 15.5). Run the section from the root of
the checkout:

    python chapters/neumf.py --seed 3
    python chapters/neumf.py --head sigmoid
    python chapters/neumf.py --loss hinge --margin 0.5     # an exercise of the section
"""

from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy

from d2l_recsys.backend import gluon, init, mx, nn, np, npx
from d2l_recsys.errors import SettingError
from d2l_recsys.layers.operators import concatenate, score_all_pairs
from d2l_recsys.losses import make_ranking_loss
from d2l_recsys.model_bases.contract import Recommender
from d2l_recsys.runs.run import RankingRun
from d2l_recsys.sampling import pairwise_loader
from d2l_recsys.sections import command_line
from d2l_recsys.sections.options import section
from d2l_recsys.settings import Choice, RankingLoss, as_choice
from d2l_recsys.train import train_ranking


class Head(Choice):
    """How the outputs of GMF and MLP become a score: their sum, weighted, or with a sigmoid."""

    sum = "sum"
    linear = "linear"
    sigmoid = "sigmoid"


class NeuMF(nn.HybridBlock, Recommender):
    """GMF, MLP and the head that joins them, eq. 15.6.1-3.

    Called with int arrays ``user_id`` and ``item_id`` of shape (n,), zero-based. Returns n scores.
    ``P`` and ``Q`` are the embeddings of the GMF, ``U`` and ``V`` are the embeddings of the MLP.
    Each embedding has ``num_factors`` numbers. ``nums_hiddens`` holds the number of units of each
    layer of the MLP.

    Raises SettingError for an unknown ``head`` and for empty ``nums_hiddens``.
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
        """Score the pairs; F is ``mxnet.nd``, or ``mxnet.symbol`` if hybridized."""
        gmf = self.P(user_id) * self.Q(item_id)
        mlp = self.mlp(concatenate(F, self.U(user_id), self.V(item_id)))
        both = concatenate(F, gmf, mlp)
        if self.head is Head.sum:
            return F.np.sum(both, axis=-1)
        score = F.np.squeeze(self.prediction(both), axis=-1)
        return F.npx.sigmoid(score) if self.head is Head.sigmoid else score

    def score_all(self, users: np.ndarray, sequences: Optional[np.ndarray] = None) -> np.ndarray:
        """Scores of all items for each of ``users``, (len(users), num_items).

        One matrix product computes the GMF, and ``score_all_pairs`` computes the MLP.
        """
        Q, V = (part.weight.data(users.ctx) for part in (self.Q, self.V))
        h_gmf, h_mlp = self._weights(users.ctx)
        mlp = score_all_pairs(self.mlp, h_mlp, self.U(users), V)
        scores = np.dot(self.P(users) * h_gmf, Q.T) + mlp
        return npx.sigmoid(scores) if self.head is Head.sigmoid else scores

    def item_vectors(self) -> numpy.ndarray:
        """The items' factors in the GMF, times the weights h, (num_items, num_factors)."""
        Q = self.Q.weight.data()
        return (Q * self._weights(Q.ctx)[0]).asnumpy()

    def _weights(self, ctx: mx.Context) -> Tuple[np.ndarray, np.ndarray]:
        """The weights h of the GMF's outputs, (1, num_factors), and of the MLP's, (units,)."""
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
    margin: float = 1.0,
    num_negatives: int = 10,
) -> Dict[str, Any]:
    """Train NeuMF on MovieLens-100K (section 15.6)."""
    data = run.data
    pair_loss = make_ranking_loss(loss, margin, num_negatives)
    train_iter = pairwise_loader(data, [data.users, data.items], batch_size, run.streams, pair_loss)

    net = run.build(NeuMF, num_factors, *data.sizes, nums_hiddens, head)
    net.initialize(ctx=run.devices, init=init.Normal(0.01))
    trainer = gluon.Trainer(net.collect_params(), run.optimizer(lr, wd))
    history = train_ranking(
        net,
        train_iter,
        data.test_items,
        pair_loss,
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
