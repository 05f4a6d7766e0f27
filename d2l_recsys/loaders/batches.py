"""Minibatches cut from whole numpy arrays, with the meaning of Gluon's ``DataLoader``.

Arrays larger than memory are read piece by piece.
"""

import math
import mmap
from typing import Any, Dict, Iterator, List, NamedTuple, Sequence, Tuple, Union

import numpy as np

from d2l_recsys.errors import DataError, SettingError

LAST_BATCH = ("keep", "discard", "rollover")
# Batches gathered from the arrays in one go: enough to make the gather cheap, few enough that a
# data set larger than memory stays on disk.
BATCHES_PER_BLOCK = 64
# Rows that are read from a mapped file in one go.
ROWS_PER_PIECE = 1024


class LoaderState(NamedTuple):
    """What the coming epochs of a loader depend on, beside its arrays and options.

    The state of each of its random generators, and what was rolled over into the next epoch.
    """

    generators: List[Dict[str, Any]]
    rolled_over: List[np.ndarray]


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
        return (rows + self._rows_rolled_over()) // self.batch_size

    def _rows_rolled_over(self) -> int:
        return len(self._rolled_over)

    @property
    def generators(self) -> List[np.random.Generator]:
        """All that the batches are drawn with."""
        return [self.rng]

    @property
    def state(self) -> LoaderState:
        """Between two epochs, what the coming ones depend on; assigned, they are drawn from it.

        Raises DataError where what is assigned was not the state of a loader like this one.
        """
        return LoaderState(
            [generator.bit_generator.state for generator in self.generators],
            [part.copy() for part in self._rolled_over_parts()],
        )

    @state.setter
    def state(self, state: LoaderState) -> None:
        ours = self.state
        kinds, our_kinds = (
            [(part.dtype, part.ndim, part.shape[1:]) for part in loader.rolled_over]
            for loader in (state, ours)
        )
        alike = kinds == our_kinds and len(state.generators) == len(ours.generators)
        if not alike or any(len(part) >= self.batch_size for part in state.rolled_over):
            raise DataError("the state is that of another loader")
        try:
            for generator, saved in zip(self.generators, state.generators):
                generator.bit_generator.state = saved
        except (KeyError, OverflowError, TypeError, ValueError) as error:
            raise DataError(f"the state of a random generator is damaged ({error!r})") from error
        self._roll_over(state.rolled_over)

    def _rolled_over_parts(self) -> List[np.ndarray]:
        return [self._rolled_over]

    def _roll_over(self, parts: Sequence[np.ndarray]) -> None:
        (rows,) = parts
        if len(rows) and not 0 <= rows.min() <= rows.max() < len(self.arrays[0]):
            raise DataError("rows that the data does not have were rolled over")
        self._rolled_over = rows

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
            yield [a[rows] for a in self.arrays], self._bounds(len(rows))
        # Reached only by an epoch that ran to its end, like Gluon's sampler.
        self._rolled_over = remainder

    def _bounds(self, rows: int) -> List[Tuple[int, int]]:
        starts = range(0, rows, self.batch_size)
        return [(start, min(start + self.batch_size, rows)) for start in starts]

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


class MappedLoader(BatchLoader):
    """``BatchLoader`` over ``numpy.memmap`` arrays, in memory that does not grow with their rows.

    Without ``shuffle`` the batches are those of ``BatchLoader``. With it, pieces of 1024 rows that
    follow one another in the file come in a random order, and the rows of a block of pieces, as
    many as 32 batches take, are mixed: not every order is possible, but the disk is read in
    stretches, and arrays of up to 32 batches are shuffled as evenly as by ``BatchLoader``.

    Raises SettingError for arrays that are not whole maps of a file (a slice is not).
    """

    def __init__(self, *arrays: np.memmap, **options: Any) -> None:
        super().__init__(*arrays, **options)
        if not all(isinstance(a, np.memmap) and isinstance(a.base, mmap.mmap) for a in arrays):
            raise SettingError("MappedLoader needs whole numpy.memmap arrays; see BatchLoader")
        self._rolled_over: List[np.ndarray] = [_rows_of(a, 0, 0) for a in self.arrays]

    def _rows_rolled_over(self) -> int:
        return len(self._rolled_over[0])

    def _rolled_over_parts(self) -> List[np.ndarray]:
        return self._rolled_over

    def _roll_over(self, parts: Sequence[np.ndarray]) -> None:
        self._rolled_over = list(parts)

    def blocks(
        self, batches: int = BATCHES_PER_BLOCK // 2
    ) -> Iterator[Tuple[List[np.ndarray], List[Tuple[int, int]]]]:
        """As in ``BatchLoader``."""
        none = [_rows_of(a, 0, 0) for a in self.arrays]
        waiting, self._rolled_over = self._rolled_over, none
        starts = np.arange(0, len(self.arrays[0]), ROWS_PER_PIECE)
        if self.shuffle:
            starts = self.rng.permutation(starts)
        pieces = math.ceil(batches * self.batch_size / ROWS_PER_PIECE)
        for first in range(0, len(starts), pieces):
            read = [
                np.concatenate(
                    [_rows_of(a, s, s + ROWS_PER_PIECE) for s in starts[first:][:pieces]]
                )
                for a in self.arrays
            ]
            if self.shuffle:
                order = self.rng.permutation(len(read[0]))
                read = [rows[order] for rows in read]
            read = [np.concatenate(parts) for parts in zip(waiting, read)]
            rows = len(read[0])
            is_last = first + pieces >= len(starts)
            full = rows if is_last and self.last_batch == "keep" else rows - rows % self.batch_size
            waiting = [part[full:].copy() for part in read]
            if full:
                yield [part[:full] for part in read], self._bounds(full)
        # Reached only by an epoch that ran to its end.
        self._rolled_over = waiting if self.last_batch == "rollover" else none


def _rows_of(mapped: np.memmap, start: int, stop: int) -> np.ndarray:
    """A copy of some rows, through a map of their own.

    What is read through a map counts as memory of the process until that map is gone.
    """
    stop = min(stop, len(mapped))
    if start >= stop:
        return np.empty((0, *mapped.shape[1:]), mapped.dtype)
    offset = mapped.offset + start * mapped.strides[0]
    shape = (stop - start, *mapped.shape[1:])
    return np.array(np.memmap(mapped.filename, mapped.dtype, "r", offset, shape))


def training_loader(
    *arrays: np.ndarray, batch_size: int, rng: Union[np.random.Generator, int, None]
) -> BatchLoader:
    """The chapter's training batches: shuffled by ``rng``, the rows of a short one rolled over."""
    return BatchLoader(*arrays, batch_size=batch_size, shuffle=True, last_batch="rollover", rng=rng)
