"""The training loss of an epoch, printed and defined, and the accuracy on clicks; no MXNet."""

from typing import List, Sequence

import numpy as np

from d2l_recsys.evaluation.click_metrics import (
    as_log_odds,
    log_loss,
    right,
    right_as_printed,
    right_if_exact,
)
from d2l_recsys.settings import Scores


class TrainLoss:
    """The training loss of one epoch, added up over its batches.

    A rating loss gives one value per example. A ranking loss gives one value per device: the sum
    over the examples of its share.

    Defined: the mean loss per example. Printed: the chapter takes the mean of the loss values of
    each batch and keeps a running sum of these means. After each batch it adds the whole running
    sum to its metric. At the end it divides the metric by the number of examples. The chapter's
    curve shows the average of the means over the batches. The chapter's loops use an
    ``Accumulator``.
    """

    def __init__(self) -> None:
        self.batches = self.examples = 0
        self._sum_of_means = self._sum_of_sums = self._sum_over_examples = 0.0

    def add(self, values: Sequence[np.ndarray], examples: int) -> None:
        """Add the next batch: the loss values of each device, and the number of examples."""
        total = sum(float(value.sum(dtype=np.float64)) for value in values)
        self.batches += 1
        self.examples += examples
        self._sum_of_means += total / sum(value.size for value in values)
        self._sum_of_sums += self._sum_of_means
        self._sum_over_examples += total

    @property
    def state(self) -> List[float]:
        """The running totals; assign saved totals to continue an epoch."""
        return [
            self.batches,
            self.examples,
            self._sum_of_means,
            self._sum_of_sums,
            self._sum_over_examples,
        ]

    @state.setter
    def state(self, state: Sequence[float]) -> None:
        self.batches, self.examples, *sums = state
        self._sum_of_means, self._sum_of_sums, self._sum_over_examples = sums

    @property
    def printed(self) -> float:
        """The sum of the running sums of batch means, divided by the number of examples."""
        return self._sum_of_sums / self.examples

    @property
    def defined(self) -> float:
        """The mean loss per example."""
        return self._sum_over_examples / self.examples

    @property
    def scores(self) -> Scores:
        """``train_loss``, printed and defined."""
        return Scores({"train_loss": self.printed}, {"train_loss": self.defined})

    @property
    def curve(self) -> float:
        """The average over batches of the mean loss value of a batch."""
        return self._sum_of_means / self.batches


class MeanOfBatches(TrainLoss):
    """The training loss of one epoch. Printed: the mean over the batches of the mean of a batch.

    It differs from the defined loss only if the batches have different sizes.
    """

    @property
    def printed(self) -> float:
        """The mean over the batches."""
        return self.curve


class TrainClicks:
    """Loss and accuracy of one epoch of training on clicks, added up over its batches.

    Printed: the mean of the loss that training minimizes, and both printed accuracies of
    ``click_scores``. Defined: the mean log loss, and the accuracy with the threshold 1/2. As in the
    chapter, each batch is measured with the weights at that time.
    """

    def __init__(self) -> None:
        self.examples = 0
        self._sums = np.zeros(5)

    def add(self, values: Sequence[Sequence[np.ndarray]], examples: int) -> None:
        """Add the next batch: for each device the losses, scores, log odds (optional) and labels.

        Each array has shape (n,) or (n, 1).
        """
        for share in values:
            losses, scores, *log_odds, labels = (np.ravel(part) for part in share)
            z = as_log_odds(scores, *(log_odds or [None]))
            parts = (
                losses,
                right_as_printed(labels, scores),
                right_if_exact(labels, scores),
                log_loss(labels, z),
                right(labels, z),
            )
            self._sums += [part.sum(dtype=np.float64) for part in parts]
        self.examples += examples

    @property
    def state(self) -> List[float]:
        """The running totals, as in ``TrainLoss``."""
        return [self.examples, *self._sums.tolist()]

    @state.setter
    def state(self, state: Sequence[float]) -> None:
        self.examples, *sums = state
        if len(sums) != len(self._sums):
            raise ValueError(f"there are {len(sums)} sums, not {len(self._sums)}")
        self._sums = np.array(sums)

    @property
    def scores(self) -> Scores:
        """``train_loss`` and ``train_acc``; printed also has ``train_acc_exact``."""
        loss, acc, exact, defined_loss, defined_acc = (self._sums / self.examples).tolist()
        return Scores(
            {"train_loss": loss, "train_acc": acc, "train_acc_exact": exact},
            {"train_loss": defined_loss, "train_acc": defined_acc},
        )

    @property
    def curve(self) -> float:
        """The training loss that the chapter draws, which is the one that it prints."""
        return self.scores.printed["train_loss"]
