"""The class ``Port``: it gets and returns numpy arrays, and computes with PyTorch.

``Groundwork`` of ``d2l_recsys.baseline`` has the parts that need no framework, in numpy: splits,
batches, negative items and metrics. ``d2l_recsys/baseline/port.py`` explains the methods.
"""

from typing import Any, Callable, Dict, Mapping, Optional

import numpy as np
import torch
from torch import Tensor, nn

from d2l_recsys.baseline.oracle import initial
from d2l_recsys.baseline.oracle.groundwork import Groundwork

from .adam import Adam
from .autorec import AutoRec
from .caser import Caser
from .deepfm import DeepFM
from .fm import FM
from .losses import autorec_loss, bpr_loss, click_loss, hinge_loss, l2_loss
from .mf import MF
from .neumf import NeuMF

Arrays = Dict[str, np.ndarray]
Settings = Mapping[str, Any]

NETS: Dict[str, Callable[[Settings], nn.Module]] = {
    "mf": lambda s: MF(s["num_factors"], s["num_users"], s["num_items"]),
    "autorec": lambda s: AutoRec(
        s["num_hidden"],
        s["num_items" if s.get("variant") == "user" else "num_users"],
        s.get("dropout", 0),
    ),
    "neumf": lambda s: NeuMF(
        s["num_factors"],
        s["num_users"],
        s["num_items"],
        s["nums_hiddens"],
        s.get("head", "sum"),
    ),
    "caser": lambda s: Caser(
        s["num_factors"],
        s["num_users"],
        s["num_items"],
        s["L"],
        s["d"],
        s["d_prime"],
        s.get("dropout", 0),
    ),
    "fm": lambda s: FM(s["field_dims"], s["num_factors"]),
    "deepfm": lambda s: DeepFM(
        s["field_dims"], s["num_factors"], s["mlp_dims"], s.get("dropout", 0)
    ),
}
# The arrays of a batch that a net reads. All are ids, except the rows of ratings of AutoRec.
INPUTS = {
    "mf": ("user_id", "item_id"),
    "autorec": ("ratings",),
    "neumf": ("user_id", "item_id"),
    "caser": ("user_id", "seq", "item_id"),
    "fm": ("features",),
    "deepfm": ("features",),
}
RANKING, CLICKS = ("neumf", "caser"), ("fm", "deepfm")
REAL = ("rating", "ratings", "label")


def as_tensors(batch: Mapping[str, np.ndarray]) -> Dict[str, Tensor]:
    """The tensors of a batch: ratings and labels in float32, ids in int64."""
    return {
        name: torch.tensor(array, dtype=torch.float32 if name in REAL else torch.int64)
        for name, array in batch.items()
    }


def as_weights(arrays: Mapping[str, np.ndarray]) -> Dict[str, Tensor]:
    """Weights, or the moments of Adam, as float32 tensors."""
    return {name: torch.tensor(array, dtype=torch.float32) for name, array in arrays.items()}


class Port(Groundwork):
    """The chapter in PyTorch and float32, with the methods of ``baseline.port.Port``."""

    # Rungs 2 and 3.

    def set_state(
        self,
        settings: Settings,
        parameters: Arrays,
        means: Optional[Arrays] = None,
        variances: Optional[Arrays] = None,
        steps: int = 0,
    ) -> None:
        """Build the net with the given weights, and set the moments of Adam (rungs 2 to 5)."""
        self.settings = settings
        # On the device "meta" a new net has no storage and draws no weights. Drawing would change
        # the state of PyTorch's global random generator.
        with torch.device("meta"):
            self.net = NETS[self.model](settings)
        self.net.load_state_dict(as_weights(parameters), assign=True)
        self.net.eval()
        self.adam = Adam(self.net, settings["lr"], settings.get("wd", 0.0))
        zeros = {name: np.zeros_like(array) for name, array in parameters.items()}
        self.adam.set_moments(as_weights(means or zeros), as_weights(variances or zeros), steps)

    def outputs(self, batch: Mapping[str, Tensor]) -> Tensor:
        """The outputs of the net; for FM and DeepFM logits."""
        return self.net(*(batch[name] for name in INPUTS[self.model]))

    @torch.no_grad()
    def forward(self, batch: Arrays) -> np.ndarray:
        """The outputs of the net; for FM and DeepFM as printed, the probabilities."""
        outputs = self.outputs(as_tensors(batch))
        if self.protocol == "printed" and self.model in CLICKS:
            outputs = torch.sigmoid(outputs)
        return outputs.numpy()

    def losses(self, batch: Mapping[str, Tensor], outputs: Tensor) -> Tensor:
        """The loss of each example, (n,), from the outputs of the net."""
        if self.model == "mf":
            return l2_loss(outputs, batch["rating"])
        if self.model == "autorec":
            return autorec_loss(outputs, batch["ratings"])
        if self.model in RANKING:
            negative = self.outputs({**batch, "item_id": batch["negative_id"]})
            loss = hinge_loss if self.settings.get("loss") == "hinge" else bpr_loss
            return loss(outputs, negative)
        return click_loss(outputs, batch["label"], self.protocol)

    @torch.no_grad()
    def loss(self, batch: Arrays) -> float:
        """The loss, summed over the examples."""
        tensors = as_tensors(batch)
        return float(self.losses(tensors, self.outputs(tensors)).sum())

    def gradients(self, batch: Arrays) -> Arrays:
        """The gradients of the summed loss by parameter name."""
        tensors = as_tensors(batch)
        names, weights = zip(*self.net.named_parameters())
        total = self.losses(tensors, self.outputs(tensors)).sum()
        return {name: g.numpy() for name, g in zip(names, torch.autograd.grad(total, weights))}

    def training_outputs(self, batch: Arrays, seed: int) -> np.ndarray:
        """The outputs of the net with dropout."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.net.train()
            outputs = self.forward(batch)
            self.net.eval()
        return outputs

    # Rungs 4 and 5.

    def step(self, batch: Arrays) -> None:
        """One step of Adam, without dropout."""
        self.learn(as_tensors(batch))

    def learn(self, batch: Mapping[str, Tensor]) -> Dict[str, Tensor]:
        """One step of Adam; returns the outputs and the losses from before the step."""
        outputs = self.outputs(batch)
        losses = self.losses(batch, outputs)
        losses.sum().backward()
        self.adam.step(len(losses))
        return {"outputs": outputs.detach(), "losses": losses.detach()}

    def parameters(self) -> Arrays:
        """A copy of the weights by name; the next step changes the net's own weights in place."""
        return {name: w.detach().numpy().copy() for name, w in self.net.named_parameters()}

    # Rung 6.

    def first_parameters(self, settings: Settings, seed: int) -> Arrays:
        """First weights, drawn from the distributions of the chapter."""
        rng = torch.Generator().manual_seed(seed)
        shapes = initial.shapes(self.model, settings)
        drawn = {}
        for name, (law, scale) in initial.laws(self.model, settings).items():
            weights = torch.zeros(shapes[name])
            if law == "normal":
                weights.normal_(0, scale, generator=rng)
            elif law == "uniform":
                weights.uniform_(-scale, scale, generator=rng)
            drawn[name] = weights.numpy()
        return drawn

    def learner(self) -> "Learner":
        """A new port for training, with its own net."""
        return Learner(self.model, self.protocol)

    def train(
        self, given: Mapping[str, np.ndarray], settings: Settings, seed: int
    ) -> Dict[str, Dict[str, float]]:
        """Train a new net; returns its metrics by protocol and name."""
        # Dropout draws from PyTorch's global random generator. Restore its state after training.
        with torch.random.fork_rng(devices=[]):
            return super().train(given, settings, seed)


class Learner(Port):
    """A port with dropout, for the loop in ``d2l_recsys.baseline.oracle.training.train``."""

    def start(self, settings: Settings, seed: int) -> None:
        """Draw first weights, and seed PyTorch's global generator, which dropout uses."""
        self.set_state(settings, self.first_parameters(settings, seed))
        torch.manual_seed(seed)

    def train_step(self, batch: Arrays) -> Arrays:
        """One step with dropout; returns the losses (n,), for pairs their sum (1,).

        For FM and DeepFM it also returns ``log_odds``, the logits.
        """
        self.net.train()
        measured = self.learn(as_tensors(batch))
        losses = measured["losses"].numpy()
        if self.model in RANKING:
            return {"losses": losses.sum(keepdims=True)}
        if self.model in CLICKS:
            return {"losses": losses, "log_odds": measured["outputs"].numpy()}
        return {"losses": losses}

    @torch.no_grad()
    def forward(self, batch: Arrays) -> np.ndarray:
        """The outputs of the net without dropout; for FM and DeepFM logits."""
        self.net.eval()
        return self.outputs(as_tensors(batch)).numpy()

    @torch.no_grad()
    def score_all(self, users: np.ndarray, sequences: Optional[np.ndarray]) -> np.ndarray:
        """The scores of all items for each of ``users``.

        ``sequences`` has the last items of every user; only Caser reads it.
        """
        self.net.eval()
        read = [users] if sequences is None else [users, sequences[users]]
        return self.net.score_all(*map(torch.from_numpy, read)).numpy()
