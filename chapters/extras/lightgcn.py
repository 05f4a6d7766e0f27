"""LightGCN: embeddings that are averaged along the graph of users and items (He et al. 2020).

The nodes of the graph are the users and the items. An edge joins a user and an item that the user
has seen. Each layer passes the embeddings along the edges: the next embedding of a user is a
weighted sum of the embeddings of the items that the user has seen, N(u). The next embedding of an
item is the same sum over the users who have seen the item, N(i) (eq. 3 of the paper):

    e_u' = sum over i in N(u) of e_i / sqrt(|N(u)| |N(i)|)

Let the matrix E have the embeddings of all users and items as its rows. Then a layer computes
E' = A~ E with A~ = D^-1/2 A D^-1/2, where A is the adjacency matrix of the graph and D has the
degrees of the nodes on its diagonal (eq. 7). NGCF has weights and a nonlinear function in each
layer. LightGCN leaves them out: the only parameters are the embeddings before the first layer. The
final embeddings are the mean over the first embeddings and the outputs of all K layers (eq. 4).
Their inner products are the scores (eq. 5):

    y_hat[u, i] = mean(e_u, e_u', e_u'', ...) . mean(e_i, e_i', e_i'', ...)

Training makes a seen item i score higher than an unseen item j, and keeps the embeddings before the
first layer small (eq. 15; lambda here is that of the authors' code, and twice the lambda of the
equation):

    sum over pairs of -ln sigmoid(y_hat[u, i] - y_hat[u, j])
        + lambda / 2 (|e_u|^2 + |e_i|^2 + |e_j|^2)

Each training step computes the layers for the whole graph, however small the batch is. So the
batches are large, and the learning rate is large, too.

Run this file from the root of the checkout:

    python chapters/extras/lightgcn.py --seed 3
    python chapters/extras/lightgcn.py --num-layers 1
"""

from typing import Any, Dict, Tuple

from d2l_recsys.backend import mx, np
from d2l_recsys.layers.graph import GraphRecommender, with_edges_of
from d2l_recsys.runs.run import CompanionRun
from d2l_recsys.sections import command_line
from d2l_recsys.sections.options import section


class LightGCN(GraphRecommender):
    """LightGCN: embeddings averaged over ``num_layers`` steps along the graph.

    ``reg`` is the lambda of the loss. Called with int arrays ``user_id`` and ``item_id`` of shape
    (n,), zero-based; returns n scores.
    """

    def __init__(
        self,
        num_factors: int,
        num_layers: int,
        reg: float,
        num_users: int,
        num_items: int,
        num_edges: int,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_factors, num_users, num_items, num_edges, **kwargs)
        self.num_layers, self.reg = num_layers, reg

    def propagate(self, device: mx.Context) -> Tuple[np.ndarray, np.ndarray]:
        """Return the final embeddings of all users and of all items on ``device``.

        They have the shapes (num_users, num_factors) and (num_items, num_factors).
        """
        adjacency = self.graph.adjacency(device)
        users, items = (part.weight.data(device) for part in (self.P, self.Q))
        sum_users, sum_items = users, items
        for _ in range(self.num_layers):
            users, items = adjacency.send(users, items)
            sum_users, sum_items = sum_users + users, sum_items + items
        share = 1 / (self.num_layers + 1)
        return sum_users * share, sum_items * share

    def batch_loss(
        self, F: Any, users: np.ndarray, items: np.ndarray, negatives: np.ndarray
    ) -> np.ndarray:
        """Return the loss of each pair of a seen and an unseen item, (n,); F is ``mxnet.nd``."""
        losses = self.bpr_losses(F, users, items, negatives)
        return losses + self.reg / 2 * self.squared_norms(users, items, negatives)


@section("lightgcn")
def main(
    run: CompanionRun,
    num_epochs: int = 13,
    num_factors: int = 64,
    num_layers: int = 2,
    reg: float = 1e-4,
    lr: float = 0.05,
    batch_size: int = 8192,
) -> Dict[str, Any]:
    """Train LightGCN on MovieLens-100K."""
    data = run.data
    arguments = num_factors, num_layers, reg, *data.sizes, len(data.users)
    options = {"batch_size": batch_size, "lr": lr, "prepare": with_edges_of(data)}
    return run.train_on_pairs(LightGCN, *arguments, **options)


if __name__ == "__main__":
    command_line.run(main)
