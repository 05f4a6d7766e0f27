"""What each user did last: windows over the users' histories (section 15.7); numpy alone."""

from typing import NamedTuple

import numpy as np

from d2l_recsys.errors import DataError
from d2l_recsys.settings import check_settings

__all__ = ["Windows", "sequence_windows"]


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
    users, items = np.asarray(users), np.asarray(items)
    if len(users) != len(items) or users.dtype.kind not in "iu" or items.dtype.kind not in "iu":
        raise DataError("users and items must be whole numbers, as many of the one as of the other")
    if len(users) and not (users.min() >= 0 and users.max() < num_users):
        raise DataError(f"users must lie between 0 and {num_users - 1}")
    counts = np.bincount(users, minlength=num_users)
    if not counts.all():
        raise DataError(
            f"user {np.argmin(counts)} (counted from 0) has no training item, so no sequence; "
            "leave that user out"
        )
    history = items[np.argsort(users, kind="stable")].astype(np.int32)
    stops = np.cumsum(counts)
    starts = stops - counts

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
