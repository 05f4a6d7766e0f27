"""MLP: a multilayer perceptron on pairs, NeuMF's second tower alone (He et al. 2017).

A user's and an item's factors stand side by side, and layers, each half as wide as what it reads,
learn how the two go together where matrix factorization multiplies them (eq. 10 of the paper):

    z_1 = [u_u; v_i]        z_(l + 1) = relu(W_l z_l + b_l)        y_hat[u, i] = h . z_L

The losses are those of ``chapters/gmf.py``. That a perceptron can come close to a product does not
mean that it will: Rendle et al. (2020) found that it takes many units and much data. Run it, from
the root of the checkout:

    python chapters/mlp.py --seed 3
    python chapters/mlp.py --nums-hiddens 16 --nums-hiddens 8
"""

from typing import Any, Dict, List, Optional, Sequence

import numpy
from typer import Option
from typing_extensions import Annotated

from d2l_recsys import command_line as cli
from d2l_recsys.backend import nn, np
from d2l_recsys.companion import CompanionRun
from d2l_recsys.errors import SettingError
from d2l_recsys.losses import PAIRWISE_LOSSES, PairwiseLoss
from d2l_recsys.objectives import ranking_loss
from d2l_recsys.operators import concatenate
from d2l_recsys.sampling import pairwise_loader
from d2l_recsys.settings import as_choice
from d2l_recsys.towers import score_all_pairs


class MLP(nn.HybridBlock):
    """A multilayer perceptron on pairs of a user and an item.

    Called with int arrays ``user_id`` and ``item_id`` of shape (n,), zero-based; returns n scores.
    ``U`` and ``V`` are the embeddings, of ``num_factors`` numbers; ``nums_hiddens`` are the widths
    of the layers. Raises SettingError where there is none.

    The first weights of the layers are Xavier's. Were they as small as those of the embeddings,
    three layers would leave so little of the gradient that nothing is learned.
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
        """Scores of all items for each of ``users``, (len(users), num_items)."""
        V, h = (part.weight.data(users.ctx) for part in (self.V, self.h))
        return score_all_pairs(self.mlp, h[0], self.U(users), V)

    def item_vectors(self) -> numpy.ndarray:
        """What the first layer takes in of each item, (num_items, nums_hiddens[0])."""
        V, W = self.V.weight.data(), self.mlp[0].weight.data()
        return np.dot(V, W[:, -V.shape[1] :].T).asnumpy()


def main(
    seed: cli.Seed = 0,
    num_epochs: cli.NumEpochs = 24,
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
    nums_hiddens: Annotated[
        List[int], Option(help="Units of a layer of the MLP; once for each layer.")
    ] = (32, 16, 8),
    lr: Annotated[float, Option(help="Learning rate of Adam.")] = 0.01,
    wd: Annotated[float, Option(help="Weight decay, lambda.")] = 1e-5,
    batch_size: Annotated[int, Option(help="Pairs in a batch.")] = 1024,
) -> Dict[str, Any]:
    """Train the MLP on MovieLens-100K."""
    loss = as_choice(PairwiseLoss, "loss", loss)
    run = CompanionRun(
        "mlp",
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
            num_factors=num_factors,
            nums_hiddens=list(nums_hiddens),
            lr=lr,
            wd=wd,
            batch_size=batch_size,
        ),
        choices=dict(loss=loss),
    )
    data = run.data
    return run.train(
        MLP,
        num_factors,
        data.num_users,
        data.num_items,
        nums_hiddens,
        loss=lambda net: ranking_loss(net, PAIRWISE_LOSSES[loss]()),
        train_iter=pairwise_loader(data, [data.users, data.items], batch_size, run.streams),
        lr=lr,
        wd=wd,
    )


if __name__ == "__main__":
    cli.run(main)
