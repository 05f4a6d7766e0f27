"""Claims about the runs of an exercise, and their check against the seeds.

A claim is a line such as ``test_rmse: num_factors=100 < num_factors=5``. Both sides name a row of
the table by its labels. The runs of both rows are compared seed by seed. The claim holds if the
95 % interval of the mean difference (Student's t) lies below 0; with ``>``, if it lies above 0.
``~`` claims that the runs show no difference: the interval contains 0. A row with a single run, of
a system that draws no random numbers, is compared with each run of the other row.
"""

import math
import re
from typing import NamedTuple, Optional, Sequence

import numpy as np
import scipy.stats

from d2l_recsys.reproduction.tables import formatted, words
from d2l_recsys.sweeps.grid import as_text
from d2l_recsys.sweeps.table import Row

LEVEL = 0.95
CLAIM = re.compile(r"(?:(\d+): )?(\w+): (.*?) ([<>~]) (.*)")
# The square brackets of a Markdown link are no place.
PLACE = re.compile(r"\[(?:(\d+): )?(count )?(\w+)((?: \w+=[^\s\]]+)*)\](?!\()")


class Checked(NamedTuple):
    """A claim beside the runs: the mean difference of both sides, and its interval.

    ``holds`` is None if there is no interval: ``reason`` then says why.
    """

    claim: str
    difference: float
    low: float
    high: float
    holds: Optional[bool]
    reason: str = ""

    def __str__(self) -> str:
        part, number, left, relation, right = CLAIM.fullmatch(self.claim).groups()
        verb = {
            "<": "is lower than",
            ">": "is higher than",
            "~": "is not clearly different from that",
        }
        said = f"{words(number)} {verb[relation]} with {right}: "
        table = f"table {part}: " if part else ""
        said = f"{table}with {left}, {said}{self.difference:+.4f}"
        if self.holds is None:
            return f"{said}; {self.reason}"
        found = f"{said}, 95 % interval {self.low:+.4f} to {self.high:+.4f}"
        return f"{found}: {'holds' if self.holds else 'NOT SHOWN'}"


def check(claim: str, parts: Sequence[Sequence[Row]]) -> Checked:
    """Compare ``claim`` with the rows of each part. Raises KeyError if a side names no row."""
    part, number, left, relation, right = CLAIM.fullmatch(claim).groups()
    rows = parts[int(part or 1) - 1]
    first, second = (_values_of(row_with(rows, labels), number) for labels in (left, right))
    if not (len(first) and len(second)):
        return Checked(claim, *[math.nan] * 3, None, "a run failed")
    differences = first - second
    mean, n = float(differences.mean()), len(differences)
    if n < 2:
        return Checked(claim, mean, mean, mean, None, "one seed gives no interval")
    reach = scipy.stats.t.ppf((1 + LEVEL) / 2, n - 1) * differences.std(ddof=1) / np.sqrt(n)
    low, high = float(mean - reach), float(mean + reach)
    holds = {"<": high < 0, ">": low > 0, "~": low <= 0 <= high}[relation]
    return Checked(claim, mean, low, high, bool(holds))


def _values_of(row: Row, number: str) -> np.ndarray:
    """The values of ``number``, one for each seed; empty if a run failed."""
    return np.array([] if row.num_failed else row.numbers[number].values)


def row_with(rows: Sequence[Row], labels: str) -> Row:
    """The row with ``labels``, such as ``lr=0.01 wd=0``. Raises KeyError if it is not one row."""
    wanted = dict(word.split("=", 1) for word in labels.split())
    found = [
        row
        for row in rows
        if wanted.items() <= {name: as_text(value) for name, value in row.labels.items()}.items()
    ]
    if len(found) != 1:
        raise KeyError(f"{len(found)} rows have {labels!r}")
    return found[0]


def filled(answer: str, parts: Sequence[Sequence[Row]]) -> str:
    """``answer`` with the numbers of the runs at its places."""

    def number_at(place: "re.Match[str]") -> str:
        part, is_count, number, labels = place.groups()
        row = row_with(parts[int(part or 1) - 1], labels.strip())
        if row.all_failed:
            return "(no number)"
        spread = row.numbers[number]
        if is_count:
            return str(sum(value == 1 for value in spread.values))
        texts = [formatted(number, spread.mean)]
        if len(spread.values) > 1:
            texts.append(formatted(number, spread.sd))
        return " ± ".join(texts)

    return PLACE.sub(number_at, answer)
