import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn
from sklearn.metrics import mean_squared_error

from d2l_recsys.errors import DataError
from d2l_recsys.evaluation.metrics import (
    TrainClicks,
    TrainLoss,
    click_scores,
    log_loss,
    rating_scores,
    rmse,
    roc_auc,
)


def batches_of(rng, sizes):
    """Per batch, per device, (labels, predictions)."""
    return [
        [(rng.integers(1, 6, n).astype("float32"), rng.normal(3, 1, n).astype("float32"))
         for n in shares]
        for shares in sizes
    ]  # fmt: skip


def test_rmse_equals_scikit_learn():
    ((labels, predictions),) = batches_of(np.random.default_rng(0), [[1000]])[0]
    expected = mean_squared_error(labels, predictions) ** 0.5
    assert rmse(labels, predictions) == pytest.approx(expected, abs=1e-6)


@settings(max_examples=40, deadline=None)
@given(
    sizes=st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=3), min_size=1, max_size=5),
    seed=st.integers(0, 99),
)
def test_printed_equals_the_mean_of_mxnets_running_metric(sizes, seed):
    mx = pytest.importorskip("d2l_recsys.backend").mx
    batches = batches_of(np.random.default_rng(seed), sizes)
    metric, values = mx.metric.RMSE(), []
    for batch in batches:
        labels, predictions = ([mx.nd.array(part) for part in parts] for parts in zip(*batch))
        metric.update(labels=labels, preds=predictions)
        values.append(metric.get()[1])
    scores = rating_scores(batches)
    assert scores.printed["test_rmse"] == pytest.approx(np.mean(values), abs=1e-6)


def test_defined_is_one_rmse_however_the_test_set_is_cut():
    labels, predictions = batches_of(np.random.default_rng(1), [[60]])[0][0]
    whole = rating_scores([[(labels, predictions)]])
    pieces = [
        [(labels[:7], predictions[:7]), (labels[7:50], predictions[7:50])],
        [(labels[50:], predictions[50:])],
    ]
    assert rating_scores(pieces).defined == pytest.approx(whole.defined, abs=1e-12)
    assert whole.printed == whole.defined
    assert rating_scores(pieces).printed["test_rmse"] != pytest.approx(
        whole.printed["test_rmse"], abs=1e-4
    )


def test_an_empty_test_set_is_refused():
    with pytest.raises(DataError, match="no test ratings"):
        rating_scores([])


def test_train_loss_of_a_case_done_by_hand():
    loss = TrainLoss()
    # Means 4, 1 and 2, of values that come from one device or two.
    for values in ([[4.0] * 10], [[1.0] * 4, [1.0] * 6], [[1.0, 3.0], [1.0, 2.0, 3.0]]):
        loss.add([np.array(part, dtype="float32") for part in values], sum(map(len, values)))
    assert loss.printed == (4 + 5 + 7) / 25
    assert loss.defined == (40 + 10 + 10) / 25
    assert loss.curve == 7 / 3
    assert (loss.batches, loss.examples) == (3, 25)


def test_train_loss_of_losses_that_are_sums_over_a_devices_share():
    """The chapter divides them by the number of devices, the definition by the examples."""
    loss = TrainLoss()
    for values in ([[6.0], [2.0]], [[5.0], [1.0]]):
        loss.add([np.array(part, dtype="float32") for part in values], examples=4)
    assert loss.printed == (4 + (4 + 3)) / 8
    assert loss.defined == 14 / 8
    assert loss.curve == 7 / 2


# Clicks


def made_up_scores(n=500, seed=0, spread=3.0):
    """Labels, float32 probabilities and the log odds they come from, one-dimensional."""
    rng = np.random.default_rng(seed)
    log_odds = rng.normal(0, spread, n).astype("float32")
    labels = (rng.uniform(size=n) < 1 / (1 + np.exp(-log_odds / 3))).astype("float32")
    return labels, (1 / (1 + np.exp(-log_odds))).astype("float32"), log_odds


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
    """One predicts a click only at a score of exactly 1, the other also needs 0 to be exact."""
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
    # By their scores, the last two would tie.
    assert click_scores(labels, np.float32([0.5, 0.5, 1, 1])).defined["test_auc"] == 0.5
    infinite = click_scores(labels, np.float32([0, 0, 1, 1]), np.float32([-9, -8, np.inf, np.inf]))
    assert infinite.defined["test_auc"] == 0.625


def test_training_clicks_are_measured_over_all_batches_and_devices():
    labels, scores, log_odds = made_up_scores(100, spread=12)
    scores[::7] = labels[::7]
    losses = np.random.default_rng(1).uniform(size=100).astype("float32")
    columns = scores[:, None], log_odds[:, None], labels[:, None]
    epoch = TrainClicks()
    for cuts in ([0, 30, 50], [50, 51], [51, 100]):
        shares = list(zip(cuts, cuts[1:]))
        values = [(losses[a:b], *(column[a:b] for column in columns)) for a, b in shares]
        epoch.add(values, cuts[-1] - cuts[0])
    whole = click_scores(labels, scores, log_odds)
    assert epoch.examples == 100
    assert epoch.scores.printed == pytest.approx(
        {
            "train_loss": losses.mean(dtype=np.float64),
            "train_acc": whole.printed["test_acc"],
            "train_acc_exact": whole.printed["test_acc_exact"],
        }
    )
    assert epoch.scores.defined == pytest.approx(
        {"train_loss": whole.defined["test_log_loss"], "train_acc": whole.defined["test_acc"]}
    )
    assert epoch.curve == epoch.scores.printed["train_loss"]
    without = TrainClicks()
    without.add([(losses, columns[0], columns[2])], 100)
    assert without.scores.printed == epoch.scores.printed
