"""What each user did last: windows over the users' histories (section 15.7), and whole histories.

Needs numpy alone.
"""

from typing import Iterator, List, NamedTuple, Tuple

import numpy as np

from d2l_recsys.errors import DataError
from d2l_recsys.loaders.batches import BATCHES_PER_BLOCK, BatchLoader
from d2l_recsys.sampling import PairwiseLoader
from d2l_recsys.settings import check_settings

__all__ = [
    "ChunkLoader",
    "Chunks",
    "Windows",
    "history_chunks",
    "last_items",
    "sequence_windows",
]


class Windows(NamedTuple):
    """Windows of ``L`` items with the item that follows, and each user's last ``L`` items.

    All int32: ``users`` (n,), ``sequences`` (n, L), ``targets`` (n,), ``test_sequences``
    (num_users, L).
    """

    users: np.ndarray
    sequences: np.ndarray
    targets: np.ndarray
    test_sequences: np.ndarray


def sequence_windows(users: np.ndarray, items: np.ndarray, L: int, num_users: int) -> Windows:
    """Cut each user's history into windows, user by user, a user's newest window first.

    ``users`` and ``items`` (zero-based, shape (n,)) stand in the order of time within each user. A
    window holds ``L`` consecutive items, oldest first, and its target is the next one: a user with
    c items has c - L windows. Whoever has no more than ``L`` items has one, as in the chapter: all
    of them, with the newest as its target; where they are fewer than ``L``, the oldest is repeated
    at the head. (The chapter's code does so for 1 and for L items, and stops with an error
    in between.)

    Raises SettingError for an ``L`` out of range, DataError for a user without any item, for users
    outside 0 ... num_users - 1 and for arrays of unequal length or not of integers.
    """
    check_settings(L=L)
    history, starts, stops = _histories(users, items, num_users)
    counts = stops - starts
    if not counts.all():
        raise DataError(
            f"user {np.argmin(counts)} (counted from 0) has no training item, so no sequence; "
            "leave that user out"
        )

    def before(stop: np.ndarray, start: np.ndarray) -> np.ndarray:
        """The L items that end before each ``stop``, the oldest repeated where they are fewer."""
        return history[np.maximum(stop[:, None] + np.arange(-L, 0), start[:, None])]

    num_windows = np.maximum(counts - L, 1)
    of_user = np.repeat(np.arange(num_users), num_windows)
    first_window = np.cumsum(num_windows) - num_windows
    target = stops[of_user] - 1 - (np.arange(len(of_user)) - first_window[of_user])
    # A short history ends in its own window.
    stop = np.where(counts > L, 0, 1)[of_user] + target
    return Windows(
        users=of_user.astype(np.int32),
        sequences=before(stop, starts[of_user]),
        targets=history[target],
        test_sequences=before(stops, starts),
    )


class Chunks(NamedTuple):
    """Stretches of the users' histories, each item with the one that follows it.

    All int32: ``users`` (n,), ``inputs`` and ``targets`` (n, max_length).
    """

    users: np.ndarray
    inputs: np.ndarray
    targets: np.ndarray


def history_chunks(
    users: np.ndarray, items: np.ndarray, max_length: int, num_users: int, padding: int
) -> Chunks:
    """Cut each user's history into stretches of ``max_length`` steps, so that nothing is lost.

    ``users`` and ``items`` are as in ``sequence_windows``. A step is an item, the input, and the
    next one, its target: a user with c items has c - 1. They are cut from the newest on, so every
    item but a user's oldest is a target exactly once, and every one but the newest an input. What a
    user's oldest chunk lacks is ``padding`` at its head; the chunks of a user follow one another,
    oldest first. Whoever has one item or none has no chunk.

    Raises SettingError for a ``max_length`` out of range, and DataError as ``sequence_windows``
    does, but for users without an item.
    """
    check_settings(max_length=max_length)
    history, starts, stops = _histories(users, items, num_users)
    num_chunks = -(-np.maximum(stops - starts - 1, 0) // max_length)
    of_user = np.repeat(np.arange(num_users), num_chunks)
    # How many chunks of the user are newer.
    newer = np.cumsum(num_chunks)[of_user] - 1 - np.arange(len(of_user))
    stop = stops[of_user] - newer * max_length
    return Chunks(
        users=of_user.astype(np.int32),
        inputs=_padded(history, starts[of_user], stop - 1, max_length, padding),
        # The oldest item of all follows nothing.
        targets=_padded(history, starts[of_user] + 1, stop, max_length, padding),
    )


def last_items(
    users: np.ndarray, items: np.ndarray, max_length: int, num_users: int, padding: int
) -> np.ndarray:
    """Each user's last ``max_length`` items, oldest first: int32, (num_users, max_length).

    Where they are fewer, ``padding`` stands at the head. Arguments and errors are those of
    ``history_chunks``.
    """
    check_settings(max_length=max_length)
    history, starts, stops = _histories(users, items, num_users)
    return _padded(history, starts, stops, max_length, padding)


class ChunkLoader(PairwiseLoader):
    """A ``BatchLoader`` over ``Chunks`` whose batches are inputs, targets and negatives.

    There is a negative item for each target, new in each epoch; ``sampler`` draws. (Those beside
    padding mean nothing.)
    """

    def blocks(
        self, batches: int = BATCHES_PER_BLOCK
    ) -> Iterator[Tuple[List[np.ndarray], List[Tuple[int, int]]]]:
        """One epoch as blocks of up to ``batches`` batches, as in ``BatchLoader``."""
        for (users, inputs, targets), bounds in BatchLoader.blocks(self, batches):
            drawn = self.sampler.draw(np.repeat(users, targets.shape[1]))
            yield [inputs, targets, drawn.reshape(targets.shape)], bounds


def _histories(
    users: np.ndarray, items: np.ndarray, num_users: int
) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All histories in one int32 array, user by user, and where each starts and stops in it.

    Raises DataError for users outside the table and for arrays that do not belong together.
    """
    users, items = np.asarray(users), np.asarray(items)
    if len(users) != len(items) or users.dtype.kind not in "iu" or items.dtype.kind not in "iu":
        raise DataError("users and items must be whole numbers, as many of the one as of the other")
    if len(users) and not (users.min() >= 0 and users.max() < num_users):
        raise DataError(f"users must lie between 0 and {num_users - 1}")
    stops = np.cumsum(np.bincount(users, minlength=num_users))
    starts = np.concatenate([[0], stops[:-1]])
    return items[np.argsort(users, kind="stable")].astype(np.int32), starts, stops


def _padded(
    history: np.ndarray, starts: np.ndarray, stops: np.ndarray, length: int, padding: int
) -> np.ndarray:
    """The ``length`` items before each of ``stops``; ``padding`` for those before its start."""
    places = stops[:, None] + np.arange(-length, 0)
    inside = places >= starts[:, None]
    padded = np.full(places.shape, padding, dtype=np.int32)
    padded[inside] = history[places[inside]]
    return padded
