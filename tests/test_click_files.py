import gzip
import hashlib
import io
import math

import numpy as np
import pytest
from conftest import made_up_clicks
from hypothesis import given
from hypothesis import strategies as st

from d2l_recsys.datasets import click_files
from d2l_recsys.datasets.click_files import (
    AVAZU,
    AVAZU_HEADER,
    CRITEO,
    SkippedRows,
    book,
    digest,
    hour_of_day,
    log_bucket,
    read_chunks,
    weekday,
)
from d2l_recsys.errors import DataError


def read(content, layout, strict=False, part=None):
    """Returns all rows of a file as tuples (label, value, ...), and the rows left out."""
    file = io.BytesIO(content.encode() if isinstance(content, str) else content)
    file.name = "clicks"
    skipped = SkippedRows("clicks", strict)
    rows = []
    for chunk in read_chunks(file, layout, skipped, part):
        assert chunk.labels.dtype == np.float32
        assert chunk.codes.dtype == np.int32
        for label, codes in zip(chunk.labels, chunk.codes):
            values = (values[code] for values, code in zip(chunk.values, codes))
            rows.append((int(label), *values))
    return rows, skipped


def plainly(text, num_feat):
    """Returns the valid rows of a file in the book's layout, read by very simple code."""
    rows = []
    for line in io.StringIO(text, newline=None):
        label, *values = line.rstrip("\n").split("\t")
        if len(values) == num_feat and label in ("0", "1"):
            rows.append((int(label), *values))
    return rows


# Values that a reader of tables may treat specially.
CELL = st.sampled_from(
    ["", "a", "00", "0", "1", "1.0", "NA", "nan", "null", '"', '"x', "'", " ", " y ", "#", "\\",
     "é", "字", "-5", "1e9", ",", "\x0b", "\x85", "\u2028"]
)  # fmt: skip
LINE = st.lists(CELL, min_size=1, max_size=5).map("\t".join)


@given(st.lists(st.tuples(LINE, st.sampled_from(["\n", "\r\n", "\r"])), min_size=1, max_size=12))
def test_rows_equal_a_plain_reading_of_the_lines(lines):
    text = "".join(line + end for line, end in lines)
    rows, skipped = read(text, book(2))
    assert rows == plainly(text, 2)
    assert skipped.count == sum(1 for _ in io.StringIO(text, newline=None)) - len(rows)


@pytest.mark.parametrize("chunk_bytes", [1, 100, 10_000])
def test_chunks_of_any_size_give_the_same_rows(chunk_bytes, monkeypatch):
    lines = made_up_clicks(200, 5)
    lines[7], lines[150] = "1\ta\n", "2" + lines[150][1:]
    whole, all_skipped = read("".join(lines), book(5))
    monkeypatch.setattr(click_files, "CHUNK_BYTES", chunk_bytes)
    rows, skipped = read("".join(lines), book(5))
    assert rows == whole == plainly("".join(lines), 5)
    assert skipped.lines == all_skipped.lines
    assert [number for number, _ in skipped.lines] == [8, 151]
    test_rows, _ = read("".join(lines), book(5), part="test")
    train_rows, _ = read("".join(lines), book(5), part="train")
    assert test_rows == plainly("".join(lines[9::10]), 5)
    assert train_rows == plainly("".join(x for i, x in enumerate(lines) if i % 10 != 9), 5)


def test_rows_left_out_are_counted_with_line_and_reason():
    content = (
        b"1\ta\tb\n0\ta\n\n2\ta\tb\n1\t\xff\tb\n1\ta\0x\tb\n-1\ta\tb\n0\tc\td\te\n01\ta\tb\n0\tx\ty"
    )
    rows, skipped = read(content, book(2))
    assert rows == [(1, "a", "b"), (0, "x", "y")]
    assert skipped.count == 8
    assert skipped.lines == [
        (2, "found 2 columns, expected 3"),
        (3, "found 1 columns, expected 3"),
        (4, "the label is '2', not 0 or 1"),
        (5, "not UTF-8 text, or has a NUL"),
        (6, "not UTF-8 text, or has a NUL"),
        (7, "the label is '-1', not 0 or 1"),
        (8, "found 4 columns, expected 3"),
        (9, "the label is '01', not 0 or 1"),
    ]
    assert str(skipped) == (
        "clicks: left out 8 rows that are not valid (line 2: found 2 columns, expected 3; line 3: "
        "found 1 columns, expected 3; line 4: the label is '2', not 0 or 1; ...)"
    )
    with pytest.raises(
        DataError, match="clicks, line 2: found 2 columns, expected 3; correct the line"
    ):
        read(content, book(2), strict=True)


def test_only_the_first_lines_left_out_are_remembered():
    _, skipped = read("x\n" * 1000 + "1\ta\n", book(1))
    assert skipped.count == 1000
    assert [number for number, _ in skipped.lines] == list(range(1, 101))


def test_so_are_they_through_many_chunks(monkeypatch):
    monkeypatch.setattr(click_files, "CHUNK_BYTES", 50)
    _, skipped = read("x\n" * 1000 + "1\ta\n", book(1))
    assert skipped.count == 1000
    assert [number for number, _ in skipped.lines] == list(range(1, 101))
    assert "; ..." in str(skipped)
    assert "..." not in str(read("x\n" * 3 + "1\ta\n", book(1))[1])


@pytest.mark.parametrize("chunk_bytes", [4, 10_000])
def test_a_byte_order_mark_counts_for_nothing_but_at_the_start_of_the_file(
    chunk_bytes, monkeypatch
):
    monkeypatch.setattr(click_files, "CHUNK_BYTES", chunk_bytes)
    rows, skipped = read("\ufeff1\taaaaaaaa\n\ufeff0\tb\n1\tc\n", book(1))
    assert rows == [(1, "aaaaaaaa"), (1, "c")]
    assert [number for number, _ in skipped.lines] == [2]
    assert read("\ufeff" + AVAZU_HEADER + "\nx\n", AVAZU)[1].count == 1


def test_without_a_row_left_out_there_is_nothing_to_say():
    assert str(read("1\ta\n", book(1))[1]) == ""


def test_an_empty_file_is_refused():
    for content, layout in (("", book(2)), ("", AVAZU), (AVAZU_HEADER + "\n", AVAZU)):
        with pytest.raises(DataError, match="clicks is empty; replace it"):
            read(content, layout)


def test_criteos_counts_are_bucketed_and_missing_values_are_values():
    counts = ["1", "", "2", "3", "100", "-1", "0", "99999", "", "7", "8", "", "5"]
    names = ["68fd1e64", "", *(f"{i:08x}" for i in range(24))]
    rows, skipped = read("\t".join(["1", *counts, *names]) + "\n", CRITEO)
    assert skipped.count == 0
    (row,) = rows
    assert row[:14] == (
        1, "1", "", "2", "log 1", "log 21", "-1", "0", "log 132", "", "log 3", "log 4", "", "log 2"
    )  # fmt: skip
    assert list(row[14:]) == names
    assert [field.name for field in CRITEO.fields][12:14] == ["I13", "C1"]
    _, skipped = read("\t".join(["1", "x", *counts[1:], *names]) + "\n" + "0\t\n", CRITEO)
    assert [reason for _, reason in skipped.lines] == [
        "I1 is 'x', not a valid value",
        "found 2 columns, expected 40",
    ]


@given(st.integers(-3, 10**17))
def test_a_count_is_itself_or_the_whole_part_of_its_squared_logarithm(count):
    made = log_bucket(str(count))
    assert made == (str(count) if count <= 2 else f"log {math.floor(math.log(count) ** 2)}")


def test_what_is_no_count_or_no_time_has_no_value():
    for text in ("x", "1.5", "1e3", " 1", "--1", "٣"):
        assert log_bucket(text) is None
    for text in ("", "1410210", "14102124", "14130100", "14023000", "141021000", "1410210x"):
        assert hour_of_day(text) is None
    assert weekday("14130100") is None


def test_avazus_times_become_weekday_and_hour_and_ids_are_dropped():
    values = "1005,0,1fbe01fe,f3845767,28905ebd,ecad2386,7801e8d9,07d7df22,a99f214a,ddd2926e,"
    values += "44956a24,1,2,15706,320,50,1722,0,35,-1,79"
    lines = [AVAZU_HEADER, f"1000009418151094273,0,14102100,{values}", f"2,1,14102723,{values}"]
    rows, skipped = read("\r\n".join(lines), AVAZU)
    assert skipped.count == 0
    # 21 October 2014 was a Tuesday, and 27 October 2014 was a Monday.
    assert rows == [(0, "2", "00", *values.split(",")), (1, "1", "23", *values.split(","))]
    assert len(AVAZU.fields) == 23
    # The header is not a row: the first test row is the tenth row, not the tenth line.
    many = [AVAZU_HEADER, *(f"{i},0,141021{i:02},{values}" for i in range(1, 21))]
    assert [row[2] for row in read("\n".join(many), AVAZU, part="test")[0]] == ["10", "20"]
    with pytest.raises(DataError, match="clicks, line 1: expected the header 'id,click,hour"):
        read("\n".join(lines[1:]), AVAZU)
    _, skipped = read("\n".join([*lines, f"3,1,1410xx00,{values}"]), AVAZU)
    assert skipped.lines == [(4, "weekday is '1410xx00', not a valid value")]


def test_a_packed_file_reads_like_the_plain_one_and_a_damaged_one_is_refused(tmp_path):
    content = "".join(made_up_clicks(100, 3)).encode()
    packed = tmp_path / "train.txt.gz"
    packed.write_bytes(gzip.compress(content))
    skipped = SkippedRows("")
    (chunk,) = read_chunks(packed, book(3), skipped)
    (plain,) = read_chunks(io.BytesIO(content), book(3), skipped)
    assert np.array_equal(chunk.codes, plain.codes)
    whole = gzip.compress(content)
    flipped = whole[:40] + bytes([whole[40] ^ 255, whole[41] ^ 255]) + whole[42:]
    for damaged in (whole[:-20], b"not gzip", whole[:20] + b"x", flipped):
        packed.write_bytes(damaged)
        with pytest.raises(DataError, match=r"train\.txt\.gz is a damaged gzip file .*again"):
            list(read_chunks(packed, book(3), skipped))


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    for path, reason in ((tmp_path / "no.csv", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(DataError, match=f"{path.name} cannot be read: {reason}"):
            list(read_chunks(path, book(3), SkippedRows("")))
        with pytest.raises(DataError, match=f"{path.name} cannot be read: {reason}"):
            digest(path)


def test_digest_is_of_the_bytes_and_counts_lines(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"a\nb\nc")
    expected = hashlib.sha256(b"a\nb\nc").hexdigest()
    assert digest(path) == (expected, 3)
    read_before = io.BytesIO(b"a\nb\nc")
    read_before.read(2)
    assert digest(read_before) == (expected, 3)
    packed = path.with_suffix(".gz")
    packed.write_bytes(b"a\nb\nc")
    assert digest(packed) == (expected, None)
