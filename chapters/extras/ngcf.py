"""NGCF: neural graph collaborative filtering (Wang et al. 2019).

An edge joins a user and an item that the user has seen. In each layer all nodes hear from their
neighbours N: user u hears from item i (eq. 3 of the paper, where * multiplies element by element)

    m[u <- i] = (W1 e_i + W2 (e_i * e_u)) / sqrt(|N(u)| |N(i)|)

so what is passed on depends on how the two agree. With what u keeps of its own, W1 e_u, and a
LeakyReLU, the sum of all messages is the user's next embedding (eq. 4); items hear from users
likewise. In one matrix E for users and items, that is, with the normalised adjacency L (eq. 7)

    E' = LeakyReLU((L + I) E W1 + (L E * E) W2)

The embeddings of all layers, side by side, score by an inner product (eq. 9 and 10). Training wants
a seen item i to lead one that is not, j, and Theta, which is the embeddings of u, i and j before
the first layer and the weights, to stay small (eq. 11; lambda is half of what it is here):

    sum over pairs of -ln sigmoid(y_hat[u, i] - y_hat[u, j]) + lambda / 2 |Theta|^2

Against learning by heart, numbers of each layer's embeddings are dropped in training (the paper's
message dropout), and, where ``--edge-dropout`` says so, edges of the graph, as the authors' code
does for the paper's node dropout. (That code also brings the embeddings of each layer to length 1
before they are put side by side, which the paper does not.)

A step goes through the whole graph, whatever the batch: batches are large, and the learning rate
with them. Run it, from the root of the checkout:

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

SLOPE = 0.2  # of the LeakyReLU left of 0, as the authors have it


class NGCF(GraphRecommender):
    """Embeddings changed by ``num_layers`` layers of messages along the graph.

    ``dropout`` and ``edge_dropout`` are shares, ``reg`` is the lambda of the loss. Called with int
    arrays ``user_id`` and ``item_id`` of shape (n,), zero-based; returns n scores.
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
        """Final embeddings of all users and all items on ``device``, a row for each."""
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
        """The loss of each pair of a seen and an unseen item, (n,); ``F`` is ``mxnet.nd``."""
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
