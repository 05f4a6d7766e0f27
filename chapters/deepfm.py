"""DeepFM: a factorization machine beside a neural network (section 15.10).

Both look at the same factors of the features that an impression has (Guo et al. 2017). The
factorization machine adds up how well they go together in pairs, as in section 15.9; the network
takes them side by side, field after field, and can learn more than pairs (eq. 15.10.1-2):

    z_0 = [e_1, ..., e_f]        z_l = relu(W_l z_(l-1) + b_l)

The probability of a click is the sigmoid of both together (eq. 15.10.3):

    y_hat = sigmoid(y_hat_FM + y_hat_DNN)

Run it, from the root of the checkout:

    python chapters/deepfm.py
    python chapters/deepfm.py --protocol defined
    python chapters/deepfm.py --mlp-dims 100 --mlp-dims 50

What ``--protocol`` changes is told in ``chapters/fm.py``.
"""

from typing import Any, Dict, List, Sequence

from typer import Option
from typing_extensions import Annotated

from d2l_recsys import command_line as cli
from d2l_recsys.backend import gluon, init, nn
from d2l_recsys.click_data import REPORTED_ON, load_data_ctr
from d2l_recsys.factorization import fm_interaction
from d2l_recsys.history import CTR_CURVE
from d2l_recsys.ids import ClickIds
from d2l_recsys.run import Run
from d2l_recsys.settings import Protocol, as_choice
from d2l_recsys.train import train_ctr


class DeepFM(nn.HybridBlock):
    """Factorization machine and multilayer perceptron on the same factors, eq. 15.10.1-3.

    Called with int features (n, fields), numbered through all fields as in ``CTRDataset``; returns
    the probabilities of a click, (n, 1). ``field_dims`` are the numbers of features of the fields,
    ``mlp_dims`` the sizes of the hidden layers, each followed by dropout with ``drop_rate``.
    """

    def __init__(
        self,
        field_dims: Sequence[int],
        num_factors: int,
        mlp_dims: Sequence[int],
        drop_rate: float = 0.1,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        num_inputs = int(sum(field_dims))
        self.embedding = nn.Embedding(num_inputs, num_factors)
        self.fc = nn.Embedding(num_inputs, 1)
        self.linear_layer = nn.Dense(1, in_units=1)
        self.mlp = nn.HybridSequential()
        in_units = len(field_dims) * num_factors
        for units in mlp_dims:
            self.mlp.add(nn.Dense(units, activation="relu", in_units=in_units))
            self.mlp.add(nn.Dropout(drop_rate))
            in_units = units
        self.mlp.add(nn.Dense(1, in_units=in_units))

    def logits(self, F, x):
        """The log odds y_hat_FM + y_hat_DNN, (n, 1)."""
        embedded = self.embedding(x)
        linear = self.linear_layer(F.np.sum(self.fc(x), axis=1))
        # A dense layer flattens its input: (n, fields, k) to (n, fields k).
        return linear + fm_interaction(F, embedded) + self.mlp(embedded)

    def hybrid_forward(self, F, x):
        """Predict; F is ``mxnet.nd`` or, once hybridized, ``mxnet.symbol``."""
        return F.npx.sigmoid(self.logits(F, x))


def main(
    seed: cli.Seed = 0,
    num_epochs: cli.NumEpochs = 30,
    num_devices: cli.NumDevices = 1,
    device: cli.DeviceKind = None,
    protocol: cli.TrainedProtocol = "printed",
    data_dir: cli.DataDir = None,
    out: cli.Out = None,
    resume: cli.Resume = False,
    quiet: cli.Quiet = False,
    dataset: cli.Clicks = "book",
    strict: cli.Strict = False,
    min_threshold: cli.MinThreshold = 4,
    num_factors: Annotated[int, Option(help="Length of the factors, k.")] = 10,
    mlp_dims: Annotated[
        List[int], Option(help="Units of a hidden layer; repeated, a layer each.")
    ] = (30, 20, 10),
    dropout: Annotated[float, Option(help="Share of units dropped in training.")] = 0.1,
    lr: Annotated[float, Option(help="Learning rate of Adam.")] = 0.01,
    batch_size: Annotated[int, Option(help="Impressions in a batch.")] = 2048,
) -> Dict[str, Any]:
    """Train DeepFM on clicks (section 15.10)."""
    protocol = as_choice(Protocol, "protocol", protocol)
    run = Run(
        "deepfm",
        seed=seed,
        num_epochs=num_epochs,
        num_devices=num_devices,
        device=device,
        protocol=protocol,
        data_dir=data_dir,
        out=out,
        resume=resume,
        quiet=quiet,
        settings=dict(
            num_factors=num_factors,
            mlp_dims=list(mlp_dims),
            dropout=dropout,
            lr=lr,
            batch_size=batch_size,
            min_threshold=min_threshold,
        ),
        choices=dict(trained_on="scores" if protocol is Protocol.printed else "logits"),
        dataset=None,
    )
    data = load_data_ctr(
        dataset, data_dir, batch_size, min_threshold, strict, run.streams.shuffle, quiet
    )
    ids = ClickIds(data.train.feat_mapper, data.train.defaults)
    net = run.build(DeepFM, data.train.field_dims, num_factors, mlp_dims, dropout, ids=ids)
    run.data_loaded(data.dataset)

    net.initialize(ctx=run.devices, init=init.Xavier())
    trainer = gluon.Trainer(net.collect_params(), "adam", {"learning_rate": lr})
    history = train_ctr(
        net,
        data.train_iter,
        data.test_iter,
        gluon.loss.SigmoidBinaryCrossEntropyLoss(),
        trainer,
        num_epochs,
        run.devices,
        protocol=protocol,
        quiet=quiet,
        saver=run.saver,
    )
    compares = dataset in REPORTED_ON and protocol is Protocol.printed
    return run.finish(history, CTR_CURVE, compares=compares)


if __name__ == "__main__":
    cli.run(main)
