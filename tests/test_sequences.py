import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from d2l_recsys.data import load_ranking_ml100k
from d2l_recsys.errors import DataError, SettingError
from d2l_recsys.loaders.batches import BatchLoader
from d2l_recsys.sampling import NegativeSampler
from d2l_recsys.sequences import ChunkLoader, history_chunks, last_items, sequence_windows


def by_plain_loop(users, items, L, num_users):
    """The windows, made one after another, and each user's last L items."""
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
    if L == 3:  # the first sample, which the chapter prints
        assert (windows.users[0], windows.targets[0]) == (0, 101)
        assert windows.sequences[0].tolist() == [110, 255, 4]


def test_all_is_int32():
    windows = sequence_windows(np.array([0, 0, 1]), np.array([4, 5, 6]), 1, 2)
    assert [part.dtype for part in windows] == [np.int32] * 4


def test_short_histories_are_handled_as_the_chapter_does_where_it_does():
    """As in the chapter, L items are one window with its last item as target; so is one item."""
    windows = sequence_windows(np.array([0, 0, 0, 1]), np.array([7, 8, 9, 5]), 3, 2)
    assert windows.sequences.tolist() == [[7, 8, 9], [5, 5, 5]]
    assert windows.targets.tolist() == [9, 5]
    # Between 1 and L items the chapter's code fails. Ours repeats the oldest item.
    windows = sequence_windows(np.array([0, 0]), np.array([7, 8]), 4, 1)
    assert windows.sequences.tolist() == windows.test_sequences.tolist() == [[7, 7, 7, 8]]


def test_bad_input_is_refused():
    one = np.array([0])
    with pytest.raises(SettingError, match=r"--L is 0; it must lie between 1"):
        sequence_windows(one, one, 0, 1)
    with pytest.raises(DataError, match=r"user 2 .* has no training item, so no sequence"):
        sequence_windows(np.array([0, 2]), np.array([1, 1]), 2, 3)
    with pytest.raises(DataError, match=r"users must lie between 0 and 0"):
        sequence_windows(np.array([0, 1]), np.array([1, 1]), 2, 1)
    with pytest.raises(DataError, match=r"users must lie between 0 and 0"):
        sequence_windows(np.array([-1, 0]), np.array([1, 1]), 2, 1)
    with pytest.raises(DataError, match="arrays of whole numbers with the same length"):
        sequence_windows(np.array([0, 0]), np.array([1]), 2, 1)
    with pytest.raises(DataError, match="arrays of whole numbers with"):
        sequence_windows(np.array([0.0]), np.array([1]), 2, 1)


def chunks_by_plain_loop(users, items, max_length, num_users, padding):
    """The chunks, each made by a plain loop from the newest step backwards, and the last items."""
    found, last = [], []
    for user in range(num_users):
        history = [i for u, i in zip(users, items) if u == user]
        last.append(([padding] * max_length + history)[-max_length:])
        steps, of_user = list(zip(history[:-1], history[1:])), []
        while steps:
            steps, chunk = steps[:-max_length], steps[-max_length:]
            chunk = [(padding, padding)] * (max_length - len(chunk)) + chunk
            of_user.insert(0, (user, *map(list, zip(*chunk))))
        found += of_user
    return found, last


@settings(max_examples=100, deadline=None)
@given(
    counts=st.lists(st.integers(0, 9), min_size=1, max_size=5),
    max_length=st.integers(1, 6),
    seed=st.integers(0, 99),
)
def test_chunks_and_last_items_equal_a_plain_loop(counts, max_length, seed):
    rng = np.random.default_rng(seed)
    users = rng.permutation(np.repeat(np.arange(len(counts)), counts))
    options = users, rng.integers(0, 50, len(users)), max_length, len(counts), 50
    found, last = chunks_by_plain_loop(*options)
    chunks = history_chunks(*options)
    assert [part.dtype for part in (*chunks, last_items(*options))] == [np.int32] * 4
    assert chunks.inputs.shape == chunks.targets.shape == (len(chunks.users), max_length)
    assert list(zip(*(part.tolist() for part in chunks))) == found
    assert last_items(*options).tolist() == last


def test_every_item_but_the_oldest_is_a_target_once_after_the_one_before_it():
    histories = [np.arange(100, 100 + count) for count in (1, 2, 5, 6, 7, 11)]
    users = np.repeat(np.arange(6), list(map(len, histories)))
    chunks = history_chunks(users, np.concatenate(histories), 5, 6, padding=999)
    for user, history in enumerate(histories):
        of_user = chunks.users == user
        inputs, targets = chunks.inputs[of_user].ravel(), chunks.targets[of_user].ravel()
        assert targets[targets != 999].tolist() == history[1:].tolist()
        assert inputs[inputs != 999].tolist() == history[:-1].tolist()
        assert (inputs[inputs != 999] + 1 == targets[inputs != 999]).all()
    assert np.bincount(chunks.users, minlength=6).tolist() == [0, 1, 1, 1, 2, 2]


def test_bad_chunks_are_refused():
    one = np.array([0])
    for function in (history_chunks, last_items):
        with pytest.raises(SettingError, match=r"--max-length is 0; it must lie between 1"):
            function(one, one, 0, 1, 9)
        with pytest.raises(DataError, match=r"users must lie between 0 and 0"):
            function(np.array([1]), one, 2, 1, 9)
        with pytest.raises(DataError, match="arrays of whole numbers with the same length"):
            function(np.array([0, 0]), one, 2, 1, 9)


CHUNKED = np.repeat(np.arange(4), 8), np.tile(np.arange(8), 4), 3, 4, 40


def chunk_loader(seed):
    sampler = NegativeSampler({u: list(range(8 + 8 * u)) for u in range(4)}, 4, 40, seed)
    options = {"batch_size": 5, "shuffle": True, "last_batch": "rollover", "rng": seed}
    return ChunkLoader(*history_chunks(*CHUNKED), sampler=sampler, **options), options


def test_a_chunk_loaders_batches_are_chunks_with_negatives_of_their_users():
    loader, options = chunk_loader(3)
    plain = BatchLoader(*history_chunks(*CHUNKED), **options)
    drawn = []
    for _ in range(30):
        assert len(loader) == len(plain)
        epoch = list(loader)
        for (inputs, targets, negatives), (users, *expected) in zip(epoch, list(plain)):
            np.testing.assert_array_equal([inputs, targets], expected)
            assert negatives.shape == targets.shape
            assert negatives.dtype == np.int32
            # User u has seen all items below 8 + 8 u, so only the other items can be drawn.
            assert (negatives >= 8 + 8 * users[:, None]).all()
        drawn.append(np.concatenate([batch[2] for batch in epoch]))
    # Each place of a chunk has its own draw, and each epoch has new draws.
    assert len({row.tobytes() for epoch in drawn for row in epoch}) > 250
    assert (np.concatenate(drawn) < 16).any()


def test_from_a_chunk_loaders_state_the_same_batches_follow():
    (first, _), (second, _) = chunk_loader(1), chunk_loader(2)
    list(first)
    second.state = first.state
    for batch, other in zip(list(first), list(second)):
        np.testing.assert_array_equal(batch, other)
