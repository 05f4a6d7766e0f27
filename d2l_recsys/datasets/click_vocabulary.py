"""Which values of a categorical field are frequent enough to have an id of their own.

Counting has to remember every value it has seen, and a field may have as many as there are rows.
So counts beyond a limit go to a file of SQLite's, which adds them up in the end, in sorted order
and bounded memory.
"""

import contextlib
import pathlib
import sqlite3
from typing import Dict, Iterable, Iterator, List, Optional, Tuple

from d2l_recsys.errors import OutputError

# The chapter's form: the ids of the values of each field, which are numbered from 1.
FeatureMap = Dict[int, Dict[str, int]]

# Values counted in memory, over all fields: a few tens of MiB of strings and counts.
VALUES_IN_MEMORY = 200_000


class ValueCounts:
    """How often each value of each field occurs.

    ``file`` is where the counts go that exceed ``limit`` values (default: 200,000, over all
    fields); without it all stay in memory.
    ``file`` is made anew if need be and left to the caller to delete. Raises OutputError where it
    cannot be written.
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
        """Count ``counts[i]`` more of ``values[i]`` in ``field`` (from 0)."""
        so_far = self.counts[field]
        for value, count in zip(values, counts):
            so_far[value] = so_far.get(value, 0) + count
        if self.file is not None and sum(map(len, self.counts)) > self.limit:
            self._spill()

    def frequent(self, field: int, min_threshold: int) -> List[str]:
        """The values of ``field`` seen at least ``min_threshold`` times, and once, sorted."""
        if self._database is None:
            counts = self.counts[field]
            return sorted(v for v, n in counts.items() if n >= max(min_threshold, 1))
        self._spill()
        with _explained(self.file):
            # SQLite compares UTF-8 bytes, which order as Python orders strings.
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
                # The file does not outlive the run, so nothing has to survive a crash.
                self._database.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;")
                # What it sorts in the end goes where the caller has made room, not to /tmp.
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
        """Let go of the file."""
        if self._database is not None:
            self._database.close()


@contextlib.contextmanager
def _explained(file: pathlib.Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise OutputError(
            f"cannot write {file}: {error}; make room there or choose another folder "
            "(encoded_dir, $D2L_RECSYS_DATA)"
        ) from error


def feature_map(
    counts: ValueCounts, num_fields: int, min_threshold: int
) -> Tuple[FeatureMap, Dict[int, int]]:
    """``feat_mapper`` and ``defaults`` of section 15.8: ids for values, and for all the rare ones.

    The values seen at least ``min_threshold`` times get the ids 0, 1, ... in sorted order; any
    other value of the field has the id after them. Both dicts have the fields 1 ... num_fields.
    """
    feat_mapper = {
        field + 1: {value: i for i, value in enumerate(counts.frequent(field, min_threshold))}
        for field in range(num_fields)
    }
    return feat_mapper, {field: len(ids) for field, ids in feat_mapper.items()}
