import json
import math
import re

import numpy as np
import pytest
from conftest import ROOT

pytest.importorskip("d2l_recsys.backend")
from benchmarks.errata import __main__ as command
from benchmarks.errata import clicks, figures, ranking, ratings
from benchmarks.errata.lab import Lab, Trained, all_trainings, outcome
from benchmarks.errata.loops_data_tools import d2l, timer_sum, times_counted
from d2l_recsys.backend import gluon, mx, npx
from d2l_recsys.errors import DataError, SettingError
from d2l_recsys.sections.registry import SYSTEMS

TEXT = figures.entries((ROOT / "ERRATA.md").read_text(encoding="utf-8"))
KEPT = json.loads((ROOT / "docs" / "errata.json").read_text(encoding="utf-8"))


# ERRATA.md compared with docs/errata.json


def test_text_and_figures_have_the_entries_that_are_measured():
    assert sorted(TEXT) == sorted(KEPT["rows"]) == sorted(command.ROWS)


@pytest.mark.parametrize("number", list(command.ROWS))
def test_every_figure_stands_in_the_text_of_its_entry(number):
    assert KEPT["rows"][number]
    assert figures.unsaid(TEXT[number], KEPT["rows"][number]) == []


# Fractions in an entry that are not figures: the threshold in a heading, settings, and a loss as it
# is printed.
NO_FIGURES = {
    "C1": {"16.6"},
    "C3": {"0.01", "0.02"},
    "D3": {"0.000"},
    "T2": {"4.545", "1.062", "12.87", "5.32", "0.001"},
    "T3": {"0.01", "0.0003"},
}


@pytest.mark.parametrize("number", list(command.ROWS))
def test_every_fraction_in_the_text_is_a_figure_of_its_entry(number):
    shown = " ".join(figures.texts(KEPT["rows"][number]).values()).split()
    # Remove the numbers of sections, for example 15.10. The pattern below does not find the numbers
    # of equations and versions, because these have two dots.
    text = re.sub(r"\b15\.\d+\b(?!\.)", "", TEXT[number])
    found = set(re.findall(r"(?<![\w.])-?\d[\d,]*\.\d+(?![\w]|\.\d)", text))
    assert found - set(shown) <= NO_FIGURES.get(number, set())


def test_nothing_is_left_open():
    assert "TODO" not in (ROOT / "ERRATA.md").read_text(encoding="utf-8")


def test_the_figures_tell_how_they_were_made_and_not_where():
    assert KEPT["command"] == "python -m benchmarks.errata"
    assert KEPT["seeds"] >= 3
    assert KEPT["reference"]["seeds"] >= 20
    assert {"python", "mxnet", "numpy", "platform"} <= set(KEPT["environment"])
    text = json.dumps(KEPT)
    assert not re.search(r"[\"' ]/\w", text)


def test_links_inside_the_text_lead_to_headings():
    markdown = (ROOT / "ERRATA.md").read_text(encoding="utf-8")
    headings = re.findall(r"^#+ (.+)$", markdown, flags=re.MULTILINE)
    anchors = {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}
    links = re.findall(r"\]\(#(.+?)\)", markdown)
    assert links
    assert set(links) <= anchors


# The functions


def test_an_entry_ends_at_the_next_heading():
    markdown = (
        "# Errata\n\nR9 x\n\n## A\n\n### R1 · One\n\na\n  b 1.0\n\n## Two\n\nc\n### K12 · K\nd\n"
    )
    assert figures.entries(markdown) == {"R1": "One a b 1.0", "K12": "K d"}


@pytest.mark.parametrize(
    ("value", "said", "not_said"),
    [
        (0.75, "is 0.750.", "is 0.7501"),
        (0.75, "(0.750)", "is 10.750"),
        (0.75, "0.750, or", "-0.750"),
        (943, "of 943 users", "of 1,943 users"),
        (943, "943,", "943,000"),
        ("no error", "ends in no error.", "ends in no errors"),
        ("()", "shape `()`", "shape `(1,)`"),
        (-88.5, "x = -88.500", "88.500"),
    ],
)
def test_a_figure_is_said_where_it_stands_as_a_whole(value, said, not_said):
    assert figures.unsaid(said, {"figure": value}) == []
    assert figures.unsaid(not_said, {"figure": value}) == ["figure"]


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("users", 943, "943"),
        ("cells", 45418222, "45,418,222"),
        ("RMSE", 1.0, "1.000"),
        ("RMSE", 0.90049, "0.900"),
        ("loss", 12.3456, "12.346"),
        ("rate", 1234.5678, "1,234.568"),
        ("zero", 0.0, "0.000"),
        ("tiny", 0.0000234, "2e-05"),
        ("negative", -0.0000234, "-2e-05"),
        ("half a unit", 0.0005, "0.001"),
        ("users, %", 44.0085, "44.0 %"),
        ("share of draws, %", 0.06543, "0.07 %"),
        ("log odds from which a float32 sigmoid is 1", 16.635532, "16.6355"),
        ("kind", "ZeroDivisionError", "ZeroDivisionError"),
    ],
)
def test_text_of_a_figure(name, value, text):
    assert figures.text_of(name, value) == text


def test_a_mean_is_shown_with_its_deviation():
    rmse = figures.mean_sd("RMSE", [1.0, 2.0, 3.0])
    assert rmse == {"RMSE": 2.0, "RMSE sd": 1.0}
    assert figures.texts({**rmse, "users": 3}) == {"RMSE": "2.000 ± 1.000", "users": "3"}
    assert figures.texts({"gain": -0.0001, "gain sd": 0.02}) == {"gain": "0.000 ± 0.020"}
    assert figures.texts({"gain": -0.1, "gain sd": 0.02}) == {"gain": "-0.100 ± 0.020"}
    assert figures.mean_sd("one", [4]) == {"one": 4.0, "one sd": 0.0}


def test_differences_are_of_the_seeds_that_both_have():
    assert figures.differences([3.0, 5.0, 9.0], [1.0, 4.0]) == [2.0, 1.0]


def test_figures_are_kept_as_json_can_hold_them():
    kept = figures.tidy(
        {"a": 0.123456789, "b": np.float32(0.5), "c": np.int64(3), "d": math.inf, "e": "x", "f": 7}
    )
    assert kept == {"a": 0.123457, "b": 0.5, "c": 3, "d": "inf", "e": "x", "f": 7}
    assert json.loads(json.dumps(kept)) == kept


def test_figures_on_the_books_rows_stay_where_none_are_measured():
    before = {"book's rows: FM": 0.767, "FM": 1.0, "gone": 2.0}
    assert figures.merged(before, {"FM": 3.0}) == {"FM": 3.0, "book's rows: FM": 0.767}
    measured = {"FM": 3.0, "book's rows: DeepFM": 0.8}
    assert figures.merged(before, measured) == measured


def test_rmse_as_printed_depends_on_batches_and_devices():
    labels, predictions = np.array([1.0, 2.0, 3.0]), np.array([1.0, 2.0, 5.0])
    # The errors are (0, 0) in the first batch and (2) in the second. So the running means are 0 and
    # 1, and the printed RMSE is their mean.
    one = ratings.rmse_on(labels, predictions, 2, 1)
    assert one.printed["test_rmse"] == pytest.approx((0 + (0 + 2) / 2) / 2)
    assert one.defined["test_rmse"] == pytest.approx(math.sqrt(4 / 3))
    # On two devices the shares have the errors (0), (0) and (2). So the reading after the second
    # batch is 2 / 3.
    two = ratings.rmse_on(labels, predictions, 2, 2)
    assert two.printed["test_rmse"] == pytest.approx((0 + 2 / 3) / 2)
    assert two.defined == one.defined


def test_the_timer_of_train_ranking_counts_from_the_start_at_every_batch():
    # The timer stops at 1 s and 2 s. The evaluation ends at 3 s. The timer stops at 4 s and 5 s.
    assert timer_sum([2, 2], [1, 1], 2) == pytest.approx(1 + 2 + 4 + 5)
    # Four batches of 1 s without evaluation take 4 s. The timer adds up 1 + 2 + 3 + 4 s.
    assert timer_sum([2, 2], [0, 0], 2) / 4 == pytest.approx(times_counted(4)) == 2.5


def test_the_rule_of_the_timer_is_that_of_d2l(monkeypatch):
    pytest.importorskip("d2l.mxnet")
    timer_module = d2l.time
    # The clock shows 0 when the timer is created, then 1, 2, 4 and 5.
    readings = iter([0, 1, 2, 4, 5])
    monkeypatch.setattr(timer_module, "time", lambda: next(readings))
    timer = d2l.Timer()
    for _ in range(4):
        timer.stop()
    assert timer.sum() == timer_sum([2, 2], [1, 1], 2)


def test_rows_scored_with_rollover_are_those_of_gluons_loader():
    loader = gluon.data.DataLoader(list(range(10)), 4, last_batch="rollover")
    expected = [sum(len(batch) for batch in loader) for _ in range(5)]
    assert clicks.rows_scored(10, 4, 5) == expected == [8, 12, 8, 12, 8]
    assert clicks.rows_scored(3, 4, 2) == [0, 4]


def test_a_curve_ends_late_in_epochs_with_a_batch_more_than_the_first():
    # The first epoch has two batches. Then every second epoch has three batches (12 rows).
    assert clicks.curve_ends(10, 4, 4) == [1.0, 1.5, 1.0, 1.5]


def test_the_floor_of_the_loss_is_that_of_saturated_scores():
    npx.set_np()
    loss = gluon.loss.SigmoidBinaryCrossEntropyLoss()
    scores, labels = mx.np.array([[1.0], [0.0]]), mx.np.array([[1.0], [0.0]])
    click, other = loss(scores, labels).asnumpy()
    assert clicks.loss_floor(1) == pytest.approx(click, abs=1e-6)
    assert clicks.loss_floor(0) == pytest.approx(other, abs=1e-6)
    assert clicks.loss_floor(0.25) == pytest.approx(0.25 * click + 0.75 * other, abs=1e-6)


def test_different_ids_are_a_share_of_all_values():
    first = {"1": {"a": 0, "b": 1}, "2": {"c": 0, "d": 1}}
    second = {"1": {"a": 1, "b": 0}, "2": {"c": 0, "d": 1}}
    assert clicks.different_ids(first, second) == 0.5
    assert clicks.different_ids(first, first) == 0


def test_tied_users_count_ties_with_unobserved_items_alone():
    scores = np.array([[1.0, 1.0, 2.0], [1.0, 1.0, 2.0], [3.0, 1.0, 2.0]])
    unobserved = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1]], dtype=bool)
    assert ranking.tied_users(scores, unobserved, np.array([0, 0, 0])) == 1


def test_lists_of_sets_are_in_order_while_their_table_is_large_enough():
    assert ranking.order_breaks_below(8) == 0
    length = ranking.order_breaks_below(100, tries=5)
    assert 0 < length < 100


def test_outcome_names_the_exception():
    assert outcome(lambda: 1 // 0) == "ZeroDivisionError"
    assert outcome(lambda: None) == "no error"


def test_percent():
    assert figures.percent(1, 8) == 12.5


# The command


def test_entries_are_measured_in_their_order_and_unknown_ones_refused():
    assert command.chosen_rows(None) == list(command.ROWS)
    assert command.chosen_rows("K2,R1") == ["R1", "K2"]
    with pytest.raises(SettingError, match="'R99'"):
        command.chosen_rows("R1,R99")


def test_the_reference_run_is_taken_where_it_holds_a_variant():
    spread = {"test_rmse": {"mean": 1.5, "sd": 0.7, "min": 1.0, "max": 2.0, "values": [1.0, 2.0]}}
    reference = {"variants": {"mf": {"section": "mf", "printed": spread, "defined": spread}}}
    lab = Lab(None, None, 3, reference)
    assert lab.values("mf", "printed", "test_rmse") == [1.0, 2.0]
    rmse = lab.mean_sd("RMSE", "mf", "defined", "test_rmse")
    assert figures.texts(rmse) == {"RMSE": "1.500 ± 0.707"}


def test_what_the_reference_does_not_hold_is_trained_once_a_seed(monkeypatch):
    trained = []

    def train(self, section, seed, **options):
        trained.append((section, seed, options))
        result = {"printed": {"test_auc": 0.5 + seed}, "defined": {}}
        return Trained(result, None, None, None, None)

    monkeypatch.setattr(Lab, "train", train)
    lab = Lab(None, None, 2, {})
    for _ in range(2):
        assert lab.values("neumf-linear", "printed", "test_auc") == [0.5, 1.5]
    options = {"num_devices": 2, "head": "linear"}
    assert trained == [("neumf", 0, options), ("neumf", 1, options)]


def test_clicks_are_those_of_movielens_but_where_the_books_rows_are_meant():
    trainings = all_trainings()
    for name, how in trainings.items():
        if SYSTEMS[how.section].on_clicks:
            expected = "book" if name.startswith("book-") else "movielens"
            assert how.options["dataset"] == expected, name
        else:
            assert "dataset" not in how.options


def test_a_file_that_is_not_json_is_refused(tmp_path):
    assert command.read_json(tmp_path / "none.json") == {}
    (tmp_path / "x.json").write_text("{")
    with pytest.raises(DataError, match="not JSON"):
        command.read_json(tmp_path / "x.json")


@pytest.fixture
def two_rows(monkeypatch):
    """Replaces all entries by R1 and K2, whose figures the test sets in the returned dict."""
    measured = {}
    monkeypatch.setattr(
        command, "ROWS", {"R1": lambda lab: measured["R1"], "K2": lambda lab: measured["K2"]}
    )
    return measured


def test_only_keeps_the_other_entries(two_rows, tmp_path, capsys):
    file = tmp_path / "errata.json"
    two_rows.update(R1={"a": 1}, K2={"b": 2.0, "b sd": 0.5})
    command.main(reference=tmp_path / "none.json", json_file=file)
    before = json.loads(file.read_text())
    assert list(before) == ["command", "seeds", "num_devices", "reference", "environment", "rows"]
    assert before["rows"] == {"R1": {"a": 1}, "K2": {"b": 2.0, "b sd": 0.5}}
    assert before["reference"] is None
    assert "b: 2.000 ± 0.500" in capsys.readouterr().out
    two_rows.update(R1={"a": 10}, K2={"b": 20})
    command.main(only="K2", reference=tmp_path / "none.json", json_file=file)
    assert json.loads(file.read_text())["rows"] == {"R1": {"a": 1}, "K2": {"b": 20}}
    with pytest.raises(SettingError, match="--seeds is 5"):
        command.main(only="K2", seeds=5, reference=tmp_path / "none.json", json_file=file)


def test_the_figures_tell_the_reference_run(tmp_path):
    made = command.provenance(3, {"seeds": [0, 1], "num_devices": 2, "variants": {}})
    assert made["reference"] == {
        "file": "docs/reference/reference.json",
        "seeds": 2,
        "num_devices": 2,
    }
