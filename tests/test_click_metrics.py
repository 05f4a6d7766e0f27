import numpy as np
import pytest
from conftest import made_up_scores
from sklearn import metrics as sklearn

from d2l_recsys.errors import DataError
from d2l_recsys.evaluation.click_metrics import click_scores, log_loss, roc_auc


@pytest.mark.parametrize("spread", [0.1, 3.0, 10.0])
def test_defined_click_metrics_equal_scikit_learn(spread):
    labels, scores, log_odds = made_up_scores(spread=spread)
    exact = 1 / (1 + np.exp(-log_odds.astype(np.float64)))
    found = click_scores(labels, scores, log_odds).defined
    assert found["test_acc"] == sklearn.accuracy_score(labels, exact > 0.5)
    assert found["test_log_loss"] == pytest.approx(sklearn.log_loss(labels, exact), abs=1e-9)
    assert found["test_auc"] == pytest.approx(sklearn.roc_auc_score(labels, exact), abs=1e-12)


def test_without_log_odds_they_come_from_the_scores():
    labels, scores, log_odds = made_up_scores()
    expected, found = click_scores(labels, scores, log_odds), click_scores(labels, scores)
    assert found.printed == expected.printed
    for name, value in expected.defined.items():
        assert found.defined[name] == pytest.approx(value, abs=1e-5)
    saturated = click_scores(np.float32([1, 0]), np.float32([0, 0]))
    assert saturated.defined["test_log_loss"] == np.inf
    assert saturated.defined["test_auc"] == 0.5


def test_the_log_loss_stays_exact_where_the_probability_rounds():
    z = np.array([-1000, -50, -1, 0, 1, 50, 1000], dtype="float32")
    expected = [1000, 50, np.log1p(np.e), np.log(2), np.log1p(1 / np.e), np.exp(-50), 0]
    np.testing.assert_allclose(log_loss(np.ones(7), z), expected, rtol=1e-12)
    np.testing.assert_allclose(log_loss(np.zeros(7), z), expected[::-1], rtol=1e-12)


def test_auc_counts_ties_half_and_is_nan_where_it_is_not_defined():
    assert roc_auc(np.array([1, 0, 1, 0]), np.array([2.0, 1.0, 1.0, 0.0])) == 0.875
    assert np.isnan(roc_auc(np.ones(3), np.arange(3.0)))
    assert np.isnan(roc_auc(np.array([0, 1]), np.array([np.nan, 1])))


def test_printed_accuracies_are_the_chapters_and_d2ls():
    """The chapter predicts a click only for a score of 1; d2l also needs 0 for no click."""
    labels = np.float32([1, 1, 0, 0, 0, 1])
    scores = np.float32([1, 0.99999994, 0.9, 0, 1, 0])
    printed = click_scores(labels, scores).printed
    assert printed["test_acc"] == pytest.approx(3 / 6)
    assert printed["test_acc_exact"] == pytest.approx(2 / 6)
    rows = np.array([0, 0, 1, 3])
    printed = click_scores(labels, scores, rows=rows).printed
    assert printed["test_acc"] == printed["test_acc_exact"] == 3 / 4
    assert click_scores(labels, scores, rows=rows[:0]).printed == {}
    with pytest.raises(DataError, match="no test rows"):
        click_scores(labels[:0], scores[:0])


def test_a_model_that_diverged_has_no_accuracy_and_warns_of_nothing(recwarn):
    nan = np.full(4, np.nan, dtype="float32")
    scores = click_scores(np.float32([0, 1, 0, 1]), nan, nan)
    assert scores.printed == {"test_acc": 0, "test_acc_exact": 0}
    assert np.isnan(scores.defined["test_log_loss"])
    assert np.isnan(scores.defined["test_auc"])
    assert scores.defined["test_acc"] == 0
    assert not recwarn.list


def test_a_score_of_one_half_predicts_no_click_and_ranks_are_of_the_log_odds():
    labels, z = np.float32([0, 1, 0, 1]), np.float32([0, 0, 20, 30])
    found = click_scores(labels, np.float32([0.5, 0.5, 1, 1]), z).defined
    assert found["test_acc"] == 2 / 4
    assert click_scores(np.float32([0, 0]), np.float32([0.5, 0.4]), z[:2]).defined["test_acc"] == 1
    assert found["test_auc"] == 0.625
    # By scores instead of log odds, the last two rows tie.
    assert click_scores(labels, np.float32([0.5, 0.5, 1, 1])).defined["test_auc"] == 0.5
    infinite = click_scores(labels, np.float32([0, 0, 1, 1]), np.float32([-9, -8, np.inf, np.inf]))
    assert infinite.defined["test_auc"] == 0.625
