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

    python chapters/lightgcn.py --seed 3
    python chapters/lightgcn.py --num-layers 1
"""

from typing import Any, Dict, Tuple

from typer import Option
from typing_extensions import Annotated

from d2l_recsys import command_line as cli
from d2l_recsys.backend import init, mx, np
from d2l_recsys.companion import CompanionRun
from d2l_recsys.graph import GraphRecommender
from d2l_recsys.objectives import own_loss
from d2l_recsys.sampling import pairwise_loader


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


def main(
    seed: cli.Seed = 0,
    num_epochs: cli.NumEpochs = 13,
    num_devices: cli.NumDevices = 1,
    device: cli.DeviceKind = None,
    split: cli.TimeSplit = "seq-aware",
    data_dir: cli.DataDir = None,
    out: cli.Out = None,
    resume: cli.Resume = False,
    quiet: cli.Quiet = False,
    cutoff: cli.Cutoffs = (),
    num_factors: Annotated[int, Option(help="Length of the embeddings, k.")] = 64,
    num_layers: Annotated[int, Option(help="Steps along the graph, K.")] = 2,
    reg: Annotated[float, Option(help="Weight of the embeddings' size, lambda.")] = 1e-4,
    lr: Annotated[float, Option(help="Learning rate of Adam.")] = 0.05,
    batch_size: Annotated[int, Option(help="Pairs in a batch.")] = 8192,
) -> Dict[str, Any]:
    """Train LightGCN on MovieLens-100K."""
    run = CompanionRun(
        "lightgcn",
        seed=seed,
        num_epochs=num_epochs,
        num_devices=num_devices,
        device=device,
        split=split,
        data_dir=data_dir,
        out=out,
        resume=resume,
        quiet=quiet,
        cutoff=cutoff,
        settings=dict(
            num_factors=num_factors, num_layers=num_layers, reg=reg, lr=lr, batch_size=batch_size
        ),
    )
    data = run.data
    return run.train(
        LightGCN,
        num_factors,
        num_layers,
        reg,
        data.num_users,
        data.num_items,
        len(data.users),
        loss=own_loss,
        train_iter=pairwise_loader(data, [data.users, data.items], batch_size, run.streams),
        lr=lr,
        initializer=init.Xavier(),
        prepare=lambda net: net.graph.set_edges(data.users, data.items),
    )


if __name__ == "__main__":
    cli.run(main)
