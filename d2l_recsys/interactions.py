"""Which items belong to which user, as arrays and as matrices."""

import itertools
from typing import Iterable, Mapping, NamedTuple, Optional, Sequence, Union

import numpy as np
import scipy.sparse

from d2l_recsys.errors import DataError

__all__ = ["UserItems", "interaction_matrix", "user_items"]


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
