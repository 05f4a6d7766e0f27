"""LightGCN: embeddings that go along the graph of users and items (He et al. 2020).

An edge joins a user and an item that the user has seen. Along the edges embeddings are passed on,
layer after layer: a user's next is the sum of those of the items seen, N(u), an item's that of the
users who have seen it, N(i) (eq. 3 of the paper):

    e_u' = sum over i in N(u) of e_i / sqrt(|N(u)| |N(i)|)

In one matrix E for users and items that is E' = A~ E with A~ = D^-1/2 A D^-1/2, where A is the
adjacency of the graph and D holds its degrees (eq. 7). What NGCF has between its layers, weights
and a nonlinear function, is left out: all there is to learn are the embeddings before the first.
The final ones are the mean over them and all K layers (eq. 4), and score by inner products (eq. 5):

    y_hat[u, i] = mean(e_u, e_u', e_u'', ...) . mean(e_i, e_i', e_i'', ...)

Training wants a seen item i to lead one that is not, j, and the embeddings before the first layer
to stay small (eq. 15, where lambda is half of what it is here and in the authors' code):

    sum over pairs of -ln sigmoid(y_hat[u, i] - y_hat[u, j])
        + lambda / 2 (|e_u|^2 + |e_i|^2 + |e_j|^2)

A step goes through the whole graph, whatever the batch: batches are large, and the learning rate
with them. Run it, from the root of the checkout:

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
    """Embeddings averaged over ``num_layers`` steps along the graph.

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
        """Final embeddings of all users and all items on ``device``, a row for each."""
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
        """The loss of each pair of a seen and an unseen item, (n,); ``F`` is ``mxnet.nd``."""
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
