"""The training loss of an epoch, printed and defined, and what is measured beside it; no MXNet."""

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
    """The training loss of one epoch, from the losses of each of its batches.

    A loss gives one value per example (the rating losses) or one per device, summed over its share
    of the examples (the ranking losses). Defined: the mean loss per example. Printed: the chapter
    averages the values of a batch, whichever they are, sums these means so far, adds that running
    sum to its metric again at each batch, and divides by the number of examples. Its curve shows
    the average over batches.
    """

    def __init__(self) -> None:
        self.batches = self.examples = 0
        self._sum_of_means = self._sum_of_sums = self._sum_over_examples = 0.0

    def add(self, values: Sequence[np.ndarray], examples: int) -> None:
        """Take in the next batch: the loss values of each device, and its number of examples."""
        total = sum(float(value.sum(dtype=np.float64)) for value in values)
        self.batches += 1
        self.examples += examples
        self._sum_of_means += total / sum(value.size for value in values)
        self._sum_of_sums += self._sum_of_means
        self._sum_over_examples += total

    @property
    def state(self) -> List[float]:
        """All that the batches so far amount to; assigned, those that follow are added to it."""
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
        """Running sums of the batches' means, summed, over the examples."""
        return self._sum_of_sums / self.examples

    @property
    def defined(self) -> float:
        """Mean loss per example."""
        return self._sum_over_examples / self.examples

    @property
    def scores(self) -> Scores:
        """``train_loss``."""
        return Scores({"train_loss": self.printed}, {"train_loss": self.defined})

    @property
    def curve(self) -> float:
        """Average over the batches of the mean of their values."""
        return self._sum_of_means / self.batches


class TrainClicks:
    """Loss and accuracy of one epoch of training on clicks, from each of its batches.

    Printed: the mean of the loss that was minimised, and both printed accuracies, as in
    ``click_scores``. Defined: mean log loss, and accuracy with the threshold 1/2. All are of the
    net as it was at each batch, as the chapter has them.
    """

    def __init__(self) -> None:
        self.examples = 0
        self._sums = np.zeros(5)

    def add(self, values: Sequence[Sequence[np.ndarray]], examples: int) -> None:
        """Take in the next batch: of each device the losses, scores, log odds if any, and labels.

        Each is of shape (n,) or (n, 1).
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
        """As in ``TrainLoss``."""
        return [self.examples, *self._sums.tolist()]

    @state.setter
    def state(self, state: Sequence[float]) -> None:
        self.examples, *sums = state
        if len(sums) != len(self._sums):
            raise ValueError(f"{len(sums)} sums where {len(self._sums)} belong")
        self._sums = np.array(sums)

    @property
    def scores(self) -> Scores:
        """``train_loss``, ``train_acc``, and printed ``train_acc_exact``."""
        loss, acc, exact, defined_loss, defined_acc = (self._sums / self.examples).tolist()
        return Scores(
            {"train_loss": loss, "train_acc": acc, "train_acc_exact": exact},
            {"train_loss": defined_loss, "train_acc": defined_acc},
        )

    @property
    def curve(self) -> float:
        """The training loss as the chapter draws it: the one it prints."""
        return self.scores.printed["train_loss"]
