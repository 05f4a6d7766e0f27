"""Metrics as numpy functions of labels and predictions; no MXNet."""

from typing import List, Optional, Sequence, Tuple

import numpy as np

from d2l_recsys.errors import DataError
from d2l_recsys.settings import Scores


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


# Clicks. Scores are predicted probabilities, float32 as the net gives them; log odds are what the
# sigmoid made them from, and tell apart what float32 rounds to the same score.


def _right_as_printed(labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Which predictions the chapter's edition counts as right: it truncates the score to 0 or 1."""
    # NaN, of a net that diverged, is no prediction.
    truncated = np.nan_to_num(scores, nan=-1).astype(np.int32)
    return truncated == labels.astype(np.int32)


def _right_if_exact(labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Which ones d2l 1.0.3 counts as right: it compares the float32 score with the label."""
    return scores == labels


def _right(labels: np.ndarray, log_odds: np.ndarray) -> np.ndarray:
    """Which ones are right where a score above 1/2 predicts a click."""
    return ((log_odds > 0) == (labels > 0)) & ~np.isnan(log_odds)


def _log_odds(scores: np.ndarray, log_odds: Optional[np.ndarray]) -> np.ndarray:
    from scipy.special import logit

    return logit(scores.astype(np.float64)) if log_odds is None else log_odds


def log_loss(labels: np.ndarray, log_odds: np.ndarray) -> np.ndarray:
    r"""Minus the log-likelihood of each label, float64, of the shape of ``labels``.

    .. math:: -y \ln \sigma(z) - (1 - y) \ln(1 - \sigma(z))

    From the log odds z, and so exact where the probability itself rounds to 0 or 1.
    """
    from scipy.special import log_expit

    return -log_expit(np.where(labels > 0, log_odds, -log_odds).astype(np.float64))


def roc_auc(labels: np.ndarray, scores: np.ndarray) -> float:
    """Area under the ROC curve (scikit-learn's), ties counted half.

    NaN where the labels are of one class, or a score is NaN.
    """
    from sklearn.metrics import roc_auc_score

    if np.isnan(scores).any() or (labels == labels[0]).all():
        return float("nan")
    # Only their order counts, and scikit-learn takes no infinite scores.
    return float(roc_auc_score(labels, np.unique(scores, return_inverse=True)[1]))


def click_scores(
    labels: np.ndarray,
    scores: np.ndarray,
    log_odds: Optional[np.ndarray] = None,
    rows: Optional[np.ndarray] = None,
) -> Scores:
    """Accuracy, log loss and AUC of predicted clicks on a test set.

    ``labels`` (0 or 1), ``scores`` (float32 probabilities) and ``log_odds`` (float32; by default
    those of the scores, infinite where these are 0 or 1) are one-dimensional, a value a row.

    Printed: ``test_acc``, which truncates the score, so that a click counts as predicted only where
    float32 rounds its probability to 1, and ``test_acc_exact``, d2l 1.0.3's, which asks as much of
    the other rows. They are over ``rows``, indices that may repeat (default: all), and left out
    where there are none. Defined, over all rows: ``test_acc`` with the threshold 1/2,
    ``test_log_loss`` and ``test_auc``.

    Raises DataError where there is no row.
    """
    if not len(labels):
        raise DataError("there are no test rows; add some")
    chosen = slice(None) if rows is None else rows
    printed = {
        "test_acc": _right_as_printed(labels, scores)[chosen],
        "test_acc_exact": _right_if_exact(labels, scores)[chosen],
    }
    ranked = scores if log_odds is None else log_odds
    log_odds = _log_odds(scores, log_odds)
    return Scores(
        printed={name: float(right.mean()) for name, right in printed.items() if len(right)},
        defined={
            "test_acc": float(_right(labels, log_odds).mean()),
            "test_log_loss": float(log_loss(labels, log_odds).mean()),
            "test_auc": roc_auc(labels, ranked),
        },
    )


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
            z = _log_odds(scores, *(log_odds or [None]))
            parts = (
                losses,
                _right_as_printed(labels, scores),
                _right_if_exact(labels, scores),
                log_loss(labels, z),
                _right(labels, z),
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
