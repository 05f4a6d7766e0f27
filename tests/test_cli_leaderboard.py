import json

import pytest
from conftest import run_script

pytest.importorskip("d2l_recsys.backend")
from d2l_recsys.cli.leaderboard import leaderboard
from d2l_recsys.leaderboard import pages
from d2l_recsys.leaderboard.scores import METRICS, Standing
from d2l_recsys.leaderboard.search import Trial
from d2l_recsys.reproduction import planned

ENVIRONMENT = {"python": "3.11.7", "mxnet": "1.9.1", "devices": []}
DATASET = {"name": "ml-100k", "source": "GroupLens", "sha256": "0123456789abcdef0", "ok": True}


def standing(name, ndcg, lead, behind, seeds=1):
    means = {metric: ndcg for metric in METRICS}
    interval = (ndcg - 0.01, ndcg + 0.01)
    return Standing(name, seeds, means, means, interval, lead, behind, 12.4, 1234567, 80.0)


STANDINGS = [
    standing("ease", 0.08, (0.03, 0.05), (0.0, 0.0)),
    standing("gmf", 0.075, (-0.01, 0.04), (-0.02, 0.01), seeds=5),
    standing("popularity", 0.04, (0.0, 0.0), (-0.05, -0.03)),
    standing("bias", 0.01, (-0.04, -0.02), (-0.08, -0.06)),
]


def test_the_page_marks_what_is_told_apart_and_tells_the_search():
    trials = {"gmf": [Trial({"loss": "bpr", "num_epochs": 7}, 0.0712, 90.0)] * 4}
    text = pages.markdown(STANDINGS, 5, trials, ENVIRONMENT, DATASET, 300.0)
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()]
    board = {row[0]: row for row in rows if len(row) == len(pages.HEADERS)}
    assert list(board)[2:] == ["ease =", "gmf =", "popularity", "bias *"]
    ease, gmf, popularity, bias = list(board.values())[2:]
    assert bias[7] == "-0.040 to -0.020"
    assert ease[7:] == ["**+0.030 to +0.050**", "", "12", "1,234,567", "80"]
    assert gmf[7:9] == ["-0.010 to +0.040", "0.0750"]
    assert popularity[7] == ""
    settings = next(row for row in rows if row[:1] == ["gmf"] and len(row) == 6)
    assert settings[1] == "loss bpr, num_epochs 7"
    assert settings[3:] == ["4", "0.071", "6.0"]
    assert settings[2].startswith("num_epochs up to ")
    assert "5 seeds of each system that uses random numbers" in text
    assert "SHA-256 0123456789abcdef;" in text
    assert "5 minutes of one core" in text


def test_the_page_of_the_control_says_what_it_is():
    text = pages.markdown(STANDINGS, 1, {}, ENVIRONMENT, DATASET, 60.0, shuffled=True)
    assert text.startswith("# Leaderboard: the control\n")
    assert "shuffles the items of the training ratings" in text
    assert "1 seed of each system that uses random numbers" in text
    assert "shuffles the items" not in pages.markdown(STANDINGS, 1, {}, ENVIRONMENT, DATASET, 60.0)


def test_the_terminals_table_has_no_markup():
    lines = pages.table(STANDINGS).splitlines()
    assert "**" not in "".join(lines)
    assert [line.split()[0] for line in lines[2:]] == ["ease", "gmf", "popularity", "bias"]


def test_the_three_best_trials_are_shown():
    trials = [Trial({"lr": i}, 0.1 - i / 100, 1.0) for i in range(5)]
    lines = pages.search_table({"gmf": trials}).splitlines()[2:]
    assert [line.split()[-1] for line in lines] == ["0", "1", "2"]
    assert lines[0].split()[:3] == ["gmf", "5", "trials"]


def call(*options, ratings_dir, results):
    common = ["--data-dir", ratings_dir, "--results", results, "--jobs", 1]
    return run_script("d2l_recsys/__main__.py", "leaderboard", *common, *options)


def test_the_command_leaves_table_figure_and_numbers(ratings_dir, tmp_path):
    where = {"ratings_dir": ratings_dir, "results": tmp_path}
    done = call("--only", "itemknn", "--seeds", 3, **where)
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines() == [
        "1 of 2 finished: popularity",
        "2 of 2 finished: itemknn",
    ]
    folder = tmp_path / "leaderboard" / "part"
    assert not (tmp_path / "leaderboard" / "numbers.json").exists()
    assert done.stdout.splitlines()[-1].startswith(f"written to {folder}: ")
    assert (folder / "leaderboard.png").read_bytes().startswith(b"\x89PNG")
    numbers = json.loads((folder / "numbers.json").read_text())
    names = [s["name"] for s in numbers["standings"]]
    assert sorted(names) == ["itemknn", "popularity"]
    # These systems use no random numbers, so there is only one run of each.
    assert [s["seeds"] for s in numbers["standings"]] == [1, 1]
    page = (folder / "leaderboard.md").read_text()
    assert [name for name in names if f"| {name}" in page] == names
    again = call("--only", "itemknn", "--seeds", 3, **where)
    assert again.stderr.splitlines() == [
        "1 of 2 already finished: popularity",
        "2 of 2 already finished: itemknn",
    ]
    assert again.stdout == done.stdout


def test_the_control_and_the_search_leave_their_own(ratings_dir, tmp_path, monkeypatch, capsys):
    """This test does the runs in its own process; the test above starts other processes."""
    monkeypatch.setattr(planned, "work_off", lambda todo, work, _: ((r, work(r)) for r in todo))
    options = {"only": "popularity", "data_dir": ratings_dir, "results": tmp_path, "quiet": True}
    leaderboard(**options, shuffled=True, json=True)
    folder = tmp_path / "leaderboard"
    shown = json.loads(capsys.readouterr().out)
    assert shown == json.loads((folder / "shuffled" / "part" / "numbers.json").read_text())
    page = (folder / "shuffled" / "part" / "leaderboard.md").read_text()
    assert page.startswith("# Leaderboard: the control")
    shuffled = json.loads((folder / "shuffled" / "part" / "numbers.json").read_text())
    assert shuffled["dataset"]["substitute"]
    assert not (folder / "part").exists()
    capsys.readouterr()
    leaderboard(**options, search=True, json=True)
    found = json.loads((folder / "part" / "search.json").read_text())
    assert json.loads(capsys.readouterr().out) == found
    assert [len(found["popularity"]), found["popularity"][0]["options"]] == [1, {}]
    assert not (folder / "part" / "numbers.json").exists()
