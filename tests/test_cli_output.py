"""``--json``: one JSON document on standard output, and nothing else."""

import json
import re

import pytest
from conftest import ROOT, run_script

from d2l_recsys.cli import data, names
from d2l_recsys.leaderboard.entries import ENTRIES
from d2l_recsys.sections.registry import SYSTEMS, VARIANTS


@pytest.fixture
def document(run_here):
    """A function that returns the document that a command prints."""

    def document(*arguments, code=0):
        returned, out, err = run_here(*arguments, "--json")
        assert returned == code, err
        return json.loads(out)

    return document


def told(command):
    """The keys that ``docs/json.md`` names for a command."""
    page = (ROOT / "docs" / "json.md").read_text(encoding="utf-8")
    (row,) = (line for line in page.splitlines() if line.startswith(f"| `{command}`"))
    return set(re.findall(r"`([a-z_]+)`", row.split("|")[2]))


def test_a_list_of_names(capsys):
    names.list_names(json=True)
    found = json.loads(capsys.readouterr().out)
    assert {name["name"] for name in found["names"]} == {*SYSTEMS, *VARIANTS, *ENTRIES}
    assert {*found, *found["names"][0]} == told("list")


def test_data_sets_and_problems(document, tmp_path):
    found = document("data", "check", "--data-dir", tmp_path, code=2)
    assert [(s["name"], s["complete"]) for s in found["data_sets"]] == [
        ("ml-100k", False), ("ctr", False)
    ]  # fmt: skip
    assert len(found["problems"]) == 1
    assert {*found, *found["data_sets"][0]} == told("data where")


def test_what_is_pruned(tmp_path, capsys):
    data.prune(tmp_path, json=True)
    assert json.loads(capsys.readouterr().out) == {"deleted": []}


def test_recommendations_and_results(document, ratings_dir, tmp_path):
    where = ["--data-dir", ratings_dir, "--results", tmp_path]
    found = document("recommend", "--model", "ease", "--user", 8, "--like", "Film 7", *where)
    assert (found["model"], found["user"], found["like"]) == ("ease", 8, 7)
    assert [t["about"] for t in found["tables"]] == ["rated highest", "recommended", "similar"]
    movie = found["tables"][1]["movies"][0]
    assert {*movie, "rating"} | {*found, *found["tables"][0]} == told("recommend")
    assert isinstance(movie["score"], float)
    assert isinstance(movie["year"], int)
    found = document("report", tmp_path / "ease")
    (one,) = found["results"]
    assert {*found, *one} == told("report FOLDERS")
    assert one["differs"] == {}
    assert one["folder"] == str(tmp_path / "ease")
    assert one["result"] == json.loads((tmp_path / "ease" / "result.json").read_text())
    assert one["files"] == ["hits.png", "model.safetensors", "result.json"]


@pytest.mark.parametrize("command", [["report", "nowhere"], ["recommend", "--user", 10**6]])
def test_after_an_error_standard_output_is_empty(command, ratings_dir, tmp_path):
    options = ["--data-dir", ratings_dir] if command[0] == "recommend" else []
    done = run_script("d2l_recsys/__main__.py", *command, *options, "--json", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
