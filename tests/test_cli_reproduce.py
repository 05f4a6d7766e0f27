"""``d2l-recsys report FOLDERS``: the runs in these folders beside the book."""

import json
import re

import pytest

from d2l_recsys.runs.reported import reported_numbers
from d2l_recsys.runs.results import make_result
from d2l_recsys.settings import Scores
from d2l_recsys.storage.files import as_json, prepare_folder, write_files

BOOK = {"num_devices": 2, "num_factors": 30, "lr": 0.002, "split": "seq-aware"}
DATA = {"name": "a", "source": "b", "sha256": "c" * 64, "substitute": False}


@pytest.fixture
def leave(tmp_path):
    """A function that writes a result of MF with some settings into a folder, and returns it."""

    def leave(folder, *, seed=0, substitute=False, **settings):
        result = make_result(
            chapter="mf",
            protocol="printed",
            seed=seed,
            scores=Scores({"test_rmse": 1.0}, {"test_rmse": 0.9}),
            reported=reported_numbers("mf"),
            dataset={**DATA, "substitute": substitute},
            settings={**BOOK, **settings},
            seconds={"load": 0.1},
        )
        write_files(prepare_folder(tmp_path / folder), {"result.json": as_json(result)})
        return json.loads(as_json(result))

    return leave


@pytest.fixture
def report(run_here):
    """A function that returns the rows of test RMSE, and the lines below the table."""

    def report(*folders):
        code, out, err = run_here("report", *folders)
        assert (code, err) == (0, "")
        table, _, below = out.partition("\n\n")
        rows = [re.split(r" {2,}", row) for row in table.splitlines()]
        return [row for row in rows if "test rmse" in row], below.splitlines()

    return report


def test_runs_of_a_section_are_named_by_the_settings_in_which_they_differ(leave, report):
    leave("one")
    leave("two", num_factors=50, lr=0.001, seed=3)
    rows, _ = report("one", "two")
    assert [row[1] for row in rows] == [
        "seq-aware, num_factors 30, lr 0.002, seed 0",
        "seq-aware, num_factors 50, lr 0.001, seed 3",
    ]
    assert [row[1] for row in report("two")[0]] == ["seq-aware"]


def test_the_books_number_stands_only_beside_its_own_settings(leave, report):
    leave("as-the-book")
    leave("one-device", num_devices=1)
    leave("other", lr=0.1, num_devices=1)
    rows, below = report("as-the-book", "one-device", "other")
    assert [row[2:] for row in rows] == [
        ["test rmse", "1.055", "1.000", "0.900"],
        ["test rmse", "1.055", "1.000", "0.900"],
        ["test rmse", "-", "1.000", "0.900"],
    ]
    assert below == [
        "one-device: the book ran on two devices; here it was one device",
        "other: the book has no numbers for this run, because it has other settings",
        f"data: a from b, SHA-256 {'c' * 16}",
        "as-the-book: result.json",
        "one-device: result.json",
        "other: result.json",
    ]


def test_many_runs_with_other_settings_are_counted(leave, report):
    for factors in (1, 2, 3, 4):
        leave(f"mf/{factors}", num_factors=factors)
    _, below = report("mf")
    assert below[0].startswith("4 runs: the book has no numbers for these runs")


def test_a_substitute_keeps_its_mark_with_any_settings(leave, report):
    leave("one", substitute=True)
    leave("two", substitute=True, lr=0.1)
    rows, below = report("one", "two")
    assert [(row[0], row[3]) for row in rows] == [("mf*", "1.055"), ("mf*", "-")]
    (data,) = (line for line in below if line.startswith("data: "))
    assert data.endswith("; * not the chapter's data: do not compare these numbers with the book's")


def test_a_folder_stands_for_the_runs_below_it(leave, report):
    for seed in (10, 2):
        leave(f"mf/seed-{seed}", seed=seed)
    rows, below = report("mf/seed-10", "mf")
    assert [row[1] for row in rows] == ["seq-aware, seed 10", "seq-aware, seed 2"]
    rows, below = report("mf")
    assert [row[1] for row in rows] == ["seq-aware, seed 2", "seq-aware, seed 10"]
    assert below[-2:] == ["mf/seed-2: result.json", "mf/seed-10: result.json"]


def test_folders_below_without_a_result_or_with_a_damaged_one_get_one_line(
    leave, run_here, tmp_path
):
    prepare_folder(tmp_path / "empty" / ".hidden")
    leave("empty/.hidden/mf")
    assert run_here("report", "empty") == (
        2,
        "",
        "d2l-recsys: error: empty has no result.json, nor has a folder below it; name a folder of "
        "results\n",
    )
    leave("all/good")
    prepare_folder(tmp_path / "all" / "bad").joinpath("result.json").write_text("[]")
    assert run_here("report", "all") == (
        2,
        "",
        "d2l-recsys: error: all/bad/result.json is not a result; run its section again\n",
    )


def test_the_json_document_has_what_differs_and_the_result_as_it_is(leave, run_here):
    results = [leave("mf/1"), leave("mf/2", lr=0.1)]
    code, out, _ = run_here("report", "mf", "--json")
    assert code == 0
    assert json.loads(out)["results"] == [
        {"folder": folder, "files": ["result.json"], "result": result, "differs": {"lr": lr}}
        for folder, result, lr in zip(("mf/1", "mf/2"), results, (0.002, 0.1))
    ]
