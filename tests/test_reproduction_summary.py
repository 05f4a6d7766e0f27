import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from d2l_recsys.reproduction.summary import as_reference, compare, spread, summarise
from d2l_recsys.runs.reported import reported_numbers

numbers = st.lists(st.floats(-100, 100), min_size=2, max_size=30)


def result(seed=0, **changes):
    return {
        "chapter": "mf",
        "seed": seed,
        "printed": {"test_rmse": 1.05 + seed / 100},
        "defined": {"test_rmse": 1.03, "only": 7.0},
        "reported": {"test_rmse": 1.055, "examples_per_sec": 78035.0},
        "dataset": {"name": "ml-100k", "substitute": False},
        "settings": {"split": "seq-aware"},
        "seconds": {"load": 0.1, "train": 2.0 + seed},
        "examples_per_second": 1000.0 * (seed + 1),
        **changes,
    }


@given(numbers)
def test_a_spread_is_that_of_numpy(values):
    found = spread(values)
    expected = (np.mean(values), np.std(values, ddof=1), np.min(values), np.max(values))
    np.testing.assert_allclose(found[:4], expected, atol=1e-9)
    assert found.values == values


def test_one_value_has_no_spread_and_an_absent_one_is_nan():
    assert spread([2.0])[:4] == (2.0, 0.0, 2.0, 2.0)
    assert np.isnan(spread([1.0, None]).mean)


def test_the_z_score_is_the_distance_in_standard_deviations():
    values = [1.0, 2.0, 3.0, 4.0, 5.0]
    found = compare(4.0, 9, values)
    assert found.z == pytest.approx(1 / statistics.stdev(values))
    # Three of five values are below 4, and one is equal to 4.
    assert found.percentile == pytest.approx(70)
    assert not found.outside


def test_rounding_of_the_reported_number_counts():
    # 0.000 in the book can be any number from -0.0005 to 0.0005. So values near 0.00004 do not
    # differ from it, even if their spread is only 1e-6.
    values = [0.000040, 0.000041, 0.000042]
    found = compare(0.0, 3, values)
    assert found.z == pytest.approx(-0.000041 / (0.001 / 12**0.5), rel=1e-3)
    assert (found.percentile, found.outside) == (50, False)
    assert found.scale == pytest.approx(0.001 / 12**0.5, rel=1e-3)
    assert compare(0.001, 3, values).outside


@given(numbers)
def test_beyond_all_values_is_outside(values):
    assert compare(101.0, 3, values)[2:] == (100, True)
    assert compare(-101.0, 3, values)[2:] == (0, True)
    assert not compare(values[0], 3, values).outside


def test_a_single_value_has_no_z_score():
    assert compare(1.0, 3, [2.0])[::2] == (None, 0)
    assert compare(1.0, 3, [2.0]).outside


def test_the_numbers_of_seeds_are_put_together():
    found = summarise("mf", [result(0), result(1), result(2)])
    assert (found.name, found.section, found.seeds) == ("mf", "mf", [0, 1, 2])
    assert found.printed["test_rmse"].values == [1.05, 1.06, 1.07]
    assert found.defined["only"].mean == 7
    assert found.seconds["train"].values == [2, 3, 4]
    assert found.examples_per_second.mean == 2000
    assert set(found.comparisons) == {"test_rmse"}
    assert found.comparisons["test_rmse"].z == pytest.approx((1.055 - 1.06) / 0.01, rel=1e-3)


def test_no_reported_number_is_compared_with_those_of_other_data():
    other = {"name": "ml-100k", "substitute": True}
    assert summarise("mf", [result(dataset=other)]).comparisons == {}
    assert summarise("mf", [result(reported={})]).comparisons == {}


def test_a_number_that_was_once_not_finite_is_not_compared():
    diverged = result(1, printed={"test_rmse": None})
    assert summarise("mf", [result(0), diverged]).comparisons == {}


def test_a_run_without_a_speed_leaves_none():
    assert (
        summarise("mf", [result(0), result(1, examples_per_second=None)]).examples_per_second
        is None
    )


def test_every_reported_number_has_decimals():
    # The book prints three decimals, and seven for the score of user 20 and item 30.
    reported = reported_numbers("mf")
    found = summarise("mf", [result(reported=reported, printed=reported) for _ in range(2)])
    scales = {"test_rmse": 3, "score_user20_item30": 7, "train_loss": 3, "examples_per_sec": 1}
    for name, decimals in scales.items():
        shifted = [reported[name] + 10**-decimals] * 2
        assert compare(reported[name], decimals, shifted).z == pytest.approx(-(12**0.5), rel=1e-3)
        assert found.comparisons[name].z == pytest.approx(0, abs=1e-3)


def test_a_reference_holds_the_numbers_and_no_times():
    kept = as_reference([summarise("mf", [result(0), result(1)])])["mf"]
    assert kept["printed"]["test_rmse"] == {
        "mean": 1.055, "sd": 0.00707107, "min": 1.05, "max": 1.06, "values": [1.05, 1.06]
    }  # fmt: skip
    assert set(kept) == {
        "section", "settings", "dataset", "reported", "seeds", "printed", "defined"
    }  # fmt: skip
