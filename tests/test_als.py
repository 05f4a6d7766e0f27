import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from d2l_recsys.chapters.extras import als
from d2l_recsys.chapters.extras.als import Explicit, Implicit, fit, main
from d2l_recsys.data import load_ranking_ml100k
from d2l_recsys.errors import SettingError
from d2l_recsys.loaders.interactions import RankingData
from d2l_recsys.saved_models import load_model
from d2l_recsys.settings import Feedback

EXPLICIT, IMPLICIT = Feedback.explicit, Feedback.implicit


def made_up(num_users=9, num_items=12, seed=0, density=0.4):
    """Return a matrix of ratings, 0 where there is none; user 1 and item 2 have no rating."""
    rng = np.random.default_rng(seed)
    R = rng.integers(1, 6, (num_users, num_items)) * (
        rng.uniform(size=(num_users, num_items)) < density
    )
    R[1] = R[:, 2] = 0
    R[0, 0] = rng.integers(1, 6)
    return R


def data_of(R):
    users, items = np.nonzero(R)
    ratings = R[users, items].astype(np.float32)
    return RankingData(*R.shape, users.astype(np.int32), items.astype(np.int32), ratings, {}, {})


def problem_of(feedback, R, reg=0.3, alpha=5.0):
    return Explicit(data_of(R), reg) if feedback is EXPLICIT else Implicit(data_of(R), reg, alpha)


class AllZero:
    """A random generator that returns only zeros, so that every equation is singular."""

    def normal(self, mean, deviation, shape):
        return np.zeros(shape)


def mean_of(R):
    return sum(map(float, R[R > 0])) / np.count_nonzero(R)


def best_factors(feedback, R, others, reg, alpha):
    """Return the factors of each row of R by a general least-squares solver.

    The solver gets a row for each error and a row for each penalty. R is the matrix of ratings, or
    its transpose for the items.
    """
    k, found = others.shape[1], []
    for row in R:
        rated = np.flatnonzero(row)
        if feedback is EXPLICIT:
            A, b, penalty = others[rated], row[rated] - mean_of(R), reg * len(rated)
        else:
            sure = np.sqrt([1 + alpha * (r > 0) for r in row])
            A, b, penalty = sure[:, None] * others, sure * (row > 0), reg
        A = np.vstack([A, np.sqrt(penalty) * np.eye(k)])
        # Without errors and penalties, lstsq returns the shortest solution, which is 0.
        found.append(np.linalg.lstsq(A, np.append(b, np.zeros(k)), rcond=None)[0])
    return np.array(found)


def loss_of(feedback, R, P, Q, reg, alpha):
    """Return the objective, added up pair by pair."""
    loss = 0.0
    for u, i in np.ndindex(R.shape):
        score = sum(p * q for p, q in zip(P[u], Q[i]))
        if feedback is IMPLICIT:
            loss += (1 + alpha * (R[u, i] > 0)) * ((R[u, i] > 0) - score) ** 2
        elif R[u, i]:
            loss += (R[u, i] - mean_of(R) - score) ** 2
    for factors, matrix in ((P, R), (Q, R.T)):
        for vector, row in zip(factors, matrix):
            times = np.count_nonzero(row) if feedback is EXPLICIT else 1
            loss += reg * times * sum(vector**2)
    return loss


@pytest.mark.parametrize("feedback", Feedback)
@pytest.mark.parametrize("k", [1, 3, 8])
@pytest.mark.parametrize(("reg", "alpha"), [(0.3, 5.0), (1e-4, 40.0), (50.0, 0.0)])
def test_each_half_is_least_squares_user_by_user_and_item_by_item(feedback, k, reg, alpha):
    R = made_up()
    problem, rng = problem_of(feedback, R, reg, alpha), np.random.default_rng(1)
    for half, matrix in (("users", R), ("items", R.T)):
        others = rng.normal(size=(matrix.shape[1], k))
        expected = best_factors(feedback, matrix, others, reg, alpha)
        np.testing.assert_allclose(problem.half_step(half, others), expected, atol=1e-8)


@pytest.mark.parametrize("feedback", Feedback)
def test_who_has_no_rating_has_factors_of_0(feedback):
    R = made_up()
    model, steps = fit(data_of(R), feedback, 4, 3, 0.1, 40.0, np.random.default_rng(0))
    assert not model.P[1].any()
    assert not model.Q[2].any()
    assert model.P[0].all()
    assert np.isfinite(model.score_all(np.arange(9))).all()
    assert np.isfinite([step.objective for step in steps]).all()


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    feedback=st.sampled_from(Feedback),
    k=st.integers(1, 5),
    reg=st.floats(1e-3, 10),
    alpha=st.floats(0, 50),
)
def test_the_objective_is_the_sum_over_pairs(seed, feedback, k, reg, alpha):
    R, rng = made_up(5, 7, seed), np.random.default_rng(seed)
    P, Q = rng.normal(size=(5, k)), rng.normal(size=(7, k))
    expected = loss_of(feedback, R, P, Q, reg, alpha)
    assert problem_of(feedback, R, reg, alpha).objective(P, Q) == pytest.approx(expected, rel=1e-9)


@settings(max_examples=100, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    num_users=st.integers(2, 12),
    num_items=st.integers(3, 12),
    density=st.floats(0, 1),
    feedback=st.sampled_from(Feedback),
    data=st.data(),
    reg=st.floats(-6, 4).map(lambda power: 10**power),
    alpha=st.floats(0, 1000),
)
def test_no_half_step_raises_the_objective(
    seed, num_users, num_items, density, feedback, data, reg, alpha
):
    R = made_up(num_users, num_items, seed, density)
    k = data.draw(st.integers(1, max(R.shape)))
    rng = np.random.default_rng(seed)
    _, steps = fit(data_of(R), feedback, k, 5, reg, alpha, rng)
    objectives = np.array([step.objective for step in steps])
    assert len(objectives) == 10
    assert (objectives >= 0).all()
    # Allow for the rounding of the largest terms: those of observed pairs with a prediction of 0.
    rounding = 1e-12 * (R.size + alpha + 16) * np.count_nonzero(R)
    assert (np.diff(objectives) <= 1e-9 * objectives[:-1] + rounding).all()


@pytest.mark.parametrize("feedback", Feedback)
def test_each_step_is_the_objective_with_the_factors_of_then(feedback):
    R, k, reg, alpha = made_up(seed=4), 3, 0.2, 7.0
    model, steps = fit(data_of(R), feedback, k, 2, reg, alpha, np.random.default_rng(3))
    # Compute the same with the loops above, from the same initial factors.
    Q = np.random.default_rng(3).normal(0, k**-0.5, (R.shape[1], k))
    expected = []
    for epoch in (1, 2):
        P = best_factors(feedback, R, Q, reg, alpha)
        expected.append((epoch, "users", loss_of(feedback, R, P, Q, reg, alpha)))
        Q = best_factors(feedback, R.T, P, reg, alpha)
        expected.append((epoch, "items", loss_of(feedback, R, P, Q, reg, alpha)))
    assert [step[:2] for step in steps] == [step[:2] for step in expected]
    np.testing.assert_allclose([s[2] for s in steps], [s[2] for s in expected], rtol=1e-9)
    np.testing.assert_allclose(model.P, P, atol=1e-6)
    np.testing.assert_allclose(model.Q, Q, atol=1e-6)
    mean = mean_of(R) if feedback is EXPLICIT else 0
    assert model.mean == pytest.approx(mean)
    users = np.array([4, 1, 8])
    np.testing.assert_allclose(model.score_all(users), P[users] @ Q.T + mean, atol=1e-5)
    assert model.item_vectors() is model.Q


def test_ratings_of_low_rank_are_completed():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(60, 2)) @ rng.normal(size=(2, 50))
    shown = rng.uniform(size=truth.shape) < 0.5
    users, items = np.nonzero(shown)
    data = RankingData(60, 50, users, items, truth[users, items].astype(np.float32), {}, {})
    # The subtracted mean adds one to the rank, so the model needs one factor more.
    model, steps = fit(data, EXPLICIT, 3, 60, 1e-4, 0.0, rng)
    assert steps[-1].objective < steps[0].objective / 100
    scores = model.score_all(np.arange(60))
    assert np.sqrt(((scores - truth)[~shown] ** 2).mean()) < 0.05 * truth.std()


def test_implicit_feedback_does_not_see_ratings_nor_explicit_feedback_alpha():
    R = made_up()
    rated, constant = data_of(R), data_of((R > 0) * 3)

    def bits(data, feedback, alpha):
        model, _ = fit(data, feedback, 3, 2, 0.1, alpha, np.random.default_rng(0))
        return model.P.tobytes(), model.Q.tobytes()

    assert bits(rated, IMPLICIT, 2.0) == bits(constant, IMPLICIT, 2.0)
    assert bits(rated, IMPLICIT, 2.0) != bits(rated, IMPLICIT, 3.0)
    assert bits(rated, EXPLICIT, 2.0) == bits(rated, EXPLICIT, 3.0)
    assert bits(rated, EXPLICIT, 2.0) != bits(constant, EXPLICIT, 2.0)


@pytest.mark.parametrize("feedback", Feedback)
def test_the_size_of_blocks_does_not_matter(feedback, monkeypatch):
    def run():
        return fit(data_of(made_up()), feedback, 3, 2, 0.1, 2.0, np.random.default_rng(0))

    whole, steps = run()
    for numbers in (1, 4 * 3**2):
        monkeypatch.setattr(als, "NUMBERS_AT_ONCE", numbers)
        parts, steps_of_parts = run()
        np.testing.assert_allclose(parts.P, whole.P, rtol=1e-5)
        np.testing.assert_allclose(parts.Q, whole.Q, rtol=1e-5)
        objectives = [step.objective for step in steps]
        assert [step.objective for step in steps_of_parts] == pytest.approx(objectives, rel=1e-12)


def test_settings_that_have_no_solution_are_refused(ratings_dir, tmp_path):
    options = {"data_dir": ratings_dir, "out": tmp_path, "quiet": True, "num_factors": 4}
    for bad, message in (
        ({"reg": 0}, r"--reg is 0, too small for"),
        ({"reg": -1}, r"--reg is -1; it must lie between"),
        ({"alpha": -1}, r"--alpha is -1; it must lie between 0 and"),
        ({"num_epochs": 0}, r"--num-epochs is 0; it must lie between 1 and"),
        ({"num_factors": 41}, r"--num-factors is 41; for 30 users and 40 items .* be 40 or less"),
        ({"feedback": "none"}, r"--feedback is 'none'; choose one of: explicit, implicit"),
    ):
        with pytest.raises(SettingError, match=message):
            main(**{**options, **bad})
    assert not list(tmp_path.glob("*.json"))
    main(**{**options, "num_factors": 40, "num_epochs": 1})


@pytest.mark.parametrize("feedback", Feedback)
def test_equations_that_turn_out_to_have_no_solution_are_told_of(feedback, monkeypatch):
    """With the largest alpha this can happen. Here reg and all factors are 0, so it must happen."""
    monkeypatch.setattr(als, "SMALLEST_REG", 0)
    with pytest.raises(SettingError, match=r"--reg is 0.0, too small for each"):
        fit(data_of(np.full((5, 6), 3)), feedback, 2, 2, 0.0, 1e6, AllZero())


@pytest.mark.parametrize("feedback", Feedback)
def test_the_history_has_the_objective_of_each_half(feedback, ratings_dir, tmp_path):
    result = main(
        num_epochs=3, num_factors=4, reg=0.1, alpha=40, feedback=feedback, data_dir=ratings_dir,
        out=tmp_path, quiet=True,
    )  # fmt: skip
    history = pd.read_csv(tmp_path / "history.csv", float_precision="round_trip")
    assert list(history) == ["epoch", "half", "objective"]
    assert history["epoch"].tolist() == [1, 1, 2, 2, 3, 3]
    assert history["half"].tolist() == ["users", "items"] * 3
    assert history["objective"].is_monotonic_decreasing
    loss = result["defined"]["train_loss"]
    assert loss == result["printed"]["train_loss"] == history["objective"].iloc[-1]
    assert (tmp_path / "objective.png").read_bytes().startswith(b"\x89PNG")
    # The reported loss is the loss of the saved factors.
    data, model = load_ranking_ml100k(ratings_dir), load_model(tmp_path).net
    R = np.zeros((data.num_users, data.num_items))
    R[data.users, data.items] = data.ratings
    expected = loss_of(Feedback(feedback), R, model.P, model.Q, 0.1, 40.0)
    assert loss == pytest.approx(expected, rel=1e-4)
