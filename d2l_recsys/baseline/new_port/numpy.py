"""A port of the chapter. Fill in the methods, from rung to rung.

    d2l-recsys baseline check MY_PORT.py --models mf --rungs 0-5,7

All arguments and results are numpy arrays, so this file suits every framework that has no file of
its own. Each port is for one model: ``self.model``, ``self.protocol`` and ``self.settings`` say
which. ``Groundwork`` answers rungs 0 and 1. To check your own split, loader or metrics, override
``data``, ``batches`` or ``metrics``. For rung 6, write ``first_parameters`` and ``learner``, too.
"""

from d2l_recsys.baseline.oracle.groundwork import Groundwork


class Port(Groundwork):
    def set_state(self, settings, parameters, means=None, variances=None, steps=0):
        """Before rungs 2 to 5 and 7: keep the sizes, the weights and the state of Adam."""
        self.settings, self.p, self.steps = settings, dict(parameters), steps
        self.m, self.v = means, variances  # None stands for zeros

    def forward(self, batch):
        """Rung 2: the outputs of the net; mf: the ratings (n,) of batch["user_id"] and
        batch["item_id"] from self.p["P.weight"], self.p["Q.weight"] and the biases.
        """
        raise NotImplementedError("write forward, which returns the outputs of the net")

    def loss(self, batch):
        """Rung 3: the sum of the losses of a batch; mf: half the squared error of each rating."""
        raise NotImplementedError("write loss, which returns the sum of the losses of a batch")

    def gradients(self, batch):
        """Rung 3: the gradients of this sum, by the names of the parameters."""
        raise NotImplementedError("write gradients, which returns the gradients by name")

    def step(self, batch):
        """Rungs 4 and 5: one step of Adam, which changes self.p."""
        raise NotImplementedError("write step, which makes one step of Adam")

    def parameters(self):
        """Rungs 4 and 5: the weights by name."""
        return dict(self.p)

    def training_outputs(self, batch, seed):
        """Rung 7: as forward, but with dropout."""
        raise NotImplementedError("write training_outputs; without dropout, return self.forward")
