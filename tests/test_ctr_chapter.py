import json

import pytest
from conftest import run_script

from d2l_recsys.ctr import CTRDataset


def test_the_section_shows_first_record_field_sizes_and_click_rate(clicks_dir, tmp_path):
    done = run_script("chapters/ctr.py", "--data-dir", clicks_dir, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    train = CTRDataset(clicks_dir / "train.csv")
    clicks = [
        sum(line.startswith("1") for line in (clicks_dir / name).open())
        for name in ("train.csv", "test.csv")
    ]
    assert done.stdout.splitlines() == [
        f"first record: label {train.labels[0, 0]:.0f}, features {train.features[0].tolist()}",
        f"field sizes: {train.field_dims.tolist()}",
        f"training rows: 600, CTR {clicks[0] / 6:.2f} %",
        f"test rows: 150, CTR {clicks[1] / 1.5:.2f} %",
        "data: ctr, not the chapter's data: do not compare these numbers with the book's",
        "written to results/ctr: fields.png, result.json",
    ]
    folder = tmp_path / "results" / "ctr"
    result = json.loads((folder / "result.json").read_text())
    assert (
        result["printed"]
        == result["defined"]
        == {
            "train_rows": 600,
            "test_rows": 150,
            "num_fields": 34,
            "num_features": int(train.field_dims.sum()),
            "train_ctr": pytest.approx(clicks[0] / 6),
            "test_ctr": pytest.approx(clicks[1] / 1.5),
        }
    )
    assert list(result["fields"].values()) == train.field_dims.tolist()
    assert (folder / "fields.png").read_bytes().startswith(b"\x89PNG")


def test_the_threshold_and_the_substitute(ratings_dir, tmp_path):
    options = ["--dataset", "movielens", "--data-dir", ratings_dir, "--min-threshold", 1]
    done = run_script("chapters/ctr.py", *options, "--out", tmp_path, "--quiet")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["dataset"]["substitute"] is True
    assert result["fields"]["user"] == 31
    assert result["settings"] == {"dataset": "MovieLens-100K as clicks", "min_threshold": 1}
