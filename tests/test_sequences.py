import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from d2l_recsys.data import load_ranking_ml100k
from d2l_recsys.errors import DataError, SettingError
from d2l_recsys.sequences import sequence_windows


def by_plain_loop(users, items, L, num_users):
    """One window after another; also each user's last L items."""
    found, last = [], []
    for user in range(num_users):
        history = [i for u, i in zip(users, items) if u == user]
        if len(history) <= L:
            padded = [history[0]] * (L - len(history)) + history
            found.append((user, padded, history[-1]))
            last.append(padded)
            continue
        for target in range(len(history) - 1, L - 1, -1):
            found.append((user, history[target - L : target], history[target]))
        last.append(history[-L:])
    return found, last


def assert_equal(windows, expected):
    found, last = expected
    assert windows.users.tolist() == [user for user, _, _ in found]
    assert windows.sequences.tolist() == [sequence for _, sequence, _ in found]
    assert windows.targets.tolist() == [target for _, _, target in found]
    assert windows.test_sequences.tolist() == last


@settings(max_examples=100, deadline=None)
@given(
    counts=st.lists(st.integers(1, 9), min_size=1, max_size=5),
    L=st.integers(1, 6),
    seed=st.integers(0, 99),
)
def test_windows_equal_a_plain_loop(counts, L, seed):
    rng = np.random.default_rng(seed)
    users = rng.permutation(np.repeat(np.arange(len(counts)), counts))
    items = rng.integers(0, 50, len(users))
    assert_equal(
        sequence_windows(users, items, L, len(counts)),
        by_plain_loop(users, items, L, len(counts)),
    )


@pytest.mark.network
@pytest.mark.parametrize("L", [3, 5])
def test_windows_of_the_whole_data_set_equal_a_plain_loop(ml100k_dir, L):
    data = load_ranking_ml100k(ml100k_dir)
    windows = sequence_windows(data.users, data.items, L, data.num_users)
    histories = {u: np.array(data.candidates[u]) for u in range(data.num_users)}
    found, last = [], []
    for user, history in histories.items():
        part = by_plain_loop([0] * len(history), history.tolist(), L, 1)
        found += [(user, *window[1:]) for window in part[0]]
        last += part[1]
    assert_equal(windows, (found, last))
    if L == 3:  # the sample that the chapter prints
        assert (windows.users[0], windows.targets[0]) == (0, 101)
        assert windows.sequences[0].tolist() == [110, 255, 4]


def test_all_is_int32():
    windows = sequence_windows(np.array([0, 0, 1]), np.array([4, 5, 6]), 1, 2)
    assert [part.dtype for part in windows] == [np.int32] * 4


def test_short_histories_are_handled_as_the_chapter_does_where_it_does():
    """The chapter: L items make one window that ends in its target; one item fills the window."""
    windows = sequence_windows(np.array([0, 0, 0, 1]), np.array([7, 8, 9, 5]), 3, 2)
    assert windows.sequences.tolist() == [[7, 8, 9], [5, 5, 5]]
    assert windows.targets.tolist() == [9, 5]
    # In between it cannot; here the oldest item is repeated.
    windows = sequence_windows(np.array([0, 0]), np.array([7, 8]), 4, 1)
    assert windows.sequences.tolist() == windows.test_sequences.tolist() == [[7, 7, 7, 8]]


def test_bad_input_is_refused():
    one = np.array([0])
    with pytest.raises(SettingError, match=r"--L is 0; it must lie between 1"):
        sequence_windows(one, one, 0, 1)
    with pytest.raises(DataError, match=r"user 1 .* has no training item, so no sequence"):
        sequence_windows(np.array([0, 2]), np.array([1, 1]), 2, 3)
    with pytest.raises(DataError, match=r"users must lie between 0 and 0"):
        sequence_windows(np.array([0, 1]), np.array([1, 1]), 2, 1)
    with pytest.raises(DataError, match=r"users must lie between 0 and 0"):
        sequence_windows(np.array([-1, 0]), np.array([1, 1]), 2, 1)
    with pytest.raises(DataError, match="whole numbers, as many of the one as of the other"):
        sequence_windows(np.array([0, 0]), np.array([1]), 2, 1)
    with pytest.raises(DataError, match="whole numbers, as many"):
        sequence_windows(np.array([0.0]), np.array([1]), 2, 1)
