"""Read files of clicks (section 15.8) in chunks of rows, in the layout of each data set.

A row is a label (1 for a click) and the values of some categorical fields. The files of the book,
of Criteo and of Avazu differ in separator, header and columns. A ``RowLayout`` describes these.
Rows that do not fit the layout are left out and counted.
"""

import codecs
import contextlib
import csv
import datetime
import gzip
import hashlib
import io
import math
import os
import pathlib
import re
import zlib
from typing import BinaryIO, Callable, Iterator, List, NamedTuple, Optional, Tuple, Union

import numpy as np
import pandas as pd
from tqdm import tqdm

from d2l_recsys.errors import DataError

ClickFile = Union[str, "os.PathLike[str]", BinaryIO]

# The bytes that are read at once, so many that pandas is fast. As Python strings, they take about a
# hundred MiB.
CHUNK_BYTES = 2**23
# The largest length of a line. No click needs more. The limit bounds the memory for files that do
# not have clicks, above all for packed files.
LINE_BYTES = 2**23
# The line number and the reason are kept for this many of the rows left out.
LINES_KEPT = 100
# If one file has the training rows and the test rows, every tenth row is a test row.
TEST_EVERY = 10
SHARES = {None: 1.0, "train": 1 - 1 / TEST_EVERY, "test": 1 / TEST_EVERY}


class Field(NamedTuple):
    """A categorical field: its name, its column, and a function for its value.

    ``value`` maps the text in the column to the value of the field, or to None if the text is not
    valid. Without ``value``, the text is the value.
    """

    name: str
    column: int
    value: Optional[Callable[[str], Optional[str]]] = None


class RowLayout(NamedTuple):
    """How a data set writes a row: separator, columns, column of the label, fields, header."""

    separator: str
    columns: int
    label: int
    fields: Tuple[Field, ...]
    header: Optional[str] = None

    @property
    def description(self) -> List[object]:
        """A description as JSON values; two different layouts have different descriptions."""
        fields = [(name, column, value and value.__name__) for name, column, value in self.fields]
        return [self.separator, self.columns, self.label, fields, self.header]


def book(num_feat: int = 34) -> RowLayout:
    """Returns the book's layout: a label and ``num_feat`` values, separated by tabs, no header."""
    fields = tuple(Field(f"field {i}", i) for i in range(1, num_feat + 1))
    return RowLayout("\t", num_feat + 1, 0, fields)


def log_bucket(text: str) -> Optional[str]:
    """Returns a count as a category, or None if the text is not a count.

    A count up to 2 is a category. A larger count is replaced by the whole part of the square of its
    natural logarithm. The team that won Criteo's challenge of 2014 used this rule. The empty text
    of a missing count is a category, too.
    """
    if not re.fullmatch(r"|-?[0-9]{1,18}", text):
        return None
    if not text or int(text) <= 2:
        return text
    return f"log {int(math.log(int(text)) ** 2)}"


def hour_of_day(text: str) -> Optional[str]:
    """Returns the hour of Avazu's time YYMMDDHH, or None if the text is not such a time."""
    return text[6:] if weekday(text) is not None and int(text[6:]) < 24 else None


def weekday(text: str) -> Optional[str]:
    """Returns the weekday of Avazu's time YYMMDDHH (1 is Monday), or None for an invalid date."""
    if not re.fullmatch(r"[0-9]{8}", text):
        return None
    try:
        day = datetime.date(2000 + int(text[:2]), int(text[2:4]), int(text[4:6]))
    except ValueError:
        return None
    return str(day.isoweekday())


# Criteo's display advertising challenge, train.txt: 13 counts and 26 hashed values.
CRITEO = RowLayout(
    "\t",
    40,
    0,
    tuple(
        Field(f"I{i}", i, log_bucket) if i <= 13 else Field(f"C{i - 13}", i) for i in range(1, 40)
    ),
)
# Avazu's click-through rate prediction, train.csv. The first column is an id of the row.
AVAZU_HEADER = (
    "id,click,hour,C1,banner_pos,site_id,site_domain,site_category,app_id,app_domain,app_category,"
    "device_id,device_ip,device_model,device_type,device_conn_type,C14,C15,C16,C17,C18,C19,C20,C21"
)
AVAZU = RowLayout(
    ",",
    24,
    1,
    (
        Field("weekday", 2, weekday),
        Field("hour of day", 2, hour_of_day),
        *(Field(name, i) for i, name in enumerate(AVAZU_HEADER.split(",")) if i > 2),
    ),
    AVAZU_HEADER,
)


class SkippedRows:
    """The rows left out: their number, and the line number and reason of the first 100.

    Line numbers count from 1. If ``strict`` is True, the first such row raises DataError.
    """

    def __init__(self, name: str, strict: bool = False) -> None:
        self.name, self.strict = name, strict
        self.count = 0
        self.lines: List[Tuple[int, str]] = []

    def add(self, lines: List[Tuple[int, str]], count: int) -> None:
        """Add ``count`` rows of a chunk; ``lines`` has line number and reason of the first ones."""
        lines = sorted(lines)
        if lines and self.strict:
            number, reason = lines[0]
            raise DataError(
                f"{self.name}, line {number}: {reason}; correct the line, or leave out --strict "
                "to leave such rows out"
            )
        self.count += count
        self.lines += lines[: LINES_KEPT - len(self.lines)]

    def restore(self, count: int, lines: List[Tuple[int, str]]) -> None:
        """Add the rows that were left out when the file was encoded before."""
        self.add([(number, reason) for number, reason in lines], count)

    def clear(self) -> None:
        """Forget all rows."""
        self.count, self.lines = 0, []

    def __str__(self) -> str:
        """Returns one line for the user, or an empty string if no row was left out."""
        if not self.count:
            return ""
        shown = "; ".join(f"line {number}: {reason}" for number, reason in self.lines[:3])
        more = "; ..." if self.count > 3 else ""
        return f"{self.name}: left out {self.count} rows that are not valid ({shown}{more})"


class Chunk(NamedTuple):
    """Some rows in file order: ``labels`` (n,) float32, ``codes`` (n, fields) int32, ``values``.

    The value of field f in row i is ``values[f][codes[i, f]]``. Some of ``values`` may not occur in
    the rows.
    """

    labels: np.ndarray
    codes: np.ndarray
    values: List[List[str]]


def file_name(data: ClickFile) -> str:
    """Returns the name of a file for messages."""
    return str(getattr(data, "name", "clicks") if hasattr(data, "read") else data)


def digest(data: ClickFile) -> Tuple[str, Optional[int]]:
    """Returns the SHA-256 of a file, and its number of newlines plus 1 (None for a .gz file)."""
    sha256, lines = hashlib.sha256(), 0
    try:
        with contextlib.ExitStack() as stack:
            file = data if hasattr(data, "read") else stack.enter_context(open(data, "rb"))
            file.seek(0)
            for piece in iter(lambda: file.read(CHUNK_BYTES), b""):
                sha256.update(piece)
                lines += piece.count(b"\n")
    except OSError as error:
        raise DataError(
            f"{file_name(data)} cannot be read: {error.strerror or error}; give a readable file"
        ) from error
    packed = file_name(data).endswith(".gz")
    return sha256.hexdigest(), None if packed else lines + 1


def read_chunks(
    data: ClickFile,
    layout: RowLayout,
    skipped: SkippedRows,
    part: Optional[str] = None,
    quiet: bool = True,
) -> Iterator[Chunk]:
    """Read a file of clicks; yields chunks of a few ten thousand rows.

    ``data`` is a path, also of a ``.gz`` file, or a binary file object. ``part`` is ``test`` for
    every tenth row, ``train`` for all other rows, None for all rows. If ``quiet`` is False, a
    progress bar is shown. Lines may end with a newline, a carriage return, or both, as in Python's
    text files.

    A row is left out and added to ``skipped`` if it has the wrong number of columns, a label other
    than 0 or 1, or a value that is not valid in its field. A row is also left out if it is not
    UTF-8 text, has a NUL, or starts with a byte order mark. Raises DataError if the file cannot be
    read, is empty, does not have the header of the layout, or has a line of more than 8 MiB.
    """
    name = file_name(data)
    try:
        with _opened(data) as (file, size):
            if file.read(len(codecs.BOM_UTF8)) != codecs.BOM_UTF8:
                file.seek(0)
            first, any_line = 1, False
            if layout.header is not None:
                header = file.readline(LINE_BYTES)
                if not header:
                    raise DataError(f"{name} is empty; replace it")
                if header.strip() != layout.header.encode():
                    raise DataError(
                        f"{name}, line 1: expected the header {layout.header!r}; add it, or "
                        "replace the file"
                    )
                first = 2
            bar = tqdm(
                total=size,
                desc=f"encoding {os.path.basename(name)}",
                unit="B",
                unit_scale=True,
                leave=False,
                disable=True if quiet else None,
            )
            with bar:
                for number, body in _bodies(file, name, first, bar):
                    lines = body.count(b"\n") + (not body.endswith(b"\n"))
                    in_part = _in_part(number - first, lines, part)
                    yield _parse(body, number, layout, skipped, in_part)
                    any_line = True
            if not any_line:
                raise DataError(f"{name} is empty; replace it")
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{name} is a damaged gzip file ({error}); get the file again") from error
    except OSError as error:
        raise DataError(
            f"{name} cannot be read: {error.strerror or error}; give a readable file"
        ) from error


@contextlib.contextmanager
def _opened(data: ClickFile) -> Iterator[Tuple[BinaryIO, Optional[int]]]:
    """Opens the file; yields it and its size, or None if the size of its content is unknown."""
    if hasattr(data, "read"):
        data.seek(0)
        yield data, None
        return
    path = pathlib.Path(data)
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        yield file, None if path.suffix == ".gz" else path.stat().st_size


def _bodies(
    file: BinaryIO, name: str, number: int, bar: "tqdm[None]"
) -> Iterator[Tuple[int, bytes]]:
    """Yields blocks of complete lines, which end with newlines, and the first line's number."""
    rest = b""
    for piece in iter(lambda: file.read(CHUNK_BYTES), b""):
        bar.update(len(piece))
        body = rest + piece
        # The last line may continue in the next piece. So may a line end of two characters.
        end = max(body.rfind(b"\n"), body.rfind(b"\r", 0, -1)) + 1
        body, rest = body[:end].replace(b"\r\n", b"\n").replace(b"\r", b"\n"), body[end:]
        if body:
            yield number, body
            number += body.count(b"\n")
        if len(rest) > LINE_BYTES:
            raise DataError(
                f"{name}, line {number}: the line has more than {LINE_BYTES:,} bytes, too many for "
                "a click; replace the file"
            )
    if rest:
        yield number, rest.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def _in_part(first_row: int, rows: int, part: Optional[str]) -> np.ndarray:
    """Returns for each of ``rows`` rows, from row ``first_row`` on, whether it is in ``part``."""
    if part is None:
        return np.ones(rows, dtype=bool)
    is_test = (np.arange(first_row, first_row + rows) + 1) % TEST_EVERY == 0
    return is_test if part == "test" else ~is_test


def _parse(
    body: bytes,
    number: int,
    layout: RowLayout,
    skipped: SkippedRows,
    in_part: np.ndarray,
) -> Chunk:
    """Returns the lines of ``body`` as a chunk. The first line is line ``number`` of the file.

    ``in_part`` says for each line whether it belongs to the part.
    """
    is_bad, bad = _bad_lines(body, number, layout, in_part)
    keep = in_part & ~is_bad
    if not keep.all():
        lines = body.split(b"\n")
        body = b"\n".join(lines[i] for i in np.flatnonzero(keep))
    numbers = number + np.flatnonzero(keep)
    columns = sorted({layout.label, *(field.column for field in layout.fields)})
    if len(numbers):
        # Make pandas treat only the separator specially: there are no quotes and no missing values.
        frame = pd.read_csv(
            io.BytesIO(body),
            sep=layout.separator,
            header=None,
            names=range(layout.columns),
            usecols=columns,
            index_col=False,
            dtype=object,
            na_filter=False,
            quoting=csv.QUOTE_NONE,
            skip_blank_lines=False,
            low_memory=False,
            encoding="utf-8",
        )
    else:
        frame = pd.DataFrame({column: np.empty(0, dtype=object) for column in columns})
    labels = frame[layout.label].to_numpy()
    is_click = labels == "1"
    valid = is_click | (labels == "0")
    bad += [
        (int(numbers[i]), f"the label is {labels[i][:40]!r}, not 0 or 1")
        for i in np.flatnonzero(~valid)[:LINES_KEPT]
    ]
    codes = np.empty((len(frame), len(layout.fields)), dtype=np.int32)
    values = []
    for f, field in enumerate(layout.fields):
        texts = frame[field.column].to_numpy()
        of_text, distinct = pd.factorize(texts)
        if field.value is not None:
            made = np.array([field.value(text) for text in distinct], dtype=object)
            of_value, distinct = pd.factorize(made)
            of_text = of_value[of_text]
            wrong = (of_text < 0) & valid
            bad += [
                (int(numbers[i]), f"{field.name} is {texts[i][:40]!r}, not a valid value")
                for i in np.flatnonzero(wrong)[:LINES_KEPT]
            ]
            valid &= ~wrong
        codes[:, f] = of_text
        values.append(distinct.tolist())
    skipped.add(bad, int(is_bad.sum() + (~valid).sum()))
    return Chunk(is_click[valid].astype(np.float32), codes[valid], values)


def _bad_lines(
    body: bytes, number: int, layout: RowLayout, in_part: np.ndarray
) -> Tuple[np.ndarray, List[Tuple[int, str]]]:
    """Returns which lines cannot be split into columns, and number and reason of the first 100."""
    text = np.frombuffer(body, dtype=np.uint8)
    ends = np.flatnonzero(text == ord("\n"))
    if not body.endswith(b"\n"):
        ends = np.append(ends, len(text))
    separators = np.flatnonzero(text == ord(layout.separator))
    columns = np.diff(np.searchsorted(separators, ends), prepend=0) + 1
    not_cut = columns != layout.columns
    not_text, marked = np.zeros_like(not_cut), np.zeros_like(not_cut)
    if not _is_text(body):
        not_text[:] = [not _is_text(line) for line in body.split(b"\n")[: len(ends)]]
    if codecs.BOM_UTF8 in body:  # pandas would drop it from the first line
        marked[:] = [x.startswith(codecs.BOM_UTF8) for x in body.split(b"\n")[: len(ends)]]
    is_bad = (not_cut | not_text | marked) & in_part
    found = []
    for i in np.flatnonzero(is_bad)[:LINES_KEPT].tolist():
        if not_cut[i]:
            reason = f"found {columns[i]} columns, expected {layout.columns}"
        else:
            reason = "not UTF-8 text, or has a NUL" if not_text[i] else "has a byte order mark"
        found.append((number + i, reason))
    return is_bad, found


def _is_text(line: bytes) -> bool:
    try:
        line.decode("utf-8")
    except UnicodeDecodeError:
        return False
    # pandas would end a value at a NUL.
    return b"\0" not in line
