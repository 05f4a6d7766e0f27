import gzip
import hashlib
import json

import numpy as np
import pytest
from conftest import made_up_clicks

from d2l_recsys import ctr
from d2l_recsys.data import load_data_ctr
from d2l_recsys.datasets import click_sets
from d2l_recsys.datasets.click_files import AVAZU_HEADER
from d2l_recsys.datasets.download import Source, SourceFailedError
from d2l_recsys.errors import DataError, SettingError
from d2l_recsys.loaders.batches import BatchLoader, MappedLoader


def refuse(url, output_file, pooch):
    raise SourceFailedError("it could not be reached")


@pytest.fixture
def unreachable(monkeypatch):
    """The book's server cannot be reached."""
    (source,) = click_sets.BOOK_SOURCES
    sources = (Source(source.name, source.url, source.known_hash, source.members, refuse),)
    monkeypatch.setattr(click_sets, "BOOK_SOURCES", sources)


def test_the_books_files_in_a_folder_or_in_its_folder_ctr(clicks_dir, tmp_path, capsys):
    data = load_data_ctr("book", clicks_dir, batch_size=32, shuffle_rng=0)
    assert capsys.readouterr() == ("", "")
    assert (len(data.train), len(data.test)) == (600, 150)
    assert data.test.feat_mapper is data.train.feat_mapper
    digests = [
        hashlib.sha256((clicks_dir / name).read_bytes()).hexdigest()
        for name in ("train.csv", "test.csv")
    ]
    assert data.dataset == {
        "name": "ctr",
        "source": "a folder of the user's",
        "sha256": hashlib.sha256("".join(digests).encode()).hexdigest(),
        "substitute": True,
        "train_rows": 600,
        "test_rows": 150,
        "rows_left_out": 0,
    }
    (tmp_path / "data").mkdir()
    clicks_dir.rename(tmp_path / "data" / "ctr")
    assert load_data_ctr("book", tmp_path / "data").dataset == data.dataset


def test_the_books_own_files_are_no_substitute(clicks_dir, monkeypatch):
    sha1 = {
        name: hashlib.sha1((clicks_dir / name).read_bytes()).hexdigest()
        for name in click_sets.BOOK_SHA1
    }
    monkeypatch.setattr(click_sets, "BOOK_SHA1", sha1)
    assert load_data_ctr("book", clicks_dir).dataset["substitute"] is False
    with (clicks_dir / "test.csv").open("a") as file:
        file.write(made_up_clicks(1)[0])
    assert load_data_ctr("book", clicks_dir).dataset["substitute"] is True


def test_batches_are_of_whole_arrays_shuffled_and_rolled_over_for_training(clicks_dir):
    data = load_data_ctr("book", clicks_dir, batch_size=64, shuffle_rng=5)
    batches = list(data.train_iter)
    assert len(batches) == 9
    order = np.random.default_rng(5).permutation(600)[: 9 * 64]
    assert np.array_equal(np.concatenate([x for x, _ in batches]), data.train.features[order])
    assert np.array_equal(np.concatenate([y for _, y in batches]), data.train.labels[order])
    assert sum(len(list(data.train_iter)) for _ in range(7)) == 8 * 600 // 64 - 9
    test = list(data.test_iter)
    assert [len(x) for x, _ in test] == [64, 64, 22]
    assert np.array_equal(np.concatenate([x for x, _ in test]), data.test.features)
    assert type(data.train_iter) is BatchLoader


def test_files_encoded_on_disk_are_read_piece_by_piece(clicks_dir, tmp_path, monkeypatch):
    monkeypatch.setattr(ctr, "LARGE", 0)
    monkeypatch.setenv("D2L_RECSYS_DATA", str(tmp_path / "mine"))
    data = load_data_ctr("book", clicks_dir, batch_size=64, shuffle_rng=5)
    assert isinstance(data.train_iter, MappedLoader)
    assert isinstance(data.test_iter, MappedLoader)


def test_where_the_book_is_out_of_reach_movielens_takes_its_place(ratings_dir, unreachable, capsys):
    data = load_data_ctr("book", ratings_dir, batch_size=16)
    out, err = capsys.readouterr()
    assert out == ""
    assert "no source delivered ctr (the book's server: it could not be reached)" in err
    assert f"by hand into {ratings_dir}/ctr" in err
    assert err.splitlines()[-1].endswith("using substitute data: MovieLens-100K recast as clicks")
    assert data.dataset["substitute"] is True
    assert data.dataset["name"] == "MovieLens-100K as clicks"
    assert data.train.NUM_FEATS == 10
    assert (
        len(data.train) + len(data.test)
        == len((ratings_dir / "u.data").read_text().split("\n")) - 1
    )
    assert load_data_ctr("movielens", ratings_dir).dataset == data.dataset
    assert capsys.readouterr() == ("", "")


def test_half_of_the_books_files_is_an_error(clicks_dir):
    (clicks_dir / "train.csv").unlink()
    with pytest.raises(DataError, match=r"there is no train\.csv in .*clicks; put the book's file"):
        load_data_ctr("book", clicks_dir)


def test_rows_left_out_are_named_and_counted(clicks_dir, capsys):
    with (clicks_dir / "test.csv").open("a") as file:
        file.write("1\tshort\n")
    data = load_data_ctr("book", clicks_dir)
    assert data.dataset["rows_left_out"] == 1
    assert capsys.readouterr().err == (
        f"{clicks_dir}/test.csv: left out 1 rows that are not valid "
        "(line 151: found 2 columns, expected 35)\n"
    )
    with pytest.raises(DataError, match=r"test\.csv, line 151: found 2 columns, expected 35"):
        load_data_ctr("book", clicks_dir, strict=True)
    with (clicks_dir / "train.csv").open("a") as file:
        file.write("x\n" * 2)
    assert load_data_ctr("book", clicks_dir).dataset["rows_left_out"] == 3


def test_the_threshold_reaches_both_sets(clicks_dir):
    data = load_data_ctr("book", clicks_dir, min_threshold=30)
    expected = ctr.CTRDataset(clicks_dir / "train.csv", min_threshold=30)
    assert data.train.feat_mapper == expected.feat_mapper
    assert data.train.feat_mapper != ctr.CTRDataset(clicks_dir / "train.csv").feat_mapper


def test_fetched_files_are_checked_each_time(clicks_dir, monkeypatch):
    (clicks_dir / "source.json").write_text('{"sha256": {"train.csv": "0"}, "source": "there"}')
    with pytest.raises(DataError, match=r"train\.csv has the wrong checksum"):
        load_data_ctr("book", clicks_dir)
    found = hashlib.sha256((clicks_dir / "train.csv").read_bytes()).hexdigest()
    record = {"sha256": {"train.csv": found}, "source": "there"}
    (clicks_dir / "source.json").write_text(json.dumps(record))
    assert load_data_ctr("book", clicks_dir).dataset["source"] == "there"


def test_the_folder_may_be_named_by_the_environment(clicks_dir, monkeypatch):
    monkeypatch.setenv("D2L_RECSYS_DATA", str(clicks_dir))
    assert len(load_data_ctr("book").train) == 600
    monkeypatch.setenv("D2L_RECSYS_DATA", str(clicks_dir / "nowhere"))
    with pytest.raises(DataError, match=r"D2L_RECSYS_DATA: the folder .*nowhere does not exist"):
        load_data_ctr("book")


@pytest.mark.parametrize(("name", "label"), [("train.csv", "0"), ("test.csv", "1")])
def test_labels_of_one_class_are_refused(clicks_dir, name, label):
    lines = (clicks_dir / name).read_text().splitlines()
    (clicks_dir / name).write_text("".join(f"{label}{line[1:]}\n" for line in lines))
    with pytest.raises(
        DataError,
        match=f"{name}: all {len(lines)} rows have the label {label}; use a file with both",
    ):
        load_data_ctr("book", clicks_dir)


def test_unknown_names_and_folders_are_refused(tmp_path):
    with pytest.raises(SettingError, match="--dataset is 'kaggle'; choose one of: book, movielens"):
        load_data_ctr("kaggle", tmp_path)
    with pytest.raises(DataError, match=r"--data-dir: the folder .*nowhere does not exist"):
        load_data_ctr("book", tmp_path / "nowhere")
    with pytest.raises(
        DataError, match=r"--dataset criteo: there is no train\.txt or train\.txt\.gz in .*download"
    ):
        load_data_ctr("criteo", tmp_path)


def criteo_lines(num_rows):
    rows = []
    for i, line in enumerate(made_up_clicks(num_rows, 26)):
        label, *values = line.rstrip("\n").split("\t")
        counts = [str(i % (3 + f)) if (i + f) % 7 else "" for f in range(13)]
        rows.append("\t".join([label, *counts, *values]) + "\n")
    return "".join(rows)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("below", [".", "criteo"])
def test_criteos_file_is_split_and_its_test_rows_use_the_training_rows_ids(tmp_path, packed, below):
    content = criteo_lines(200).encode()
    folder = tmp_path / below
    folder.mkdir(exist_ok=True)
    path = folder / ("train.txt.gz" if packed else "train.txt")
    path.write_bytes(gzip.compress(content) if packed else content)
    data = load_data_ctr("criteo", tmp_path, batch_size=16)
    assert (len(data.train), len(data.test)) == (180, 20)
    assert data.train.NUM_FEATS == 39
    assert data.train.feat_mapper[3][""] == 0
    assert data.test.feat_mapper is data.train.feat_mapper
    assert data.dataset["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert data.dataset["name"] == "criteo"
    assert data.dataset["substitute"] is True


@pytest.mark.parametrize("name", ["train", "train.csv", "train.gz", "train.csv.gz"])
def test_avazus_file_under_any_of_its_names(tmp_path, name):
    lines = [AVAZU_HEADER]
    for i, line in enumerate(made_up_clicks(100, 21)):
        label, *values = line.rstrip("\n").split("\t")
        lines.append(",".join([str(i), label, f"1410{21 + i % 7}{i % 24:02}", *values]))
    content = "\n".join(lines).encode()
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    data = load_data_ctr("avazu", tmp_path, batch_size=16)
    assert (len(data.train), len(data.test)) == (90, 10)
    # Field 0 has seven weekdays and a default.
    assert data.train.field_dims[0] == 8
