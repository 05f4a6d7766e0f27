import hashlib
import json
import os
import time

import pytest

from d2l_recsys.cli import data
from d2l_recsys.ctr import CTRDataset
from d2l_recsys.datasets import click_sets
from d2l_recsys.errors import DataError, NoSourceError


@pytest.fixture
def offline(monkeypatch):
    """No source can be reached."""

    def fetch(sources, folder, by_hand):
        raise NoSourceError(f"no source delivered {folder.name}; {by_hand}")

    monkeypatch.setattr("d2l_recsys.datasets.movielens.fetch", fetch)
    monkeypatch.setattr("d2l_recsys.datasets.click_sets.fetch", fetch)


def test_what_is_missing_is_named_and_not_fetched(tmp_path, offline, capsys):
    data.where(tmp_path)
    printed = capsys.readouterr().out.splitlines()
    assert [" ".join(line.split()) for line in printed] == [
        f"ml-100k {tmp_path / 'ml-100k'} not here yet",
        f"ctr {tmp_path / 'ctr'} not here yet; not needed: MovieLens-100K, recast as clicks, "
        "replaces it",
    ]
    with pytest.raises(DataError, match=r"^ml-100k is not in .*d2l-recsys data fetch'$"):
        data.check(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_other_data_than_the_chapters_is_told(ratings_dir, clicks_dir, capsys):
    for name in ("train.csv", "test.csv"):
        (clicks_dir / name).rename(ratings_dir / name)
    data.where(ratings_dir)
    assert capsys.readouterr().out.count("not the chapter's data") == 2
    with pytest.raises(DataError, match=r"does not have the chapter's data; name another folder"):
        data.check(ratings_dir)


def test_the_chapters_data_is_whole(ml100k_dir, tmp_path, clicks_dir, monkeypatch, capsys):
    (tmp_path / "ml-100k").symlink_to(ml100k_dir)
    (tmp_path / "ctr").symlink_to(clicks_dir)
    known = {n: hashlib.sha1((clicks_dir / n).read_bytes()).hexdigest() for n in
             click_sets.BOOK_SHA1}  # fmt: skip
    monkeypatch.setattr(click_sets, "BOOK_SHA1", known)
    data.check(tmp_path)
    assert capsys.readouterr().out.count("complete, from") == 2
    (clicks_dir / "test.csv").unlink()
    with pytest.raises(DataError, match=r"^there is no test\.csv in .*ctr"):
        data.check(tmp_path)
    assert "damaged" in capsys.readouterr().out


def test_without_the_optional_clicks_the_data_is_whole(ml100k_dir, tmp_path, capsys):
    (tmp_path / "ml-100k").symlink_to(ml100k_dir)
    data.check(tmp_path)
    assert "not here yet; not needed: MovieLens-100K, recast" in capsys.readouterr().out


def test_encodings_without_source_or_use_are_deleted_and_no_others(tmp_path, clicks_dir, capsys):
    encoded = tmp_path / "encoded"
    data.prune(tmp_path)
    assert capsys.readouterr().out.splitlines()[-1] == "there is nothing to delete"
    copies = []
    for number, name in enumerate(("kept", "gone", "unused", "used")):
        copies.append(tmp_path / name)
        lines = (clicks_dir / "train.csv").read_text().splitlines()
        copies[-1].write_text("\n".join(lines[number:]) + "\n")
        CTRDataset(copies[-1], encoded_dir=encoded)
    folders = {json.loads((f / "encoding.json").read_text())["source"]: f
               for f in encoded.iterdir() if f.is_dir()}  # fmt: skip
    assert set(folders) == set(map(str, copies))
    copies[1].unlink()
    long_ago = time.time() - 31 * 24 * 3600
    for copy in copies[2:]:
        os.utime(folders[str(copy)] / "encoding.json", (long_ago, long_ago))
    CTRDataset(copies[3], encoded_dir=encoded)
    data.prune(tmp_path)
    shown = capsys.readouterr().out
    assert f"{copies[1]} is gone" in shown
    assert "not used for 31 days" in shown
    left = [copy for copy in copies if folders[str(copy)].exists()]
    assert left == [copies[0], copies[3]]
    assert len(CTRDataset(copies[0], encoded_dir=encoded)) == 600


def test_all_is_fetched_that_can_be_had(tmp_path, ratings_dir, offline, capsys):
    (ratings_dir / "u.data").rename(tmp_path / "u.data")
    with pytest.raises(DataError, match=r"no source delivered ctr; put train\.csv and test\.csv"):
        data.fetch(tmp_path)
    assert "not available" in capsys.readouterr().out
