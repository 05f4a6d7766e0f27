"""Clicks made up for benchmarks: where the book's data cannot be had, or more rows are needed."""

import pathlib
from typing import Sequence

import numpy as np

__all__ = ["GeneratedClicks"]

# Rows made at a time: their text takes a few tens of MiB.
CHUNK_ROWS = 20_000
# Codes times this number, cut to 32 bits, look like hashes and are all different: it is odd.
SCRAMBLE = 2654435761
HEX_DIGITS = np.frombuffer(b"0123456789abcdef", dtype=np.uint8)


class GeneratedClicks:
    """Rows in the book's layout: a label, then a value of each field, separated by tabs.

    Parameters
    ----------
    cardinalities : how many values each field has; value number i is 1/i times as frequent as the
        first one (Zipf)
    counts : the first so many fields have small whole numbers for values, the others eight
        hexadecimal digits
    tails : fields (from 0) that in a third of the rows have a value that occurs nowhere else

    Labels follow a logistic model: a row's log odds are -0.5 plus the weights of its values, which
    together have a standard deviation of about 2. (A value of a tail has the weight 0.)
    """

    def __init__(
        self,
        cardinalities: Sequence[int],
        counts: int = 0,
        tails: Sequence[int] = (),
        seed: int = 0,
    ) -> None:
        self.cardinalities, self.counts, self.tails = cardinalities, counts, tails
        self.rng = np.random.default_rng(seed)
        self.written = 0
        scale = 2 / np.sqrt(len(cardinalities))
        self.weights = [self.rng.normal(0, scale, size) for size in cardinalities]
        self.cumulative = [np.cumsum(1 / np.arange(1, size + 1)) for size in cardinalities]
        self.texts = [_numbers(size) for size in cardinalities[:counts]]

    def write(self, path: pathlib.Path, rows: int) -> None:
        """Write a file of ``rows`` more rows, in memory that does not grow with them."""
        with path.open("wb") as file:
            for first in range(0, rows, CHUNK_ROWS):
                file.write(self._chunk(min(CHUNK_ROWS, rows - first)))

    def _chunk(self, rows: int) -> bytes:
        tab = np.full((rows, 1), ord("\t"), dtype=np.uint8)
        log_odds, columns = np.full(rows, -0.5), []
        for f, cumulative in enumerate(self.cumulative):
            drawn = self.rng.random(rows) * cumulative[-1]
            codes = np.searchsorted(cumulative, drawn, side="right")
            weights = self.weights[f][codes]
            if f in self.tails:
                in_tail = self.rng.random(rows) < 1 / 3
                alone = self.cardinalities[f] + self.written + np.arange(rows)
                codes, weights = np.where(in_tail, alone, codes), np.where(in_tail, 0, weights)
            log_odds += weights
            columns += [tab, self.texts[f][codes] if f < self.counts else _hexadecimal(codes)]
        clicks = self.rng.random(rows) < 1 / (1 + np.exp(-log_odds))
        labels = (ord("0") + clicks).astype(np.uint8)[:, None]
        end = np.full((rows, 1), ord("\n"), dtype=np.uint8)
        text = np.concatenate([labels, *columns, end], axis=1)
        self.written += rows
        # Shorter values are padded with NULs.
        return text[text != 0].tobytes()


def _numbers(size: int) -> np.ndarray:
    """The characters of 0, 1, ..., a row each."""
    texts = np.array([str(i) for i in range(size)], dtype=bytes)
    return texts.view(np.uint8).reshape(size, -1)


def _hexadecimal(codes: np.ndarray) -> np.ndarray:
    """Eight digits for each code, different ones for different codes below 2**32."""
    scrambled = codes.astype(np.uint64) * np.uint64(SCRAMBLE) & np.uint64(2**32 - 1)
    shifts = np.arange(28, -1, -4, dtype=np.uint64)
    return HEX_DIGITS[(scrambled[:, None] >> shifts) & np.uint64(15)]
