import numpy as np
import pytest

from d2l_recsys.reproduction.summary import spread
from d2l_recsys.sections.registry import SYSTEMS, Kind
from d2l_recsys.sweeps.figure import draw_sweep
from d2l_recsys.sweeps.grid import Point
from d2l_recsys.sweeps.pages import Sweep
from d2l_recsys.sweeps.runs import Done, Outcome
from d2l_recsys.sweeps.table import Row, better, heading, row_of, shown_numbers, table_of


def row(labels, values, reported=(), failed=0):
    numbers = {"test_rmse": spread(values)} if values else {}
    return Row(labels, numbers, dict(reported), 1.5, len(values) + failed, failed)


def result(seed, rmse, protocol="printed", **settings):
    defaults = {"lr": 0.002, "num_factors": 30, "num_devices": 1}
    return {
        "chapter": "mf",
        "protocol": protocol,
        "seed": seed,
        "printed": {"test_rmse": rmse},
        "defined": {"test_rmse": rmse - 0.5},
        "reported": {"test_rmse": 1.055},
        "dataset": {"substitute": False},
        "settings": {**defaults, **settings},
        "seconds": {"total": 2.0 + seed},
    }


def outcome(results, num_failed=0):
    done = [Done(None, {"seed": r["seed"]}, r) for r in results]
    gone = [Done(None, {"seed": 9}, None, "the loss is not finite", True)] * num_failed
    return Outcome(Point(SYSTEMS["mf"], {}, {"lr": 0.002}), done + gone)


def test_a_row_has_mean_and_deviation_over_the_runs_that_have_numbers():
    found = row_of(outcome([result(0, 1.0), result(1, 1.5), result(2, 1.1)], num_failed=1))
    values = [1.0, 1.5, 1.1]
    assert found.numbers["test_rmse"].mean == pytest.approx(np.mean(values))
    assert found.numbers["test_rmse"].sd == pytest.approx(np.std(values, ddof=1))
    assert (found.num_runs, found.num_failed, found.seconds) == (4, 1, 3.0)


def test_a_row_has_the_numbers_of_the_protocol_of_its_runs():
    (value,) = row_of(outcome([result(0, 1.0, "defined")])).numbers["test_rmse"].values
    assert value == 0.5


def test_other_numbers_can_be_asked_for_and_the_book_has_only_printed_ones():
    found = row_of(outcome([result(0, 1.0)]), "defined")
    assert found.numbers["test_rmse"].values == [0.5]
    assert found.reported == {}


@pytest.mark.parametrize(
    ("change", "quotes"),
    [
        ({}, True),
        ({"num_devices": 2}, True),
        ({"lr": 0.1}, False),
        ({"protocol": "defined"}, False),
    ],
)
def test_the_book_is_quoted_only_for_its_own_settings(change, quotes):
    reported = row_of(outcome([result(0, 1.0, **change)])).reported
    assert reported == ({"test_rmse": 1.055} if quotes else {})


def test_the_book_is_not_quoted_beside_other_data():
    other = {**result(0, 1.0), "dataset": {"substitute": True}}
    assert row_of(outcome([other])).reported == {}


def test_a_table_names_the_settings_and_what_failed():
    rows = [
        row({"lr": 0.002, "dims": [3, 4]}, [1.0, 1.1], {"test_rmse": 1.055}),
        row({"lr": 10.0, "dims": []}, [], failed=2),
    ]
    head, _, *lines = table_of(rows, ["test_rmse"]).splitlines()
    assert head.split("  ")[0] == "lr"
    for word in ("dims", "test rmse", "book: test rmse", "runs", "failed", "seconds a run"):
        assert word in head
    assert lines[0].split() == ["0.002", "3,4", "1.0500", "±", "0.0707", "1.055", "2", "-", "1.5"]
    assert lines[1].split() == ["10", "-", "-", "2", "2", "-"]


def test_the_usual_numbers_of_the_kind_are_shown_and_further_cutoffs():
    names = ["train_loss", "test_auc", "test_hit_rate", "test_ndcg_at_5"]
    rows = [Row({}, {name: spread([0.5]) for name in names}, {}, 1.0, 1, 0)]
    assert shown_numbers(rows, [Kind.ranking]) == ["test_hit_rate", "test_auc", "test_ndcg_at_5"]


def test_a_heading_has_the_unit_and_a_figure_says_which_values_are_better():
    assert [heading("train_ctr"), heading("test_rmse")] == ["train ctr (%)", "test rmse"]
    told = {name: better(name) for name in ("test_rmse", "test_log_loss", "test_ndcg_at_5", "k")}
    assert list(told.values()) == ["lower is better", "lower is better", "higher is better", ""]
    rows = [row({"k": k}, [k + 1.0]) for k in (1, 2)]
    assert draw_sweep(rows, ["test_rmse"]).axes[0].get_title() == "test rmse (lower is better)"


def test_the_figure_leaves_out_a_number_that_no_setting_changes():
    def swept(*features):
        outcomes = []
        for number in features:
            found = {**result(0, 1.0), "printed": {"num_features": number, "train_ctr": 55.4}}
            done = [Done(None, {"seed": None}, found)]
            outcomes.append(Outcome(Point(SYSTEMS["ctr"], {}, {}), done))
        return Sweep("ctr", outcomes)

    assert swept(3041, 2889).drawn == ["num_features"]
    assert swept(3041).drawn == ["num_features", "train_ctr"]


def lines_of(rows):
    return draw_sweep(rows, ["test_rmse"]).axes[0].lines


def test_one_numeric_setting_is_a_line_through_the_means_in_their_order():
    rows = [row({"k": k}, [k + 1.0, k + 2.0]) for k in (30, 5, 10)]
    figure = draw_sweep(rows, ["test_rmse"], "title")
    axes = figure.axes[0]
    assert axes.lines[0].get_xydata().tolist() == [[5, 6.5], [10, 11.5], [30, 31.5]]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["5", "10", "30"]
    assert (axes.get_xscale(), axes.get_xlabel()) == ("linear", "k")
    assert figure._suptitle.get_text() == "title"


def test_far_values_stand_on_a_logarithmic_axis_and_zero_beside_them():
    far = [row({"lr": lr}, [1.0]) for lr in (0.001, 0.1)]
    assert draw_sweep(far, ["test_rmse"]).axes[0].get_xscale() == "log"
    with_zero = [row({"wd": wd}, [1.0]) for wd in (0.0, 1e-5, 1e-3)]
    assert lines_of(with_zero)[0].get_xdata().tolist() == [0, 1, 2]


def test_what_failed_is_a_cross_and_a_gap():
    rows = [row({"lr": 1.0}, [1.0]), row({"lr": 2.0}, [], failed=1), row({"lr": 3.0}, [2.0])]
    lines = lines_of(rows)
    assert np.isnan(lines[0].get_ydata()[1])
    assert lines[-1].get_label() == "failed"
    assert lines[-1].get_xdata().tolist() == [2.0]


def test_a_number_that_some_rows_lack_has_not_failed_there():
    """Only defined numbers have an NDCG, for example."""
    other = Row({"a": 1, "b": 2}, {"test_auc": spread([0.5])}, {}, 1.0, 1, 0)
    grid = [row({"a": a, "b": b}, [1.0]) for a in (1, 2) for b in (1, 2)]
    grid[1] = other
    texts = draw_sweep(grid, ["test_rmse"]).axes[0].texts
    assert [text.get_text() for text in texts] == ["1.000", "", "1.000", "1.000"]
    lines = lines_of([row({"k": 1}, [1.0]), other._replace(labels={"k": 2})])
    assert "failed" not in [line.get_label() for line in lines]


def test_many_settings_give_a_figure_that_can_be_stored():
    rows = [row({"name": f"setting {i}"}, [i]) for i in range(400)]
    assert draw_sweep(rows, ["test_rmse"] * 3).get_size_inches().max() <= 60


def test_two_settings_are_a_map_and_others_are_points():
    grid = [row({"a": a, "b": b}, [a + b / 10]) for a in (1, 2) for b in (3, 4, 5)]
    axes = draw_sweep(grid, ["test_rmse"]).axes[0]
    np.testing.assert_allclose(axes.images[0].get_array(), [[1.3, 1.4, 1.5], [2.3, 2.4, 2.5]])
    assert [text.get_text() for text in axes.texts][:2] == ["1.300", "1.400"]
    for rows in (grid[:5], [row({"loss": loss}, [1.0]) for loss in ("bpr", "hinge")]):
        axes = draw_sweep(rows, ["test_rmse"]).axes[0]
        assert not axes.images
        assert len(axes.get_yticklabels()) == len(rows)
