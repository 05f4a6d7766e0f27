import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from d2l_recsys.chapters.extras.ease import EASE, fit, main, regularized_inverse
from d2l_recsys.data import load_ranking_ml100k
from d2l_recsys.errors import DataError, SettingError
from d2l_recsys.loaders.interactions import RankingData


def made_up(users, items, seed):
    """Return a random matrix with 1 where a user has seen an item; some items have no user."""
    X = (np.random.default_rng(seed).uniform(size=(users, items)) < 0.4).astype(float)
    X[0, 0] = 1
    return X


def data_of(X):
    users, items = (part.astype(np.int32) for part in np.nonzero(X))
    return RankingData(*X.shape, users, items, np.ones(len(users), np.float32), {}, {})


def column_by_column(X, l2):
    """Regress each item on all others by ridge regression, with the penalty as extra rows."""
    num_items = X.shape[1]
    B = np.zeros((num_items, num_items))
    for item in range(num_items):
        others = np.delete(np.arange(num_items), item)
        penalty = np.sqrt(l2) * np.eye(len(others))
        rows = np.vstack([X[:, others], penalty])
        targets = np.append(X[:, item], np.zeros(len(others)))
        B[others, item] = np.linalg.lstsq(rows, targets, rcond=None)[0]
    return B


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    users=st.integers(1, 12),
    items=st.integers(2, 10),
    l2=st.sampled_from([0.01, 1, 30]),
)
def test_each_column_is_the_ridge_regression_on_the_other_items(seed, users, items, l2):
    X = made_up(users, items, seed)
    B = fit(data_of(X), l2).B
    np.testing.assert_allclose(B, column_by_column(X, l2), atol=1e-5)
    assert B.dtype == np.float32
    assert not B.diagonal().any()


def test_no_other_weights_with_that_diagonal_are_better(ratings_dir):
    data = load_ranking_ml100k(ratings_dir)
    model, l2 = fit(data, 4), 4
    X = model.user_inputs(data).astype(np.float64)

    def objective(B):
        return ((X - X @ B) ** 2).sum() + l2 * (B**2).sum()

    B, rng = model.B.astype(np.float64), np.random.default_rng(0)
    for _ in range(20):
        change = rng.normal(size=B.shape) * 1e-2
        np.fill_diagonal(change, 0)
        assert objective(B + change) > objective(B)


def test_a_score_is_the_sum_of_what_the_seen_items_add(ratings_dir):
    data = load_ranking_ml100k(ratings_dir)
    model = fit(data, 10)
    # The matrix is not symmetric, so the test would notice swapped indices.
    assert np.abs(model.B - model.B.T).max() > 0.01
    some = np.array([5, 2, 5])
    expected = [sum(model.similar_to(i) for i in data.candidates[u]) for u in some]
    scores = model.score_all(some, model.user_inputs(data)[some])
    np.testing.assert_allclose(scores, expected, atol=1e-5)
    np.testing.assert_array_equal(model.similar_to(3), model.B[3])


@pytest.mark.parametrize("n", [1, 2, 60])
def test_the_inverse_is_that_of_any_solver(n):
    factors = np.random.default_rng(n).normal(size=(n + 3, n))
    G = factors.T @ factors
    before = G.copy()
    P = regularized_inverse(G, 0.5)
    np.testing.assert_allclose(P, np.linalg.inv(G + 0.5 * np.eye(n)), rtol=1e-8, atol=1e-12)
    np.testing.assert_array_equal(P, P.T)
    np.testing.assert_array_equal(G, before)


def test_an_l2_that_rounding_swallows_is_refused():
    with pytest.raises(SettingError, match="--l2 is 1e-06, too small to solve the equations; "):
        regularized_inverse(np.full((3, 3), 1e12), 1e-6)


def test_without_the_rows_of_its_items_it_does_not_rank():
    model = EASE(np.zeros((4, 4), np.float32))
    for rows in (None, np.zeros((1, 3), np.float32)):
        with pytest.raises(DataError):
            model.score_all(np.arange(1), rows)


@pytest.mark.parametrize("l2", [0, -1, float("nan"), 1e13])
def test_bad_settings_are_refused(l2, ratings_dir, tmp_path):
    with pytest.raises(SettingError, match=r"--l2 is .*; it must lie between"):
        main(data_dir=ratings_dir, out=tmp_path / "out", l2=l2)
