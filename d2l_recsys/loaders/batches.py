"""Batches of rows from numpy arrays; the options mean the same as in Gluon's ``DataLoader``.

``MappedLoader`` reads arrays that are larger than memory, piece by piece.
"""

import math
import mmap
from typing import Any, Dict, Iterator, List, NamedTuple, Sequence, Tuple, Union

import numpy as np

from d2l_recsys.errors import DataError, SettingError

LAST_BATCH = ("keep", "discard", "rollover")
# The number of batches that are copied from the arrays at once. More batches make the copy cheaper.
# Fewer batches need less memory, which matters for a data set that is larger than memory.
BATCHES_PER_BLOCK = 64
# The number of rows that are read from a mapped file at once.
ROWS_PER_PIECE = 1024


class LoaderState(NamedTuple):
    """The state of a loader: it decides the next epochs, together with the arrays and options.

    ``generators`` has the state of each random generator. ``rolled_over`` has the rows that roll
    over into the next epoch: their numbers for a ``BatchLoader``, the rows themselves for a
    ``MappedLoader``.
    """

    generators: List[Dict[str, Any]]
    rolled_over: List[np.ndarray]


class BatchLoader:
    """Iterates over arrays of the same length in batches of rows.

    Parameters
    ----------
    *arrays : arrays with the same first dimension; row i of all arrays is sample i
    batch_size : the number of rows in a batch, 1 or more
    shuffle : if True, each epoch has a new random order, drawn from ``rng``
    last_batch : what to do with the rows that do not fill a batch. ``keep`` yields them as a
        shorter batch, ``discard`` drops them, ``rollover`` puts them at the start of the next epoch
    rng : a numpy Generator, or a seed for one; only ``shuffle`` uses it

    Each batch is a list with one array per input array. If there is only one input array, the batch
    is an array. As in Gluon, if an epoch is not iterated to its end, the rows that rolled over into
    this epoch are lost. The class does the work of Gluon's ``ArrayDataset`` and ``DataLoader`` in
    the chapter.

    Raises SettingError if ``batch_size`` or ``last_batch`` is not valid, if there is no array, or
    if the arrays have different lengths.
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
            raise SettingError(
                f"the arrays must have the same length; their lengths are: {lengths}"
            )
        if batch_size < 1:
            raise SettingError(f"batch_size is {batch_size}; it must be 1 or more")
        if last_batch not in LAST_BATCH:
            raise SettingError(
                f"last_batch is {last_batch!r}; choose one of: {', '.join(LAST_BATCH)}"
            )
        self.arrays = arrays
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.last_batch = last_batch
        self.rng = np.random.default_rng(rng)
        self._rolled_over = np.empty(0, dtype=np.int64)

    def __len__(self) -> int:
        """Returns the number of batches in the next epoch."""
        rows = len(self.arrays[0])
        if self.last_batch == "keep":
            return math.ceil(rows / self.batch_size)
        return (rows + self._rows_rolled_over()) // self.batch_size

    def _rows_rolled_over(self) -> int:
        return len(self._rolled_over)

    @property
    def generators(self) -> List[np.random.Generator]:
        """The random generators from which the batches are drawn."""
        return [self.rng]

    @property
    def state(self) -> LoaderState:
        """The state that decides the next epochs. Read it and set it only between two epochs.

        A loader whose state is set yields the same epochs as the loader from which the state was
        read. Raises DataError if the state does not belong to a loader like this one.
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
            raise DataError("the state belongs to another loader")
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
            raise DataError("the state has rolled-over rows that are not in the data")
        self._rolled_over = rows

    def __iter__(self) -> Iterator[Union[np.ndarray, List[np.ndarray]]]:
        for arrays, bounds in self.blocks():
            for start, stop in bounds:
                batch = [a[start:stop] for a in arrays]
                yield batch if len(batch) > 1 else batch[0]

    def blocks(
        self, batches: int = BATCHES_PER_BLOCK
    ) -> Iterator[Tuple[List[np.ndarray], List[Tuple[int, int]]]]:
        """Yields one epoch in blocks of up to ``batches`` batches, for code that moves much data.

        Each block is a pair: a list of arrays with the rows of the block, in order, and the (start,
        stop) of each batch in these arrays.
        """
        order, remainder = self._next_order()
        block = batches * self.batch_size
        for first in range(0, len(order), block):
            rows = order[first : first + block]
            yield [a[rows] for a in self.arrays], self._bounds(len(rows))
        # As in Gluon's sampler, this line runs only if the epoch ran to its end.
        self._rolled_over = remainder

    def _bounds(self, rows: int) -> List[Tuple[int, int]]:
        starts = range(0, rows, self.batch_size)
        return [(start, min(start + self.batch_size, rows)) for start in starts]

    def _next_order(self) -> Tuple[np.ndarray, np.ndarray]:
        """Returns the row numbers of the next epoch, and those that roll over after it."""
        rows = len(self.arrays[0])
        order = self.rng.permutation(rows) if self.shuffle else np.arange(rows)
        order = np.concatenate([self._rolled_over, order])
        self._rolled_over = order[:0]
        if self.last_batch == "keep":
            return order, order[:0]
        full = len(order) - len(order) % self.batch_size
        return order[:full], order[full:] if self.last_batch == "rollover" else order[:0]


class MappedLoader(BatchLoader):
    """A ``BatchLoader`` over ``numpy.memmap`` arrays; memory does not grow with the number of rows.

    Without ``shuffle`` the batches are the same as those of ``BatchLoader``. With ``shuffle`` the
    loader reads pieces of 1024 consecutive rows in a random order. It joins pieces to a block with
    enough rows for 32 batches, and shuffles the rows of a block together. So not every order of the
    rows is possible, but the disk is read in long stretches. Arrays of up to 32 batches are
    shuffled as evenly as by ``BatchLoader``.

    Raises SettingError if an array is not a whole map of a file. (A slice of a map is not.)
    """

    def __init__(self, *arrays: np.memmap, **options: Any) -> None:
        super().__init__(*arrays, **options)
        if not all(isinstance(a, np.memmap) and isinstance(a.base, mmap.mmap) for a in arrays):
            raise SettingError(
                "MappedLoader needs whole numpy.memmap arrays; use BatchLoader for other arrays"
            )
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
        """Yields one epoch in blocks of batches, as in ``BatchLoader``."""
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
        # This line runs only if the epoch ran to its end.
        self._rolled_over = waiting if self.last_batch == "rollover" else none


def _rows_of(mapped: np.memmap, start: int, stop: int) -> np.ndarray:
    """Returns a copy of some rows, read through a new map.

    Rows that are read through a map count as memory of the process until the map is deleted.
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
    """Returns the chapter's training batches: shuffled with ``rng``, with ``rollover``."""
    return BatchLoader(*arrays, batch_size=batch_size, shuffle=True, last_batch="rollover", rng=rng)
