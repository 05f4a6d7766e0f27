"""Tests of ``MappedLoader``, which works without MXNet."""

import numpy as np
import pytest
from conftest import peak_memory
from hypothesis import given, settings
from hypothesis import strategies as st

from d2l_recsys.errors import DataError, SettingError
from d2l_recsys.loaders import batches
from d2l_recsys.loaders.batches import BatchLoader, MappedLoader


class Quiet(list):
    """A list with a short repr, because Hypothesis prints the arguments of a failure."""

    def __repr__(self):
        return "mapped"


@pytest.fixture(scope="module")
def mapped_arrays(tmp_path_factory):
    """Two files of 1,000 numbered rows: int32 (rows, 3) and float32 (rows, 1)."""
    folder = tmp_path_factory.mktemp("mapped")
    ids = np.arange(3000, dtype=np.int32).reshape(1000, 3)
    values = np.linspace(0, 1, 1000, dtype=np.float32)[:, None]
    arrays = Quiet()
    for name, array in (("ids", ids), ("values", values)):
        array.tofile(folder / name)
        arrays.append(np.memmap(folder / name, array.dtype, "r", shape=array.shape))
    return arrays


def mapped_to(arrays, rows):
    """Maps of the first rows of the files."""
    return [np.memmap(a.filename, a.dtype, "r", shape=(rows, *a.shape[1:])) for a in arrays]


@pytest.mark.parametrize("last_batch", ["keep", "discard", "rollover"])
@settings(max_examples=30, deadline=None)
@given(rows=st.integers(1, 1000), batch_size=st.integers(1, 300), piece=st.integers(1, 400))
def test_in_order_mapped_batches_are_those_of_arrays(
    last_batch, mapped_arrays, rows, batch_size, piece
):
    mapped = mapped_to(mapped_arrays, rows)
    plain = BatchLoader(*map(np.array, mapped), batch_size=batch_size, last_batch=last_batch)
    ours = MappedLoader(*mapped, batch_size=batch_size, last_batch=last_batch)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batches, "ROWS_PER_PIECE", piece)
        for _ in range(3):
            assert len(ours) == len(plain)
            for batch, other in zip_exactly(ours, plain):
                for part, other_part in zip(batch, other):
                    np.testing.assert_array_equal(part, other_part)
                    assert type(part) is np.ndarray


def zip_exactly(a, b):
    a, b = list(a), list(b)
    assert len(a) == len(b)
    return zip(a, b)


@settings(max_examples=30, deadline=None)
@given(
    rows=st.integers(1, 1000),
    batch_size=st.integers(1, 300),
    piece=st.integers(1, 400),
    blocks=st.integers(1, 5),
)
def test_shuffled_every_row_comes_once_an_epoch_or_rolls_over(
    mapped_arrays, rows, batch_size, piece, blocks
):
    mapped = mapped_to(mapped_arrays, rows)
    loader = MappedLoader(
        *mapped, batch_size=batch_size, shuffle=True, last_batch="rollover", rng=0
    )
    seen = np.zeros(rows, dtype=int)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batches, "ROWS_PER_PIECE", piece)
        for epoch in range(1, 4):
            expected = len(loader)
            sizes = []
            for (ids, values), bounds in loader.blocks(blocks):
                np.testing.assert_array_equal(values, mapped[1][ids[:, 0] // 3])
                np.add.at(seen, ids[:, 0] // 3, 1)
                sizes += [stop - start for start, stop in bounds]
                assert bounds[-1][1] == len(ids)
            assert sizes == [batch_size] * expected
            # Each row has come once per epoch, except the rows that rolled over.
            assert seen.sum() == epoch * rows - (epoch * rows) % batch_size
            assert seen.max() <= epoch
            assert seen.min() >= epoch - 1 or batch_size > rows


def test_shuffling_mixes_pieces_and_rows_and_follows_the_seed(mapped_arrays, monkeypatch):
    monkeypatch.setattr(batches, "ROWS_PER_PIECE", 10)

    def order(seed, **options):
        loader = MappedLoader(*mapped_arrays, batch_size=50, rng=seed, shuffle=True)
        # A block of two batches has ten pieces.
        return np.concatenate([ids[:, 0] // 3 for (ids, _), _ in loader.blocks(2)])

    first = order(1)
    assert np.array_equal(first, order(1))
    assert not np.array_equal(first, order(2))
    assert sorted(first) == list(range(1000))
    # The rows of the first block are whole pieces from all parts of the file, mixed.
    block = first[:100]
    assert len(set(block // 10)) == 10
    assert np.ptp(block) > 500
    assert len(set(block[:20] // 10)) > 5
    epochs = MappedLoader(*mapped_arrays, batch_size=50, rng=1, shuffle=True)
    assert not np.array_equal(*(np.concatenate([x for x, _ in epochs]) for _ in range(2)))


def test_an_abandoned_mapped_epoch_forgets_what_rolled_over(mapped_arrays):
    loader = MappedLoader(*mapped_to(mapped_arrays, 10), batch_size=4, last_batch="rollover")
    list(loader)
    next(iter(loader))
    assert len(loader) == 2
    assert next(iter(loader))[0][0, 0] == 0


def test_maps_may_start_anywhere_in_their_file_but_not_be_slices(tmp_path):
    np.arange(100, dtype=np.int32).tofile(tmp_path / "ids")
    mapped = np.memmap(tmp_path / "ids", np.int32, "r", 40, shape=(30, 3))
    (batch,) = MappedLoader(mapped, batch_size=30)
    np.testing.assert_array_equal(batch, np.arange(10, 100).reshape(30, 3))
    for array in (mapped[5:], mapped[::2], mapped[:, :1], np.array(mapped)):
        with pytest.raises(SettingError, match=r"MappedLoader needs whole numpy\.memmap arrays"):
            MappedLoader(array, batch_size=2)


PEAK = """
import sys
import numpy as np
from d2l_recsys.loaders.batches import MappedLoader
rows = int(sys.argv[2])
mapped = np.memmap(sys.argv[1], np.int32, "r", shape=(rows, 40))
for _ in MappedLoader(mapped, batch_size=1024, shuffle=True, last_batch="rollover", rng=0):
    pass
"""


def test_memory_does_not_grow_with_the_number_of_rows(tmp_path):
    """Each size has its own process; the files have 16 and 64 MB."""
    peak = {}
    for rows in (100_000, 400_000):
        with (tmp_path / "file").open("wb") as file:
            file.truncate(rows * 160)
        peak[rows] = peak_memory(PEAK, tmp_path / "file", rows)
    assert peak[400_000] - peak[100_000] < 8 * 1024, peak


def test_from_a_state_the_same_epochs_follow(mapped_arrays):
    def loader(seed):
        options = {"batch_size": 300, "shuffle": True, "last_batch": "rollover"}
        return MappedLoader(*mapped_arrays, rng=seed, **options)

    def coming(loader):
        return [[part.tolist() for batch in loader for part in batch] for _ in range(2)]

    first, second = loader(1), loader(2)
    list(first)
    state = first.state
    assert [len(part) for part in state.rolled_over] == [100, 100]
    expected = coming(first)
    second.state = state
    assert coming(second) == expected
    with pytest.raises(DataError, match="another loader"):
        second.state = BatchLoader(np.arange(9), batch_size=3).state
