"""MovieLens-100K (section 15.2): find it, fetch it, and read its files as tables.

If a file is damaged, the error names the wrong line. Needs numpy and pandas, but not MXNet.
"""

import hashlib
import io
import pathlib
import re
from typing import Dict, Iterator, List, NamedTuple, Optional, Tuple

import numpy as np
import pandas as pd

from d2l_recsys.datasets.download import Source, download_url, download_wheel, fetch, verify
from d2l_recsys.datasets.location import PathLike, data_folder, folder_to_fill, named_in_errors
from d2l_recsys.errors import DataError
from d2l_recsys.storage.files import content_of

COLUMNS = ["user_id", "item_id", "rating", "timestamp"]
U_DATA_SHA256 = "06416e597f82b7342361e41163890c81036900f418ad91315590814211dca490"
# The genres in the order of the last nineteen columns of u.item.
# fmt: off
GENRES = (
    "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary",
    "Drama", "Fantasy", "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi",
    "Thriller", "War", "Western",
)
# fmt: on


class Layout(NamedTuple):
    """The file names and the header of one distribution of MovieLens-100K."""

    ratings: str
    ratings_header: Optional[str]
    items: str
    users: str


GROUPLENS = Layout("u.data", None, "u.item", "u.user")
RECBOLE = Layout(
    "ml-100k.inter",
    "user_id:token\titem_id:token\trating:float\ttimestamp:float",
    "ml-100k.item",
    "ml-100k.user",
)

ML100K_SOURCES = (
    Source(
        name="GroupLens",
        url="https://files.grouplens.org/datasets/movielens/ml-100k.zip",
        known_hash="sha1:cd4dcac4241c8a4ad7badc7ca635da8a69dddb83",
        members={name: f"ml-100k/{name}" for name in ("u.data", "u.item", "u.user", "README")},
        download=download_url,
    ),
    Source(
        name="the PyPI wheel of recbole 1.2.1",
        url="recbole==1.2.1",
        known_hash="sha256:9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407",
        members={
            name: f"recbole/dataset_example/ml-100k/{name}"
            for name in (RECBOLE.ratings, RECBOLE.items, RECBOLE.users)
        },
        download=download_wheel,
    ),
)


class Location(NamedTuple):
    """The folder of MovieLens-100K, its layout, and its record if it was fetched."""

    folder: pathlib.Path
    layout: Layout
    record: dict

    @property
    def ratings(self) -> pathlib.Path:
        """The path of the file of ratings."""
        return self.folder / self.layout.ratings

    def rating_lines(self) -> bytes:
        """Returns the lines of the file of ratings, without the header."""
        content = _read_bytes(self.ratings)
        header = self.layout.ratings_header
        if header is None:
            return content
        first, _, lines = content.partition(b"\n")
        if first.strip() != header.encode():
            raise DataError(
                f"{self.ratings}, line 1: expected the header {header!r}; replace the file"
            )
        return lines


def find_ml100k(data_dir: Optional[PathLike] = None) -> Location:
    """Find MovieLens-100K; fetch it if it is missing.

    Searches ``data_dir`` (default: ``default_data_dir()``) and its folder ``ml-100k`` for the files
    of GroupLens or of the recbole wheel. Fetched files go to the folder ``ml-100k``. Each time they
    are found, they are checked against their SHA-256.

    Raises DataError if the named folder does not exist, if fetched files have changed, or if no
    source delivers the files.
    """
    location = locate_ml100k(data_dir)
    if location is None:
        target = folder_to_fill(data_dir) / "ml-100k"
        by_hand = (
            f"put u.data, u.item and u.user of ml-100k.zip by hand into {target}, "
            "or name a folder that holds them with --data-dir"
        )
        fetch(ML100K_SOURCES, target, by_hand)
        location = locate_ml100k(data_dir)
        if location is None:
            raise DataError(
                f"{target} has source.json but no ratings; delete it to fetch the data again"
            )
    return location


def locate_ml100k(data_dir: Optional[PathLike] = None) -> Optional[Location]:
    """Returns the same location as ``find_ml100k``, or None if the data must first be fetched."""
    folder = data_folder(data_dir)
    with named_in_errors(data_dir):
        found = _layout_in(folder) or _layout_in(folder / "ml-100k")
    return found and Location(*found, record=verify(found[0]))


def _layout_in(folder: pathlib.Path) -> Optional[Tuple[pathlib.Path, Layout]]:
    for layout in (GROUPLENS, RECBOLE):
        path = folder / layout.ratings
        if path.is_file():
            return folder, layout
        if path.exists():
            raise DataError(
                f"{path} is not a file; replace it by the ratings, or name another folder"
            )
    return None


def dataset_ml100k(data_dir: Optional[PathLike] = None) -> Dict[str, object]:
    """Describe the ratings for a result: name, source, SHA-256 of the rating lines, substitute.

    The header line of the wheel's file does not count, so its digest is the same as that of
    ``u.data``. ``substitute`` is True for all other ratings. Their numbers do not compare with the
    chapter's numbers.
    """
    location = find_ml100k(data_dir)
    digest = hashlib.sha256(location.rating_lines()).hexdigest()
    return {
        "name": "ml-100k",
        "source": location.record.get("source", "a folder of the user's"),
        "sha256": digest,
        "substitute": digest != U_DATA_SHA256,
    }


# Reading


def read_data_ml100k(data_dir: Optional[PathLike] = None) -> Tuple[pd.DataFrame, int, int]:
    """Read the ratings in file order, and the numbers of users and items.

    Returns a frame, ``num_users`` and ``num_items``. The frame has int64 columns ``user_id`` and
    ``item_id`` (both from 1), ``rating`` (1 to 5) and ``timestamp`` (seconds since 1970).

    Raises DataError if the file is empty, if a line is not four whole numbers, if a rating is
    outside 1-5, or if a user-item pair occurs twice; the message names the file and the line. Also
    raises DataError if the ids have gaps, and names the id: the number of distinct ids would then
    not be the size of the embedding table.
    """
    location = find_ml100k(data_dir)
    first_line = 1 if location.layout.ratings_header is None else 2
    data = _parse_ratings(location.ratings, location.rating_lines(), first_line)
    _check_ratings(data, location.ratings, first_line)
    return data, data["user_id"].nunique(), data["item_id"].nunique()


def _read_bytes(path: pathlib.Path) -> bytes:
    try:
        return content_of(path)
    except OSError as error:
        raise DataError(
            f"{path} cannot be read: {error.strerror or error}; put a readable file there"
        ) from error


def _parse_ratings(path: pathlib.Path, body: bytes, first_line: int) -> pd.DataFrame:
    """Returns the rating lines ``body`` of the file ``path`` as int64 columns."""
    body = body.replace(b"\r\n", b"\n").rstrip(b"\n")
    if not body:
        raise DataError(f"{path} is empty; delete it to fetch the data, or replace it")
    # Refuse other bytes here: pandas cuts a field at a NUL, strips quotes and reads 4.0 as 4.
    if body.translate(None, b"0123456789-\t\n"):
        raise _first_bad_line(path, body, first_line)
    try:
        data = pd.read_csv(
            io.BytesIO(body),
            sep="\t",
            names=COLUMNS,
            dtype=np.int64,
            skip_blank_lines=False,
            encoding="latin-1",
        )
    except (ValueError, OverflowError):
        data = None
    # pandas also accepts too many or too few columns, and gives large numbers another dtype.
    if (
        data is None
        or body.count(b"\t") != (len(COLUMNS) - 1) * len(data)
        or (data.dtypes != np.int64).any()
    ):
        raise _first_bad_line(path, body, first_line)
    return data


def _first_bad_line(path: pathlib.Path, body: bytes, first_line: int) -> DataError:
    for number, line in enumerate(body.split(b"\n"), first_line):
        fields = line.split(b"\t")
        if len(fields) != len(COLUMNS):
            return DataError(
                f"{path}, line {number}: found {len(fields)} columns, expected {len(COLUMNS)} "
                f"({', '.join(COLUMNS)}, separated by tabs); correct the line"
            )
        for name, field in zip(COLUMNS, fields):
            if not re.fullmatch(rb"-?0*[0-9]{1,19}", field) or _too_large(field):
                shown = field[:40].decode("latin-1")
                return DataError(
                    f"{path}, line {number}: {name} is {shown!r}, not a whole number of 64 bits; "
                    "correct the line"
                )
    return DataError(
        f"{path} must have four whole numbers per line, separated by tabs; replace the file"
    )


def _too_large(field: bytes) -> bool:
    """Whether a whole number of up to 19 digits, after leading zeros, does not fit into int64."""
    digits = int(field.lstrip(b"-0") or 0)
    return digits > 2**63 - (not field.startswith(b"-"))


def _check_ratings(data: pd.DataFrame, path: pathlib.Path, first_line: int) -> None:
    outside = ~data["rating"].between(1, 5)
    if outside.any():
        row = int(np.argmax(outside))
        raise DataError(
            f"{path}, line {row + first_line}: the rating {data['rating'][row]} is outside 1-5; "
            "correct the line"
        )
    repeated = data.duplicated(["user_id", "item_id"])
    if repeated.any():
        row = int(np.argmax(repeated))
        user, item = data["user_id"][row], data["item_id"][row]
        first = int(np.argmax((data["user_id"] == user) & (data["item_id"] == item)))
        raise DataError(
            f"{path}, line {row + first_line}: user {user} has already rated item {item}, "
            f"on line {first + first_line}; keep one of the two lines"
        )
    for column in ("user_id", "item_id"):
        ids = np.unique(data[column])
        gaps = np.flatnonzero(ids != np.arange(1, len(ids) + 1))
        if len(gaps):
            where, expected = ids[gaps[0]], gaps[0] + 1
            raise DataError(
                f"{path}: {column}s must run from 1 without gaps, but {where} was found where "
                f"{expected} was expected; renumber the ids"
            )


def read_items_ml100k(data_dir: Optional[PathLike] = None) -> pd.DataFrame:
    """Read the movies: ``item_id``, ``title`` without the year, ``year`` and ``genres``.

    ``year`` is <NA> if it is unknown. ``genres`` has lists of names. Both layouts give the same
    frame. If a line is not a movie, raises DataError with the file and the line.
    """
    location = find_ml100k(data_dir)
    path = location.folder / location.layout.items
    if location.layout is GROUPLENS:
        movies = []
        for number, row in _rows(path, "|", 5 + len(GENRES), "latin-1"):
            title, year = title_and_year(row[1])
            wrong = next((flag for flag in row[5:] if flag not in ("0", "1")), None)
            if wrong is not None:
                raise DataError(
                    f"{path}, line {number}: a genre is {wrong[:40]!r}, not 0 or 1; "
                    "correct the line"
                )
            genres = [genre for genre, flag in zip(GENRES, row[5:]) if flag == "1"]
            movies.append((_integer(path, number, "item id", row[0]), title, year, genres))
    else:
        movies = []
        for number, row in _rows(path, "\t", 4, "utf-8", header=True):
            year = int(row[2]) if re.fullmatch(r"\d{4}", row[2]) else None
            title = row[1].strip()
            if year is None:
                title, year = title_and_year(title)
                title = title.replace("unkonwn", "unknown")  # the wheel's spelling of item 267
            movies.append((_integer(path, number, "item id", row[0]), title, year, row[3].split()))
    frame = pd.DataFrame(movies, columns=["item_id", "title", "year", "genres"])
    return frame.astype({"year": "Int64"})


def read_users_ml100k(data_dir: Optional[PathLike] = None) -> pd.DataFrame:
    """Read the users: ``user_id``, ``age``, ``gender``, ``occupation`` and ``zip_code``.

    Age is in years. The zip code is a string. If a line is not a user, raises DataError with the
    file and the line.
    """
    location = find_ml100k(data_dir)
    path = location.folder / location.layout.users
    grouplens = location.layout is GROUPLENS
    rows = _rows(path, "|" if grouplens else "\t", 5, "utf-8", header=not grouplens)
    users = [
        (_integer(path, number, "user id", row[0]), _integer(path, number, "age", row[1]), *row[2:])
        for number, row in rows
    ]
    return pd.DataFrame(users, columns=["user_id", "age", "gender", "occupation", "zip_code"])


def _rows(
    path: pathlib.Path, separator: str, columns: int, encoding: str, header: bool = False
) -> Iterator[Tuple[int, List[str]]]:
    """Yields the line number and the fields of each line of a small text table."""
    try:
        text = _read_bytes(path).decode(encoding)
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} is not {encoding} text ({error.reason}); replace the file"
        ) from error
    for number, line in enumerate(text.rstrip("\r\n").split("\n"), 1):
        fields = line.rstrip("\r").split(separator)
        if len(fields) != columns:
            raise DataError(
                f"{path}, line {number}: found {len(fields)} columns, expected {columns} "
                f"(separated by {separator!r}); correct the line"
            )
        if not (header and number == 1):
            yield number, fields
    if header and number == 1:
        raise DataError(f"{path} has only a header; replace the file")


def _integer(path: pathlib.Path, number: int, name: str, field: str) -> int:
    if not re.fullmatch(r"[0-9]{1,18}", field):
        raise DataError(
            f"{path}, line {number}: {name} is {field[:40]!r}, not a whole number; correct the line"
        )
    return int(field)


def title_and_year(text: str) -> Tuple[str, Optional[int]]:
    """Splits ``Toy Story (1995)`` into title and year; drops a final ``(V)`` (it marks a video)."""
    # Strip blanks with strip(): a pattern for them takes time with the cube of their number.
    match = re.fullmatch(r"(.*)\((\d{4})\)\s*(?:\(V\))?", text.strip())
    return (match[1].strip(), int(match[2])) if match else (text.strip(), None)
