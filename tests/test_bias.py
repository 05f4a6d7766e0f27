import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from d2l_recsys.chapters.extras.bias import Bias, fit, main
from d2l_recsys.data import load_ranking_ml100k
from d2l_recsys.errors import SettingError
from d2l_recsys.loaders.interactions import RankingData


def data_of(R):
    """Return the data with the ratings of a matrix, in which 0 means no rating."""
    users, items = np.nonzero(R)
    ratings = R[users, items].astype(np.float32)
    return RankingData(*R.shape, users.astype(np.int32), items.astype(np.int32), ratings, {}, {})


def by_plain_loop(R, damping):
    """Compute the mean and the biases rating by rating."""
    observed = [(u, i, float(r)) for u, row in enumerate(R) for i, r in enumerate(row) if r]
    mean = sum(r for _, _, r in observed) / len(observed)
    b_u, b_i = [0.0] * R.shape[0], [0.0] * R.shape[1]
    for item in range(R.shape[1]):
        rest = [r - mean for _, i, r in observed if i == item]
        if rest:
            b_i[item] = sum(rest) / (len(rest) + damping)
    for user in range(R.shape[0]):
        rest = [r - mean - b_i[i] for u, i, r in observed if u == user]
        if rest:
            b_u[user] = sum(rest) / (len(rest) + damping)
    return mean, b_u, b_i


def scores_of(model):
    return model.score_all(np.arange(len(model.user_biases)))


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    users=st.integers(1, 9),
    items=st.integers(1, 9),
    damping=st.sampled_from([0, 0.5, 5, 1000]),
)
def test_the_biases_are_those_of_a_plain_loop(seed, users, items, damping):
    rng = np.random.default_rng(seed)
    R = rng.integers(0, 6, (users, items))
    R[0, 0] = 4
    mean, b_u, b_i = by_plain_loop(R, damping)
    model = fit(data_of(R), damping)
    assert model.mean == pytest.approx(mean)
    np.testing.assert_allclose(model.user_biases, b_u, atol=1e-6)
    np.testing.assert_allclose(model.item_biases, b_i, atol=1e-6)
    expected = mean + np.array(b_u)[:, None] + np.array(b_i)
    np.testing.assert_allclose(scores_of(model), expected, atol=1e-5)
    assert scores_of(model).dtype == np.float32


def test_the_scores_are_those_of_the_users_asked_for():
    model = Bias(np.array([1, 2, 3], np.float32), np.array([0, 0.5], np.float32), 3.0)
    assert model.score_all(np.array([2, 0])).tolist() == [[6, 6.5], [4, 4.5]]


def test_without_damping_each_user_is_right_on_average(ratings_dir):
    data = load_ranking_ml100k(ratings_dir)
    errors = data.ratings - scores_of(fit(data, 0))[data.users, data.items]
    sums = np.bincount(data.users, errors)
    np.testing.assert_allclose(sums, 0, atol=1e-4)


def test_the_heavier_the_damping_the_nearer_the_mean(ratings_dir):
    data = load_ranking_ml100k(ratings_dir)
    sizes = [np.abs(scores_of(fit(data, d)) - data.ratings.mean()).max() for d in (0, 5, 50, 1e6)]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] < 1e-3


def test_one_good_rating_does_not_make_the_best_item():
    R = np.zeros((30, 3), dtype=int)
    R[:, 0] = 3
    R[:25, 1] = 5
    R[0, 2] = 5
    assert np.ptp(fit(data_of(R), 0).item_biases[1:]) < 1e-6
    damped = fit(data_of(R), 5).item_biases
    assert damped[1] > 2 * damped[2] > 0


def test_everyone_has_the_same_list(ratings_dir):
    scores = scores_of(fit(load_ranking_ml100k(ratings_dir), 5)).astype(np.float64)
    np.testing.assert_allclose(scores - scores[:, :1], np.tile(scores[0] - scores[0, 0], (30, 1)),
                               atol=1e-5)  # fmt: skip
    assert np.ptp(scores[:, 0]) > 0.1


def test_a_negative_damping_is_refused(ratings_dir, tmp_path):
    for damping in (-1, float("nan")):
        with pytest.raises(SettingError, match=r"--damping is .*; it must lie between 0"):
            main(data_dir=ratings_dir, out=tmp_path / "out", damping=damping)
