"""The RMSE of predicted ratings, printed and defined; no MXNet."""

from typing import Sequence, Tuple

import numpy as np

from d2l_recsys.errors import DataError
from d2l_recsys.settings import Scores


def rmse(labels: np.ndarray, predictions: np.ndarray) -> float:
    r"""Root mean squared error over a test set (eq. 15.3.4), added up in float64.

    .. math:: \sqrt{\frac{1}{|T|} \sum_{(u, i) \in T} (r_{ui} - \hat r_{ui})^2}

    ``labels`` and ``predictions`` have the same shape, in units of the rating.
    """
    errors = np.subtract(labels, predictions, dtype=np.float64)
    return float(np.sqrt(np.mean(np.square(errors))))


def rating_scores(batches: Sequence[Sequence[Tuple[np.ndarray, np.ndarray]]]) -> Scores:
    """``test_rmse`` of a test set, printed and defined.

    ``batches`` has for each batch the (labels, predictions) of each device.

    Defined: one RMSE over all ratings. Printed: MXNet's RMSE metric is a running mean of the RMSE
    of each device's share. The chapter averages the value of this metric after each batch. So early
    batches count more than late ones, and a short batch counts as much as a full one.

    Raises DataError if there is no batch.
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
