import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from d2l_recsys.chapters.extras.svd import Fill, fit, main
from d2l_recsys.errors import SettingError
from d2l_recsys.loaders.interactions import RankingData

SHAPES = [(9, 14), (14, 9), (11, 11)]


def made_up(shape, seed=0, density=0.4):
    """Return a matrix of ratings, 0 where there is none; every user has a rating."""
    rng = np.random.default_rng(seed)
    R = rng.integers(1, 6, shape) * (rng.uniform(size=shape) < density)
    R[np.arange(len(R)), rng.integers(0, shape[1], len(R))] = rng.integers(1, 6, len(R))
    return R


def data_of(R, order=None):
    users, items = np.nonzero(R)
    if order is not None:
        users, items = users[order], items[order]
    ratings = R[users, items].astype(np.float32)
    return RankingData(*R.shape, users.astype(np.int32), items.astype(np.int32), ratings, {}, {})


def filled(R, fill):
    """Return the matrix to decompose and the number subtracted from the ratings of each row."""
    D, means = R.astype(np.float64), np.zeros(len(R))
    if fill is Fill.mean:
        for u, row in enumerate(R):
            rated = [i for i, r in enumerate(row) if r]
            means[u] = sum(row[i] for i in rated) / len(rated)
            for i in rated:
                D[u, i] -= means[u]
    return D, means


def scores_of(model):
    return model.score_all(np.arange(len(model.P)))


@pytest.mark.parametrize("fill", Fill)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("k", [1, 4, 8])
def test_it_is_the_decomposition_of_the_dense_matrix_cut_off(shape, k, fill):
    R = made_up(shape)
    model = fit(data_of(R), k, fill)
    D, means = filled(R, fill)
    U, S, Vt = np.linalg.svd(D)
    np.testing.assert_allclose(model.means, means, rtol=1e-6)
    expected = U[:, :k] * S[:k] @ Vt[:k] + means[:, None]
    np.testing.assert_allclose(scores_of(model), expected, atol=1e-5)
    some = np.array([5, 2])
    np.testing.assert_allclose(model.score_all(some), expected[some], atol=1e-5)
    # The largest singular value comes first, and the largest entry of a column of V is positive.
    np.testing.assert_allclose(np.linalg.norm(model.P, axis=0), S[:k], rtol=1e-5)
    np.testing.assert_allclose(model.Q.T @ model.Q, np.eye(k), atol=1e-5)
    assert (model.Q.max(axis=0) >= -model.Q.min(axis=0) - 1e-6).all()
    assert model.item_vectors() is model.Q
    assert {array.dtype for array in model.arrays.values()} == {np.dtype(np.float32)}


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    rows=st.integers(3, 12),
    columns=st.integers(3, 12),
    data=st.data(),
    fill=st.sampled_from(Fill),
)
def test_no_matrix_of_that_rank_is_nearer(seed, rows, columns, data, fill):
    k = data.draw(st.integers(1, min(rows, columns) - 1))
    R = made_up((rows, columns), seed)
    D, _ = filled(R, fill)
    model = fit(data_of(R), k, fill)
    near = model.P.astype(np.float64) @ model.Q.T
    assert np.linalg.matrix_rank(near, tol=1e-4) <= k
    error = np.linalg.norm(D - near)
    left_out = np.linalg.svd(D, compute_uv=False)[k:]
    assert error == pytest.approx(np.linalg.norm(left_out), abs=1e-4)
    # Compare with the best approximation in k other directions: random ones and similar ones.
    rng = np.random.default_rng(seed)
    for directions in (rng.normal(size=model.Q.shape), model.Q + rng.normal(0, 0.1, model.Q.shape)):
        basis = np.linalg.qr(directions)[0]
        assert np.linalg.norm(D - D @ basis @ basis.T) >= error - 1e-4


@pytest.mark.parametrize("fill", Fill)
def test_it_gives_the_same_bits_twice_whatever_the_order_of_the_ratings(fill):
    R = made_up((40, 30), seed=3)
    first = fit(data_of(R), 10, fill)
    np.random.seed(1)
    order = np.random.default_rng(5).permutation(np.count_nonzero(R))
    for again in (fit(data_of(R), 10, fill), fit(data_of(R, order), 10, fill)):
        for name, array in first.arrays.items():
            assert array.tobytes() == again.arrays[name].tobytes(), name


def test_singular_values_of_0_have_factors_of_0():
    """The vectors of a singular value of 0 are arbitrary and could differ from run to run."""
    R = np.zeros((6, 8), dtype=int)
    R[:, 0] = 3
    # All ratings of a user are equal, so subtracting the means leaves only zeros.
    flat = fit(data_of(R), 4)
    assert not flat.P.any()
    assert not flat.Q.any()
    np.testing.assert_array_equal(scores_of(flat), np.full(R.shape, 3))
    # Now the ratings of one user differ, which gives one singular value above 0.
    R[2, 4] = 5
    one, again = (fit(data_of(R), 4) for _ in range(2))
    assert one.Q.tobytes() == again.Q.tobytes()
    assert np.count_nonzero(one.Q.any(axis=0)) == np.count_nonzero(one.P.any(axis=0)) == 1
    D, means = filled(R, Fill.mean)
    np.testing.assert_allclose(scores_of(one), D + means[:, None], atol=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
def test_it_keeps_fewer_factors_than_there_are_rows_or_columns(shape):
    R, least = made_up(shape), min(shape)
    assert fit(data_of(R), least - 1).Q.shape == (shape[1], least - 1)
    message = rf"--num-factors is {least}; for {shape[0]} users and {shape[1]} items .* {least}$"
    with pytest.raises(SettingError, match=message):
        fit(data_of(R), least)


def test_the_command_has_the_default_of_50_factors_and_two_ways_to_fill(ratings_dir, tmp_path):
    options = {"data_dir": ratings_dir, "out": tmp_path, "quiet": True, "force": True}
    with pytest.raises(SettingError, match=r"--num-factors is 50; for 30 users and 40 items"):
        main(**options)
    with pytest.raises(SettingError, match=r"--fill is 'ones'; choose one of: mean, zero"):
        main(fill="ones", **options)
    mean, zero = (main(fill=fill, num_factors=6, **options) for fill in ("mean", "zero"))
    assert (mean["settings"]["fill"], zero["settings"]["fill"]) == ("mean", "zero")
    assert mean["defined"] != zero["defined"]
    assert main(num_factors=6, **options)["defined"] == mean["defined"]
