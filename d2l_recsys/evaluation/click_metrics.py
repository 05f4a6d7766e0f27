"""Accuracy, log loss and AUC of predicted clicks; no MXNet.

Scores are predicted probabilities, float32 as the net gives them. Log odds are what the sigmoid
made them from, and tell apart what float32 rounds to the same score.
"""

from typing import Optional

import numpy as np

from d2l_recsys.errors import DataError
from d2l_recsys.settings import Scores


def right_as_printed(labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Which predictions the chapter's edition counts as right: it truncates the score to 0 or 1."""
    # NaN, of a net that diverged, is no prediction.
    truncated = np.nan_to_num(scores, nan=-1).astype(np.int32)
    return truncated == labels.astype(np.int32)


def right_if_exact(labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Which ones d2l 1.0.3 counts as right: it compares the float32 score with the label."""
    return scores == labels


def right(labels: np.ndarray, log_odds: np.ndarray) -> np.ndarray:
    """Which ones are right where a score above 1/2 predicts a click."""
    return ((log_odds > 0) == (labels > 0)) & ~np.isnan(log_odds)


def as_log_odds(scores: np.ndarray, log_odds: Optional[np.ndarray]) -> np.ndarray:
    """``log_odds``, or where there are none those of the ``scores``."""
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
        "test_acc": right_as_printed(labels, scores)[chosen],
        "test_acc_exact": right_if_exact(labels, scores)[chosen],
    }
    ranked = scores if log_odds is None else log_odds
    log_odds = as_log_odds(scores, log_odds)
    return Scores(
        printed={name: float(rights.mean()) for name, rights in printed.items() if len(rights)},
        defined={
            "test_acc": float(right(labels, log_odds).mean()),
            "test_log_loss": float(log_loss(labels, log_odds).mean()),
            "test_auc": roc_auc(labels, ranked),
        },
    )
