"""A port of the chapter to JAX. Fill in the two methods at the top, from rung to rung.

    d2l-recsys baseline check MY_PORT.py --models mf --rungs 0-5,7

Each port is for one model: ``self.model``, ``self.protocol`` and ``self.settings`` say which.
``Groundwork`` answers rungs 0 and 1 in numpy. To check your own split, loader or metrics, override
``data``, ``batches`` or ``metrics``. For rung 6, write ``first_parameters`` and ``learner``, too.
"""

import jax
import jax.numpy as jnp
import numpy as np

from d2l_recsys.baseline.oracle.groundwork import Groundwork

REAL = ("rating", "ratings", "label")
BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8


class Port(Groundwork):
    def outputs(self, p, batch, key=None):
        """Rung 2: the outputs of your net with the parameters ``p``; mf: the ratings (n,) of
        batch["user_id"] and batch["item_id"] from p["P.weight"], p["Q.weight"] and the biases.
        NeuMF and Caser score batch["item_id"]. With a ``key``, dropout is on. FM and DeepFM as
        printed return probabilities.
        """
        raise NotImplementedError("write outputs, which computes the outputs of your net")

    def losses(self, p, batch):
        """Rung 3: the loss of each example, (n,); mf: half the squared error of
        batch["rating"].
        """
        raise NotImplementedError("write losses, which returns the loss of each example")

    def update(self, w, m, v, g, steps):
        """Rung 4: the next ``w``, ``m`` and ``v`` of one parameter, from its mean gradient ``g``.

        This is Adam as in optax. MXNet's Adam adds epsilon in another place; the check names this,
        and --accept epsilon-after-bias-correction goes on.
        """
        g = g + self.settings.get("wd", 0.0) * w
        m, v = BETA1 * m + (1 - BETA1) * g, BETA2 * v + (1 - BETA2) * g**2
        of_m, of_v = m / (1 - BETA1**steps), v / (1 - BETA2**steps)
        return w - self.settings["lr"] * of_m / (jnp.sqrt(of_v) + EPSILON), m, v

    # The rest connects these methods to the check.

    def set_state(self, settings, parameters, means=None, variances=None, steps=0):
        zeros = {name: np.zeros_like(w) for name, w in parameters.items()}
        self.settings, self.steps = settings, steps
        self.p, self.m, self.v = (
            {name: jnp.asarray(w) for name, w in arrays.items()}
            for arrays in (parameters, means or zeros, variances or zeros)
        )

    def arrays(self, batch):
        kinds = {name: jnp.float32 if name in REAL else jnp.int32 for name in batch}
        return {name: jnp.asarray(array, kinds[name]) for name, array in batch.items()}

    def forward(self, batch):
        return np.array(self.outputs(self.p, self.arrays(batch)))

    def loss(self, batch):
        return float(self.losses(self.p, self.arrays(batch)).sum())

    def gradients(self, batch):
        batch = self.arrays(batch)
        found = jax.grad(lambda p: self.losses(p, batch).sum())(self.p)
        return {name: np.array(g) for name, g in found.items()}

    def step(self, batch):
        n, self.steps = len(next(iter(batch.values()))), self.steps + 1
        for name, g in self.gradients(batch).items():
            moved = self.update(self.p[name], self.m[name], self.v[name], g / n, self.steps)
            self.p[name], self.m[name], self.v[name] = moved

    def parameters(self):
        return {name: np.array(w) for name, w in self.p.items()}

    def training_outputs(self, batch, seed):
        return np.array(self.outputs(self.p, self.arrays(batch), jax.random.key(seed)))
