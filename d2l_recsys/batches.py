"""Minibatches cut from whole numpy arrays, with the meaning of Gluon's ``DataLoader``."""

import math
from typing import Iterator, List, Tuple, Union

import numpy as np

from d2l_recsys.errors import SettingError

__all__ = ["BatchLoader"]

LAST_BATCH = ("keep", "discard", "rollover")
# Batches gathered from the arrays in one go: enough to make the gather cheap, few enough that a
# data set larger than memory stays on disk.
BATCHES_PER_BLOCK = 64


class BatchLoader:
    """Iterate over equally long arrays in batches of rows.

    Parameters
    ----------
    *arrays : arrays with the same first dimension; row i of each together is sample i
    batch_size : rows in a batch, 1 or more
    shuffle : draw a new order for every epoch from ``rng``
    last_batch : what becomes of the rows that do not fill a batch: ``keep`` yields them as a short
        batch, ``discard`` drops them, ``rollover`` puts them at the head of the next epoch
    rng : a numpy Generator, or a seed for one; used by ``shuffle`` alone

    Each batch is a list with one array per input array, or the array itself where there is only
    one. As in Gluon, an epoch that is not iterated to its end forgets the rows rolled over into it.

    Raises SettingError for a bad ``batch_size`` or ``last_batch`` and for arrays of unequal length.
    """

    def __init__(
        self,
        *arrays: np.ndarray,
        batch_size: int,
        shuffle: bool = False,
        last_batch: str = "keep",
        rng: Union[np.random.Generator, int, None] = None,
    ) -> None:
        if not arrays or any(len(a) != len(arrays[0]) for a in arrays):
            lengths = ", ".join(str(len(a)) for a in arrays) or "none"
            raise SettingError(f"arrays need one common length, these have: {lengths}")
        if batch_size < 1:
            raise SettingError(f"batch_size is {batch_size}; it must be 1 or more")
        if last_batch not in LAST_BATCH:
            raise SettingError(f"last_batch is {last_batch!r}; choose {', '.join(LAST_BATCH)}")
        self.arrays = arrays
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.last_batch = last_batch
        self.rng = np.random.default_rng(rng)
        self._rolled_over = np.empty(0, dtype=np.int64)

    def __len__(self) -> int:
        """Batches in the next epoch."""
        rows = len(self.arrays[0])
        if self.last_batch == "keep":
            return math.ceil(rows / self.batch_size)
        return (rows + len(self._rolled_over)) // self.batch_size

    def __iter__(self) -> Iterator[Union[np.ndarray, List[np.ndarray]]]:
        for arrays, bounds in self.blocks():
            for start, stop in bounds:
                batch = [a[start:stop] for a in arrays]
                yield batch if len(batch) > 1 else batch[0]

    def blocks(
        self, batches: int = BATCHES_PER_BLOCK
    ) -> Iterator[Tuple[List[np.ndarray], List[Tuple[int, int]]]]:
        """One epoch as blocks of up to ``batches`` batches, for consumers that move data in bulk.

        Yields the rows of a block, in order, as one list of arrays, and where each of its batches
        starts and stops in them.
        """
        order, remainder = self._next_order()
        block = batches * self.batch_size
        for first in range(0, len(order), block):
            rows = order[first : first + block]
            starts = range(0, len(rows), self.batch_size)
            bounds = [(start, min(start + self.batch_size, len(rows))) for start in starts]
            yield [a[rows] for a in self.arrays], bounds
        # Reached only by an epoch that ran to its end, like Gluon's sampler.
        self._rolled_over = remainder

    def _next_order(self) -> Tuple[np.ndarray, np.ndarray]:
        """Row numbers of the coming epoch's batches, and those to roll over into the one after."""
        rows = len(self.arrays[0])
        order = self.rng.permutation(rows) if self.shuffle else np.arange(rows)
        order = np.concatenate([self._rolled_over, order])
        self._rolled_over = order[:0]
        if self.last_batch == "keep":
            return order, order[:0]
        full = len(order) - len(order) % self.batch_size
        return order[:full], order[full:] if self.last_batch == "rollover" else order[:0]
