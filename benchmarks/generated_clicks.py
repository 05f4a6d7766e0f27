"""Generated clicks, for benchmarks that lack the book's data or need more rows."""

import pathlib
from typing import Sequence

import numpy as np

__all__ = ["GeneratedClicks"]

# The number of rows generated at a time. The text of so many rows takes a few tens of MiB.
CHUNK_ROWS = 20_000
# Multiplied by this number modulo 2**32, codes look like hashes. The number is odd, so different
# codes stay different.
SCRAMBLE = 2654435761
HEX_DIGITS = np.frombuffer(b"0123456789abcdef", dtype=np.uint8)


class GeneratedClicks:
    """Writes rows in the book's format: a label and one value per field, separated by tabs.

    Parameters
    ----------
    cardinalities : the number of values of each field. The i-th value, from 1, is 1/i times as
        frequent as the first value (Zipf).
    counts : the number of fields, from the first on, whose values are small whole numbers. The
        values of all other fields have eight hexadecimal digits.
    tails : fields, counted from 0, that have a unique value in a third of the rows. A unique value
        occurs only once.
    seed : the seed of all draws.

    Labels follow a logistic model: the log odds of a click are -0.5 plus the weights of the row's
    values. The sum of the weights has a standard deviation of about 2. A unique value has the
    weight 0.
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
        """Generate the next ``rows`` rows and write a file of them.

        The memory that this takes does not grow with ``rows``.
        """
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
        # The array pads shorter values with NUL characters; remove these.
        return text[text != 0].tobytes()


def _numbers(size: int) -> np.ndarray:
    """The characters (uint8) of the numbers 0 ... ``size`` - 1, one row per number."""
    texts = np.array([str(i) for i in range(size)], dtype=bytes)
    return texts.view(np.uint8).reshape(size, -1)


def _hexadecimal(codes: np.ndarray) -> np.ndarray:
    """Eight hexadecimal digits (uint8) per code; different codes below 2**32 differ."""
    scrambled = codes.astype(np.uint64) * np.uint64(SCRAMBLE) & np.uint64(2**32 - 1)
    shifts = np.arange(28, -1, -4, dtype=np.uint64)
    return HEX_DIGITS[(scrambled[:, None] >> shifts) & np.uint64(15)]
