import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from d2l_recsys.chapters.extras import ease
from d2l_recsys.chapters.extras.ordered_ease import OrderedEASE, fit, main, state_products
from d2l_recsys.data import load_ranking_ml100k
from d2l_recsys.errors import DataError, SettingError
from d2l_recsys.loaders.interactions import RankingData

SETTINGS = {"l2": 2, "window": 4, "decay": 0.7, "alpha": 1.5, "recency": 0.8}


def data_of(histories, num_items):
    """Return the histories, oldest item first, as training data."""
    users = np.repeat(np.arange(len(histories)), [len(h) for h in histories]).astype(np.int32)
    items = np.concatenate(histories).astype(np.int32)
    ratings = np.ones(len(items), np.float32)
    candidates = {user: list(map(int, h)) for user, h in enumerate(histories)}
    return RankingData(len(histories), num_items, users, items, ratings, candidates, {})


def made_up(num_users, num_items, seed):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, num_items + 1, num_users)
    return [rng.permutation(num_items)[:length] for length in lengths]


def states(histories, num_items, window, decay):
    """Build each state and the next item, until the last item has left the window."""
    found, following = [], []
    for history in histories:
        for t in range(len(history) + window - 1):
            state, coming = np.zeros(num_items), np.zeros(num_items)
            for k in range(window):
                if 0 <= t - k < len(history):
                    state[history[t - k]] = decay**k
            if t + 1 < len(history):
                coming[history[t + 1]] = 1
            found.append(state)
            following.append(coming)
    return np.array(found), np.array(following)


def column_by_column(Z, Y, l2):
    """Regress each item's target on all other items, with the ridge penalty as extra rows."""
    num_items = Z.shape[1]
    B = np.zeros((num_items, num_items))
    for item in range(num_items):
        others = np.delete(np.arange(num_items), item)
        rows = np.vstack([Z[:, others], np.sqrt(l2) * np.eye(len(others))])
        targets = np.append(Y[:, item], np.zeros(len(others)))
        B[others, item] = np.linalg.lstsq(rows, targets, rcond=None)[0]
    return B


@settings(max_examples=100, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    num_users=st.integers(1, 5),
    num_items=st.integers(2, 8),
    window=st.integers(1, 10),
    decay=st.sampled_from([0, 0.3, 0.9, 1]),
    alpha=st.sampled_from([0, 0.5, 1, 40]),
    l2=st.sampled_from([0.1, 3]),
)
def test_each_column_is_the_ridge_regression_on_the_other_items_of_a_state(
    seed, num_users, num_items, window, decay, alpha, l2
):
    histories = made_up(num_users, num_items, seed)
    Z, following = states(histories, num_items, window, decay)
    data = data_of(histories, num_items)
    G, F = state_products(data, window, decay)
    np.testing.assert_allclose(G, Z.T @ Z, atol=1e-9)
    np.testing.assert_allclose(F, Z.T @ following, atol=1e-9)
    model = fit(data, l2, window, decay, alpha, 0.5)
    expected = column_by_column(Z, Z + alpha * following, l2)
    np.testing.assert_allclose(model.B, expected, rtol=1e-5, atol=1e-5)
    assert model.B.dtype == np.float32
    assert not model.B.diagonal().any()


def test_a_window_of_one_counts_what_comes_next():
    """The model is then a Markov chain; with alpha 0, all weights are 0."""
    histories = [[0, 1, 2], [0, 1], [2, 0]]
    B = fit(data_of(histories, 4), l2=1, window=1, decay=0.5, alpha=1, recency=1).B
    follows = np.zeros((4, 4))
    follows[0, 1], follows[1, 2], follows[2, 0] = 2, 1, 1
    np.testing.assert_allclose(B, follows / (np.array([3, 2, 2, 0]) + 1)[:, None], atol=1e-7)
    assert not fit(data_of(histories, 4), 1, 1, 0.5, 0, 1).B.any()


def test_where_all_is_near_and_nothing_fades_it_is_ease():
    """In a window of 10^4, a history is nearly always complete, so B is nearly that of EASE."""
    histories = made_up(12, 8, seed=3)
    data = data_of(histories, 8)
    one = fit(data, l2=3 * 10**4, window=10**4, decay=1, alpha=0, recency=1)
    other = ease.fit(data, l2=3)
    np.testing.assert_allclose(one.B, other.B, atol=1e-3)
    np.testing.assert_array_equal(one.user_inputs(data), other.user_inputs(data))


@pytest.mark.parametrize("recency", [0, 0.5, 0.9, 1])
def test_what_was_seen_weighs_less_the_longer_ago_it_was(recency, ratings_dir):
    data = load_ranking_ml100k(ratings_dir)
    expected = np.zeros((data.num_users, data.num_items))
    for user, history in data.candidates.items():
        for k, item in enumerate(reversed(history)):
            expected[user, item] = recency**k
    read = fit(data, **{**SETTINGS, "recency": recency}).user_inputs(data)
    np.testing.assert_allclose(read, expected, rtol=1e-6)
    assert read.dtype == np.float32


def test_a_score_is_the_sum_of_what_the_seen_items_add(ratings_dir):
    data = load_ranking_ml100k(ratings_dir)
    model = fit(data, **SETTINGS)
    some = np.array([5, 2, 5])
    expected = [
        sum(0.8**k * model.similar_to(item) for k, item in enumerate(data.candidates[user][::-1]))
        for user in some
    ]
    scores = model.score_all(some, model.user_inputs(data)[some])
    np.testing.assert_allclose(scores, expected, atol=1e-5)
    np.testing.assert_array_equal(model.similar_to(3), model.B[3])


def rank_of_the_next(model, data, coming):
    """Count, for each user, the unseen items that score at least as high as the next item."""
    scores = model.score_all(np.arange(data.num_users), model.user_inputs(data))
    ranks = []
    for user, item in enumerate(coming):
        unseen = np.setdiff1d(np.arange(data.num_items), [*data.candidates[user], item])
        ranks.append((scores[user, unseen] >= scores[user, item]).sum())
    return np.array(ranks)


def test_on_walks_around_a_circle_it_knows_the_next_step_and_ease_does_not():
    num_items, rng = 24, np.random.default_rng(0)
    starts = rng.integers(0, num_items, 60)
    walks = [(start + np.arange(7)) % num_items for start in starts]
    data = data_of(walks, num_items)
    coming = (starts + 7) % num_items
    ordered = fit(data, l2=1, window=5, decay=0.8, alpha=1, recency=0.8)
    assert not rank_of_the_next(ordered, data, coming).any()
    # With alpha 0 the model does not know the direction of a walk. The item before the first item
    # is as near as the item after the last item. With recency 1 the last items count no more than
    # the first ones, so nothing else shows the direction.
    even = fit(data, l2=1, window=5, decay=0.8, alpha=0, recency=1)
    assert rank_of_the_next(even, data, coming).mean() > 0.3
    assert rank_of_the_next(ease.fit(data, 1), data, coming).mean() > 0.3
    # If the walks go the other way, the next item is another one.
    back = data_of([walk[::-1] for walk in walks], num_items)
    model = fit(back, l2=1, window=5, decay=0.8, alpha=1, recency=0.8)
    assert not rank_of_the_next(model, back, (starts - 1) % num_items).any()


def test_histories_of_one_item_and_items_without_users_do_no_harm():
    data = data_of([[1], [1], [2]], 4)
    model = fit(data, **SETTINGS)
    assert not model.B.any()
    assert model.user_inputs(data).tolist() == [[0, 1, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]]


def test_without_the_rows_of_its_items_it_does_not_rank():
    model = OrderedEASE(np.zeros((4, 4), np.float32), 0.9)
    for rows in (None, np.zeros((1, 3), np.float32)):
        with pytest.raises(DataError):
            model.score_all(np.arange(1), rows)


@pytest.mark.parametrize(
    ("option", "value"),
    [("l2", 0), ("window", 0), ("decay", 1.1), ("alpha", -1), ("recency", -0.1), ("recency", 2)],
)
def test_bad_settings_are_refused(option, value, ratings_dir, tmp_path):
    with pytest.raises(SettingError, match=f"--{option} is {value}; it must lie between"):
        main(data_dir=ratings_dir, out=tmp_path / "out", **{option: value})
