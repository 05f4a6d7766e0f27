"""The items of each user, as arrays, as lists and as matrices."""

import itertools
from typing import Any, Dict, Iterable, List, Mapping, NamedTuple, Optional, Sequence, Tuple, Union

import numpy as np
import scipy.sparse

from d2l_recsys.errors import DataError
from d2l_recsys.loaders.batches import BatchLoader
from d2l_recsys.seeds import Streams


class UserItems(NamedTuple):
    """The distinct items of all users in one array, by user and then in ascending order.

    ``items[starts[u] : starts[u + 1]]`` are the items of user u. ``users`` has the user of each
    entry of ``items``.
    """

    starts: np.ndarray
    users: np.ndarray
    items: np.ndarray


def user_name(user: int) -> str:
    """How a message calls the user with the index ``user`` (from 0): by the id in the files."""
    return f"user {user + 1} (counted from 1, as in u.data)"


def user_items(
    lists: Union[Mapping[int, Iterable[int]], Sequence[Iterable[int]]],
    num_users: int,
    num_items: int,
    what: str,
) -> UserItems:
    """Converts a mapping from each user to a list of items, such as ``candidates``, to arrays.

    Users and items are zero-based. A user may have an empty list. Raises DataError if a user has no
    list, or if an item is not a whole number from 0 to num_items - 1. ``what`` is the word for such
    an item in the message, for example "training item".
    """
    rows = []
    for user in range(num_users):
        try:
            rows.append(list(lists[user]))
        except (KeyError, IndexError):
            raise DataError(
                f"{user_name(user)} is missing from the {what}s; "
                "give this user a list, or leave this user out"
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
            f"(0 to {num_items - 1}); correct the item, or num_items"
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
    """Returns a float32 matrix (num_users, num_items): a value at each given pair, 0 elsewhere.

    ``users`` and ``items`` are zero-based. Each pair must occur only once. ``values`` are the
    values of the pairs (default: 1).
    """
    if values is None:
        values = np.ones(len(users))
    matrix = scipy.sparse.csr_matrix(
        (values.astype(np.float32), (users, items)), shape=(num_users, num_items)
    )
    matrix.sort_indices()
    return matrix


def cosine_similarities(X: scipy.sparse.csr_matrix, shrink: float) -> np.ndarray:
    """Returns how similar the columns of ``X`` are, float64 (columns, columns); 0 on the diagonal.

    ``X`` has only 0 and 1. If n_i rows have a 1 in column i, and n_ij rows have a 1 in both i and
    j, the similarity is n_ij / (sqrt(n_i n_j) + shrink): the cosine, reduced where few rows support
    it.
    """
    both = (X.T @ X).toarray().astype(np.float64)
    counts = both.diagonal().copy()
    np.fill_diagonal(both, 0)
    # An empty column has n_ij = 0 everywhere; the maximum avoids a division by 0 there.
    return both / np.maximum(np.sqrt(np.outer(counts, counts)) + shrink, 1)


class RankingData(NamedTuple):
    """Implicit feedback, split by time into training pairs and held-out items.

    ``users`` and ``items`` (int32) are the training pairs, ordered by user and time. ``ratings``
    (float32) are the ratings of these pairs. ``candidates`` has the same pairs as one list of items
    per user. ``test_items`` has the held-out item of each user. Both have the form that
    ``evaluate_ranking`` takes.
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
        """The numbers of users and items, which are the sizes of a model's embedding tables."""
        return self.num_users, self.num_items


def rating_rows(data: RankingData) -> np.ndarray:
    """Returns a row per user, float32 (num_users, num_items): the rating of each item, or 0."""
    return interaction_matrix(data.users, data.items, *data.sizes, data.ratings).toarray()


def seen_rows(data: RankingData) -> np.ndarray:
    """Returns a row per user, float32 (num_users, num_items): 1 at a training item, else 0."""
    return interaction_matrix(data.users, data.items, *data.sizes).toarray()


def row_loader(*arrays: np.ndarray, batch_size: int, streams: Streams) -> BatchLoader:
    """Returns training batches with every user once per epoch, in a new random order.

    The last batch of an epoch may be shorter. ``arrays`` are the rows of the users and further
    inputs of the net, one entry per user.
    """
    return BatchLoader(*arrays, batch_size=batch_size, shuffle=True, rng=streams.shuffle)


def check_rows(rows: Any, num_items: int) -> None:
    """Raises DataError if ``rows`` is None, or is not a matrix with ``num_items`` columns."""
    if rows is None:
        raise DataError("the model ranks from the items that users have seen; give it their rows")
    if rows.ndim != 2 or rows.shape[1] != num_items:
        raise DataError(
            f"rows of shape {tuple(rows.shape)} for a model of {num_items} items; each row must "
            "have one number per item"
        )
