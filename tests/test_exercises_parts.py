"""What the parts of an exercise show, from runs that are made up or quick."""

import numpy as np
import pytest

from d2l_recsys.exercises import parts
from d2l_recsys.exercises.claims import filled
from d2l_recsys.exercises.exercise import BestOfUsers, Exercise, Grid, OverEpochs, Part, seeds_of
from d2l_recsys.exercises.parts import Conditions, shown
from d2l_recsys.recommend import recommend
from d2l_recsys.saved_models import load_model
from d2l_recsys.sections.registry import SYSTEMS
from d2l_recsys.settings import Scores
from d2l_recsys.sweeps.grid import Point
from d2l_recsys.sweeps.runs import Done, Outcome
from d2l_recsys.training.history import History

DATASET = {"name": "made up", "source": "a test", "sha256": "ab" * 32, "substitute": True}


def done(folder, losses, stuck, seed):
    """A finished run with these losses, in ``folder``."""
    history = History()
    for loss in losses:
        numbers = {"train_loss": loss, "stuck": stuck}
        history.append(
            Scores(numbers, numbers),
            examples=1,
            seconds_train=1.0,
            seconds_evaluate=1.0,
            curve_train_loss=loss,
        )
    folder.mkdir()
    (folder / "history.csv").write_bytes(history.csv())
    result = {
        "chapter": "tutorial_neumf",
        "protocol": "printed",
        "seed": seed,
        "printed": numbers,
        "defined": numbers,
        "reported": {},
        "dataset": DATASET,
        "settings": {},
        "seconds": {"total": 1.0},
    }
    return Done(folder, {"seed": seed}, result)


@pytest.fixture
def conditions(tmp_path, monkeypatch):
    """Conditions whose runs are the outcomes in the list that this returns beside them."""
    outcomes = []
    monkeypatch.setattr(Conditions, "run", lambda self, points, seeds: outcomes)
    return Conditions(tmp_path, None, 1, True), outcomes


def cells(table):
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]


def test_runs_in_two_regimes_get_two_rows(conditions, tmp_path):
    runs = [([5.0, 1.5, 1.0], 0), ([12.0, 9.0, 6.0], 1), ([4.0, 1.25, 1.0], 0)]
    done_runs = [done(tmp_path / f"{i}", *run, i) for i, run in enumerate(runs)]
    conditions[1].append(Outcome(Point(SYSTEMS["tutorial_neumf"], {}, {"start": "x"}), done_runs))
    part = OverEpochs("Losses", [Grid("tutorial_neumf")], ["train_loss"], (1, 3), 3, "stuck")
    found = shown(part, conditions[0])
    headers, _, *rows = cells(found.table["pipe"])
    assert headers == ["start", "stuck", "runs", "number", "epoch 1", "epoch 3"]
    assert rows == [
        ["x", "no", "2", "train loss", "4.500 [4.000, 5.000]", "1.000"],
        ["x", "yes", "1", "train loss", "12.000", "6.000"],
    ]
    assert list(found.figures) == ["Losses: train loss"]
    assert (
        filled("[count stuck] of 3, [train_loss start=x]", [found.rows]) == "1 of 3, 2.667 ± 2.887"
    )
    without = shown(part._replace(regimes=""), conditions[0])
    assert cells(without.table["pipe"])[2] == [
        "x", "3", "train loss", "7.000 [4.000, 12.000]", "2.667 [1.000, 6.000]"]  # fmt: skip


@pytest.mark.parametrize("regimes", ["", "stuck"])
def test_a_point_whose_runs_all_failed_is_told(regimes, conditions, tmp_path):
    failed = Done(tmp_path, {"seed": 0}, None, "the loss is not finite", True)
    good = done(tmp_path / "good", [5.0, 4.0], 0, 0)
    for label, run in (("a", failed), ("b", good)):
        point = Point(SYSTEMS["tutorial_neumf"], {}, {"start": label})
        conditions[1].append(Outcome(point, [run]))
    part = OverEpochs("Losses", [Grid("tutorial_neumf")], ["train_loss"], (2,), 1, regimes)
    found = shown(part, conditions[0])
    rows = cells(found.table["pipe"])[2:]
    assert [(row[0], row[-3], row[-1]) for row in rows] == [("a", "0", "-"), ("b", "1", "4.000")]
    assert "failed: the loss is not finite" in found.notes
    assert "the numbers are the printed ones" in found.notes


def test_the_list_of_a_user_is_that_of_the_model(conditions, ratings_dir, tmp_path):
    folder = tmp_path / "svd"
    options = {"num_factors": 3, "user": 2}
    result = SYSTEMS["tutorial_svd"].main()(**options, data_dir=ratings_dir, out=folder, quiet=True)
    point = Point(SYSTEMS["tutorial_svd"], options, {"model": "svd"})
    conditions[1].append(Outcome(point, [Done(folder, {"seed": None}, result)]))
    part = BestOfUsers("Lists", [Grid("tutorial_svd")], (2, 7))
    found = shown(part, conditions[0]._replace(data_dir=ratings_dir))
    rows = cells(found.table["pipe"])[2:]
    assert [row[:2] for row in rows] == [["svd", "2"], ["svd", "7"]]
    for row, told, user in zip(rows, found.document["lists"], part.users):
        best = recommend(load_model(folder), user, 5, ratings_dir)
        assert [m["item_id"] for m in told["movies"]] == best["item_id"].tolist()
        np.testing.assert_allclose([m["score"] for m in told["movies"]], best["score"])
        assert row[2].startswith(f"{best['title'][0]} ({best['year'][0]}) {best['score'][0]:.3f}, ")
        assert told["user"] == user


def test_the_user_may_move_and_count_seeds_but_not_those_that_a_part_names(tmp_path):
    conditions = Conditions(tmp_path, None, 1, True)
    assert list(seeds_of(3)) == [0, 1, 2]
    assert list(conditions.seeds_of((47, 65))) == [47, 65]
    assert list(conditions._replace(first_seed=100, seeds=1).seeds_of((47, 65))) == [47, 65]
    assert list(conditions._replace(first_seed=100, seeds=2).seeds_of(5)) == [100, 101]
    assert list(conditions._replace(first_seed=7).seeds_of(2)) == [7, 8]


def test_runs_that_two_parts_share_count_once():
    grid = Grid("tutorial_neumf")
    over = OverEpochs("a", [grid], ["train_loss"], (1,), 10)
    again = OverEpochs("b", [Grid("tutorial_neumf", {"start": ("pytorch", "xavier")})],
                       ["train_loss"], (1,), (3, 47))  # fmt: skip
    best = BestOfUsers("c", [Grid("svd"), grid], (1,))
    # Ten seeds, seed 47, two with another start, and the SVD once.
    assert Exercise("x.1", "?", "!", [over, again, best]).num_runs == 10 + 1 + 2 + 1
    assert Exercise("x.1", "?", "!", [Part("d", [grid], 3), over]).num_runs == 10


def test_what_is_no_part_is_refused(tmp_path):
    with pytest.raises(TypeError, match="str is no part of an exercise"):
        parts.shown("15.3", Conditions(tmp_path, None, 1, True))


def test_a_last_seed_that_is_too_large_is_refused(run_here):
    code, _, err = run_here("exercise", "tutorial.3", "--first-seed", 2**31 - 50)
    assert (code, err.count("\n")) == (2, 1)
    assert "--first-seed is 2147483598; seeds lie between 0 and 2147483647" in err
