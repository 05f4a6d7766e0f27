"""Windows over the users' histories (section 15.7), and chunks of whole histories.

A history is the list of a user's items in the order of time. Needs numpy and scipy, but not MXNet.
"""

from typing import Iterator, List, NamedTuple, Tuple

import numpy as np

from d2l_recsys.errors import DataError
from d2l_recsys.loaders.batches import BATCHES_PER_BLOCK, BatchLoader
from d2l_recsys.loaders.interactions import user_name
from d2l_recsys.loaders.sessions import Sessions
from d2l_recsys.sampling import PairwiseLoader
from d2l_recsys.settings import check_settings

__all__ = [
    "ChunkLoader",
    "Chunks",
    "Windows",
    "history_chunks",
    "last_items",
    "sequence_windows",
    "session_windows",
]


class Windows(NamedTuple):
    """Windows of ``L`` items with the next item as target, and each user's last ``L`` items.

    All arrays are int32: ``users`` (n,), ``sequences`` (n, L), ``targets`` (n,) and
    ``test_sequences`` (num_users, L).
    """

    users: np.ndarray
    sequences: np.ndarray
    targets: np.ndarray
    test_sequences: np.ndarray


def sequence_windows(users: np.ndarray, items: np.ndarray, L: int, num_users: int) -> Windows:
    """Cut each user's history into windows: user by user, the newest window of a user first.

    ``users`` and ``items`` are zero-based arrays of shape (n,), in the order of time within each
    user. A window has ``L`` consecutive items, oldest first. Its target is the next item. A user
    with c items has c - L windows.

    As in the chapter, a user with ``L`` items or fewer has one window. This window has all items of
    the user, and its target is the newest of these items. If the user has fewer than ``L`` items,
    the window starts with copies of the oldest item. (The chapter's code does the same for 1 item
    and for L items. For numbers between 1 and L it stops with an error.)

    This is the chapter's ``SeqDataset``. The negative items are drawn later, by ``PairwiseLoader``.

    Raises SettingError if ``L`` is out of range. Raises DataError if a user has no item, if a user
    is outside 0 ... num_users - 1, or if the arrays have different lengths or are not integers.
    """
    check_settings(L=L)
    history, starts, stops = _histories(users, items, num_users)
    counts = stops - starts
    if not counts.all():
        raise DataError(
            f"{user_name(int(np.argmin(counts)))} has no training item, so no sequence; "
            "leave this user out"
        )

    num_windows = np.maximum(counts - L, 1)
    of_user = np.repeat(np.arange(num_users), num_windows)
    first_window = np.cumsum(num_windows) - num_windows
    target = stops[of_user] - 1 - (np.arange(len(of_user)) - first_window[of_user])
    # The window of a short history also contains the target.
    stop = np.where(counts > L, 0, 1)[of_user] + target
    return Windows(
        users=of_user.astype(np.int32),
        sequences=_items_before(history, stop, starts[of_user], L),
        targets=history[target],
        test_sequences=_items_before(history, stops, starts, L),
    )


def session_windows(sessions: Sessions, L: int) -> Tuple[np.ndarray, np.ndarray]:
    """The last ``L`` items before each item but the first of each session, and the item itself.

    Both are int32: windows (n, L), oldest item first, and targets (n,). If there are fewer items
    before, the window starts with copies of the first item. Raises SettingError if ``L`` is out of
    range.
    """
    check_settings(L=L)
    targets = np.delete(np.arange(len(sessions.items)), sessions.starts[:-1])
    first = sessions.starts[sessions.session_of_item[targets]]
    return _items_before(sessions.items, targets, first, L), sessions.items[targets]


def _items_before(history: np.ndarray, stop: np.ndarray, start: np.ndarray, L: int) -> np.ndarray:
    """Returns the L items before each ``stop``; copies of the oldest item fill a short row."""
    return history[np.maximum(stop[:, None] + np.arange(-L, 0), start[:, None])]


class Chunks(NamedTuple):
    """Chunks of the users' histories: the input items, and the next item of each as its target.

    All arrays are int32: ``users`` (n,), ``inputs`` and ``targets`` (n, max_length).
    """

    users: np.ndarray
    inputs: np.ndarray
    targets: np.ndarray


def history_chunks(
    users: np.ndarray, items: np.ndarray, max_length: int, num_users: int, padding: int
) -> Chunks:
    """Cut each user's history into chunks of ``max_length`` steps; each step is in one chunk.

    ``users`` and ``items`` are as in ``sequence_windows``. A step is an item (the input) and the
    next item (its target), so a user with c items has c - 1 steps. The chunks are cut from the
    newest step backwards. Every item except a user's oldest is a target exactly once, and every
    item except the newest is an input exactly once. If the oldest chunk of a user has fewer steps
    than ``max_length``, it starts with ``padding``. The chunks of a user are in order, oldest
    first. A user with one item or no item has no chunk.

    Raises SettingError if ``max_length`` is out of range, and DataError as ``sequence_windows``
    does. But a user without an item is not an error here.
    """
    check_settings(max_length=max_length)
    history, starts, stops = _histories(users, items, num_users)
    num_chunks = -(-np.maximum(stops - starts - 1, 0) // max_length)
    of_user = np.repeat(np.arange(num_users), num_chunks)
    # The number of newer chunks of the same user.
    newer = np.cumsum(num_chunks)[of_user] - 1 - np.arange(len(of_user))
    stop = stops[of_user] - newer * max_length
    return Chunks(
        users=of_user.astype(np.int32),
        inputs=_padded(history, starts[of_user], stop - 1, max_length, padding),
        # The oldest item of a user follows no other item, so it is never a target.
        targets=_padded(history, starts[of_user] + 1, stop, max_length, padding),
    )


def last_items(
    users: np.ndarray, items: np.ndarray, max_length: int, num_users: int, padding: int
) -> np.ndarray:
    """Returns each user's last ``max_length`` items, oldest first: int32 (num_users, max_length).

    If a user has fewer items, the row starts with ``padding``. The arguments and errors are the
    same as those of ``history_chunks``.
    """
    check_settings(max_length=max_length)
    history, starts, stops = _histories(users, items, num_users)
    return _padded(history, starts, stops, max_length, padding)


class ChunkLoader(PairwiseLoader):
    """A ``BatchLoader`` over ``Chunks``; a batch has inputs, targets and negative items.

    In each epoch ``sampler`` draws a new negative item for each target. The negative items of
    padded targets have no meaning.
    """

    def blocks(
        self, batches: int = BATCHES_PER_BLOCK
    ) -> Iterator[Tuple[List[np.ndarray], List[Tuple[int, int]]]]:
        """Yields one epoch in blocks of up to ``batches`` batches, as in ``BatchLoader``."""
        for (users, inputs, targets), bounds in BatchLoader.blocks(self, batches):
            drawn = self.sampler.draw(np.repeat(users, targets.shape[1]))
            yield [inputs, targets, drawn.reshape(targets.shape)], bounds


def _histories(
    users: np.ndarray, items: np.ndarray, num_users: int
) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns all histories in one int32 array, and the start and stop of each history in it.

    Raises DataError if a user is outside the table, or if the arrays have different lengths or are
    not integers.
    """
    users, items = np.asarray(users), np.asarray(items)
    if len(users) != len(items) or users.dtype.kind not in "iu" or items.dtype.kind not in "iu":
        raise DataError("users and items must be arrays of whole numbers with the same length")
    if len(users) and not (users.min() >= 0 and users.max() < num_users):
        raise DataError(f"users must lie between 0 and {num_users - 1}")
    stops = np.cumsum(np.bincount(users, minlength=num_users))
    starts = np.concatenate([[0], stops[:-1]])
    return items[np.argsort(users, kind="stable")].astype(np.int32), starts, stops


def _padded(
    history: np.ndarray, starts: np.ndarray, stops: np.ndarray, length: int, padding: int
) -> np.ndarray:
    """Returns the ``length`` items before each stop; places before the start get ``padding``."""
    places = stops[:, None] + np.arange(-length, 0)
    inside = places >= starts[:, None]
    padded = np.full(places.shape, padding, dtype=np.int32)
    padded[inside] = history[places[inside]]
    return padded
