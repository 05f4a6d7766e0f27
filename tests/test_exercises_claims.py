import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from d2l_recsys.exercises.claims import check, filled, row_with
from d2l_recsys.reproduction.summary import spread
from d2l_recsys.sweeps.table import Row

VALUES = st.lists(st.floats(-2, 2, width=32), min_size=3, max_size=6, unique=True)


def row(labels, values, failed=0):
    return Row(labels, {"test_rmse": spread(values)}, {}, 1.0, len(values) + failed, failed)


def rows(low, high):
    return [row({"k": 5, "dims": [3, 4]}, low), row({"k": 10, "dims": [3]}, high)]


@settings(max_examples=60, deadline=None)
@given(VALUES, st.integers(0, 99))
def test_the_interval_is_that_of_a_paired_t_test(first, seed):
    second = np.random.default_rng(seed).normal(0, 1, len(first)).tolist()
    found = check("test_rmse: k=5 < k=10", [rows(first, second)])
    test = scipy.stats.ttest_rel(first, second)
    low, high = test.confidence_interval(0.95)
    np.testing.assert_allclose([found.low, found.high], [low, high], rtol=1e-6, atol=1e-9)
    assert found.difference == pytest.approx(np.mean(first) - np.mean(second))
    assert found.holds == (high < 0)
    assert check("test_rmse: k=10 > k=5", [rows(first, second)]).holds == (high < 0)
    assert check("test_rmse: k=5 ~ k=10", [rows(first, second)]).holds == (test.pvalue >= 0.05)


def test_a_claim_may_be_about_a_later_part_and_is_told_in_words():
    parts = [[], rows([1.0, 1.1, 1.2], [2.0, 2.1, 2.3])]
    found = check("2: test_rmse: dims=3,4 < dims=3", parts)
    assert found.holds
    assert str(found) == (
        "table 2: with dims=3,4, test rmse is lower than with dims=3: -1.0333, "
        "95 % interval -1.1768 to -0.8899: holds"
    )
    assert str(check("2: test_rmse: k=10 < k=5", parts)).endswith("NOT SHOWN")


def test_one_seed_checks_nothing():
    found = check("test_rmse: k=5 < k=10", [rows([1.0], [2.0])])
    assert found.holds is None
    assert str(found).endswith("-1.0000; one seed gives no interval")


def test_a_claim_about_a_run_that_failed_is_not_checked():
    table = [row({"k": 5}, [1.0, 2.0], failed=1), row({"k": 10}, [1.0, 2.0, 3.0])]
    found = check("test_rmse: k=5 < k=10", [table])
    assert found.holds is None
    assert str(found).endswith("; a run failed")
    gone = Row({"k": 7}, {}, {}, 1.0, 2, 2)
    assert filled("it is [test_rmse k=7]", [[gone]]) == "it is (no number)"


def test_a_single_run_is_compared_with_every_seed():
    table = [row({"k": 5}, [1.0]), row({"k": 10}, [1.5, 2.0, 1.6])]
    assert check("test_rmse: k=5 < k=10", [table]).difference == pytest.approx(-0.7)


@pytest.mark.parametrize("labels", ["k=7", "", "k=5 dims=3"])
def test_labels_name_exactly_one_row(labels):
    with pytest.raises(KeyError):
        row_with(rows([1.0], [2.0]), labels)


def test_places_in_an_answer_get_their_numbers():
    parts = [rows([1.0, 2.0], [3.0, 4.0]), rows([0.125], [7.0])]
    text = "from [test_rmse k=5] to [test_rmse k=10 dims=3]; [2: test_rmse dims=3,4] "
    text += "[no place], [link](page)"
    expected = "from 1.500 ± 0.707 to 3.500 ± 0.707; 0.125 [no place], [link](page)"
    assert filled(text, parts) == expected
