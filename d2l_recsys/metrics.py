"""Metrics as numpy functions of labels and predictions; no MXNet."""

from typing import Dict, NamedTuple, Sequence, Tuple

import numpy as np

from d2l_recsys.errors import DataError

__all__ = ["Scores", "TrainLoss", "rating_scores", "rmse"]


class Scores(NamedTuple):
    """One evaluation's numbers by name: as the chapter's code computes them, and as defined."""

    printed: Dict[str, float]
    defined: Dict[str, float]


def rmse(labels: np.ndarray, predictions: np.ndarray) -> float:
    r"""Root mean squared error over a test set (eq. 15.3.4), accumulated in float64.

    .. math:: \sqrt{\frac{1}{|T|} \sum_{(u, i) \in T} (r_{ui} - \hat r_{ui})^2}

    ``labels`` and ``predictions`` have the same shape, in units of the rating.
    """
    errors = np.subtract(labels, predictions, dtype=np.float64)
    return float(np.sqrt(np.mean(np.square(errors))))


def rating_scores(batches: Sequence[Sequence[Tuple[np.ndarray, np.ndarray]]]) -> Scores:
    """``test_rmse`` of a test set, given per batch the (labels, predictions) of each device.

    Defined: one RMSE over all ratings. Printed: the chapter updates MXNet's RMSE metric, a running
    mean of the RMSE of each device's share, and averages the metric's value after each batch, so
    early batches count more than late ones, and a short batch as much as a full one.

    Raises DataError where there is no batch.
    """
    if not batches:
        raise DataError("there are no test ratings; hold some out (test_ratio) or add ratings")
    running, after_each_batch, shares = 0.0, [], 0
    for batch in batches:
        running += sum(rmse(labels, predictions) for labels, predictions in batch)
        shares += len(batch)
        after_each_batch.append(running / shares)
    everything = [np.concatenate(part) for part in zip(*(share for b in batches for share in b))]
    return Scores(
        printed={"test_rmse": float(np.mean(after_each_batch))},
        defined={"test_rmse": rmse(*everything)},
    )


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
    def printed(self) -> float:
        """Running sums of the batches' means, summed, over the examples."""
        return self._sum_of_sums / self.examples

    @property
    def defined(self) -> float:
        """Mean loss per example."""
        return self._sum_over_examples / self.examples

    @property
    def curve(self) -> float:
        """Average over the batches of the mean of their values."""
        return self._sum_of_means / self.batches
