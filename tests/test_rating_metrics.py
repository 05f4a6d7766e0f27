import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import mean_squared_error

from d2l_recsys.errors import DataError
from d2l_recsys.evaluation.rating_metrics import rating_scores, rmse


def batches_of(rng, sizes):
    """For each batch, the random (labels, predictions) of each device."""
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
