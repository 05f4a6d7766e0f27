"""NGCF: neural graph collaborative filtering (Wang et al. 2019).

The nodes of the graph are the users and the items. An edge joins a user and an item that the user
has seen. In each layer, every node receives a message from each of its neighbors N. User u receives
this message from item i (eq. 3 of the paper, where * multiplies element by element):

    m[u <- i] = (W1 e_i + W2 (e_i * e_u)) / sqrt(|N(u)| |N(i)|)

So the message depends on how similar the two embeddings are. The next embedding of the user is the
LeakyReLU of the sum of all messages and of W1 e_u, which keeps a part of the user's own embedding
(eq. 4). Items receive messages from users in the same way. Let the matrix E have the embeddings of
all users and items as its rows, and let L be the normalized adjacency matrix of the graph. Then a
layer computes (eq. 7)

    E' = LeakyReLU((L + I) E W1 + (L E * E) W2)

The final embedding of a node has the embeddings of all layers side by side. Inner products of the
final embeddings are the scores (eq. 9 and 10). Training makes a seen item i score higher than an
unseen item j, and keeps Theta small. Theta has the weights, and the embeddings of u, i and j before
the first layer (eq. 11; lambda here is twice the lambda of the equation):

    sum over pairs of -ln sigmoid(y_hat[u, i] - y_hat[u, j]) + lambda / 2 |Theta|^2

Two kinds of dropout reduce overfitting. ``--dropout`` drops numbers of each layer's output in
training; the paper calls this message dropout. ``--edge-dropout`` drops edges of the graph. The
paper describes node dropout; in its place, the authors' code drops edges. (Their code also scales
the embeddings of each layer to length 1 before it puts them side by side. The paper does not.)

Each training step computes the layers for the whole graph, however small the batch is. So the
batches are large, and the learning rate is large, too.

Run this file from the root of the checkout:

    python chapters/extras/ngcf.py --seed 3
    python chapters/extras/ngcf.py --num-layers 1
"""

from typing import Any, Dict, Tuple

from d2l_recsys.backend import mx, nn, np, npx
from d2l_recsys.layers.graph import GraphRecommender, with_edges_of
from d2l_recsys.layers.operators import concatenate
from d2l_recsys.runs.run import CompanionRun
from d2l_recsys.sections import command_line
from d2l_recsys.sections.options import section

SLOPE = 0.2  # slope of the LeakyReLU below 0, as in the authors' code


class NGCF(GraphRecommender):
    """NGCF: embeddings changed by ``num_layers`` layers of messages along the graph.

    ``dropout`` is the share of each layer's outputs, and ``edge_dropout`` the share of the edges,
    that are dropped in training. ``reg`` is the lambda of the loss. Called with int arrays
    ``user_id`` and ``item_id`` of shape (n,), zero-based; returns n scores.
    """

    def __init__(
        self,
        num_factors: int,
        num_layers: int,
        dropout: float,
        edge_dropout: float,
        reg: float,
        num_users: int,
        num_items: int,
        num_edges: int,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_factors, num_users, num_items, num_edges, **kwargs)
        self.edge_dropout, self.reg = edge_dropout, reg
        self.W1, self.W2 = nn.Sequential(), nn.Sequential()
        for weights in (self.W1, self.W2):
            for _ in range(num_layers):
                weights.add(nn.Dense(num_factors, use_bias=False, in_units=num_factors))
        self.dropout = nn.Dropout(dropout)

    def propagate(self, device: mx.Context) -> Tuple[np.ndarray, np.ndarray]:
        """Return the final embeddings of all users and of all items on ``device``.

        Each has a row for each node and ``num_factors`` (``num_layers`` + 1) columns.
        """
        adjacency = self.graph.adjacency(device).without_edges(self.edge_dropout)
        layers = [[part.weight.data(device) for part in (self.P, self.Q)]]
        for W1, W2 in zip(self.W1, self.W2):
            heard = adjacency.send(*layers[-1])
            sums = [W1(h + e) + W2(h * e) for h, e in zip(heard, layers[-1])]
            layers.append(
                [self.dropout(npx.leaky_relu(s, act_type="leaky", slope=SLOPE)) for s in sums]
            )
        users, items = (concatenate(mx.nd, *side) for side in zip(*layers))
        return users, items

    def batch_loss(
        self, F: Any, users: np.ndarray, items: np.ndarray, negatives: np.ndarray
    ) -> np.ndarray:
        """Return the loss of each pair of a seen and an unseen item, (n,); F is ``mxnet.nd``."""
        losses = self.bpr_losses(F, users, items, negatives)
        theta = self.squared_norms(users, items, negatives)
        for layer in (*self.W1, *self.W2):
            theta = theta + np.square(layer.weight.data(users.ctx)).sum()
        return losses + self.reg / 2 * theta


@section("ngcf")
def main(
    run: CompanionRun,
    num_epochs: int = 30,
    num_factors: int = 64,
    num_layers: int = 2,
    dropout: float = 0.1,
    edge_dropout: float = 0.0,
    reg: float = 1e-4,
    lr: float = 0.01,
    batch_size: int = 8192,
) -> Dict[str, Any]:
    """Train NGCF on MovieLens-100K."""
    data = run.data
    strengths = num_layers, dropout, edge_dropout, reg
    arguments = num_factors, *strengths, *data.sizes, len(data.users)
    options = {"batch_size": batch_size, "lr": lr, "prepare": with_edges_of(data)}
    return run.train_on_pairs(NGCF, *arguments, **options)


if __name__ == "__main__":
    command_line.run(main)
