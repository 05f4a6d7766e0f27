import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from d2l_recsys.batches import BatchLoader

backend = pytest.importorskip("d2l_recsys.backend")
from d2l_recsys.devices import (  # noqa: E402
    batches_on,
    pick_devices,
    share_bounds,
    try_all_gpus,
)
from d2l_recsys.errors import SettingError  # noqa: E402

mx, gluon, npx = backend.mx, backend.gluon, backend.npx


@pytest.fixture(autouse=True)
def np_semantics():
    npx.set_np()


def test_without_a_gpu_there_is_one_cpu_where_d2l_has_nothing(monkeypatch):
    monkeypatch.setattr(mx.context, "num_gpus", lambda: 0)
    assert try_all_gpus() == [mx.cpu(0)]
    assert pick_devices(3) == [mx.cpu(0), mx.cpu(1), mx.cpu(2)]


def test_gpus_are_used_where_they_are(monkeypatch):
    monkeypatch.setattr(mx.context, "num_gpus", lambda: 2)
    assert try_all_gpus() == [mx.gpu(0), mx.gpu(1)]
    assert pick_devices(1) == [mx.gpu(0)]
    with pytest.raises(SettingError, match="--num-devices is 3; this machine has 2 GPUs"):
        pick_devices(3)


@settings(max_examples=30, deadline=None)
@given(rows=st.integers(1, 40), devices=st.integers(1, 5))
def test_shares_are_cut_where_gluon_cuts(rows, devices):
    data = mx.np.arange(rows)
    theirs = gluon.utils.split_data(data, devices, even_split=False)
    shares = share_bounds(0, rows, devices)
    assert [data[lo:hi].tolist() for lo, hi in shares] == [
        part.tolist() for part in theirs if part.size
    ]


@pytest.mark.parametrize("num_devices", [1, 2, 3])
def test_batch_loader_and_gluons_loader_give_the_same_shares(num_devices):
    arrays = np.arange(23, dtype="int32"), np.linspace(0, 1, 23)
    devices = [mx.cpu(i) for i in range(num_devices)]
    ours = batches_on(devices, BatchLoader(*arrays, batch_size=5))
    theirs = batches_on(
        devices, gluon.data.DataLoader(gluon.data.ArrayDataset(*arrays), batch_size=5)
    )
    ours, theirs = list(ours), list(theirs)
    assert len(ours) == len(theirs) == 5
    for batch, other in zip(ours, theirs):
        assert [share[0].ctx for share in batch] == devices[: len(batch)]
        for share, other_share in zip(batch, other):
            assert share[1].dtype == other_share[1].dtype == np.float32
            for part, other_part in zip(share, other_share):
                np.testing.assert_allclose(part.asnumpy(), other_part.asnumpy())


def test_a_single_array_is_a_batch_of_its_own():
    shares = next(batches_on([mx.cpu()], BatchLoader(np.ones((6, 2)), batch_size=4)))
    assert [[part.shape for part in share] for share in shares] == [[(4, 2)]]
