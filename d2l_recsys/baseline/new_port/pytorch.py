"""A port of the chapter to PyTorch. Fill in the three methods at the top that raise.

    d2l-recsys baseline check MY_PORT.py --models mf --rungs 0-5,7

Each port is for one model: ``self.model``, ``self.protocol`` and ``self.settings`` say which.
``Groundwork`` answers rungs 0 and 1 in numpy. To check your own split, loader or metrics, override
``data``, ``batches`` or ``metrics``. For rung 6, write ``first_parameters`` and ``learner``, too.
"""

import numpy as np
import torch

from d2l_recsys.baseline.oracle.groundwork import Groundwork

REAL = ("rating", "ratings", "label")


class Port(Groundwork):
    # The names of your parameters by those of the chapter, where they differ, for example
    # {"P.weight": "user_factors.weight"}. If they depend on the settings, set them in make_net.
    names = {}

    def make_net(self, settings):
        """Rung 2: your net, a torch.nn.Module. The sizes are in ``settings``, such as
        num_users, num_items and num_factors.
        """
        raise NotImplementedError("write make_net, which returns your torch.nn.Module")

    def outputs(self, batch):
        """Rung 2: the outputs of ``self.net`` for a batch of tensors; mf: the ratings (n,) of
        batch["user_id"] and batch["item_id"]. NeuMF and Caser score batch["item_id"]. FM and
        DeepFM as printed return probabilities.
        """
        raise NotImplementedError("write outputs, which calls self.net with the arrays of batch")

    def losses(self, batch):
        """Rung 3: the loss of each example, (n,), for a batch of tensors; mf: half the squared
        error of batch["rating"].
        """
        raise NotImplementedError("write losses, which returns the loss of each example")

    def make_optimizer(self, settings):
        """Rung 4: the optimizer of ``self.net``. MXNet's Adam adds epsilon in another place than
        PyTorch's; the check names this, and --accept epsilon-after-bias-correction goes on. Or
        set group["eps"] = 1e-8 / sqrt(1 - 0.999**t) before step t = 1, 2, ...
        """
        return torch.optim.Adam(
            self.net.parameters(), lr=settings["lr"], weight_decay=settings.get("wd", 0.0)
        )

    # The rest connects these methods to the check.

    def set_state(self, settings, parameters, means=None, variances=None, steps=0):
        self.settings, self.shapes = settings, {n: w.shape for n, w in parameters.items()}
        self.net = self.make_net(settings)
        own = dict(self.net.named_parameters())
        named = {name: self.names.get(name, name) for name in parameters}
        for chapters, yours in named.items():
            if yours not in own:
                raise ValueError(
                    f"your net has no parameter {yours}; give your name of {chapters} in names; "
                    f"your names: {', '.join(own)}"
                )
        more = [name for name in own if name not in named.values()]
        if more:
            raise ValueError(f"the chapter's net has no {', '.join(more)}; leave it out")
        self.own = {name: own[yours] for name, yours in named.items()}
        with torch.no_grad():
            for name, weights in self.own.items():
                weights.copy_(self.as_yours(name, parameters[name]))
        self.net.eval()
        self.optimizer = self.make_optimizer(settings)
        for name, weights in self.own.items() if steps else ():
            self.optimizer.state[weights] = {
                "step": torch.tensor(float(steps)),
                "exp_avg": self.as_yours(name, means[name]),
                "exp_avg_sq": self.as_yours(name, variances[name]),
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

    # If your parameter is the transpose of the chapter's, transpose it in these two methods.

    def as_yours(self, name, array):
        """An array of the chapter as a tensor like your parameter."""
        yours = self.own[name]
        if [n for n in array.shape if n > 1] != [n for n in yours.shape if n > 1]:
            raise ValueError(
                f"{name} has the shape {array.shape}, your parameter {tuple(yours.shape)}; "
                "change your net, or as_yours and as_chapter"
            )
        return torch.tensor(array, dtype=yours.dtype).reshape(yours.shape)

    def as_chapter(self, name, tensor):
        """A tensor like your parameter as an array of the chapter."""
        return np.array(tensor.numpy()).reshape(self.shapes[name])
