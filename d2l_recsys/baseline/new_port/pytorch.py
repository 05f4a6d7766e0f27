"""A port of the chapter to PyTorch. Fill in the four methods at the top, from rung to rung.

    d2l-recsys baseline check MY_PORT.py --models mf --rungs 0-5,7

``Groundwork`` answers rungs 0 and 1 in numpy. To check your own split, loader or metrics, override
``data``, ``batches`` or ``metrics``. For rung 6, write ``first_parameters`` and ``learner``, too.
"""

import numpy as np
import torch

from d2l_recsys.baseline.oracle.groundwork import Groundwork

REAL = ("rating", "ratings", "label")


class Port(Groundwork):
    # The names of your parameters by those of the chapter, where they differ, for example
    # {"P.weight": "user_factors.weight"}.
    names = {}

    def make_net(self, settings):
        """Rung 2: your net, a torch.nn.Module. The sizes are in ``settings``, such as
        num_users, num_items and num_factors.
        """
        raise NotImplementedError("write make_net, which returns your torch.nn.Module")

    def outputs(self, batch):
        """Rung 2: the outputs of ``self.net`` for a batch of tensors; mf: the ratings (n,) of
        batch["user_id"] and batch["item_id"]. FM and DeepFM as printed return probabilities.
        """
        raise NotImplementedError("write outputs, which calls self.net with the arrays of batch")

    def losses(self, batch):
        """Rung 3: the loss of each example, (n,), for a batch of tensors; mf: half the squared
        error of batch["rating"].
        """
        raise NotImplementedError("write losses, which returns the loss of each example")

    def make_optimizer(self, settings):
        """Rung 4: the optimizer of ``self.net``. MXNet's Adam adds epsilon in another place than
        PyTorch's; the check names this, and --accept epsilon-after-bias-correction goes on.
        """
        return torch.optim.Adam(
            self.net.parameters(), lr=settings["lr"], weight_decay=settings.get("wd", 0.0)
        )

    # The rest connects these methods to the check.

    def set_state(self, settings, parameters, means=None, variances=None, steps=0):
        self.net = self.make_net(settings)
        own = dict(self.net.named_parameters())
        self.own = {name: own[self.names.get(name, name)] for name in parameters}
        with torch.no_grad():
            for name, weights in self.own.items():
                weights.copy_(torch.tensor(parameters[name]).reshape(weights.shape))
        self.net.eval()
        self.optimizer = self.make_optimizer(settings)
        for name, weights in self.own.items() if steps else ():
            self.optimizer.state[weights] = {
                "step": torch.tensor(float(steps)),
                "exp_avg": torch.tensor(means[name]).reshape(weights.shape),
                "exp_avg_sq": torch.tensor(variances[name]).reshape(weights.shape),
            }

    def tensors(self, batch):
        kinds = {name: torch.float32 if name in REAL else torch.int64 for name in batch}
        return {name: torch.tensor(array, dtype=kinds[name]) for name, array in batch.items()}

    def forward(self, batch):
        with torch.no_grad():
            return self.outputs(self.tensors(batch)).numpy()

    def loss(self, batch):
        with torch.no_grad():
            return float(self.losses(self.tensors(batch)).sum())

    def gradients(self, batch):
        total = self.losses(self.tensors(batch)).sum()
        found = torch.autograd.grad(total, list(self.own.values()))
        return {name: self.as_chapter(name, g) for name, g in zip(self.own, found)}

    def step(self, batch):
        self.optimizer.zero_grad()
        self.losses(self.tensors(batch)).mean().backward()
        self.optimizer.step()

    def parameters(self):
        return {name: self.as_chapter(name, w.detach()) for name, w in self.own.items()}

    def training_outputs(self, batch, seed):
        torch.manual_seed(seed)
        self.net.train()
        try:
            return self.forward(batch)
        finally:
            self.net.eval()

    def as_chapter(self, name, tensor):
        """A copy of a tensor; reshape it here if your parameter has another shape."""
        return np.array(tensor.numpy())
