"""Sessions: the ratings of a user without a long pause, and batches of many sessions side by side.

Section 3.1.1 of Hidasi et al. (2016) describes the batches. Needs numpy, but not MXNet.
"""

import heapq
from typing import Iterator, List, NamedTuple, Sequence, Tuple

import numpy as np

from d2l_recsys.errors import SettingError
from d2l_recsys.loaders.batches import BATCHES_PER_BLOCK, BatchLoader
from d2l_recsys.settings import check_settings

__all__ = ["SessionLoader", "Sessions", "cut_sessions", "last_tenth"]

# The shortest session: one item to read, and the next item to predict.
SHORTEST = 2


class Sessions(NamedTuple):
    """The items of all sessions in one array, session by session, oldest item first.

    ``items[starts[s] : starts[s + 1]]`` are the items of session s. ``items`` is int32, and
    ``starts`` is int64 with one entry more than there are sessions.
    """

    items: np.ndarray
    starts: np.ndarray

    @property
    def lengths(self) -> np.ndarray:
        """The number of items of each session."""
        return np.diff(self.starts)

    @property
    def session_of_item(self) -> np.ndarray:
        """The number of the session of each entry of ``items``."""
        return np.repeat(np.arange(len(self)), self.lengths)

    def __len__(self) -> int:
        """The number of sessions."""
        return len(self.starts) - 1

    @classmethod
    def of(cls, lists: Sequence[Sequence[int]]) -> "Sessions":
        """Sessions from lists of items."""
        parts = [np.asarray(items, dtype=np.int32) for items in lists]
        lengths = [len(part) for part in parts]
        starts = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
        return cls(np.concatenate([np.empty(0, np.int32), *parts]), starts)

    def lists(self) -> List[np.ndarray]:
        """The items of each session, one array for each."""
        return np.split(self.items, self.starts[1:-1]) if len(self) else []

    def part(self, first: int, stop: int) -> "Sessions":
        """The sessions ``first`` ... ``stop - 1``."""
        starts = self.starts[first : stop + 1]
        return Sessions(self.items[starts[0] : starts[-1]], starts - starts[0])


def cut_sessions(users: np.ndarray, items: np.ndarray, times: np.ndarray, idle: int) -> Sessions:
    """Cut the ratings of each user into sessions, in the order of their first rating.

    ``users``, ``items`` and ``times`` (in seconds) are integer arrays of shape (n,), one entry for
    each rating. A session ends where the user then pauses for more than ``idle`` minutes. Ratings
    of a user in the same second stay in their order in the arrays: half of the ratings of
    MovieLens-100K have the same second as the rating before, so within a session much of the order
    is that of the file. Sessions with fewer than 2 ratings are left out. Sessions that start in the
    same second are in the order of their users.

    Raises SettingError if ``idle`` is out of range.
    """
    check_settings(idle=idle)
    order = np.lexsort((times, users))
    users, items, times = users[order], items[order], times[order]
    is_first = np.ones(len(users), dtype=bool)
    is_first[1:] = (users[1:] != users[:-1]) | (times[1:] - times[:-1] > 60 * idle)
    first = np.flatnonzero(is_first)
    lengths = np.diff(first, append=len(users))
    first, lengths = first[lengths >= SHORTEST], lengths[lengths >= SHORTEST]
    by_start = np.argsort(times[first], kind="stable")
    first, lengths = first[by_start], lengths[by_start]
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    rows = np.arange(starts[-1]) + np.repeat(first - starts[:-1], lengths)
    return Sessions(items[rows].astype(np.int32), starts)


def last_tenth(sessions: Sessions) -> Tuple[Sessions, Sessions]:
    """The earlier sessions, and the last tenth of the sessions; their number is rounded up."""
    earlier = len(sessions) - -(-len(sessions) // 10)
    return sessions.part(0, earlier), sessions.part(earlier, len(sessions))


class SessionLoader(BatchLoader):
    """Session-parallel batches: each row of a batch is a lane that goes through its own session.

    At first, each of ``batch_size`` lanes takes one session. Each batch has the next step of every
    lane: an item of its session, and the item after it as the target. When a session ends, its lane
    takes the next session that no lane has taken. When there is no such session, the epoch ends, as
    in the authors' code: so all batches have the same number of lanes, but the ends of up to
    ``batch_size - 1`` sessions are left out of an epoch.

    A batch has three arrays of shape (lanes,): items and targets (int32), and ``kept`` (float32),
    which is 1 if the lane goes on with its session, and 0 if its session is new.

    Each epoch shuffles the sessions with ``rng``; ``shuffle=False`` keeps their order. Raises
    SettingError if ``batch_size`` is less than 2, and what ``BatchLoader`` raises. If there are
    fewer sessions than lanes, an epoch has no batch.
    """

    def __init__(self, sessions: Sessions, *, batch_size: int, **options: object) -> None:
        if batch_size < SHORTEST:
            raise SettingError(
                f"--batch-size is {batch_size}; the negative items come from the other sessions of "
                "a batch, so choose 2 or more"
            )
        # The base class shuffles the sessions: a session is a row of these arrays.
        first, steps = sessions.starts[:-1], sessions.lengths - 1
        super().__init__(first, steps, batch_size=batch_size, **options)
        self.items = sessions.items

    def __len__(self) -> int:
        """The largest number of batches that an epoch can have; the order decides the number."""
        return int(self.arrays[1].sum()) // self.batch_size

    def blocks(
        self, batches: int = BATCHES_PER_BLOCK
    ) -> Iterator[Tuple[List[np.ndarray], List[Tuple[int, int]]]]:
        """Yields one epoch in blocks of up to ``batches`` batches, as in ``BatchLoader``."""
        order, _ = self._next_order()
        arrays = self._epoch(*(a[order] for a in self.arrays))
        block = batches * self.batch_size
        for first in range(0, len(arrays[0]), block):
            rows = [a[first : first + block] for a in arrays]
            yield rows, self._bounds(len(rows[0]))

    def _epoch(self, first: np.ndarray, steps: np.ndarray) -> List[np.ndarray]:
        """The rows of all batches of an epoch, whose sessions have their first items at ``first``.

        ``steps`` has the number of steps of each session.
        """
        lanes = self.batch_size
        begin, lane, num_batches = _schedule(steps.tolist(), lanes)
        session = np.repeat(np.arange(len(begin)), steps[: len(begin)])
        within = np.arange(len(session)) - np.searchsorted(session, session)
        batch = begin[session] + within
        inside = batch < num_batches
        place = np.empty(num_batches * lanes, dtype=np.int64)
        kept = np.empty(num_batches * lanes, dtype=np.float32)
        row = (batch * lanes + lane[session])[inside]
        place[row], kept[row] = (first[session] + within)[inside], (within > 0)[inside]
        return [self.items[place], self.items[place + 1], kept]


def _schedule(steps: Sequence[int], num_lanes: int) -> Tuple[np.ndarray, np.ndarray, int]:
    """The first batch and the lane of each session that is begun, and the number of batches.

    ``steps`` has the number of steps of each session. A session goes to the lane that is free
    first, and of several to the first of these.
    """
    free = [(0, lane) for lane in range(num_lanes)]
    taken = []
    for length in steps:
        batch, lane = free[0]
        taken.append((batch, lane))
        heapq.heapreplace(free, (batch + length, lane))
    # The epoch ends where a lane is free and no session is left.
    num_batches = free[0][0]
    begin, lanes = np.array(taken, dtype=np.int64).reshape(-1, 2).T
    return begin, lanes, num_batches
