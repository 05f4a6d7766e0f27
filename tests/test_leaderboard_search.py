import json

import pytest

pytest.importorskip("d2l_recsys.backend")
from d2l_recsys.datasets.movielens import dataset_ml100k
from d2l_recsys.leaderboard import runs
from d2l_recsys.leaderboard.entries import ENTRIES, Entry
from d2l_recsys.leaderboard.search import Trial, as_record, search
from d2l_recsys.reproduction import planned
from d2l_recsys.sections.registry import SYSTEMS

QUICK = {"batch_size": 16, "num_factors": 4}
ENTRY = Entry(
    "gmf",
    SYSTEMS["gmf"],
    {**QUICK, "lr": 9.0},
    {"num_epochs": (4,), "lr": (0.0, 0.1), "loss": ("bpr", "log")},
)


@pytest.fixture
def found(ratings_dir, tmp_path, monkeypatch):
    """Search in this process; return the trials and their runs."""

    def work_off(todo, work, jobs):
        for run in todo:
            work(run)
            yield run, None

    monkeypatch.setattr(planned, "work_off", work_off)
    depends_on = runs.made_with(dataset_ml100k(ratings_dir))
    trials = search([ENTRY], ratings_dir, tmp_path, depends_on, 1, quiet=True)
    done = [runs.read(tmp_path / "gmf" / f"trial-{i}") for i in range(4)]
    return trials["gmf"], done


def test_trials_are_all_with_all_and_leave_what_the_entry_is():
    assert ENTRY.identity == QUICK
    assert list(ENTRY.trials()) == [
        {"num_epochs": 4, "lr": lr, "loss": loss} for lr in (0.0, 0.1) for loss in ("bpr", "log")
    ]


def test_each_setting_is_tried_on_the_validation_items_and_its_best_epoch_found(found):
    trials, done = found
    for run, options in zip(done, ENTRY.trials()):
        settings = run.result["settings"]
        assert settings["split"] == "validation"
        assert {name: settings[name] for name in options} == options
        assert (settings["batch_size"], run.result["seed"]) == (16, 0)
        (trial,) = [t for t in trials if {**t.options, "num_epochs": 4} == options]
        curve = run.history.frame["defined_test_ndcg"]
        assert trial.ndcg == curve.max()
        assert trial.options["num_epochs"] == curve.idxmax() + 1
        assert trial.seconds == run.result["seconds"]["total"]
    assert [t.ndcg for t in trials] == sorted((t.ndcg for t in trials), reverse=True)
    record = json.loads(json.dumps(as_record({"gmf": trials})))
    assert [Trial(**t) for t in record["gmf"]] == trials


def test_without_epochs_to_choose_the_final_ranks_count(ratings_dir, tmp_path, monkeypatch):
    monkeypatch.setattr(planned, "work_off", lambda todo, work, jobs: ((r, work(r)) for r in todo))
    depends_on = runs.made_with(dataset_ml100k(ratings_dir))
    entries = [ENTRIES["popularity"]]
    found = search(entries, ratings_dir, tmp_path, depends_on, 1, True)
    done = runs.read(tmp_path / "popularity" / "trial-0")
    assert done.stamp["seed"] is None
    (trial,) = found["popularity"]
    assert trial.options == {}
    assert trial.ndcg == pytest.approx(done.result["defined"]["test_ndcg"])
