import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from d2l_recsys.chapters.extras.itemknn import fit, main
from d2l_recsys.data import load_ranking_ml100k
from d2l_recsys.errors import DataError, SettingError
from d2l_recsys.loaders.interactions import RankingData


def made_up(users, items, seed, density=0.4):
    """Return a random matrix with 1 where a user has seen an item; item 0 has a user."""
    X = np.random.default_rng(seed).uniform(size=(users, items)) < density
    X[0, 0] = True
    return X.astype(int)


def data_of(X):
    users, items = (part.astype(np.int32) for part in np.nonzero(X))
    return RankingData(*X.shape, users, items, np.ones(len(users), np.float32), {}, {})


def by_plain_loop(X, num_neighbors, shrink):
    """Return the similarities that each item keeps; ties go to the lower item."""
    num_items = X.shape[1]
    S = np.zeros((num_items, num_items))
    for i in range(num_items):
        found = []
        for j in range(num_items):
            both = sum(1 for row in X if row[i] and row[j])
            if i != j and both:
                root = math.sqrt(int(X[:, i].sum()) * int(X[:, j].sum()))
                found.append((-both / (root + shrink), j))
        for minus, j in sorted(found)[:num_neighbors]:
            S[i, j] = -minus
    return S


@settings(max_examples=80, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    users=st.integers(1, 8),
    items=st.integers(1, 9),
    num_neighbors=st.integers(1, 10),
    shrink=st.sampled_from([0, 0.5, 10]),
)
def test_the_similarities_are_those_of_a_plain_loop(seed, users, items, num_neighbors, shrink):
    """With so few users, many similarities are equal."""
    X = made_up(users, items, seed)
    model = fit(data_of(X), num_neighbors, shrink)
    S = by_plain_loop(X, num_neighbors, shrink)
    np.testing.assert_allclose(model.similarities, S, rtol=1e-6)
    assert model.similarities.dtype == np.float32
    for item in range(items):
        np.testing.assert_array_equal(model.similar_to(item), model.similarities[item])


def test_with_all_neighbours_and_no_shrinkage_they_are_scikit_learns_cosines(ratings_dir):
    pairwise = pytest.importorskip("sklearn.metrics.pairwise")
    data = load_ranking_ml100k(ratings_dir)
    model = fit(data, 10**6, 0)
    cosines = pairwise.cosine_similarity(model.user_inputs(data).T.astype(np.float64))
    np.fill_diagonal(cosines, 0)
    np.testing.assert_allclose(model.similarities, cosines, atol=1e-6)


def test_a_score_is_the_sum_over_the_items_neighbours_that_were_seen(ratings_dir):
    data = load_ranking_ml100k(ratings_dir)
    model = fit(data, 7, 3)
    # Neighbors are not mutual, so the test would notice swapped indices.
    assert ((model.similarities > 0) != (model.similarities > 0).T).any()
    rows = model.user_inputs(data)
    expected = np.zeros((3, data.num_items))
    some = np.array([4, 29, 4])
    for row, user in enumerate(some):
        for item in range(data.num_items):
            neighbours = np.flatnonzero(model.similarities[item])
            assert len(neighbours) <= 7
            seen = set(data.candidates[user])
            expected[row, item] = sum(model.similarities[item, j] for j in neighbours if j in seen)
    np.testing.assert_allclose(model.score_all(some, rows[some]), expected, rtol=1e-5, atol=1e-6)


def test_it_reads_what_was_seen(ratings_dir):
    data = load_ranking_ml100k(ratings_dir)
    rows = fit(data, 5, 1).user_inputs(data)
    assert rows.dtype == np.float32
    assert [np.flatnonzero(row).tolist() for row in rows] == [
        sorted(data.candidates[u]) for u in range(data.num_users)
    ]
    assert set(np.unique(rows)) == {0, 1}


def test_what_rests_on_few_users_shrinks_most():
    X = np.zeros((20, 4), dtype=int)
    X[:19, :2] = 1
    X[19, 2:] = 1
    alike = [fit(data_of(X), 3, shrink).similarities[[0, 2], [1, 3]] for shrink in (0, 10)]
    np.testing.assert_allclose(alike, [[1, 1], [19 / 29, 1 / 11]], rtol=1e-6)


def test_without_the_rows_of_its_items_it_does_not_rank(ratings_dir):
    data = load_ranking_ml100k(ratings_dir)
    model = fit(data, 5, 1)
    for rows in (None, model.user_inputs(data)[:1, 1:]):
        with pytest.raises(DataError, match=r"give it their rows|a model of 40 items"):
            model.score_all(np.arange(1), rows)


@pytest.mark.parametrize(("option", "value"), [("num_neighbors", 0), ("shrink", -1)])
def test_bad_settings_are_refused(option, value, ratings_dir, tmp_path):
    with pytest.raises(SettingError, match=f"--{option.replace('_', '-')} is {value}; it must"):
        main(data_dir=ratings_dir, out=tmp_path / "out", **{option: value})
