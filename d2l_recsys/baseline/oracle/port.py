"""The oracle as a port: losses, gradients, optimizer step, and training."""

import contextlib
from typing import Any, Callable, Iterator, Mapping, Optional, Tuple

import numpy as np

from d2l_recsys.baseline.oracle import initial
from d2l_recsys.baseline.oracle.groundwork import Groundwork
from d2l_recsys.baseline.oracle.models import MODELS, Outputs, keep, sigmoid, with_sigmoid
from d2l_recsys.baseline.oracle.training import as_type
from d2l_recsys.baseline.port import Arrays


class Port(Groundwork):
    """The chapter in numpy and float64, with the methods of ``d2l_recsys.baseline.port.Port``."""

    beta1, beta2, epsilon = 0.9, 0.999, 1e-8

    # No dropout, except in the training steps of a ``Learner``.
    drop: Callable = staticmethod(keep)

    # Rung 2.

    def set_state(
        self,
        settings: Mapping[str, Any],
        parameters: Arrays,
        means: Optional[Arrays] = None,
        variances: Optional[Arrays] = None,
        steps: int = 0,
    ) -> None:
        """Set the settings, the weights, and Adam's means, variances and number of steps.

        Means and variances that are not given are 0.
        """
        self.settings, self.steps = settings, steps
        self.p = as_type(self.dtype, parameters)
        zeros = {name: np.zeros_like(array) for name, array in self.p.items()}
        self.means = as_type(self.dtype, means or zeros)
        self.variances = as_type(self.dtype, variances or zeros)

    def net(self, batch: Arrays) -> Outputs:
        """The outputs of the net and their ``pull`` (``oracle.models``); logits for clicks."""
        return self.head(MODELS[self.model](self.p, batch, self.drop))

    def head(self, outputs: Outputs) -> Outputs:
        """``outputs``, or their sigmoid if the setting ``head`` says so (NeuMF only)."""
        return with_sigmoid(outputs) if self.settings.get("head") == "sigmoid" else outputs

    def forward(self, batch: Arrays) -> np.ndarray:
        """Rung 2: the outputs for a batch, (n,); AutoRec's completed rows, (n, num_users).

        FM and DeepFM return sigmoid(z), a probability, if printed, and the logits z if defined.
        """
        outputs, _ = self.net(batch)
        printed_clicks = self.protocol == "printed" and self.model in ("fm", "deepfm")
        return sigmoid(outputs) if printed_clicks else outputs

    # Rung 7.

    def training_outputs(self, batch: Arrays, seed: int) -> np.ndarray:
        """Rung 7: the outputs as on rung 2, but with dropout; each example has its own mask."""
        self.rng = np.random.default_rng(seed)
        with self.dropping(self.dropout):
            return self.forward(batch)

    @contextlib.contextmanager
    def dropping(self, drop: Callable) -> Iterator[None]:
        """Within the ``with`` block, ``drop`` is the function that gives the factors of units."""
        own, self.drop = self.drop, drop
        try:
            yield
        finally:
            self.drop = own

    @property
    def share(self) -> float:
        """The share of the units that dropout drops."""
        return self.settings.get("dropout", 0)

    def dropout(self, units: np.ndarray) -> np.ndarray:
        """The factor of each of ``units`` in training: 0, or 1 / (1 - share) if it is kept."""
        return self.kept(units.shape) / (1 - self.share)

    def kept(self, shape: Tuple[int, ...]) -> np.ndarray:
        """Which units dropout keeps, drawn at random: a Boolean array of the given ``shape``."""
        return self.rng.uniform(size=shape) >= self.share

    # Rung 3.

    def losses(self, batch: Arrays) -> Outputs:
        """The loss of each example, (n,), and a function that returns the gradients of their sum.

        Weight decay is not included: ``update`` adds it.
        """
        if self.model == "mf":
            return self.l2_loss(self.net(batch), batch["rating"])
        if self.model == "autorec":
            return self.l2_loss(self.net(batch), batch["ratings"])
        if self.model in ("neumf", "caser"):
            return self.ranking_loss(batch)
        return self.click_loss(self.net(batch), batch["label"])

    def l2_loss(self, outputs: Outputs, ratings: np.ndarray) -> Outputs:
        """Half the squared error: (r_hat - r)^2 / 2 for each rating r of MF.

        The loss of a row of AutoRec is the sum of (h_u - r_u)^2 / 2 over its observed cells u,
        divided by the number of all cells of the row. The derivative of the loss is r_hat - r for
        MF. For AutoRec it is (h_u - r_u) / (row length) in observed cells and 0 in other cells.
        """
        predicted, pull = outputs
        if ratings.ndim == 1:
            error = predicted - ratings
            return error**2 / 2, lambda: pull(error)
        error = self.mask(predicted, ratings) - ratings
        row_length = ratings.shape[1]
        return (error**2 / 2).mean(axis=1), lambda: pull(self.mask(error, ratings) / row_length)

    @staticmethod
    def mask(rows: np.ndarray, ratings: np.ndarray) -> np.ndarray:
        """Set the unobserved cells of ``rows`` to 0, so that AutoRec learns only from ratings."""
        return rows * (ratings > 0)

    def ranking_loss(self, batch: Arrays) -> Outputs:
        """The loss of pairs of a positive item ``item_id`` and a negative item ``negative_id``.

        It is BPR, or the hinge loss if the setting ``loss`` is ``hinge``. Gradients flow through
        both scores.
        """
        positive, pull_positive = self.net(batch)
        negative, pull_negative = self.net({**batch, "item_id": batch["negative_id"]})
        losses, d = self.pair_loss(negative - positive)

        def pull() -> Arrays:
            of_positive, of_negative = pull_positive(-d), pull_negative(d)
            return {name: of_positive[name] + of_negative[name] for name in of_positive}

        return losses, pull

    def pair_loss(self, lag: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
        """``hinge`` if the setting ``loss`` says so, else ``bpr``."""
        return self.hinge(lag) if self.settings.get("loss") == "hinge" else self.bpr(lag)

    @staticmethod
    def bpr(lag: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
        """BPR (eq. 15.5.2): -ln sigmoid(-lag) = ln(1 + exp(lag)), and its derivative sigmoid(lag).

        ``lag`` is (negative score) - (positive score), (n,).
        """
        return np.logaddexp(0, lag), sigmoid(lag)

    @staticmethod
    def hinge(lag: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
        """The hinge loss (eq. 15.5.3): max(1 + lag, 0), and its derivative, 1 where it is not 0."""
        return np.maximum(1 + lag, 0), (1 + lag > 0).astype(lag.dtype)

    def click_loss(self, outputs: Outputs, labels: np.ndarray) -> Outputs:
        """Cross-entropy -y ln sigmoid(x) - (1 - y) ln(1 - sigmoid(x)) of the labels y.

        Defined: x = z, the logits. Printed: x = sigmoid(z), so two sigmoids are applied. The code
        computes the same loss as ln(1 + exp(x)) - x y. The derivative of the loss with respect to
        z is sigmoid(x) - y if defined, and (sigmoid(x) - y) x (1 - x) if printed.
        """
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
        """Rung 3: the loss, summed over the examples of a batch."""
        return float(self.losses(batch)[0].sum())

    def gradients(self, batch: Arrays) -> Arrays:
        """Rung 3: the gradients of the summed loss by parameter name, without weight decay."""
        return self.losses(batch)[1]()

    # Rungs 4 and 5.

    def step(self, batch: Arrays) -> None:
        """Rungs 4 and 5: one step of Adam on a batch, without dropout."""
        losses, pull = self.losses(batch)
        self.update(pull(), len(losses))

    def update(self, gradients: Arrays, num_examples: int) -> None:
        """One step of Adam as in MXNet, for every parameter w and all rows of tables.

        ``gradients`` are summed over the ``num_examples`` examples of the batch, n. wd is 0 for FM
        and DeepFM. t counts the steps from 1:

            g = gradients / n + wd w
            m = beta1 m + (1 - beta1) g
            v = beta2 v + (1 - beta2) g^2
            w = w - lr sqrt(1 - beta2^t) / (1 - beta1^t) m / (sqrt(v) + epsilon)

        Epsilon is added to sqrt(v) before the bias of v is corrected. (PyTorch adds it after the
        correction.)
        """
        self.steps += 1
        correction = np.sqrt(1 - self.beta2**self.steps) / (1 - self.beta1**self.steps)
        for name, w in self.p.items():
            g = gradients[name] / num_examples + self.settings.get("wd", 0) * w
            m = self.means[name] = self.beta1 * self.means[name] + (1 - self.beta1) * g
            v = self.variances[name] = self.beta2 * self.variances[name] + (1 - self.beta2) * g**2
            moved = self.settings["lr"] * correction * m / (np.sqrt(v) + self.epsilon)
            self.p[name] = (w - moved).astype(self.dtype)

    def parameters(self) -> Arrays:
        """Rungs 4 and 5: the current weights by name."""
        return dict(self.p)

    # Rung 6.

    def first_parameters(self, settings: Mapping[str, Any], seed: int) -> Arrays:
        """Rung 6: first weights by name (``oracle.initial``)."""
        return initial.draw(self.model, settings, np.random.default_rng(seed))

    def learner(self) -> "Learner":
        """A new, untrained learner for ``train``."""
        return Learner(self.model, self.protocol)


class Learner(Port):
    """The oracle in training: with dropout, and with the values that the metrics need.

    It has the methods of ``oracle.training.Learner``.
    """

    def start(self, settings: Mapping[str, Any], seed: int) -> None:
        """Draw the first weights; ``seed`` determines these and the dropout."""
        self.rng = np.random.default_rng(seed)
        self.set_state(settings, initial.draw(self.model, settings, self.rng))

    def train_step(self, batch: Arrays) -> Arrays:
        """One step of Adam on a batch, with dropout; returns values measured before the step.

        ``losses`` has the loss of each example, (n,), or for NeuMF and Caser their sum, (1,).
        ``log_odds``, for FM and DeepFM, has the logits, (n,).
        """
        with self.dropping(self.dropout):
            losses, pull = self.losses(batch)
        self.update(pull(), len(losses))
        if self.model in ("neumf", "caser"):
            return {"losses": losses.sum(keepdims=True)}
        measured = {"losses": losses}
        if self.model in ("fm", "deepfm"):
            measured["log_odds"] = self.log_odds
        return measured

    def forward(self, batch: Arrays) -> np.ndarray:
        """The outputs of the net; logits for FM and DeepFM under both protocols."""
        return self.net(batch)[0]

    def score_all(self, users: np.ndarray, sequences: Optional[np.ndarray]) -> np.ndarray:
        """The scores of all items for each of ``users``, (len(users), num_items).

        ``sequences`` has the last L items of every user for Caser, and is None for NeuMF.
        """
        items = np.arange(self.settings["num_items"])
        rows = []
        for user in users:
            batch = {"user_id": np.full(len(items), user), "item_id": items}
            if sequences is not None:
                batch["seq"] = np.repeat(sequences[user : user + 1], len(items), axis=0)
            rows.append(self.forward(batch))
        return np.stack(rows)
