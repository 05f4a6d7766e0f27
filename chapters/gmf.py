"""GMF: generalized matrix factorization, NeuMF's first tower alone (He et al. 2017).

A user's and an item's factors are multiplied element by element, and weights h, which matrix
factorization has fixed at 1, make a score of the products (eq. 9 of the paper):

    y_hat[u, i] = h . (p_u * q_i)

The paper reads the score as log odds that the user has seen the item, and trains on the seen items
and on as many drawn at random (``--loss log``); ``bpr`` wants a seen item to lead one that is not,
as NeuMF in the chapter does. Run it, from the root of the checkout:

    python chapters/gmf.py --seed 3
    python chapters/gmf.py --loss bpr
"""

from typing import Any, Dict, Optional

import numpy
from typer import Option
from typing_extensions import Annotated

from d2l_recsys import command_line as cli
from d2l_recsys.backend import nn, np
from d2l_recsys.companion import CompanionRun
from d2l_recsys.losses import PAIRWISE_LOSSES, PairwiseLoss
from d2l_recsys.objectives import ranking_loss
from d2l_recsys.sampling import pairwise_loader
from d2l_recsys.settings import as_choice


class GMF(nn.HybridBlock):
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


def main(
    seed: cli.Seed = 0,
    num_epochs: cli.NumEpochs = 18,
    num_devices: cli.NumDevices = 1,
    device: cli.DeviceKind = None,
    split: cli.TimeSplit = "seq-aware",
    data_dir: cli.DataDir = None,
    out: cli.Out = None,
    resume: cli.Resume = False,
    quiet: cli.Quiet = False,
    cutoff: cli.Cutoffs = (),
    loss: cli.Loss = "log",
    num_factors: Annotated[int, Option(help="Length of the embeddings, k.")] = 64,
    lr: Annotated[float, Option(help="Learning rate of Adam.")] = 0.002,
    wd: Annotated[float, Option(help="Weight decay, lambda.")] = 1e-5,
    batch_size: Annotated[int, Option(help="Pairs in a batch.")] = 1024,
) -> Dict[str, Any]:
    """Train GMF on MovieLens-100K."""
    loss = as_choice(PairwiseLoss, "loss", loss)
    run = CompanionRun(
        "gmf",
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
        settings=dict(num_factors=num_factors, lr=lr, wd=wd, batch_size=batch_size),
        choices=dict(loss=loss),
    )
    data = run.data
    return run.train(
        GMF,
        num_factors,
        data.num_users,
        data.num_items,
        loss=lambda net: ranking_loss(net, PAIRWISE_LOSSES[loss]()),
        train_iter=pairwise_loader(data, [data.users, data.items], batch_size, run.streams),
        lr=lr,
        wd=wd,
    )


if __name__ == "__main__":
    cli.run(main)
