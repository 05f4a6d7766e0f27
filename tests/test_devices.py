import types

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from d2l_recsys.hardware import cuda
from d2l_recsys.loaders.batches import BatchLoader

backend = pytest.importorskip("d2l_recsys.backend")
from d2l_recsys import devices  # noqa: E402
from d2l_recsys.devices import Device, pick_devices, share_bounds, split_and_load, try_all_gpus  # noqa: E402
from d2l_recsys.errors import DeviceError, SettingError  # noqa: E402

mx, gluon, npx = backend.mx, backend.gluon, backend.npx


@pytest.fixture(autouse=True)
def np_semantics():
    npx.set_np()


@pytest.fixture
def with_gpus(monkeypatch):
    """Pretends that the CUDA build is installed and that the driver shows the given GPUs."""

    def be(*capabilities, cuda_version=(11, 4)):
        features = types.SimpleNamespace(is_enabled=lambda name: name == "CUDA")
        monkeypatch.setattr(mx.runtime, "Features", lambda: features)
        monkeypatch.setattr(mx.context, "num_gpus", lambda: len(capabilities))
        driver = cuda.Driver(cuda_version, list(capabilities))
        monkeypatch.setattr(cuda, "read_driver", lambda: driver)
        devices._note.cache_clear()

    return be


def test_without_a_gpu_there_is_one_cpu_where_d2l_has_nothing(with_gpus, capsys):
    with_gpus()
    assert try_all_gpus() == [mx.cpu(0)]
    assert pick_devices(3) == pick_devices(3, "cpu") == [mx.cpu(0), mx.cpu(1), mx.cpu(2)]
    assert capsys.readouterr() == ("", "")


def test_gpus_are_used_where_they_are(with_gpus, capsys):
    with_gpus((8, 6), (8, 9))
    assert try_all_gpus() == pick_devices(2) == [mx.gpu(0), mx.gpu(1)]
    assert pick_devices(1) == pick_devices(1, "gpu") == pick_devices(1, Device.gpu) == [mx.gpu(0)]
    assert pick_devices(3, "cpu") == [mx.cpu(0), mx.cpu(1), mx.cpu(2)]
    for device in (None, "gpu"):
        with pytest.raises(SettingError, match=r"this machine has 2 GPUs$"):
            pick_devices(3, device)
    assert capsys.readouterr() == ("", "")


def test_gpus_without_code_are_left_out_and_told_once(with_gpus, capsys):
    with_gpus((9, 0), (8, 6), (3, 5))
    assert try_all_gpus() == pick_devices(1) == pick_devices(1, "gpu") == [mx.gpu(1)]
    (line,) = capsys.readouterr().err.splitlines()
    lacking = "GPU 0 (compute capability 9.0), GPU 2 (compute capability 3.5)"
    assert line == (
        f"MXNet has no code for {lacking}, only for 5.0 to 8.6 (8.7 to 8.9 can run the "
        "code for 8.6); "
        "using the others"
    )
    message = "this machine has 1 GPUs that can be used: MXNet has no code for GPU 0"
    with pytest.raises(SettingError, match=message):
        pick_devices(2)


def test_the_cpu_takes_the_place_of_gpus_that_nobody_asked_for(with_gpus, capsys):
    with_gpus((9, 0))
    assert pick_devices(2) == [mx.cpu(0), mx.cpu(1)]
    assert try_all_gpus() == [mx.cpu(0)]
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("MXNet has no code for GPU 0 (compute capability 9.0), only for 5.0 ")
    assert line.endswith("; using the CPU")
    assert pick_devices(1, "cpu") == [mx.cpu(0)]
    assert capsys.readouterr().err == ""


def test_a_gpu_that_is_asked_for_and_cannot_be_had_is_refused(with_gpus, monkeypatch):
    def why(message):
        with pytest.raises(DeviceError, match=f"^--device is gpu, but {message}.*use --device cpu"):
            pick_devices(1, "gpu")

    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    with_gpus()
    why("the NVIDIA driver shows no GPU; see what nvidia-smi says")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    why(r"the NVIDIA driver shows no GPU \(CUDA_VISIBLE_DEVICES is '-1'\)")
    with_gpus((9, 0))
    why(r"MXNet has no code for GPU 0 \(compute capability 9.0\)")
    with_gpus((8, 6), cuda_version=(10, 2))
    why("the NVIDIA driver is too old: it supports CUDA 10.2; MXNet needs 11.0 or later;")

    def fail():
        raise mx.MXNetError("Traceback\nCUDA: Check failed: (804 vs. 0) : no such luck")

    with_gpus((8, 6))
    monkeypatch.setattr(mx.context, "num_gpus", fail)
    why("CUDA fails: no such luck;")
    monkeypatch.undo()
    if not mx.runtime.Features().is_enabled("CUDA"):
        why("the CPU build of MXNet is installed;")


def test_an_unknown_device_is_refused():
    with pytest.raises(SettingError, match="--device is 'tpu'; choose one of: cpu, gpu"):
        pick_devices(1, "tpu")


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
    ours = split_and_load(devices, BatchLoader(*arrays, batch_size=5))
    theirs = split_and_load(
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
    shares = next(split_and_load([mx.cpu()], BatchLoader(np.ones((6, 2)), batch_size=4)))
    assert [[part.shape for part in share] for share in shares] == [[(4, 2)]]
