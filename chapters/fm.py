"""Factorization machines (section 15.9).

The model predicts the logit (the log odds) of a click. The logit is a linear function of the
features x, plus an interaction of each pair of features. The interaction is the inner product of
the factors of both features (eq. 15.9.1; Rendle 2010):

    y_hat(x) = w_0 + sum over i of w_i x_i + sum over pairs i < j of <v_i, v_j> x_i x_j

A feature is a value of a field. x_i is 1 if the impression has this value, and 0 otherwise, so the
sums only need the features that the impression has. The sum over all pairs takes a time linear in
the number of these features (eq. 15.9.2, ``fm_interaction``). The probability of a click is
sigmoid(y_hat).

The chapter passes this probability to a loss that applies the sigmoid a second time. This loss
cannot fall below ln(1 + 1/e) = 0.313 for a click and ln 2 = 0.693 for a row without a click, so
training pushes the logits towards infinity. ``--protocol printed`` trains in this way, and
``--protocol defined`` trains on the logits. Run the section from the root of the checkout:

    python chapters/fm.py
    python chapters/fm.py --protocol defined
    python chapters/fm.py --dataset criteo --data-dir DIR     # DIR has Criteo's train.txt

The chapter's text names a learning rate of 0.01. Its code and its reported numbers have 0.02.
"""

from typing import Any, Dict, Sequence

from d2l_recsys.backend import gluon, init, nn
from d2l_recsys.layers.operators import fm_interaction
from d2l_recsys.model_bases.contract import ClickModel
from d2l_recsys.runs.run import ClickRun
from d2l_recsys.sections import command_line
from d2l_recsys.sections.options import section
from d2l_recsys.train import train_ctr


class FM(nn.HybridBlock, ClickModel):
    """Factorization machine, eq. 15.9.1.

    Called with int features (n, fields), whose numbers are unique over all fields as in
    ``CTRDataset``. Returns the probabilities of a click, (n, 1). ``field_dims`` holds the number of
    features of each field.

    As in the chapter, a dense layer of one unit scales the sum of the w_i and adds w_0. The
    equation does not have this scale.
    """

    def __init__(self, field_dims: Sequence[int], num_factors: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        num_inputs = int(sum(field_dims))
        self.embedding = nn.Embedding(num_inputs, num_factors)
        self.fc = nn.Embedding(num_inputs, 1)
        self.linear_layer = nn.Dense(1, in_units=1)

    def logits(self, F, x):
        """The logits y_hat, (n, 1)."""
        linear = self.linear_layer(F.np.sum(self.fc(x), axis=1))
        return linear + fm_interaction(F, self.embedding(x))

    def hybrid_forward(self, F, x):
        """Predict the probabilities; F is ``mxnet.nd``, or ``mxnet.symbol`` if hybridized."""
        return F.npx.sigmoid(self.logits(F, x))


@section("fm")
def main(
    run: ClickRun,
    num_epochs: int = 30,
    num_factors: int = 20,
    lr: float = 0.02,
    wd: float = 0.0,
    batch_size: int = 2048,
) -> Dict[str, Any]:
    """Train a factorization machine on clicks (section 15.9)."""
    data = run.load_data()
    net = run.build(FM, data.train.field_dims, num_factors)
    net.initialize(ctx=run.devices, init=init.Xavier())
    loss = gluon.loss.SigmoidBinaryCrossEntropyLoss()
    trainer = gluon.Trainer(net.collect_params(), run.optimizer(lr, wd))
    history = train_ctr(net, *data.loaders, loss, trainer, num_epochs, run.devices, **run.options)
    return run.finish(history)


if __name__ == "__main__":
    command_line.run(main)
