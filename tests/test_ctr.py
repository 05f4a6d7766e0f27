import gzip
import io
import os

import numpy as np
import pytest
from conftest import made_up_clicks, peak_memory
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from d2l_recsys import ctr
from d2l_recsys.ctr import CTRDataset
from d2l_recsys.datasets import click_files, click_vocabulary
from d2l_recsys.datasets.click_files import AVAZU, AVAZU_HEADER, CRITEO, Field, book
from d2l_recsys.errors import DataError, SettingError


@pytest.fixture(scope="module")
def d2l():
    pytest.importorskip("d2l_recsys.backend").npx.set_np()
    return pytest.importorskip("d2l.mxnet")


def assert_equal_up_to_ids(ours, theirs):
    """Both data sets have the same rows; the order of the ids within a field does not matter."""
    assert len(ours) == len(theirs)
    assert ours.NUM_FEATS == theirs.NUM_FEATS
    assert np.array_equal(ours.field_dims, theirs.field_dims.asnumpy())
    assert np.array_equal(ours.offsets, theirs.offsets.asnumpy())
    assert ours.defaults == theirs.defaults
    names = []
    for field, ids in theirs.feat_mapper.items():
        assert set(ids) == set(ours.feat_mapper[field])
        # Maps the ids of d2l to ours.
        ours_of = {i: ours.feat_mapper[field][value] for value, i in ids.items()}
        names.append({**ours_of, theirs.defaults[field]: ours.defaults[field]})
    for i in range(len(ours)):
        features, label = theirs[i]
        ids = (features - theirs.offsets).asnumpy().astype(int)
        expected = [of[i] for of, i in zip(names, ids.tolist())] + ours.offsets
        assert np.array_equal(ours[i][0], expected)
        assert ours[i][1] == label
    assert ours.features.dtype == np.int32
    assert ours.labels.dtype == np.float32


def both(d2l, train, test, **options):
    ours = CTRDataset(train, **options)
    theirs = d2l.CTRDataset(str(train), **options)
    yield ours, theirs
    reused = {k: v for k, v in options.items() if k != "min_threshold"}
    yield (
        CTRDataset(test, ours.feat_mapper, ours.defaults, **reused),
        d2l.CTRDataset(str(test), theirs.feat_mapper, theirs.defaults, **reused),
    )


@pytest.mark.parametrize("min_threshold", [1, 4, 50])
def test_instances_equal_d2ls_class(d2l, clicks_dir, min_threshold):
    files = clicks_dir / "train.csv", clicks_dir / "test.csv"
    for ours, theirs in both(d2l, *files, min_threshold=min_threshold):
        assert_equal_up_to_ids(ours, theirs)


CELL = st.sampled_from(["", "a", "b", "00", "0", "NA", '"', " ", "é", "1.0", "1"])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(
    st.lists(st.lists(CELL, min_size=2, max_size=4), min_size=1, max_size=30),
    st.integers(1, 5),
    st.data(),
)
def test_any_rows_equal_d2ls_class(d2l, tmp_path, rows, min_threshold, data):
    rows = [["0"] * 4, *([data.draw(st.sampled_from("01")), *row] for row in rows)]
    cut = data.draw(st.integers(1, len(rows)))
    for name, part in (("a.csv", rows[:cut]), ("b.csv", [["1"] * 4, *rows[cut:]])):
        (tmp_path / name).write_text("".join("\t".join(row) + "\n" for row in part))
    files = tmp_path / "a.csv", tmp_path / "b.csv"
    for ours, theirs in both(d2l, *files, min_threshold=min_threshold, num_feat=3):
        assert_equal_up_to_ids(ours, theirs)


@pytest.mark.network
def test_the_books_files_equal_d2ls_class(d2l):
    from d2l_recsys.datasets.click_sets import find_book
    from d2l_recsys.datasets.location import default_data_dir

    try:
        train, test = find_book(default_data_dir()).files
    except DataError as error:
        pytest.skip(f"the book's click data cannot be fetched here: {error}")
    for ours, theirs in both(d2l, train, test):
        assert_equal_up_to_ids(ours, theirs)


def test_ids_are_in_the_order_of_the_sorted_values():
    lines = [f"0\t{value}\tx\n" for value in ("b", "é", "a", "", "10", "9")] * 4
    dataset = CTRDataset(io.BytesIO("".join(lines).encode()), num_feat=2)
    assert dataset.feat_mapper[1] == {"": 0, "10": 1, "9": 2, "a": 3, "b": 4, "é": 5}
    assert dataset.defaults == {1: 6, 2: 1}
    assert dataset.field_dims.tolist() == [7, 2]
    assert dataset.offsets.tolist() == [0, 7]
    assert dataset.features[:3].tolist() == [[4, 7], [5, 7], [3, 7]]


def test_a_value_unseen_in_training_has_its_fields_default():
    train = CTRDataset(io.BytesIO(b"1\ta\tx\n" * 4 + b"0\tb\ty\n" * 4), num_feat=2)
    new = CTRDataset(
        io.BytesIO(b"1\tnew\tx\n1\ta\tb\n"), train.feat_mapper, train.defaults, num_feat=2
    )
    assert new.features.tolist() == [[2, 3], [0, 5]]
    assert np.array_equal(new.field_dims, train.field_dims)


def test_rows_and_slices_of_rows():
    dataset = CTRDataset(io.BytesIO(b"1\ta\n0\tb\n1\ta\n"), num_feat=1, min_threshold=1)
    features, label = dataset[1]
    assert (features.tolist(), label.tolist()) == ([1], [0.0])
    features, labels = dataset[:2]
    assert (features.tolist(), labels.tolist()) == ([[0], [1]], [[1.0], [0.0]])
    assert (len(dataset), dataset.count, dataset.num_clicks) == (3, 3, 2)


def test_bad_files_and_mappers_are_refused(tmp_path):
    def make(content, *arguments, **options):
        return CTRDataset(io.BytesIO(content), *arguments, **options)

    with pytest.raises(DataError, match="is empty"):
        make(b"")
    with pytest.raises(
        DataError,
        match=r"has no row with a label and 34 values \(line 1: found 3 columns, expected 35\); "
        "replace the file, or set num_feat",
    ):
        make(b"1\ta\tb\n" * 3)
    with pytest.raises(DataError, match="line 2: the label is '2', not 0 or 1"):
        make(b"1\ta\n2\ta\n", num_feat=1, strict=True)
    good = make(b"1\ta\tb\n" * 4, num_feat=2)
    with pytest.raises(
        SettingError, match="feat_mapper comes from a file with 2 fields, but this file has 1"
    ):
        make(b"1\ta\n", good.feat_mapper, good.defaults, num_feat=1)
    with pytest.raises(SettingError, match="defaults comes from a file with 0 fields"):
        make(b"1\ta\tb\n", good.feat_mapper, {}, num_feat=2)
    with pytest.raises(SettingError, match="part is 'tets'; choose train, test or None"):
        make(b"1\ta\n", num_feat=1, part="tets")
    with pytest.raises(SettingError, match="--num-feat is 0; it must lie between 1 and"):
        make(b"1\n", num_feat=0)
    with pytest.raises(
        DataError, match="has no row in its test part; use a file of ten rows or more"
    ):
        make(b"1\ta\n" * 9, num_feat=1, part="test")
    with pytest.raises(
        DataError, match=r"has no row .*\(line 1: found 1 columns, expected 40\); replace the file$"
    ):
        make(b"1\n", layout=CRITEO)
    for arguments in ((good.feat_mapper,), (None, good.defaults)):
        with pytest.raises(SettingError, match="feat_mapper and defaults belong together"):
            make(b"1\ta\tb\n", *arguments, num_feat=2)


# Encoded on disk


@pytest.fixture
def small_chunks(monkeypatch):
    """Read many small chunks, and keep only a few counts in memory."""
    monkeypatch.setattr(click_files, "CHUNK_BYTES", 5000)
    monkeypatch.setattr(click_vocabulary, "VALUES_IN_MEMORY", 100)


def assert_same(a, b):
    assert np.array_equal(a.features, b.features)
    assert np.array_equal(a.labels, b.labels)
    assert (a.feat_mapper, a.defaults) == (b.feat_mapper, b.defaults)
    assert (a.num_clicks, a.sha256) == (b.num_clicks, b.sha256)
    assert (a.skipped.count, a.skipped.lines) == (b.skipped.count, b.skipped.lines)


@pytest.mark.parametrize("part", [None, "train", "test"])
@pytest.mark.usefixtures("small_chunks")
def test_on_disk_a_file_is_encoded_as_in_memory(clicks_dir, tmp_path, part):
    with (clicks_dir / "train.csv").open("a") as file:
        file.write("1\tshort\n" * 25)
    encoded = tmp_path / "encoded"
    files = clicks_dir / "train.csv", clicks_dir / "test.csv"
    for _ in range(2):  # made first, then read again
        in_memory = CTRDataset(files[0], part=part)
        on_disk = CTRDataset(files[0], part=part, encoded_dir=encoded)
        assert isinstance(on_disk.features, np.memmap)
        assert in_memory.skipped.count == {None: 25, "train": 23, "test": 2}[part]
        assert_same(on_disk, in_memory)
        mapper = in_memory.feat_mapper, in_memory.defaults
        assert_same(
            CTRDataset(files[1], *mapper, encoded_dir=encoded), CTRDataset(files[1], *mapper)
        )
    assert len([path for path in encoded.iterdir() if path.is_dir()]) == 2
    folder = next(path for path in encoded.iterdir() if path.is_dir())
    assert {path.name for path in folder.iterdir()} == {
        "features.int32", "labels.float32", "encoding.json"}  # fmt: skip


def test_a_file_is_encoded_once_for_each_content_and_way(clicks_dir, tmp_path, monkeypatch):
    path, encoded = clicks_dir / "train.csv", tmp_path / "encoded"
    read = []
    monkeypatch.setattr(
        ctr, "read_chunks", lambda *a, **k: read.append(a) or click_files.read_chunks(*a, **k)
    )

    def times(**options):
        before = len(read)
        CTRDataset(path, encoded_dir=encoded, **options)
        return len(read) - before

    assert times() == 1
    assert times() == 0
    os.utime(path, (1, 1))
    assert times() == 0
    assert times(min_threshold=5) == 1
    assert times(part="train") == 1
    with path.open("a") as file:
        file.write(made_up_clicks(1)[0])
    assert times() == 1
    with path.open("a") as file:
        file.write("short\n")
    assert times() == 1
    with pytest.raises(
        DataError, match=r"^.*train\.csv, line 602: found 1 columns, expected 35; correct the line"
    ):
        times(strict=True)


def test_encodings_under_other_mappers_and_layouts_are_others(clicks_dir, tmp_path):
    train, test = clicks_dir / "train.csv", clicks_dir / "test.csv"
    for threshold in (4, 20):
        made = CTRDataset(train, min_threshold=threshold)
        mapper = made.feat_mapper, {f: np.int64(i) for f, i in made.defaults.items()}
        assert_same(CTRDataset(test, *mapper, encoded_dir=tmp_path), CTRDataset(test, *mapper))
    whole = book(34)
    for fields in (
        whole.fields[::-1],
        whole.fields[:5],
        (*whole.fields[:4], Field("field 5", 5, len_of)),
    ):
        layout = whole._replace(fields=fields)
        assert_same(
            CTRDataset(train, layout=layout, encoded_dir=tmp_path), CTRDataset(train, layout=layout)
        )


def len_of(text):
    return str(len(text))


def test_many_rows_left_out_are_remembered_with_the_encoding(clicks_dir, tmp_path):
    with (clicks_dir / "train.csv").open("a") as file:
        file.write("x\n" * 300)
    for _ in range(2):
        skipped = CTRDataset(clicks_dir / "train.csv", encoded_dir=tmp_path).skipped
        assert (skipped.count, len(skipped.lines)) == (300, 100)


def test_a_large_file_is_encoded_on_disk_by_itself(clicks_dir, tmp_path, monkeypatch):
    monkeypatch.setenv("D2L_RECSYS_DATA", str(tmp_path / "mine"))
    assert not isinstance(CTRDataset(clicks_dir / "train.csv").features, np.memmap)
    monkeypatch.setattr(ctr, "LARGE", (clicks_dir / "train.csv").stat().st_size)
    assert isinstance(CTRDataset(clicks_dir / "train.csv").features, np.memmap)
    assert not isinstance(CTRDataset(clicks_dir / "test.csv").features, np.memmap)
    packed = clicks_dir / "test.csv.gz"
    packed.write_bytes(gzip.compress((clicks_dir / "test.csv").read_bytes()))
    assert not isinstance(CTRDataset(packed).features, np.memmap)
    monkeypatch.setattr(ctr, "LARGE", packed.stat().st_size * 6)
    assert isinstance(CTRDataset(packed).features, np.memmap)
    assert list((tmp_path / "mine" / "encoded").iterdir())


def test_another_layout_on_disk(tmp_path):
    values = ",".join("abcdefghijklmnopqrstu"[:21])
    lines = [f"{i},{i % 2},141021{i % 24:02},{values}" for i in range(100)]
    path = tmp_path / "train.csv"
    path.write_text("\n".join([AVAZU_HEADER, *lines]) + "\n")
    for part in (None, "train", "test"):
        in_memory = CTRDataset(path, layout=AVAZU, part=part)
        assert_same(CTRDataset(path, layout=AVAZU, part=part, encoded_dir=tmp_path), in_memory)
        assert in_memory.NUM_FEATS == 23
        assert len(in_memory) == {None: 100, "train": 90, "test": 10}[part]


def test_no_valid_row_on_disk(tmp_path):
    path = tmp_path / "clicks.csv"
    path.write_text("1\n2\n")
    for _ in range(2):
        with pytest.raises(
            DataError, match=r"has no row with .*line 1: found 1 columns, expected 35"
        ):
            CTRDataset(path, encoded_dir=tmp_path / "encoded")


PEAK = """
import sys
from d2l_recsys import ctr\nfrom d2l_recsys.datasets import click_files, click_vocabulary
click_files.CHUNK_BYTES, click_vocabulary.VALUES_IN_MEMORY = 2**20, 10_000
ctr.CTRDataset(sys.argv[1], num_feat=5, encoded_dir=sys.argv[2])
"""


def test_memory_does_not_grow_with_the_number_of_rows(tmp_path):
    """Each size has its own process; the first value of each row occurs only once."""
    peak = {}
    for num_rows in (100_000, 400_000):
        path = tmp_path / f"{num_rows}.csv"
        lines = (f"{i % 2}\tunique-{i:030}\t{i % 100}\ta\tb\tc\n" for i in range(num_rows))
        path.write_text("".join(lines))
        peak[num_rows] = peak_memory(PEAK, path, tmp_path / "encoded")
    # In memory, 300,000 more of these values would take 45 MiB, and their encoded rows 7 MiB.
    assert peak[400_000] - peak[100_000] < 6 * 1024, peak
