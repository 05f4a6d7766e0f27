import gzip
import json
import multiprocessing
import shutil
import subprocess
import sys
from collections import namedtuple

import numpy as np
import pytest

from d2l_recsys.ctr import CTRDataset
from d2l_recsys.datasets import click_encoding, click_files
from d2l_recsys.errors import DataError, OutputError


@pytest.fixture
def train(clicks_dir):
    return clicks_dir / "train.csv"


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "encoded"


def left_in(folder):
    """The names in ``folder``, without locks."""
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(".lock"))


def test_too_little_room_is_told_before_the_work(train, folder, monkeypatch):
    usage = namedtuple("usage", "total used free")
    room = (600 + 1) * 35 * 4
    monkeypatch.setattr(click_encoding.shutil, "disk_usage", lambda path: usage(0, 0, room - 1))
    with pytest.raises(
        OutputError,
        match=r"^not enough disk space in .*encoded: the encoded file needs 84,140 bytes",
    ):
        CTRDataset(train, encoded_dir=folder)
    assert left_in(folder) == []
    # A tenth of the rows needs a tenth of the space.
    CTRDataset(train, part="test", encoded_dir=folder)
    monkeypatch.setattr(click_encoding.shutil, "disk_usage", lambda path: usage(0, 0, room))
    CTRDataset(train, encoded_dir=folder)
    assert len(left_in(folder)) == 2


def test_a_packed_file_does_not_fill_the_disk(train, folder, tmp_path, monkeypatch):
    """The number of rows in a packed file is unknown, so the disk is watched while they come."""
    packed = tmp_path / "train.csv.gz"
    packed.write_bytes(gzip.compress(train.read_bytes()))
    usage = namedtuple("usage", "total used free")
    room = iter([10**12, 2**30, 2**30 - 1])
    monkeypatch.setattr(
        click_encoding.shutil, "disk_usage", lambda path: usage(10**12, 0, next(room))
    )
    monkeypatch.setattr(click_files, "CHUNK_BYTES", 2**14)
    with pytest.raises(OutputError, match=r"encoded.*: the encoded rows do not fit on the disk"):
        CTRDataset(packed, encoded_dir=folder)
    assert left_in(folder) == []


FULL = """
import resource, sys
from d2l_recsys.ctr import CTRDataset
from d2l_recsys.errors import OutputError
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    CTRDataset(sys.argv[1], encoded_dir=sys.argv[2])
except OutputError as error:
    print(error)
"""


def test_a_write_that_fails_leaves_nothing(train, folder):
    """The test runs a process that may not write files of more than 20,000 bytes."""
    command = [sys.executable, "-c", FULL, str(train), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stdout.startswith(f"cannot write {folder}: "), done.stderr
    assert (
        "free some disk space or choose another folder (encoded_dir, $D2L_RECSYS_DATA)"
        in done.stdout
    )
    assert left_in(folder) == []
    assert len(CTRDataset(train, encoded_dir=folder)) == 600


def test_what_is_encoded_can_be_read_where_nothing_can_be_written(train, folder, monkeypatch):
    expected = CTRDataset(train, encoded_dir=folder).features.sum()

    def refuse(*arguments, **options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(click_encoding.pathlib.Path, "mkdir", refuse)
    assert CTRDataset(train, encoded_dir=folder).features.sum() == expected
    with pytest.raises(OutputError, match=r"^cannot write .*encoded: Permission denied; free some"):
        CTRDataset(train, min_threshold=5, encoded_dir=folder)


def test_a_file_in_the_way_is_named(train, folder):
    folder.write_text("")
    with pytest.raises(OutputError, match=r"cannot write .*encoded: File exists"):
        CTRDataset(train, encoded_dir=folder)


def test_what_a_killed_process_left_is_made_anew(train, folder):
    expected = np.array(CTRDataset(train, encoded_dir=folder).features)
    (name,) = left_in(folder)
    (folder / name).rename(folder / f".{name}.partial")
    (folder / f".{name}.partial" / "features.int32").write_bytes(b"half")
    again = CTRDataset(train, encoded_dir=folder)
    assert np.array_equal(again.features, expected)
    assert left_in(folder) == [name]


def test_damaged_files_are_named(train, folder):
    def damage(name, content):
        shutil.rmtree(folder, ignore_errors=True)
        CTRDataset(train, encoded_dir=folder)
        (made,) = left_in(folder)
        if content is None:
            (folder / made / name).unlink()
        else:
            (folder / made / name).write_bytes(content)
        with pytest.raises(DataError, match=f"{made} is not a complete encoding .*delete this"):
            CTRDataset(train, encoded_dir=folder)

    damage("features.int32", b"short")
    damage("labels.float32", None)
    damage("encoding.json", b"{")
    damage("encoding.json", b"{}")
    damage(
        "encoding.json", b'{"rows": 1, "num_clicks": 1, "feat_mapper": null, "skipped": [0, []]}'
    )
    damage("encoding.json", None)


def encode(path, folder, queue):
    queue.put(CTRDataset(path, encoded_dir=folder).features.sum())


def test_two_processes_at_once_encode_once(train, folder, tmp_path):
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    running = [context.Process(target=encode, args=(train, folder, queue)) for _ in range(2)]
    for process in running:
        process.start()
    sums = {queue.get(timeout=60) for _ in running}
    for process in running:
        process.join()
    assert sums == {CTRDataset(train).features.sum()}
    assert len(left_in(folder)) == 1


def test_the_record_is_readable_and_has_what_is_needed(train, folder):
    dataset = CTRDataset(train, encoded_dir=folder)
    (name,) = left_in(folder)
    record = json.loads((folder / name / "encoding.json").read_text())
    assert (record["rows"], record["num_clicks"]) == (600, dataset.num_clicks)
    features = np.fromfile(folder / name / "features.int32", "<i4").reshape(600, 34)
    assert np.array_equal(features, dataset.features)


def test_an_error_in_a_row_leaves_nothing(train, folder, monkeypatch):
    monkeypatch.setattr(click_files, "CHUNK_BYTES", 1000)
    with train.open("a") as file:
        file.write("2\n")
    with pytest.raises(DataError, match="line 601"):
        CTRDataset(train, strict=True, encoded_dir=folder)
    assert left_in(folder) == []
