"""Whatever a file contains, each reader either reads it or raises DataError.

Nothing else may happen: no other error, no warning, no more memory than in proportion to the size
of the file, and no endless work. To test another reader, add a line to ``READERS``.
"""

import collections
import contextlib
import functools
import gzip
import io
import json
import os
import pathlib
import re
import resource
import signal
import tempfile
import warnings
import zlib
from typing import Callable, Dict, NamedTuple

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from d2l_recsys import ctr
from d2l_recsys.ctr import CTRDataset
from d2l_recsys.data import load_data_ml100k, read_data_ml100k, split_and_load_ml100k
from d2l_recsys.datasets import click_files, movielens
from d2l_recsys.datasets.click_files import AVAZU, AVAZU_HEADER, CRITEO, book
from d2l_recsys.datasets.download import file_digest, verify
from d2l_recsys.datasets.movielens import GENRES, RECBOLE, read_items_ml100k, read_users_ml100k
from d2l_recsys.errors import DataError, NoSourceError
from d2l_recsys.reproduction.runs import STAMPED, read_described, read_run
from d2l_recsys.reproduction.summary import summarise
from d2l_recsys.reproduction.tables import data_lines, label, table
from d2l_recsys.runs.results import read_result
from d2l_recsys.storage.archive import KEY, pack

# The limits of reading. A reader may use MEMORY bytes of memory and ADDRESSES bytes of address
# space, each plus MULTIPLE times the size of the file, and SECONDS of time.
MEMORY, ADDRESSES, MULTIPLE, SECONDS = 2**26, 2**28, 64, 60
# Through these files, Linux reports the memory of this process and resets its peak.
STATUS, RESET = pathlib.Path("/proc/self/status"), pathlib.Path("/proc/self/clear_refs")
MOST_BYTES = 2**19


class Reader(NamedTuple):
    """A reader under test.

    ``files()`` returns the names and valid contents of the files. ``read(folder)`` reads these
    files from a folder and checks the result. It returns nothing. It raises DataError if it refuses
    a file, and it fails if the result is wrong. One input of this reader takes as much time as
    ``costs`` inputs of a fast reader.
    """

    name: str
    read: Callable[[pathlib.Path], None]
    files: Callable[[], Dict[str, bytes]]
    costs: int = 1


# The readers, and the checks of their results


def sane_ratings(folder):
    """The ratings agree with those of a very simple reader, and they can be split and loaded."""
    expected = plain_ratings(folder)
    try:
        data, num_users, num_items = read_data_ml100k(folder)
    except DataError as refused:
        message = str(refused)
        assert not isinstance(expected, list), "valid ratings are refused"
        assert expected is None or f", line {expected}: " in message
        raise
    assert data.to_numpy().tolist() == expected
    assert (data.dtypes == np.int64).all()
    assert [num_users, num_items] == [len({row[i] for row in expected}) for i in (0, 1)]
    for feedback in ("explicit", "implicit"):
        for mode in ("random", "seq-aware"):
            *_, train, test = split_and_load_ml100k(mode, feedback, 0.5, 2, folder, 0, 0)
            assert len(train.arrays[0]) + len(test.arrays[0]) == len(expected)
            assert all(users.dtype == np.int32 for users, _, _ in [*train, *test])
        with contextlib.suppress(DataError):  # the matrix may be too large for the memory
            users, items, scores, inter = load_data_ml100k(data, num_users, num_items, feedback)
            ones = np.ones(len(data))
            assert scores.tolist() == (ones if feedback == "implicit" else data["rating"]).tolist()
            if feedback == "explicit":
                assert (inter[items, users] == scores).all()
                assert np.count_nonzero(inter) == len(data)
            else:
                assert sum(map(len, inter.values())) == len(data)


def plain_ratings(folder):
    """Returns the ratings, or the number of the first bad line, or None for another fault."""
    (path,) = [*folder.glob("u.data"), *folder.glob("ml-100k.inter")] or [folder]
    if not path.is_file():
        return None
    content = path.read_bytes()
    if path.name == RECBOLE.ratings:
        header, _, content = content.partition(b"\n")
        if header.strip() != RECBOLE.ratings_header.encode():
            return None
    content = content.replace(b"\r\n", b"\n").rstrip(b"\n")
    rows = []
    for number, line in enumerate(content.split(b"\n"), 1 + (path.name == RECBOLE.ratings)):
        fields = [re.fullmatch(rb"(-?)0*([0-9]{1,19})", field) for field in line.split(b"\t")]
        rows.append([int(field[1] + field[2]) for field in fields if field])
        if len(fields) != 4 or not all(-(2**63) <= n < 2**63 for n in rows[-1]) or None in fields:
            return number if content else None
    rated = all(1 <= row[2] <= 5 for row in rows)
    once = len({(user, item) for user, item, *_ in rows}) == len(rows)
    ids = [sorted({row[i] for row in rows}) for i in (0, 1)]
    without_gaps = all(found == list(range(1, len(found) + 1)) for found in ids)
    return rows if rated and once and without_gaps else None


def sane_items(folder):
    items = read_items_ml100k(folder)
    assert len(items)
    assert items["item_id"].dtype == np.int64
    assert str(items["year"].dtype) == "Int64"
    assert items["year"].dropna().between(0, 9999).all()
    assert all(isinstance(title, str) and title == title.strip() for title in items["title"])
    for name in ("u.item", "ml-100k.item"):
        if (folder / name).is_file():
            lines = (folder / name).read_bytes().rstrip(b"\r\n").count(b"\n") + (name == "u.item")
            assert len(items) == lines
    if (folder / "u.item").is_file():
        flags = (folder / "u.item").read_bytes().decode("latin-1").rstrip("\r\n").split("\n")
        for line, genres in zip(flags, items["genres"]):
            marks = line.rstrip("\r").split("|")[5:]
            assert marks == ["1" if genre in genres else "0" for genre in GENRES]


def sane_users(folder):
    users = read_users_ml100k(folder)
    assert len(users)
    assert (users.dtypes[["user_id", "age"]] == np.int64).all()
    assert (users[["user_id", "age"]] >= 0).all(axis=None)


def clicks(name, layout, chunk_bytes):
    """Returns a reader that reads a file of clicks in all ways; all ways must agree."""
    fields = len(layout.fields)

    def dataset(data, **options):
        try:
            return CTRDataset(data, layout=layout, min_threshold=1, **options)
        except DataError as error:
            return error

    def sane_clicks(folder):
        click_files.CHUNK_BYTES = chunk_bytes
        path = folder / name
        found = dataset(path)
        on_disk = [dataset(path, encoded_dir=folder / "encoded") for _ in ("made", "read")]
        strict = [dataset(path, strict=True)]
        strict.append(dataset(path, strict=True, encoded_dir=folder / "encoded"))
        parts = [dataset(path, part=part) for part in ("train", "test")]
        if isinstance(found, DataError):
            refused = [found, *on_disk, *strict, *parts]
            assert all(isinstance(error, DataError) for error in refused)
            raise found
        assert [isinstance(way, DataError) for way in strict] == [found.skipped.count > 0] * 2
        assert len(found) == sum(len(part) for part in parts if isinstance(part, CTRDataset))
        for other in on_disk:
            assert (other.features == found.features).all()
            assert (other.labels == found.labels).all()
            assert other.feat_mapper == found.feat_mapper
            assert other.skipped.lines == found.skipped.lines
            assert other.skipped.count == found.skipped.count
        sane_encoding(found, fields)
        content = path.read_bytes()
        if path.suffix == ".gz":
            content = gzip.GzipFile(fileobj=io.BytesIO(content)).read(2**16)
        if layout.header is None and len(content) < 2**16:
            mappers = [
                {i + int(offset): value for value, i in found.feat_mapper[f].items()}
                for f, offset in enumerate(found.offsets, 1)
            ]
            rows = [
                [int(label), *(of[i] for of, i in zip(mappers, row))]
                for row, (label,) in zip(found.features.tolist(), found.labels.tolist())
            ]
            assert rows == plain_clicks(content, layout)
            assert found.skipped.count == len(content.splitlines()) - len(rows)

    return sane_clicks


def plain_clicks(content, layout):
    """Returns the valid rows, read one line after another."""
    rows = []
    for line in content[3 * content.startswith(b"\xef\xbb\xbf") :].splitlines():
        with contextlib.suppress(UnicodeDecodeError):
            values = line.decode("utf-8").split(layout.separator)
            if len(values) == layout.columns and "\0" not in line.decode("utf-8"):
                made = [f.value(values[f.column]) if f.value else values[f.column]
                        for f in layout.fields]  # fmt: skip
                if values[0] in ("0", "1") and None not in made:
                    rows.append([int(values[0]), *made])
    return rows


def sane_encoding(found, num_fields):
    """Each id belongs to its field, each label is 0 or 1, and the counts are right."""
    assert found.features.shape == (len(found), num_fields)
    assert found.labels.shape == (len(found), 1)
    dims, starts = np.asarray(found.field_dims), np.asarray(found.offsets)
    assert (found.features >= starts).all()
    assert (found.features < starts + dims).all()
    assert np.isin(found.labels, (0, 1)).all()
    assert found.num_clicks == found.labels.sum()
    assert type(found.num_clicks) is type(found.skipped.count) is int
    for ids in found.feat_mapper.values():
        assert sorted(ids.values()) == list(range(len(ids)))
    assert all(isinstance(line, int) and isinstance(why, str) for line, why in found.skipped.lines)
    assert len(str(found.skipped)) < 2000


def sane_encodings(folder):
    """Read existing encodings of a training set and of its test set."""
    train = encoded_as_before(folder, "train.csv")
    sane_encoding(train, 3)
    sane_encoding(encoded_as_before(folder, "test.csv", train.feat_mapper, train.defaults), 3)


def encoded_as_before(folder, name, *mapper):
    return CTRDataset(
        folder / name, *mapper, min_threshold=2, num_feat=3, encoded_dir=folder / "encoded"
    )


def sane_result(folder):
    """The result can be shown in a table."""
    result = read_result(folder)
    assert table([summarise(result["chapter"], [result])], [label(result)])
    if {"name", "source", "sha256"} <= set(result["dataset"]):
        assert data_lines([result["dataset"]])


def sane_run(folder):
    run = read_run(folder / "mf" / "seed-0")
    assert ", ".join(run.result["environment"]["devices"])
    assert isinstance(run.result.get("processor") or "", str)
    assert "{load}{train}{evaluate}{total}".format(**run.result["seconds"])
    assert table([summarise("mf", [run.result, run.result])])
    assert [row["epoch"] for row in run.history.rows] == [1, 2]
    values = {type(value) for row in run.history.rows for value in row.values()}
    assert values <= {int, float}
    assert run.history.total("examples") is not None
    assert run.history.total("seconds_train") is not None
    run.history.curve("printed", ("train_loss", "test_rmse"))
    assert set(run.stamp) >= STAMPED


def sane_description(folder):
    described = read_described(folder, "movielens")
    assert isinstance(described.figure, bytes)
    assert all(f"{count:,}" for count in described.result.get("ratings", {}).values())
    assert data_lines([described.result["dataset"]])


def sane_record(folder):
    record = verify(folder)
    assert isinstance(record.get("source", ""), str)
    for name in record.get("sha256", ()):
        assert (folder / name).parent == folder
        assert file_digest(folder / name) == record["sha256"][name]


# Valid files


def one(name, content):
    return lambda: {name: content}


RATINGS = b"".join(
    b"%d\t%d\t%d\t%d\n" % (user, item, 1 + (user * item) % 5, 880000000 + (item * 7 + user) % 5)
    for user in range(1, 5) for item in range(1, 5) if (user + item) % 4
)  # fmt: skip
ITEM = "|".join("01"[i in (1, 5)] for i in range(19))
ITEMS = (
    f"1|Toy Story (1995)|01-Jan-1995||http://x|{ITEM}\n2|unknown||||{ITEM}\n"
    f"3|Land, Th\xe9 (1995) (V)|01-Jan-1995||http://x|{ITEM}\n"
).encode("latin-1")
WHEEL_ITEMS = (
    "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
    "1\tToy Story\t1995\tComedy Sci-Fi\n2\tunkonwn\tunkonwn\tunknown\n"
    "3\tLand, Th\xe9 (1995)\tV\tDrama\n"
).encode()
USERS = b"1|24|M|writer|01234\n2|53|F|other|T8H1N\n"
WHEEL_USERS = b"user_id:token\tage:token\tg\to\tz\n" + USERS.replace(b"|", b"\t")
CLICKS = b"".join(b"%d\tv%d\t%s\tw\n" % (i % 2, i % 4, (b"", "é".encode())[i % 3 > 0])
                  for i in range(24))  # fmt: skip
COUNTS = "\t".join(["1", "", "2", "100", "-1", *"00000000", "7", *(f"{i:08x}" for i in range(26))])
CRITEO_CLICKS = (COUNTS + "\n" + "0" + COUNTS[1:] + "\n").encode() * 6
AVAZU_CLICKS = "\n".join(
    [AVAZU_HEADER, *(f"{i},{i % 2},141021{i:02}," + ",".join("abcdefghijklmnopqrstu")
                     for i in range(12)), ""]
).encode()  # fmt: skip
RESULT = {
    "chapter": "mf",
    "protocol": "printed",
    "seed": 0,
    "printed": {"test_rmse": 1.0, "train_loss": None},
    "defined": {"test_rmse": 0.9},
    "reported": {"train_loss": 0.066, "test_rmse": 1.055, "score_user20_item30": 3.1662967,
                 "examples_per_sec": 78035.0},
    "dataset": {"name": "ml-100k", "source": "x", "sha256": "0" * 64, "substitute": False},
    "settings": {"lr": 0.002, "num_epochs": 2, "split": "random"},
    "seconds": {"load": 0.123, "train": 2, "evaluate": 0.5, "total": 2.7},
    "examples_per_second": 1000.5,
    "environment": {"python": "3.11.7", "mxnet": None, "numpy": "1.23.5", "platform": "Linux",
                    "devices": ["cpu(0)"]},
    "processor": "x",
    "ratings": {"1": 2},
}  # fmt: skip
HISTORY = b"""epoch,examples,seconds_train,seconds_evaluate,curve_train_loss,printed_test_rmse
1,100,0.5,0.25,0.3,
2,100,0.5,0.25,0.2,1.0
"""
STAMP = {"variant": "mf", "seed": 0, "num_devices": 2, "options": {"split": "random"},
         "data": "0" * 64, "code": "1" * 64, "environment": {"numpy": None}, "jobs": 1}  # fmt: skip


def as_bytes(value):
    return json.dumps(value, indent=1).encode()


def run_files():
    files = {"run.json": as_bytes(STAMP), "history.csv": HISTORY, "result.json": as_bytes(RESULT)}
    return {f"mf/seed-0/{name}": content for name, content in files.items()}


def description_files():
    files = {"result.json": as_bytes(RESULT), "histogram.png": b"\x89PNG\r\n\x1a\n"}
    return {f"movielens/{name}": content for name, content in files.items()}


def record_files():
    """A record of fetched files, and the file that it records."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "u.data")
        path.write_bytes(RATINGS)
        record = {"source": "GroupLens", "url": "x", "sha256": {"u.data": file_digest(path)}}
    return {"source.json": as_bytes(record), "u.data": RATINGS}


@functools.lru_cache(maxsize=None)
def encoding_files():
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "train.csv").write_bytes(CLICKS + b"short\n")
        (folder / "test.csv").write_bytes(CLICKS.replace(b"v1", b"new"))
        sane_encodings(folder)
        paths = [path for path in folder.rglob("*") if path.suffix != ".lock" and path.is_file()]
        return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


READERS = [
    Reader("u.data", sane_ratings, one("u.data", RATINGS)),
    Reader(
        "ml-100k.inter",
        sane_ratings,
        one("ml-100k.inter", RECBOLE.ratings_header.encode() + b"\n" + RATINGS),
    ),
    Reader("u.item", sane_items, lambda: {"u.item": ITEMS, "u.data": b""}),
    Reader("ml-100k.item", sane_items, lambda: {"ml-100k.item": WHEEL_ITEMS, "ml-100k.inter": b""}),
    Reader("u.user", sane_users, lambda: {"u.user": USERS, "u.data": b""}),
    Reader("ml-100k.user", sane_users, lambda: {"ml-100k.user": WHEEL_USERS, "ml-100k.inter": b""}),
    Reader("book's clicks", clicks("train.csv", book(3), 2**11), one("train.csv", CLICKS), 2),
    Reader(
        "packed clicks",
        clicks("train.csv.gz", book(3), 2**15),
        one("train.csv.gz", gzip.compress(CLICKS)),
        2,
    ),
    Reader("Criteo", clicks("train.txt", CRITEO, 2**23), one("train.txt", CRITEO_CLICKS), 4),
    Reader("Avazu", clicks("train", AVAZU, 2**15), one("train", AVAZU_CLICKS), 4),
    Reader("encodings", sane_encodings, encoding_files),
    Reader("result.json", sane_result, one("result.json", as_bytes(RESULT))),
    Reader("run", sane_run, run_files),
    Reader("section on data", sane_description, description_files),
    Reader("source.json", sane_record, record_files),
]
pytestmark = pytest.mark.skipif(
    not os.access(str(RESET), os.W_OK), reason="peak memory cannot be measured here"
)
each_reader = pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)

# Contents for the files

FOLDER, ABSENT = "a folder", "nothing"
DEEP = b"[" * 100_000
PIECES = [
    b"", b" ", b"\t", b"|", b",", b"\0", b"\r", b"\n", b"\r\n", b"\n\n", b"\x85", b"\x1a", b"\x1c",
    b"\xff", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\xff\xfe", "\u2028".encode(), "\u0661".encode(),
    "1\u0669\u0669\u0665".encode(), b'"', b"'", b"0", b"1", b"2", b"5", b"6", b"-", b"-1", b"-0",
    b"+1", b"01", b"1.0", b"1e3", b"1e999", b"0x1", b"1_0", b"NaN", b"nan", b"-inf", b"Infinity",
    b"null", b"True", b"2147483648", b"9223372036854775807", b"9223372036854775808",
    b"-9223372036854775808", b"18446744073709551616", b"9" * 5000, b"9" * 100_000, b"0" * 40 + b"1",
    b"0" * 5000, b" " * 20_000, b"(1995)", b"x" * 70_000, b"[", b"{", b"}", DEEP, b"../u.data",
    b"\\ud800", b"\\u0000",
]  # fmt: skip
VALUES = [
    b"null", b"true", b"false", b"0", b"1", b"2", b"-1", b"-0.0", b"1.0", b"1.5", b"1e400", b"NaN",
    b"-Infinity", b"1e200", b"9" * 30, b"9" * 400, b"9" * 5000, b"9" * 100_000, b'""', b'"x"',
    b'"mf"', b'"caser"', b'"\\ud800"', b'"a\\u0000b"', b'"a\\nb"', b'"../u.data"', b'"/dev/zero"',
    b'"u.data/x"', b'"' + b"x" * 5000 + b'"', b"[]", b"{}", b"[0]", b"[[1, 2]]", b'["ab", "cd"]',
    b'{"a": 1}', b'{"a": "x"}', b'[[1, "x"], [2, 3]]', b'[5, [[1, "why"]]]', DEEP,
    b"[" * 900 + b"]" * 900, b"[" * 480 + b"]" * 480, b'{"a":' * 480 + b"1" + b"}" * 480,
    b'{"a":' * 50_000, b"x", b"",
]  # fmt: skip
ENDS = [b"\r\n", b"\r", b"\n\n", b"\x85", b"\x00\n", b"\n\xef\xbb\xbf", b""]
ENCODINGS = ["utf-16", "utf-32", "utf-8-sig", "cp1252", "utf-7"]


# These strategies are made only once: making a strategy takes longer than drawing from it.
PIECE = st.sampled_from(PIECES) | st.binary(max_size=8) | st.integers().map(b"%d".__mod__)
CONTENT = st.binary(max_size=200) | st.lists(st.sampled_from(PIECES), max_size=12).map(b"".join)
up_to = functools.lru_cache(maxsize=None)(lambda most: st.integers(0, most))
one_of = functools.lru_cache(maxsize=None)(lambda *options: st.sampled_from(options))


def position(draw, sequence):
    return draw(up_to(max(0, len(sequence) - 1)))


def piece(draw):
    return draw(PIECE)


def edit_bytes(draw, content):
    """Insert a piece, and remove or repeat a part of the content."""
    start = position(draw, content)
    stop = start + draw(up_to(12))
    times = draw(one_of(0, 0, 0, 1, 2, 5, 300))
    return content[:start] + content[start:stop] * times + piece(draw) + content[stop:]


def cut(draw, content):
    return content[: position(draw, content)]


def edit_cell(draw, content):
    """Change, remove or double a cell of a table."""
    lines = content.split(b"\n")
    i = position(draw, lines)
    separator = max((b"\t", b"|", b","), key=content.count)
    cells = lines[i].split(separator)
    j = position(draw, cells)
    cells[j : j + 1] = ([piece(draw)], [piece(draw)], [], [cells[j]] * 2)[draw(up_to(3))]
    lines[i] = separator.join(cells)
    return b"\n".join(lines)


def edit_lines(draw, content):
    """Swap, remove or repeat lines, or change the line ends, the encoding or the separators."""
    lines = content.split(b"\n")
    i, j = position(draw, lines), position(draw, lines)
    how = draw(one_of("swap", "go", "again", "many", "ends", "encoding", "separator"))
    if how == "swap":
        lines[i], lines[j] = lines[j], lines[i]
    elif how == "go":
        del lines[i : j + 1]
    elif how == "again":
        lines[i:i] = lines[j : j + 3]
    elif how == "many":
        lines[i:i] = lines[j : j + 1] * 500
    elif how == "ends":
        return draw(one_of(*ENDS)).join(lines)
    elif how == "separator":
        return content.translate(bytes.maketrans(b"\t|,", draw(one_of(b";; ", b",\t|"))))
    else:
        return content.decode("latin-1").encode(draw(one_of(*ENCODINGS)), "replace")
    return b"\n".join(lines)


def edit_json(draw, content):
    """Change or remove a value in the JSON tree, add another value, or change a key."""
    try:
        tree = json.loads(content)
    except (ValueError, RecursionError):
        return edit_bytes(draw, content)
    places = [([tree], 0), *places_in(tree)]
    parent, key = places[position(draw, places)]
    value = draw(one_of(*VALUES))
    other, place = places[position(draw, places)]
    held = json.dumps(parent[key]).encode()
    how = draw(one_of("other", "other", "other", "swap", "gone", "beside", "key"))
    if how == "swap":
        value = json.dumps(other[place]).encode()
    elif how == "gone" and len(places) > 1 and parent is not places[0][0]:
        del parent[key]
        return json.dumps(tree).encode()
    elif how == "beside":
        name = json.dumps(key).encode() + b": " if isinstance(parent, dict) else b""
        value = held + b", " + name + value
    elif how == "key" and isinstance(parent, dict):
        parent[draw(one_of("", "x", "1", "01", "99", "\0", "a\n", "../x", "\ud800"))] = parent.pop(
            key
        )
        return json.dumps(tree).encode()
    parent[key] = "here"
    text = json.dumps(places[0][0][0]).encode()
    return text.replace(b'"here"', value, 1)


def places_in(tree):
    """Yields for each value in the tree its parent and its key in the parent."""
    for key in tree if isinstance(tree, dict) else range(len(tree)) if type(tree) is list else ():
        yield tree, key
        yield from places_in(tree[key])


def repack(draw, content):
    """Edit the unpacked content, or append a damaged member, or pack a very long content."""
    try:
        inner = gzip.decompress(content)
    except (OSError, EOFError, ValueError, zlib.error):
        return edit_bytes(draw, content)
    level = draw(one_of(0, 9))
    how = draw(one_of("edit", "edit", "edit", "members", "bomb"))
    if how == "members":
        return gzip.compress(inner, level) + edit_bytes(draw, gzip.compress(inner, level))
    if how == "bomb":
        return gzip.compress((piece(draw) or b"\n") * draw(one_of(2, 100)), level)
    for _ in range(1 + draw(up_to(2))):
        inner = draw(one_of(edit_bytes, cut, edit_cell, edit_lines))(draw, inner)
    return gzip.compress(inner, level)


def edit_archive(draw, content):
    """Edit the description or the arrays of an archive; the checksum is mostly correct again."""
    try:
        arrays = {name: array.copy() for name, array in safetensors.numpy.load(content).items()}
        size = int.from_bytes(content[:8], "little")
        header = json.loads(content[8 : 8 + size])
        described = json.loads(header["__metadata__"][KEY])
        kind, version, tree = (described[name] for name in ("kind", "version", "content"))
    except (KeyError, TypeError, ValueError, RecursionError, safetensors.SafetensorError):
        return edit_bytes(draw, content)
    how = draw(one_of("tree", "tree", "tree", "header", "array", "gone", "name", "shape", "type"))
    if how == "header":
        text = edit_json(draw, json.dumps(header).encode())
        return len(text).to_bytes(8, "little") + text + content[8 + size :]
    if how == "tree":
        text = edit_json(draw, json.dumps(tree).encode())
        try:
            return pack(kind, version, json.loads(text), arrays)
        except (TypeError, ValueError, RecursionError):
            described = json.dumps(described).replace(json.dumps(tree), text.decode("latin-1"))
            return safetensors.numpy.save(arrays, metadata={KEY: described})
    names = sorted(arrays)
    name = names[position(draw, names)] if names else ""
    array = arrays.pop(name, np.zeros(2))
    if how == "array":
        array = draw(one_of(-1, 0, 2**31 - 1, 100)) * np.ones_like(array)
    elif how == "name":
        name = draw(one_of("", "x", "parameters/x", "means/0.weight", "loader-0/rolled-over-1"))
    elif how == "shape":
        array = np.resize(array, draw(one_of((), (0,), (1,), (2, 2), (3, 2), (500,))))
    elif how == "type":
        array = array.astype(draw(one_of("float64", "int32", "int64", "uint8", "float16", "bool")))
    if how != "gone":
        arrays[name] = array
    return pack(kind, version, tree, arrays)


@st.composite
def inputs(draw, reader):
    """Draws the name of one of the reader's files, the kind of its content, and the content."""
    files = reader.files()
    name = draw(one_of(*sorted(files)))
    kind = draw(one_of("bytes", *["structured"] * 5))
    if kind == "bytes":
        return name, kind, draw(CONTENT)
    if draw(up_to(40)) == 17:
        return name, kind, draw(one_of(FOLDER, ABSENT, b""))
    content = files[name]
    edits = [edit_bytes, cut, edit_cell, edit_cell, edit_lines]
    if name.endswith(".json"):
        edits = [edit_json] * 4 + [edit_bytes, cut]
    elif name.endswith(".gz"):
        edits = [repack] * 4 + [edit_bytes, cut]
    elif name.endswith(".safetensors"):
        edits = [edit_archive] * 4 + [edit_bytes, cut]
    for _ in range(draw(one_of(1, 1, 1, 2, 4))):
        content = draw(one_of(*edits))(draw, content)[:MOST_BYTES]
    return name, kind, content


# The law: a reader reads a file or refuses it


class HangsError(BaseException):
    """Raised by a signal; ``except Exception`` does not catch it."""


@contextlib.contextmanager
def bounded(num_bytes):
    """A context that limits memory, in proportion to ``num_bytes``, and time, to SECONDS."""

    def stop(*_):
        raise HangsError(f"not done after {SECONDS} s")

    before = resource.getrlimit(resource.RLIMIT_AS)
    handler = signal.signal(signal.SIGALRM, stop)
    RESET.write_text("5")  # reset the peak of memory
    resident, limit = status("VmRSS"), status("VmSize") + ADDRESSES + MULTIPLE * num_bytes
    resource.setrlimit(resource.RLIMIT_AS, (limit, before[1]))
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
        resource.setrlimit(resource.RLIMIT_AS, before)
    assert status("VmHWM") - resident < MEMORY + MULTIPLE * num_bytes, "too much memory"


def status(name):
    """Returns a number of bytes that Linux reports for this process."""
    return 1024 * int(re.search(rf"{name}:\s*(\d+) kB", STATUS.read_text())[1])


def outcome(reader, name, content):
    """Returns "read" or "refused": what the reader does if the file ``name`` has this content."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        files = {**reader.files(), name: content}
        for other, held in files.items():
            path = pathlib.Path(folder, other)
            path.parent.mkdir(parents=True, exist_ok=True)
            if held is FOLDER:
                path.mkdir()
            elif held is not ABSENT:
                path.write_bytes(held)
        size = sum(len(held) for held in files.values())
        with warnings.catch_warnings(), bounded(size):
            warnings.simplefilter("error")
            try:
                reader.read(pathlib.Path(folder))
            except DataError as error:
                message = str(error)
            else:
                return "read"
        assert message.isprintable(), "the message is not one line of text"
        assert len(message) < 1000, "the message is far too long"
        assert folder in message, "the message names no file"
        return "refused"


@pytest.fixture(autouse=True, scope="module")
def small_pieces(tmp_path_factory):
    """Read clicks in many chunks, encode even small files on disk, and fetch nothing."""

    def fetch(sources, folder, by_hand):
        raise NoSourceError(f"no source delivered {folder}; {by_hand}")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(click_files, "CHUNK_BYTES", 2**13)  # each reader sets its own
        patch.setattr(click_files, "LINE_BYTES", 2**17, raising=False)
        patch.setattr(ctr, "LARGE", 2**17)
        patch.setattr(movielens, "fetch", fetch)
        patch.setenv("D2L_RECSYS_DATA", str(tmp_path_factory.mktemp("data")))
        yield


@each_reader
@pytest.mark.parametrize("count", [40, pytest.param(5000, marks=pytest.mark.slow)])
def test_what_a_reader_does_not_read_it_refuses(reader, count):
    check_law(reader, count)


def check_law(reader, count):
    """Try ``count`` inputs, or fewer if each input costs more."""
    outcomes = collections.Counter()
    count //= reader.costs

    # If there are few inputs, they are the same in each run. Otherwise they differ.
    @settings(max_examples=count, deadline=None, database=None, print_blob=True,
              derandomize=count < 1000, suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(inputs(reader))
    def law(given_input):
        name, kind, content = given_input
        outcomes[kind, outcome(reader, name, content)] += 1

    law()
    print(reader.name, dict(outcomes))
    assert sum(outcomes.values()) >= count
    assert count < 1000 or {"read", "refused"} <= {what for _, what in outcomes}


@each_reader
@pytest.mark.parametrize("size", [2**13, pytest.param(2**19, marks=pytest.mark.slow)])
def test_extremes_are_refused_in_bounded_time_and_memory(reader, size):
    check_extremes(reader, size)


def check_extremes(reader, size):
    """Try long repeated contents. A packed file then unpacks to a thousand times its size."""
    repeated = [b"\n", b"\r", b"\t", b" ", b"\0", b"\xff", b"7", b"(1995) ", b"0\t\n", b"["]
    repeated.append(b'{"a":')
    extremes = [unit * (size // len(unit)) for unit in repeated]
    extremes += [b"[" + b"[]," * (size // 3) + b"[]]", b'"' + b"x" * size + b'"']
    for name, content in reader.files().items():
        packed = name.endswith(".gz")
        valid = gzip.decompress(content) if packed else content
        blank = re.sub(rb"([\t|])(?=[A-Za-z])", rb"\1" + b" " * size, valid, count=3)
        for extreme in [*extremes, valid * (size // max(1, len(valid))), blank]:
            outcome(reader, name, gzip.compress(extreme * 32) if packed else extreme)


def test_ratings_too_sparse_for_a_matrix_are_read_still():
    """One user has rated all items, and all users have rated one item."""
    pairs = [(1, i) for i in range(1, 10_001)] + [(i, 1) for i in range(2, 10_001)]
    content = b"".join(b"%d\t%d\t3\t0\n" % pair for pair in pairs)
    assert outcome(READERS[0], "u.data", content) == "read"


# Inputs that were once read wrongly or not refused: reader, file, old part, new part, outcome.
FOUND = [
    ("u.data", "u.data", b"\t88000000", b"\t900000000000000000", "read"),
    ("u.data", "u.data", RATINGS, RATINGS.replace(b"\t88", b"\t900000000088") + b"x\n", "refused"),
    ("u.item", "u.item", b"|0|0\n", b"|0|2\n", "refused"),
    ("ml-100k.user", "ml-100k.user", WHEEL_USERS, b"a\tb\tc\td\te\n", "refused"),
    ("ml-100k.item", "ml-100k.item", WHEEL_ITEMS, b"a\tb\tc\td\n", "refused"),
    ("book's clicks", "train.csv", CLICKS, b"x\n\xef\xbb\xbf" + CLICKS, "read"),
    ("book's clicks", "train.csv", CLICKS, (CLICKS * 40).replace(b"\n", b"\r\n"), "read"),
    ("packed clicks", "train.csv.gz", None, gzip.compress(b"7" * 2**26), "refused"),
    ("encodings", "encoding.json", b'"num_clicks": 12', b'"num_clicks": 12.0', "refused"),
    ("encodings", "encoding.json", b"[1, [[25, ", b"[1, [[null, ", "refused"),
    ("encodings", "encoding.json", b'"w": 0', b'"w": 0.0', "refused"),
    ("encodings", "features.int32", None, bytes(24 * 3 * 4), "refused"),
    ("encodings", "labels.float32", None, bytes(24 * 4), "refused"),
    ("result.json", "result.json", b'"test_rmse": 1.0,', b'"test_rmse": "x",', "refused"),
    ("result.json", "result.json", b'"mf"', b'"caser"', "refused"),
    ("run", "result.json", b'"devices"', b'"others"', "refused"),
    ("run", "history.csv", b"0.25,0.3", b"x,0.3", "refused"),
    ("run", "history.csv", b"\n2,", b"\n3,", "refused"),
    ("run", "history.csv", b"\n1,100", b"\n1,", "refused"),
    ("run", "history.csv", b",0.5,", b",0.5,0.5,", "refused"),
    ("run", "history.csv", b"1.0\n", b"1.0\n" + b"1," * 9 + b"\n", "refused"),
    ("section on data", "result.json", b'"source"', b'"from"', "refused"),
    ("source.json", "source.json", b'"u.data"', b'"' + b"x" * 300 + b'"', "refused"),
    ("source.json", "source.json", b'"u.data"', b'"/proc/self/maps"', "refused"),
    ("source.json", "source.json", b'"GroupLens"', b"1", "refused"),
]


@pytest.mark.parametrize(("name", "file", "old", "new", "expected"), FOUND)
def test_what_was_found_is_read_rightly_or_refused(name, file, old, new, expected):
    (reader,) = [reader for reader in READERS if reader.name == name]
    files = {path: held for path, held in reader.files().items() if path.endswith(file)}
    path, content = next((p, held) for p, held in files.items() if old is None or old in held)
    assert outcome(reader, path, new if old is None else content.replace(old, new)) == expected


def test_a_million_lines_that_are_no_clicks_take_no_more_memory_than_others():
    reader = next(reader for reader in READERS if reader.name == "Criteo")
    assert outcome(reader, "train.txt", b"\n" * 2**20) == "refused"


def test_a_file_that_unpacks_a_thousandfold_is_encoded_on_disk(tmp_path):
    path = tmp_path / "train.csv.gz"
    path.write_bytes(gzip.compress(b"0\t\t\t\n" * 2**15))
    assert path.stat().st_size < ctr.LARGE / 100
    assert isinstance(CTRDataset(path, num_feat=3).features, np.memmap)


@each_reader
def test_valid_files_are_read(reader):
    name, content = next(iter(reader.files().items()))
    assert outcome(reader, name, content) == "read"
