"""The oracle as a port: it climbs the ladder like any other."""

from typing import Any, Callable, Mapping, Optional, Tuple

import numpy as np

from d2l_recsys.baseline.oracle import initial
from d2l_recsys.baseline.oracle.groundwork import Groundwork
from d2l_recsys.baseline.oracle.models import MODELS, Outputs, keep, sigmoid
from d2l_recsys.baseline.oracle.training import as_type
from d2l_recsys.baseline.port import Arrays


class Port(Groundwork):
    """The chapter in numpy and float64, as ``d2l_recsys.baseline.port`` asks for it."""

    beta1, beta2, epsilon = 0.9, 0.999, 1e-8

    # Units are dropped in training alone.
    drop: Callable = staticmethod(keep)

    # Rungs 2 and 3.

    def set_state(
        self,
        settings: Mapping[str, Any],
        parameters: Arrays,
        means: Optional[Arrays] = None,
        variances: Optional[Arrays] = None,
        steps: int = 0,
    ) -> None:
        """As in ``Port``."""
        self.settings, self.steps = settings, steps
        self.p = as_type(self.dtype, parameters)
        zeros = {name: np.zeros_like(array) for name, array in self.p.items()}
        self.means = as_type(self.dtype, means or zeros)
        self.variances = as_type(self.dtype, variances or zeros)

    def net(self, batch: Arrays) -> Outputs:
        """Outputs, and the way back from their derivatives to the gradients."""
        return MODELS[self.model](self.p, batch, self.drop)

    def forward(self, batch: Arrays) -> np.ndarray:
        """As in ``Port``: of FM and DeepFM probabilities as printed, log odds as defined."""
        outputs, _ = self.net(batch)
        printed_clicks = self.protocol == "printed" and self.model in ("fm", "deepfm")
        return sigmoid(outputs) if printed_clicks else outputs

    def losses(self, batch: Arrays) -> Outputs:
        """The loss of each example, and the gradients of their sum."""
        if self.model == "mf":
            return self.l2_loss(self.net(batch), batch["rating"])
        if self.model == "autorec":
            return self.l2_loss(self.net(batch), batch["ratings"])
        if self.model in ("neumf", "caser"):
            return self.bpr_loss(batch)
        return self.click_loss(self.net(batch), batch["label"])

    def l2_loss(self, outputs: Outputs, ratings: np.ndarray) -> Outputs:
        """Half the squared error; over AutoRec's rows its mean, all cells counted."""
        predicted, pull = outputs
        if ratings.ndim == 1:
            error = predicted - ratings
            return error**2 / 2, lambda: pull(error)
        error = self.mask(predicted, ratings) - ratings
        row_length = ratings.shape[1]
        return (error**2 / 2).mean(axis=1), lambda: pull(self.mask(error, ratings) / row_length)

    @staticmethod
    def mask(rows: np.ndarray, ratings: np.ndarray) -> np.ndarray:
        """AutoRec learns from what was observed alone."""
        return rows * (ratings > 0)

    def bpr_loss(self, batch: Arrays) -> Outputs:
        """-ln sigmoid(positive - negative), eq. 15.5.2."""
        positive, pull_positive = self.net(batch)
        negative, pull_negative = self.net({**batch, "item_id": batch["negative_id"]})
        losses, d = self.pair_loss(negative - positive)

        def pull() -> Arrays:
            of_positive, of_negative = pull_positive(-d), pull_negative(d)
            return {name: of_positive[name] + of_negative[name] for name in of_positive}

        return losses, pull

    @staticmethod
    def pair_loss(lag: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
        """The loss where the positive item scores lower by ``lag``, and its slope."""
        return np.logaddexp(0, lag), sigmoid(lag)

    def click_loss(self, outputs: Outputs, labels: np.ndarray) -> Outputs:
        """Cross-entropy of a sigmoid: defined, of the log odds; printed, of their own sigmoid."""
        log_odds, pull = outputs
        self.log_odds = log_odds
        if self.protocol == "defined":
            x, slope = log_odds, np.ones_like(log_odds)
        else:
            x = sigmoid(log_odds)
            slope = x * (1 - x)
        losses = np.logaddexp(0, x) - x * labels
        return losses, lambda: pull((sigmoid(x) - labels) * slope)

    def loss(self, batch: Arrays) -> float:
        """As in ``Port``."""
        return float(self.losses(batch)[0].sum())

    def gradients(self, batch: Arrays) -> Arrays:
        """As in ``Port``."""
        return self.losses(batch)[1]()

    # Rungs 4 and 5.

    def step(self, batch: Arrays) -> None:
        """As in ``Port``."""
        losses, pull = self.losses(batch)
        self.update(pull(), len(losses))

    def update(self, gradients: Arrays, num_examples: int) -> None:
        """MXNet's Adam: epsilon is added to the square root before its bias is corrected."""
        self.steps += 1
        correction = np.sqrt(1 - self.beta2**self.steps) / (1 - self.beta1**self.steps)
        for name, w in self.p.items():
            g = gradients[name] / num_examples + self.settings.get("wd", 0) * w
            m = self.means[name] = self.beta1 * self.means[name] + (1 - self.beta1) * g
            v = self.variances[name] = self.beta2 * self.variances[name] + (1 - self.beta2) * g**2
            moved = self.settings["lr"] * correction * m / (np.sqrt(v) + self.epsilon)
            self.p[name] = (w - moved).astype(self.dtype)

    def parameters(self) -> Arrays:
        """As in ``Port``."""
        return dict(self.p)

    # Rung 6.

    def first_parameters(self, settings: Mapping[str, Any], seed: int) -> Arrays:
        """As in ``Port``."""
        return initial.draw(self.model, settings, np.random.default_rng(seed))

    def learner(self) -> "Learner":
        """As in ``Groundwork``."""
        return Learner(self.model, self.protocol)


class Learner(Port):
    """The same with dropout, and the outputs that are measured while training."""

    def start(self, settings: Mapping[str, Any], seed: int) -> None:
        """As in ``training.Learner``."""
        self.rng = np.random.default_rng(seed)
        self.set_state(settings, initial.draw(self.model, settings, self.rng))

    def _drop(self, units: np.ndarray) -> np.ndarray:
        share = self.settings.get("dropout", 0)
        return (self.rng.uniform(size=units.shape) >= share) / (1 - share)

    def train_step(self, batch: Arrays) -> Arrays:
        """As in ``training.Learner``."""
        self.drop = self._drop
        losses, pull = self.losses(batch)
        self.drop = keep
        self.update(pull(), len(losses))
        if self.model in ("neumf", "caser"):
            return {"losses": losses.sum(keepdims=True)}
        measured = {"losses": losses}
        if self.model in ("fm", "deepfm"):
            measured["log_odds"] = self.log_odds
        return measured

    def forward(self, batch: Arrays) -> np.ndarray:
        """The net's outputs; of clicks the log odds."""
        return self.net(batch)[0]

    def score_all(self, users: np.ndarray, sequences: Optional[np.ndarray]) -> np.ndarray:
        """User by user."""
        items = np.arange(self.settings["num_items"])
        rows = []
        for user in users:
            batch = {"user_id": np.full(len(items), user), "item_id": items}
            if sequences is not None:
                batch["seq"] = np.repeat(sequences[user : user + 1], len(items), axis=0)
            rows.append(self.forward(batch))
        return np.stack(rows)
