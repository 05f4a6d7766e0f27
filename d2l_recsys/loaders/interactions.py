"""Which items belong to which user, as arrays and as matrices."""

import itertools
from typing import Any, Dict, Iterable, List, Mapping, NamedTuple, Optional, Sequence, Tuple, Union

import numpy as np
import scipy.sparse

from d2l_recsys.errors import DataError
from d2l_recsys.loaders.batches import BatchLoader
from d2l_recsys.seeds import Streams


class UserItems(NamedTuple):
    """The distinct items of each user, ascending, all in one array.

    ``items[starts[u] : starts[u + 1]]`` are those of user u; ``users`` is as long as ``items``.
    """

    starts: np.ndarray
    users: np.ndarray
    items: np.ndarray


def user_items(
    lists: Union[Mapping[int, Iterable[int]], Sequence[Iterable[int]]],
    num_users: int,
    num_items: int,
    what: str,
) -> UserItems:
    """The arrays of a mapping from user to items, such as ``candidates``; all zero-based.

    A user may have an empty list, but not none. Raises DataError for such a user and for an item
    that is not a whole number from 0 to num_items - 1; ``what`` says in the message what the items
    are.
    """
    rows = []
    for user in range(num_users):
        try:
            rows.append(list(lists[user]))
        except (KeyError, IndexError):
            raise DataError(
                f"user {user} (counted from 0) is missing from the {what}s; "
                "give it a list, or leave the user out"
            ) from None
    counts = np.array([len(row) for row in rows], dtype=np.int64)
    items = np.array(list(itertools.chain.from_iterable(rows)))
    if len(items) and items.dtype.kind not in "iu":
        raise DataError(f"the {what}s are not whole numbers; give zero-based item ids")
    items = items.astype(np.int64)
    outside = (items < 0) | (items >= num_items)
    if outside.any():
        raise DataError(
            f"{what} {items[outside][0]} is beyond the table of {num_items} items "
            f"(0 to {num_items - 1})"
        )
    keys = np.unique(np.repeat(np.arange(num_users), counts) * num_items + items)
    starts = np.searchsorted(keys, np.arange(num_users + 1) * num_items)
    return UserItems(starts, *np.divmod(keys, num_items))


def interaction_matrix(
    users: np.ndarray,
    items: np.ndarray,
    num_users: int,
    num_items: int,
    values: Optional[np.ndarray] = None,
) -> scipy.sparse.csr_matrix:
    """The float32 matrix (num_users, num_items) of ``values`` (default: 1) at pairs, 0 elsewhere.

    ``users`` and ``items`` are zero-based, and no pair stands twice.
    """
    if values is None:
        values = np.ones(len(users))
    matrix = scipy.sparse.csr_matrix(
        (values.astype(np.float32), (users, items)), shape=(num_users, num_items)
    )
    matrix.sort_indices()
    return matrix


class RankingData(NamedTuple):
    """Implicit feedback, split by time: training pairs, and what ranking is tested on.

    ``users`` and ``items`` (int32) are the training pairs, by user and time, ``ratings`` (float32)
    what was given; ``candidates`` holds the same pairs as a list a user, ``test_items`` each user's
    held-out item, as ``evaluate_ranking`` takes them.
    """

    num_users: int
    num_items: int
    users: np.ndarray
    items: np.ndarray
    ratings: np.ndarray
    candidates: Dict[int, List[int]]
    test_items: Dict[int, List[int]]

    @property
    def sizes(self) -> Tuple[int, int]:
        """The number of users and of items: the sizes of a model's tables."""
        return self.num_users, self.num_items


def seen_rows(data: RankingData) -> np.ndarray:
    """A row for each user, float32 (num_users, num_items): 1 at a training item, 0 elsewhere."""
    return interaction_matrix(data.users, data.items, *data.sizes).toarray()


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
