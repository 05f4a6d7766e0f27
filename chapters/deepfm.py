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

from d2l_recsys.backend import gluon, init, nn
from d2l_recsys.layers.operators import fm_interaction
from d2l_recsys.model_bases.contract import ClickModel
from d2l_recsys.runs.run import ClickRun
from d2l_recsys.sections import command_line
from d2l_recsys.sections.options import section
from d2l_recsys.train import train_ctr


class DeepFM(nn.HybridBlock, ClickModel):
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


@section("deepfm")
def main(
    run: ClickRun,
    num_epochs: int = 30,
    num_factors: int = 10,
    mlp_dims: List[int] = (30, 20, 10),
    dropout: float = 0.1,
    lr: float = 0.01,
    batch_size: int = 2048,
) -> Dict[str, Any]:
    """Train DeepFM on clicks (section 15.10)."""
    data = run.load_data()
    net = run.build(DeepFM, data.train.field_dims, num_factors, mlp_dims, dropout)
    net.initialize(ctx=run.devices, init=init.Xavier())
    loss = gluon.loss.SigmoidBinaryCrossEntropyLoss()
    trainer = gluon.Trainer(net.collect_params(), "adam", {"learning_rate": lr})
    history = train_ctr(net, *data.loaders, loss, trainer, num_epochs, run.devices, **run.options)
    return run.finish(history)


if __name__ == "__main__":
    command_line.run(main)
