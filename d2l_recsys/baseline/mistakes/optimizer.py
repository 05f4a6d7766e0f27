"""Mistakes of rungs 4 and 5: one step of the optimizer, and many steps."""

import contextlib
from typing import Any, Iterator, Optional

import numpy as np

from d2l_recsys.baseline.ladder import MODELS
from d2l_recsys.baseline.mistakes.mistake import TABLES, WITH_DECAY, WITH_TABLES, Mistaken, Mistakes
from d2l_recsys.baseline.oracle import Port
from d2l_recsys.baseline.oracle.models import Outputs
from d2l_recsys.baseline.port import Arrays

MADE = Mistakes()

# Rung 4


@contextlib.contextmanager
def _settings(port: Port, **settings: float) -> Iterator[None]:
    """While this context is active, the port has ``settings`` in place of its own."""
    own, port.settings = port.settings, {**port.settings, **settings}
    try:
        yield
    finally:
        port.settings = own


@MADE.add(4, WITH_DECAY, method="update")
def decoupled_weight_decay(port: Port, gradients: Arrays, num_examples: int) -> None:
    """Weight decay must be added to the gradient.

    The port subtracts it from the weights (AdamW).
    """
    before = port.p
    port.p = dict(before)
    with _settings(port, wd=0):
        port.update(gradients, num_examples)
    for name, w in before.items():
        port.p[name] = port.p[name] - port.settings["lr"] * port.settings["wd"] * w


@MADE.add(4, WITH_DECAY, method="update")
def no_weight_decay(port: Port, gradients: Arrays, num_examples: int) -> None:
    """The weight decay wd w must be added to the gradient. The port has no weight decay."""
    with _settings(port, wd=0):
        port.update(gradients, num_examples)


@MADE.add(4, WITH_DECAY, method="update")
def weight_decay_twice_as_strong(port: Port, gradients: Arrays, num_examples: int) -> None:
    """The term wd w must be added to the gradient.

    The port adds 2 wd w, the gradient of wd |w|^2.
    """
    with _settings(port, wd=2 * port.settings["wd"]):
        port.update(gradients, num_examples)


@MADE.add(4, WITH_DECAY, method="update")
def weight_decay_divided_by_n(port: Port, gradients: Arrays, num_examples: int) -> None:
    """The gradient must be divided by the batch size before wd w is added.

    The port divides after the addition.
    """
    with _settings(port, wd=port.settings["wd"] / num_examples):
        port.update(gradients, num_examples)


@MADE.add(4, WITH_DECAY, method="update")
def biases_not_decayed(port: Port, gradients: Arrays, num_examples: int) -> None:
    """Weight decay must apply to all parameters, biases included.

    The port does not decay the biases.
    """
    wd = port.settings["wd"]
    without = {
        name: g - num_examples * wd * port.p[name] if "bias" in name else g
        for name, g in gradients.items()
    }
    port.update(without, num_examples)


@MADE.add(4, MODELS)
class EpsilonTooLarge(Mistaken):
    """Adam's epsilon must be 1e-8. The port uses 1e-7."""

    epsilon = 1e-7


@MADE.add(4, MODELS, method="update")
def epsilon_after_bias_correction(port: Port, gradients: Arrays, num_examples: int) -> None:
    """Epsilon must be added to sqrt(v) before the bias of v is corrected.

    The port adds epsilon after the correction (PyTorch).
    """
    own = port.epsilon
    port.epsilon = own * np.sqrt(1 - port.beta2 ** (port.steps + 1))
    port.update(gradients, num_examples)
    port.epsilon = own


@MADE.add(4, MODELS, method="update")
def epsilon_inside_the_root(port: Port, gradients: Arrays, num_examples: int) -> None:
    """Epsilon must be added to the square root of v.

    The port adds epsilon to v, inside the square root.
    """
    before, lr = port.p, port.settings["lr"]
    port.p = dict(before)
    port.update(gradients, num_examples)
    correction = np.sqrt(1 - port.beta2**port.steps) / (1 - port.beta1**port.steps)
    for name, w in before.items():
        way = port.means[name] / np.sqrt(port.variances[name] + port.epsilon)
        port.p[name] = w - lr * correction * way


@MADE.add(4, MODELS, method="update")
def gradients_not_divided(port: Port, gradients: Arrays, num_examples: int) -> None:
    """The step must divide the gradients by the batch size.

    The port does not divide the gradients.
    """
    port.update(gradients, 1)


@MADE.add(4, MODELS, method="update")
def gradients_divided_twice(port: Port, gradients: Arrays, num_examples: int) -> None:
    """The step must divide the gradients by the batch size once.

    The port divides the gradients twice.
    """
    port.update(gradients, num_examples**2)


@MADE.add(4, MODELS, method="update")
def no_bias_correction(port: Port, gradients: Arrays, num_examples: int) -> None:
    """Adam must correct the bias of its means and variances. The port does not correct the bias."""
    steps = port.steps + 1
    correction = np.sqrt(1 - port.beta2**steps) / (1 - port.beta1**steps)
    with _settings(port, lr=port.settings["lr"] / correction):
        port.update(gradients, num_examples)


@MADE.add(4, MODELS, method="update")
def learning_rate_a_tenth_off(port: Port, gradients: Arrays, num_examples: int) -> None:
    """The learning rate must be the given one. The port uses 1.1 times the given learning rate."""
    with _settings(port, lr=1.1 * port.settings["lr"]):
        port.update(gradients, num_examples)


@MADE.add(4, MODELS)
class SecondBetaTooSmall(Mistaken):
    """Adam's betas must be 0.9 and 0.999. The port uses 0.9 and 0.99."""

    beta2 = 0.99


@MADE.add(4, WITH_TABLES)
class OtherRowsLeftAlone(Mistaken):
    """Each step must update all rows of a table.

    The port updates only the rows of the batch (lazy Adam).
    """

    def losses(self, batch: Arrays) -> Outputs:
        self.batch = batch
        return super().losses(batch)

    def update(self, gradients: Arrays, num_examples: int) -> None:
        before = [dict(arrays) for arrays in (self.p, self.means, self.variances)]
        super().update(gradients, num_examples)
        for table, ids in TABLES[self.model].items():
            name, others = f"{table}.weight", np.ones(len(self.p[f"{table}.weight"]), dtype=bool)
            others[self.batch[ids].ravel()] = False
            if ids == "item_id" and "negative_id" in self.batch:
                others[self.batch["negative_id"]] = False
            for arrays, old in zip((self.p, self.means, self.variances), before):
                arrays[name] = np.where(others[:, None], old[name], arrays[name])


@MADE.add(4, MODELS, method="update")
def plain_gradient_descent(port: Port, gradients: Arrays, num_examples: int) -> None:
    """Each step must be a step of Adam. The port makes a step of plain gradient descent."""
    wd = port.settings.get("wd", 0)
    for name, w in port.p.items():
        port.p[name] = w - port.settings["lr"] * (gradients[name] / num_examples + wd * w)


@MADE.add(4, MODELS)
class StepCounterOneAhead(Mistaken):
    """The bias correction of the first step must use the step number 1. The port uses 2."""

    def set_state(self, *state: Any) -> None:
        super().set_state(*state)
        self.steps += 1


@MADE.add(4, MODELS)
class MomentsNotRestored(Mistaken):
    """Training must continue from the given means and variances.

    The port starts with means and variances of 0.
    """

    def set_state(self, *state: Any) -> None:
        super().set_state(*state)
        for moments in (self.means, self.variances):
            moments.update({name: np.zeros_like(array) for name, array in moments.items()})


# Rung 5


@MADE.add(5, MODELS, method="update")
def step_counter_stuck(port: Port, gradients: Arrays, num_examples: int) -> None:
    """The step number in the bias correction must grow by 1 at each step.

    The port never increases the step number.
    """
    port.update(gradients, num_examples)
    port.steps -= 1


@MADE.add(5, MODELS, method="update")
def moments_reset_at_each_step(port: Port, gradients: Arrays, num_examples: int) -> None:
    """Adam must keep its means and variances from step to step.

    The port resets both to 0 after each step.
    """
    port.update(gradients, num_examples)
    for arrays in (port.means, port.variances):
        arrays.update({name: np.zeros_like(array) for name, array in arrays.items()})


@MADE.add(5, MODELS)
class FirstBatchAgainAndAgain(Mistaken):
    """Each step must use the next batch. The port uses the first batch at every step."""

    def set_state(self, *state: Any, **more: Any) -> None:
        self.first: Optional[Arrays] = None
        super().set_state(*state, **more)

    def losses(self, batch: Arrays) -> Outputs:
        self.first = self.first or batch
        return super().losses(self.first)


@MADE.add(5, MODELS)
class GradientsAddUp(Mistaken):
    """Each step must use only the gradients of its own batch.

    The port adds the gradients of all batches before it.
    """

    def set_state(self, *state: Any, **more: Any) -> None:
        self.sums: Arrays = {}
        super().set_state(*state, **more)

    def update(self, gradients: Arrays, num_examples: int) -> None:
        self.sums = {name: g + self.sums.get(name, 0) for name, g in gradients.items()}
        super().update(self.sums, num_examples)


@MADE.add(5, MODELS)
class LearningRateFalls(Mistaken):
    """The learning rate must stay constant.

    The port lowers the learning rate by 1% after each step.
    """

    def set_state(self, *state: Any, **more: Any) -> None:
        self.factor = 1.0
        super().set_state(*state, **more)

    def update(self, gradients: Arrays, num_examples: int) -> None:
        with _settings(self, lr=self.factor * self.settings["lr"]):
            super().update(gradients, num_examples)
        self.factor *= 0.99
