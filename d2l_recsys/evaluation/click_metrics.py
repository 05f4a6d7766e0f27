"""Accuracy, log loss and AUC of predicted clicks; no MXNet.

A score is a predicted probability of a click, as float32. Its log odds are the logit, the input of
the sigmoid. float32 can round different log odds to the same score, so the defined metrics use the
log odds if the net returns them.
"""

from typing import Optional

import numpy as np

from d2l_recsys.errors import DataError
from d2l_recsys.settings import Scores


def right_as_printed(labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Whether each prediction is right as printed: the chapter truncates the score to 0 or 1.

    The chapter's loop counts these with the book's ``accuracy``.
    """
    # A net that diverged gives NaN, which is not a prediction: -1 equals no label.
    truncated = np.nan_to_num(scores, nan=-1).astype(np.int32)
    return truncated == labels.astype(np.int32)


def right_if_exact(labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Whether each prediction is right in d2l 1.0.3, which compares float32 score and label."""
    return scores == labels


def right(labels: np.ndarray, log_odds: np.ndarray) -> np.ndarray:
    """Whether each prediction is right as defined: a score above 1/2 predicts a click."""
    return ((log_odds > 0) == (labels > 0)) & ~np.isnan(log_odds)


def as_log_odds(scores: np.ndarray, log_odds: Optional[np.ndarray]) -> np.ndarray:
    """``log_odds``; if they are None, the log odds of ``scores`` in float64."""
    from scipy.special import logit

    return logit(scores.astype(np.float64)) if log_odds is None else log_odds


def log_loss(labels: np.ndarray, log_odds: np.ndarray) -> np.ndarray:
    r"""Minus the log-likelihood of each label, in float64 and in the shape of ``labels``.

    .. math:: -y \ln \sigma(z) - (1 - y) \ln(1 - \sigma(z))

    The formula uses the log odds z, so it is exact even if the probability rounds to 0 or 1.
    """
    from scipy.special import log_expit

    return -log_expit(np.where(labels > 0, log_odds, -log_odds).astype(np.float64))


def roc_auc(labels: np.ndarray, scores: np.ndarray) -> float:
    """Area under the ROC curve, computed by scikit-learn; a tie counts half.

    NaN if all labels are equal or a score is NaN.
    """
    from sklearn.metrics import roc_auc_score

    if np.isnan(scores).any() or (labels == labels[0]).all():
        return float("nan")
    # Replace the scores by their ranks: only the order counts, and scikit-learn refuses infinity.
    return float(roc_auc_score(labels, np.unique(scores, return_inverse=True)[1]))


def click_scores(
    labels: np.ndarray,
    scores: np.ndarray,
    log_odds: Optional[np.ndarray] = None,
    rows: Optional[np.ndarray] = None,
) -> Scores:
    """Accuracy, log loss and AUC of predicted clicks on a test set.

    Parameters
    ----------
    labels : 0 or 1 for each row
    scores : the probability of a click for each row, float32
    log_odds : the log odds for each row, float32. By default they are computed from the scores, and
        are infinite for a score of 0 or 1
    rows : indices of the rows that the printed metrics count; they may repeat. Default: all rows

    Printed: ``test_acc`` truncates the score, so it predicts a click only if float32 rounds the
    probability to 1. ``test_acc_exact`` is the one of d2l 1.0.3: it counts a row as right only if
    the score equals the label exactly. If ``rows`` is empty, both are left out.

    Defined, over all rows: ``test_acc`` with the threshold 1/2, ``test_log_loss`` and ``test_auc``.

    Raises DataError if there are no labels.
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
