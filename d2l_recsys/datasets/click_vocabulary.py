"""Count the values of categorical fields, and give ids to the frequent values.

Counting must remember every value, and a field may have as many values as there are rows. So counts
beyond a limit go to an SQLite file. In the end SQLite adds up the counts, in sorted order and with
bounded memory.
"""

import contextlib
import pathlib
import sqlite3
from typing import Dict, Iterable, Iterator, List, Optional, Tuple

from d2l_recsys.errors import OutputError

# As in the chapter: for each field, numbered from 1, the ids of its values.
FeatureMap = Dict[int, Dict[str, int]]

# The number of values in memory, over all fields: a few tens of MiB of strings and counts.
VALUES_IN_MEMORY = 200_000


class ValueCounts:
    """Counts how often each value of each field occurs.

    If more than ``limit`` values are in memory (default: 200,000, over all fields), the counts go
    to ``file``. Without ``file``, all counts stay in memory. ``file`` is made when it is needed,
    and the caller must delete it. Raises OutputError if ``file`` cannot be written.
    """

    def __init__(
        self,
        num_fields: int,
        file: Optional[pathlib.Path] = None,
        limit: Optional[int] = None,
    ) -> None:
        self.counts: List[Dict[str, int]] = [{} for _ in range(num_fields)]
        self.file = file
        self.limit = VALUES_IN_MEMORY if limit is None else limit
        self._database: Optional[sqlite3.Connection] = None

    def add(self, field: int, values: Iterable[str], counts: Iterable[int]) -> None:
        """Add ``counts[i]`` occurrences of ``values[i]`` in ``field`` (numbered from 0)."""
        so_far = self.counts[field]
        for value, count in zip(values, counts):
            so_far[value] = so_far.get(value, 0) + count
        if self.file is not None and sum(map(len, self.counts)) > self.limit:
            self._spill()

    def frequent(self, field: int, min_threshold: int) -> List[str]:
        """Returns the sorted values of ``field`` that occur ``min_threshold`` times or more.

        A threshold below 1 means 1.
        """
        if self._database is None:
            counts = self.counts[field]
            return sorted(v for v, n in counts.items() if n >= max(min_threshold, 1))
        self._spill()
        with _explained(self.file):
            # SQLite compares the UTF-8 bytes, which gives the same order as Python.
            rows = self._database.execute(
                f"SELECT value FROM field_{field} GROUP BY value HAVING SUM(count) >= ? "
                "ORDER BY value",
                [max(min_threshold, 1)],
            )
            return [value for (value,) in rows]

    def _spill(self) -> None:
        with _explained(self.file):
            if self._database is None:
                self._database = sqlite3.connect(str(self.file), isolation_level=None)
                # The file is deleted after the count, so it need not survive a crash.
                self._database.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;")
                # Sort in the folder of the caller, which has enough disk space, and not in /tmp.
                folder = str(self.file.parent).replace("'", "''")
                self._database.execute(f"PRAGMA temp_store_directory = '{folder}'")
                for field in range(len(self.counts)):
                    self._database.execute(
                        f"CREATE TABLE field_{field} (value TEXT, count INTEGER)"
                    )
            self._database.execute("BEGIN")
            for field, counts in enumerate(self.counts):
                insert = f"INSERT INTO field_{field} VALUES (?, ?)"
                self._database.executemany(insert, counts.items())
                counts.clear()
            self._database.execute("COMMIT")

    def close(self) -> None:
        """Close the file."""
        if self._database is not None:
            self._database.close()


@contextlib.contextmanager
def _explained(file: pathlib.Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise OutputError(
            f"cannot write {file}: {error}; free some disk space or choose another folder "
            "(encoded_dir, $D2L_RECSYS_DATA)"
        ) from error


def feature_map(
    counts: ValueCounts, num_fields: int, min_threshold: int
) -> Tuple[FeatureMap, Dict[int, int]]:
    """Returns ``feat_mapper`` and ``defaults`` of section 15.8: ids of frequent and of rare values.

    The values that occur at least ``min_threshold`` times get the ids 0, 1, ... in sorted order.
    All other values of the field share the next id, the default. The keys of both dicts are the
    fields 1 ... num_fields.
    """
    feat_mapper = {
        field + 1: {value: i for i, value in enumerate(counts.frequent(field, min_threshold))}
        for field in range(num_fields)
    }
    return feat_mapper, {field: len(ids) for field, ids in feat_mapper.items()}
