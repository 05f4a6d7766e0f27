import json
import pathlib

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("d2l_recsys.backend")
from d2l_recsys.data import load_ranking_ml100k
from d2l_recsys.datasets.movielens import dataset_ml100k
from d2l_recsys.errors import DataError
from d2l_recsys.leaderboard import runs
from d2l_recsys.leaderboard.entries import ENTRIES
from d2l_recsys.leaderboard.scores import METRICS, by_user
from d2l_recsys.reproduction import planned as planned_runs
from d2l_recsys.reproduction.planned import code_digest


@pytest.fixture
def plan(ratings_dir, tmp_path):
    """Return a function that plans a run on made-up ratings."""

    def planned(entry, options=(), seed=None, **depends_on):
        depends_on = {**runs.made_with(dataset_ml100k(ratings_dir)), **depends_on}
        folder = tmp_path / "runs" / entry
        return runs.plan(ENTRIES[entry], dict(options), seed, folder, ratings_dir, depends_on)

    return planned


QUICK = {"num_epochs": 2, "batch_size": 16, "num_factors": 4}


def test_a_run_leaves_the_ranks_of_what_its_result_says(plan, tmp_path, ratings_dir):
    planned = plan("gmf", {**QUICK, "split": "validation", "cutoff": [10]}, seed=3)
    runs.do(planned)
    done = runs.read(tmp_path / "runs" / "gmf")
    assert (done.result["seed"], done.result["settings"]["split"]) == (3, "validation")
    for name, values in by_user(done).items():
        assert values.mean() == pytest.approx(done.result["defined"][METRICS[name]])
    held_out = load_ranking_ml100k(ratings_dir, "validation").test_items
    assert {u: [i] for u, i in zip(done.ranks["user"], done.ranks["item"])} == held_out
    assert done.parameters == (30 + 40 + 1) * 4
    assert len(done.history) == 2
    files = {path.name for path in (tmp_path / "runs" / "gmf").iterdir()}
    assert files == {"curve.png", "history.csv", "ranks.csv", "result.json", "run.json"}


def test_the_median_count_is_that_of_the_first_unseen_items(plan, tmp_path, ratings_dir):
    runs.do(plan("popularity"))
    done = runs.read(tmp_path / "runs" / "popularity")
    data = load_ranking_ml100k(ratings_dir)
    counts = np.bincount(data.items, minlength=40)
    first = []
    for user in range(30):
        unseen = np.setdiff1d(np.arange(40), data.candidates[user])
        first.extend(np.sort(counts[unseen])[-10:])
    assert done.median_count == np.median(first)
    assert done.parameters == 40


def test_what_is_done_is_not_done_again_unless_something_changed(plan, monkeypatch, capsys):
    did = []

    def work_off(todo, work, jobs):
        for run in todo:
            did.append(run)
            yield run, None

    monkeypatch.setattr(planned_runs, "work_off", work_off)
    planned = plan("popularity")
    runs.do(planned)
    runs.do_all([planned], 1, quiet=False)
    assert did == []
    assert capsys.readouterr().err == "1 of 1 already finished: popularity\n"
    for other in (plan("popularity", code="0"), plan("popularity", {"cutoff": [3]})):
        runs.do_all([other], 1, quiet=True)
        assert did == [other]
        did.clear()


@pytest.mark.parametrize("name", ["run.json", "ranks.csv", "result.json"])
def test_a_run_that_is_not_whole_is_done_again(plan, tmp_path, name):
    planned = plan("popularity")
    runs.do(planned)
    assert planned.is_finished(runs.read)
    path = tmp_path / "runs" / "popularity" / name
    whole = path.read_bytes()
    for damaged in (b"", whole[: len(whole) // 2], b"[]"):
        path.write_bytes(damaged)
        assert not planned.is_finished(runs.read)
    path.unlink()
    assert not planned.is_finished(runs.read)
    with pytest.raises(DataError, match="run"):
        runs.read(path.parent)


def test_runs_are_done_in_processes_of_their_own_and_come_back_in_order(plan):
    planned = [plan("popularity"), plan("itemknn")]
    done = runs.do_all(planned, 1, quiet=True)
    assert list(done) == ["popularity", "itemknn"]
    assert all(len(d.ranks) == 30 and d.history is None for (d,) in done.values())
    assert json.loads(json.dumps(done["popularity"][0].stamp)) == planned[0].stamp


def test_a_run_is_named_by_what_it_is(plan):
    assert str(plan("popularity")) == "popularity"
    assert str(plan("gmf", {"loss": "bpr"}, seed=2)) == "gmf, seed 2, loss bpr"


def test_only_what_was_learned_counts_as_parameters():
    from d2l_recsys.backend import nn, npx

    npx.set_np()
    net = nn.Dense(3, in_units=2)
    assert runs._num_parameters(net) == 9
    net.bias.grad_req = "null"
    assert runs._num_parameters(net) == 6


def test_ranks_are_read_as_they_were(plan, tmp_path):
    runs.do(plan("popularity"))
    done = runs.read(tmp_path / "runs" / "popularity")
    assert done.ranks.dtypes.map(lambda kind: kind.kind).tolist() == ["i", "i", "f", "i"]
    assert isinstance(done.ranks, pd.DataFrame)


def test_ranks_without_the_last_users_are_not_whole(plan, tmp_path):
    planned = plan("popularity")
    runs.do(planned)
    path = tmp_path / "runs" / "popularity" / "ranks.csv"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
    assert not planned.is_finished(runs.read)


def test_the_code_of_the_runs_counts_as_code(tmp_path):
    path = tmp_path / "module.py"
    path.write_text("one")
    one = code_digest(path)
    assert one != code_digest()
    path.write_text("other")
    assert one != code_digest(path)
    own = runs.made_with({"sha256": "0" * 64})["code"]
    assert own == code_digest(pathlib.Path(runs.__file__))
