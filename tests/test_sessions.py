"""Sessions, their batches and their test, against plain loops."""

import numpy as np
import pytest
from conftest import write_ratings
from hypothesis import given, settings
from hypothesis import strategies as st

from d2l_recsys.data import load_sessions_ml100k, read_data_ml100k
from d2l_recsys.errors import DataError, SettingError
from d2l_recsys.evaluation.next_items import NextItems, item_similarities, num_sessions_of
from d2l_recsys.loaders.sessions import SessionLoader, Sessions, cut_sessions, last_tenth
from d2l_recsys.sequences import session_windows

LISTS = st.lists(st.lists(st.integers(0, 9), min_size=2, max_size=7), min_size=1, max_size=12)


def as_lists(sessions):
    return [part.tolist() for part in sessions.lists()]


def cut_by_hand(users, items, times, idle):
    """The sessions of one user after another, in the order of their first rating."""
    found = []
    for user in sorted(set(users)):
        rows = [row for row in range(len(users)) if users[row] == user]
        rows.sort(key=lambda row: times[row])
        session = []
        for row in rows:
            if session and times[row] - times[session[-1]] > idle * 60:
                found.append(session)
                session = []
            session.append(row)
        found.append(session)
    found = [session for session in found if len(session) >= 2]
    found.sort(key=lambda session: times[session[0]])
    return [[items[row] for row in session] for session in found]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 50), st.integers(0, 500)), max_size=40),
    st.integers(1, 3),
)
def test_ratings_are_cut_where_a_user_pauses(rows, idle):
    users, items, times = np.array(rows, dtype=np.int64).reshape(-1, 3).T
    sessions = cut_sessions(users, items, times, idle)
    assert as_lists(sessions) == cut_by_hand(*map(list, (users, items, times)), idle)
    assert (sessions.items.dtype, sessions.starts.dtype) == (np.int32, np.int64)


def test_a_pause_of_exactly_the_minutes_does_not_cut():
    users, items = np.zeros(4, dtype=int), np.arange(4)
    assert as_lists(cut_sessions(users, items, np.array([0, 60, 120, 180]), 1)) == [[0, 1, 2, 3]]
    assert as_lists(cut_sessions(users, items, np.array([0, 60, 121, 180]), 1)) == [[0, 1], [2, 3]]


def test_the_last_tenth_is_rounded_up_and_parts_keep_their_items():
    sessions = Sessions.of([[n, n + 1, n + 2][: 2 + n % 2] for n in range(21)])
    first, last = last_tenth(sessions)
    assert (len(first), len(last)) == (18, 3)
    assert as_lists(first) + as_lists(last) == as_lists(sessions)
    assert as_lists(last) == [[18, 19], [19, 20, 21], [20, 21]]
    assert last.session_of_item.tolist() == [0, 0, 1, 1, 1, 2, 2]


def test_the_sessions_of_movielens(ml100k_dir):
    split = load_sessions_ml100k(ml100k_dir)
    lengths = np.concatenate([split.train.lengths, split.test.lengths])
    assert (len(split.train), len(split.test)) == (2054, 229)
    assert (lengths.sum(), np.median(lengths)) == (99490, 21)
    assert len(NextItems(split.test, split.num_items)) == 8545
    chosen = load_sessions_ml100k(ml100k_dir, "validation")
    assert as_lists(chosen.train) + as_lists(chosen.test) == as_lists(split.train)
    assert len(chosen.test) == 206


def with_pauses(ratings, minutes=40):
    """``ratings`` in sessions of about four: times in steps of 1 minute and of 40 minutes."""
    rng = np.random.default_rng(1)
    steps = np.where(rng.random(len(ratings)) < 0.25, minutes, 1)
    ratings = ratings.sort_values("user_id", kind="stable")
    return ratings.assign(timestamp=880000000 + 60 * np.cumsum(steps))


def test_what_is_held_out_leaves_no_trace_in_training(ratings, tmp_path):
    """Other items in the last tenth of the sessions change neither split but in that tenth."""
    ratings = with_pauses(ratings)
    changed, latest = (
        ratings.copy(),
        ratings["timestamp"].to_numpy() >= ratings["timestamp"].quantile(0.97),
    )
    changed.loc[latest, "item_id"] = changed.loc[latest, "item_id"].to_numpy()[::-1]
    splits = []
    for number, frame in enumerate((ratings, changed)):
        folder = tmp_path / str(number)
        folder.mkdir()
        write_ratings(folder, frame)
        splits.append([load_sessions_ml100k(folder, mode) for mode in ("seq-aware", "validation")])
    assert as_lists(splits[0][0].test) != as_lists(splits[1][0].test)
    for one, other in zip(*splits):
        assert as_lists(one.train) == as_lists(other.train)
    assert as_lists(splits[0][1].test) == as_lists(splits[1][1].test)


def test_sessions_are_cut_from_the_file(ratings, tmp_path):
    write_ratings(tmp_path, with_pauses(ratings))
    data, num_users, num_items = read_data_ml100k(tmp_path)
    split = load_sessions_ml100k(tmp_path, idle=20)
    assert split.sizes == (num_users, num_items)
    expected = cut_by_hand(
        data["user_id"].tolist(), (data["item_id"] - 1).tolist(), data["timestamp"].tolist(), 20
    )
    assert as_lists(split.train) + as_lists(split.test) == expected


def test_bad_settings_and_too_few_sessions_are_told(ratings_dir, tmp_path, ratings):
    for idle in (0, float("nan")):
        with pytest.raises(SettingError, match=r"^--idle is \S+; it must lie between 1 and"):
            load_sessions_ml100k(ratings_dir, idle=idle)
    with pytest.raises(SettingError, match="--split is 'random'; choose one of: seq-aware, val"):
        load_sessions_ml100k(ratings_dir, "random")
    apart = ratings.assign(timestamp=880000000 + 3600 * np.arange(len(ratings)))
    write_ratings(tmp_path, apart)
    message = (
        r"u\.data: pauses of more than 30 minutes cut the ratings into 0 sessions of two or more "
        "ratings, too few to learn from; choose another --idle, or add ratings$"
    )
    with pytest.raises(DataError, match=message):
        load_sessions_ml100k(tmp_path)


def batches_by_hand(lists, num_lanes):
    """Lane by lane, as section 3.1.1 of the paper tells it."""
    waiting = list(lists)
    if len(waiting) < num_lanes:
        return []
    lanes = [[waiting.pop(0), 0] for _ in range(num_lanes)]
    batches = []
    while True:
        batches.append(
            [(s[at], s[at + 1], float(at > 0)) for s, at in lanes],
        )
        for lane in lanes:
            lane[1] += 1
            if lane[1] == len(lane[0]) - 1:
                if not waiting:
                    return batches
                lane[:] = [waiting.pop(0), 0]


@settings(max_examples=100, deadline=None)
@given(LISTS, st.integers(2, 5), st.integers(0, 3))
def test_batches_go_through_the_sessions_side_by_side(lists, num_lanes, seed):
    loader = SessionLoader(Sessions.of(lists), batch_size=num_lanes)
    found = [list(zip(*(a.tolist() for a in batch))) for batch in loader]
    assert found == batches_by_hand(lists, num_lanes)
    assert len(found) <= len(loader)
    shuffled = SessionLoader(Sessions.of(lists), batch_size=num_lanes, shuffle=True, rng=seed)
    rng = np.random.default_rng(seed)
    for _ in range(2):
        order = rng.permutation(len(lists))
        found = [list(zip(*(a.tolist() for a in batch))) for batch in shuffled]
        assert found == batches_by_hand([lists[session] for session in order], num_lanes)


def test_blocks_are_the_batches_and_the_state_repeats_an_epoch():
    sessions = Sessions.of([np.arange(n % 7 + 2) + n for n in range(50)])
    loader = SessionLoader(sessions, batch_size=4, shuffle=True, rng=3)
    state = loader.state
    batches = list(loader)
    loader.state = state
    again = [
        [a[start:stop] for a in arrays]
        for arrays, bounds in loader.blocks(batches=3)
        for start, stop in bounds
    ]
    assert [a.dtype for a in batches[0]] == [np.int32, np.int32, np.float32]
    np.testing.assert_array_equal(batches, again)
    with pytest.raises(SettingError, match="--batch-size is 1; the negative items come from"):
        SessionLoader(sessions, batch_size=1)


@settings(max_examples=60, deadline=None)
@given(LISTS, st.integers(0, 100))
def test_ranks_are_those_of_a_plain_loop(lists, seed):
    """Few different scores, so that many tie."""
    test = NextItems(Sessions.of(lists), 10)
    scores = np.random.default_rng(seed).integers(0, 4, (len(test), 10)).astype(np.float32)
    expected, row = [], 0
    for session in lists:
        for at in range(1, len(session)):
            others = set(range(10)) - set(session[:at]) - {session[at]}
            own = scores[row, session[at]]
            higher = sum(scores[row, item] > own for item in others)
            expected.append(higher + sum(scores[row, item] == own for item in others) / 2)
            row += 1
    found = np.concatenate([test.ranks(block, scores[block]) for block in test.blocks()])
    assert found.tolist() == expected
    numbers = test.scores([found], [3])
    assert numbers == {
        "test_hit_rate": np.mean([rank < 20 for rank in expected]),
        "test_mrr": pytest.approx(np.mean([1 / (rank + 1) for rank in expected])),
        "test_hit_rate_at_3": np.mean([rank < 3 for rank in expected]),
        "test_ndcg_at_3": pytest.approx(
            np.mean([1 / np.log2(rank + 2) if rank < 3 else 0 for rank in expected])
        ),
        "test_mrr_at_3": pytest.approx(
            np.mean([1 / (rank + 1) if rank < 3 else 0 for rank in expected])
        ),
    }


def test_the_first_twenty_count_and_no_number_is_no_number():
    test = NextItems(Sessions.of([[0, 1], [0, 2], [0, 3]]), 50)
    scores = -np.tile(np.arange(50.0), (3, 1))
    scores[:, [1, 2, 3]] = [[-20.5] * 3, [-22.5] * 3, [-7.5] * 3]
    ranks = test.ranks(slice(0, 3), scores)
    # The items from 4 on may be higher. The two others of 1, 2 and 3 tie.
    assert ranks.tolist() == [18, 20, 5]
    assert test.scores([ranks]) == {
        "test_hit_rate": 2 / 3, "test_mrr": pytest.approx((1 / 19 + 1 / 6) / 3),
    }  # fmt: skip
    scores[1, 40] = np.nan
    assert np.isnan(test.scores([test.ranks(slice(0, 3), scores)])["test_mrr"])


@settings(max_examples=30, deadline=None)
@given(LISTS, st.sampled_from([0, 20]))
def test_the_baselines_count_sessions(lists, shrink):
    sets = [set(session) for session in lists]
    counts = [sum(item in items for items in sets) for item in range(10)]
    sessions = Sessions.of(lists)
    assert num_sessions_of(sessions, 10).tolist() == counts
    found = item_similarities(sessions, 10, shrink)
    for i in range(10):
        for j in range(10):
            both = sum({i, j} <= items for items in sets) if i != j else 0
            expected = both / (np.sqrt(counts[i] * counts[j]) + shrink) if both else 0
            assert found[i, j] == pytest.approx(expected, rel=1e-12)


@settings(max_examples=30, deadline=None)
@given(LISTS, st.integers(1, 4))
def test_windows_have_the_items_before(lists, L):
    windows, targets = session_windows(Sessions.of(lists), L)
    expected = [
        ([session[0]] * max(L - at, 0) + session[max(at - L, 0) : at], session[at])
        for session in lists
        for at in range(1, len(session))
    ]
    assert list(zip(windows.tolist(), targets.tolist())) == expected
