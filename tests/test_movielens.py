import json

import pytest
from conftest import run_script


@pytest.mark.network
def test_the_section_prints_its_statistics_and_leaves_its_histogram(ml100k_dir, tmp_path):
    done = run_script("chapters/movielens.py", "--data-dir", ml100k_dir, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "number of users: 943, number of items: 1682" in done.stdout
    assert "matrix sparsity: 0.936953" in done.stdout
    folder = tmp_path / "results" / "movielens"
    result = json.loads((folder / "result.json").read_text())
    assert result["printed"] == pytest.approx(result["reported"], abs=5e-7)
    assert sum(result["ratings"].values()) == 100000
    assert (folder / "histogram.png").read_bytes().startswith(b"\x89PNG")


def test_ratings_of_another_set_are_a_substitute(ratings_dir, tmp_path):
    done = run_script("chapters/movielens.py", "--data-dir", ratings_dir, "--out", tmp_path)
    assert done.returncode == 0
    assert json.loads((tmp_path / "result.json").read_text())["dataset"]["substitute"] is True
