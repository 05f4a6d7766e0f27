"""Users' rows of the matrix of what was seen: what many models score by, and some give back."""

from typing import Any

import numpy as np

from d2l_recsys.batches import BatchLoader
from d2l_recsys.data import RankingData
from d2l_recsys.errors import DataError
from d2l_recsys.interactions import interaction_matrix
from d2l_recsys.seeds import Streams

__all__ = ["check_rows", "row_loader", "seen_rows"]


def seen_rows(data: RankingData) -> np.ndarray:
    """A row for each user, float32 (num_users, num_items): 1 at a training item, 0 elsewhere."""
    return interaction_matrix(data.users, data.items, data.num_users, data.num_items).toarray()


def row_loader(*arrays: np.ndarray, batch_size: int, streams: Streams) -> BatchLoader:
    """Training batches that hold every user once an epoch, in a new order; the last may be short.

    ``arrays`` are the rows, and what the net takes beside them of each user.
    """
    return BatchLoader(*arrays, batch_size=batch_size, shuffle=True, rng=streams.shuffle)


def check_rows(rows: Any, num_items: int) -> None:
    """Raise DataError where there are no ``rows`` (an array of any kind), or not of that length."""
    if rows is None:
        raise DataError("the model ranks by what users have seen: give it their rows")
    if rows.ndim != 2 or rows.shape[1] != num_items:
        raise DataError(
            f"rows of shape {tuple(rows.shape)} for a model of {num_items} items; each user's has "
            "a number for each item"
        )
