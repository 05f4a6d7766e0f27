"""DeepFM: a factorization machine and a neural network in one model (section 15.10).

Both parts read the same factors of the features of an impression (Guo et al. 2017). The
factorization machine adds up the interactions of pairs of features, as in section 15.9. The network
reads the factors of all fields as one long vector, so it can also learn interactions of more than
two features (eq. 15.10.1-2):

    z_0 = [e_1, ..., e_f]        z_l = relu(W_l z_(l-1) + b_l)

The probability of a click is the sigmoid of the sum of both outputs (eq. 15.10.3):

    y_hat = sigmoid(y_hat_FM + y_hat_DNN)

Run the section from the root of the checkout:

    python chapters/deepfm.py
    python chapters/deepfm.py --protocol defined
    python chapters/deepfm.py --mlp-dims 100,50

``chapters/fm.py`` explains what ``--protocol`` changes.
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

    Called with int features (n, fields), whose numbers are unique over all fields as in
    ``CTRDataset``. Returns the probabilities of a click, (n, 1). ``field_dims`` holds the number of
    features of each field. ``mlp_dims`` holds the size of each hidden layer. A dropout with rate
    ``drop_rate`` follows each hidden layer.
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
        """The logits y_hat_FM + y_hat_DNN, (n, 1)."""
        embedded = self.embedding(x)
        linear = self.linear_layer(F.np.sum(self.fc(x), axis=1))
        # The first dense layer flattens (n, fields, k) to (n, fields k).
        return linear + fm_interaction(F, embedded) + self.mlp(embedded)

    def hybrid_forward(self, F, x):
        """Predict the probabilities; F is ``mxnet.nd``, or ``mxnet.symbol`` if hybridized."""
        return F.npx.sigmoid(self.logits(F, x))


@section("deepfm")
def main(
    run: ClickRun,
    num_epochs: int = 30,
    num_factors: int = 10,
    mlp_dims: List[int] = (30, 20, 10),
    dropout: float = 0.1,
    lr: float = 0.01,
    wd: float = 0.0,
    batch_size: int = 2048,
) -> Dict[str, Any]:
    """Train DeepFM on clicks (section 15.10)."""
    data = run.load_data()
    net = run.build(DeepFM, data.train.field_dims, num_factors, mlp_dims, dropout)
    net.initialize(ctx=run.devices, init=init.Xavier())
    loss = gluon.loss.SigmoidBinaryCrossEntropyLoss()
    trainer = gluon.Trainer(net.collect_params(), run.optimizer(lr, wd))
    history = train_ctr(net, *data.loaders, loss, trainer, num_epochs, run.devices, **run.options)
    return run.finish(history)


if __name__ == "__main__":
    command_line.run(main)
