import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from d2l_recsys.errors import DataError, SettingError
from d2l_recsys.loaders.batches import BatchLoader

gluon = pytest.importorskip("d2l_recsys.backend").gluon


class Replay(gluon.data.Sampler):
    """Gives Gluon's DataLoader the same row orders as BatchLoader draws."""

    def __init__(self, length, seed):
        self.length, self.rng = length, np.random.default_rng(seed)

    def __iter__(self):
        return iter(self.rng.permutation(self.length).tolist())

    def __len__(self):
        return self.length


@pytest.mark.parametrize("last_batch", ["keep", "discard", "rollover"])
@pytest.mark.parametrize("shuffle", [False, True])
@settings(max_examples=15, deadline=None)
@given(rows=st.integers(1, 50), batch_size=st.integers(1, 60), seed=st.integers(0, 9))
def test_equals_gluon_dataloader_batch_for_batch(last_batch, shuffle, rows, batch_size, seed):
    ids, values = np.arange(rows, dtype=np.int32), np.linspace(0, 1, rows, dtype=np.float32)
    theirs = gluon.data.DataLoader(
        gluon.data.ArrayDataset(ids, values),
        batch_size=batch_size,
        last_batch=last_batch,
        sampler=Replay(rows, seed) if shuffle else None,
    )
    ours = BatchLoader(
        ids, values, batch_size=batch_size, last_batch=last_batch, shuffle=shuffle, rng=seed
    )
    for _ in range(3):
        assert len(ours) == len(theirs)
        expected = [[part.asnumpy() for part in batch] for batch in theirs]
        found = list(ours)
        assert len(found) == len(expected)
        for batch, other in zip(found, expected):
            for part, other_part in zip(batch, other):
                np.testing.assert_array_equal(part, other_part)


def test_an_abandoned_epoch_forgets_the_rows_rolled_over_into_it_as_gluon_does():
    rows = np.arange(10)
    ours = BatchLoader(rows, batch_size=4, last_batch="rollover")
    theirs = gluon.data.DataLoader(rows, batch_size=4, last_batch="rollover")
    for loader in (ours, theirs):
        list(loader)
        next(iter(loader))
    assert [batch.tolist() for batch in ours] == [batch.asnumpy().tolist() for batch in theirs]


def test_rollover_uses_every_row_equally_often():
    loader = BatchLoader(np.arange(100), batch_size=32, last_batch="rollover", shuffle=True, rng=0)
    seen = np.concatenate([batch for _ in range(8) for batch in loader])
    counts = np.bincount(seen, minlength=100)
    assert len(seen) == 800
    assert counts.min() >= 7
    assert counts.max() <= 9


def test_blocks_hold_the_same_batches():
    arrays = np.arange(1000), np.arange(1000) * 2.0
    first = BatchLoader(*arrays, batch_size=7, shuffle=True, rng=3)
    second = BatchLoader(*arrays, batch_size=7, shuffle=True, rng=3)
    cut = [
        [a[start:stop] for a in block]
        for block, bounds in second.blocks(batches=10)
        for start, stop in bounds
    ]
    assert len(cut) == len(first)
    for batch, other in zip(first, cut):
        np.testing.assert_array_equal(batch, other)


@pytest.mark.parametrize(
    ("arrays", "options", "message"),
    [
        ([np.arange(3), np.arange(4)], {"batch_size": 1}, "3, 4"),
        ([], {"batch_size": 1}, "none"),
        ([np.arange(3)], {"batch_size": 0}, "batch_size is 0"),
        ([np.arange(3)], {"batch_size": 1, "last_batch": "drop"}, "'drop'"),
    ],
)
def test_bad_arguments_are_refused(arrays, options, message):
    with pytest.raises(SettingError, match=message):
        BatchLoader(*arrays, **options)


@settings(max_examples=30, deadline=None)
@given(
    rows=st.integers(5, 50),
    batch_size=st.integers(1, 30),
    epochs=st.integers(0, 3),
    last_batch=st.sampled_from(["keep", "discard", "rollover"]),
)
def test_from_a_state_the_same_epochs_follow(rows, batch_size, epochs, last_batch):
    def loader(seed):
        options = {"batch_size": batch_size, "shuffle": True, "last_batch": last_batch}
        return BatchLoader(np.arange(rows), rng=seed, **options)

    def coming(loader):
        return [[batch.tolist() for batch in loader] for _ in range(3)]

    first, second = loader(1), loader(2)
    for _ in range(epochs):
        list(first)
    state = first.state
    expected = coming(first)
    second.state = state
    assert coming(second) == expected
    # Later draws do not change a state that was read before.
    second.state = state
    assert coming(second) == expected


@pytest.mark.parametrize(
    "change",
    [
        lambda s: s._replace(generators=[]),
        lambda s: s._replace(generators=[{}]),
        lambda s: s._replace(generators=[{**s.generators[0], "bit_generator": "MT19937"}]),
        lambda s: s._replace(generators=[{**s.generators[0], "state": {"state": "x", "inc": 1}}]),
        lambda s: s._replace(rolled_over=[]),
        lambda s: s._replace(rolled_over=[np.array(1)]),
        lambda s: s._replace(rolled_over=[np.array([10])]),
        lambda s: s._replace(rolled_over=[np.array([-1])]),
        lambda s: s._replace(rolled_over=[np.arange(4)]),
        lambda s: s._replace(rolled_over=[np.zeros(1)]),
    ],
)
def test_the_state_of_another_loader_is_refused(change):
    loader = BatchLoader(np.arange(10), batch_size=4, shuffle=True, last_batch="rollover", rng=0)
    with pytest.raises(DataError):
        loader.state = change(loader.state)
