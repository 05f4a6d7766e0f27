import _ctypes
import ctypes
import importlib.metadata
import os
import pathlib
import shutil
import subprocess
import sys
import types

import pytest
from conftest import ROOT

from d2l_recsys.errors import DeviceError
from d2l_recsys.hardware import cuda


@pytest.fixture(scope="session")
def stub_driver(tmp_path_factory):
    """Returns a function that runs code in a process; its NVIDIA driver is stub_driver.c."""
    if shutil.which("gcc") is None or sys.platform != "linux":
        pytest.skip("the stub driver is built with gcc, for Linux")
    folder = tmp_path_factory.mktemp("driver")
    source = pathlib.Path(__file__).with_name("stub_driver.c")
    command = ["gcc", "-Wall", "-Werror", "-shared", "-fPIC", "-o", folder / cuda.DRIVER, source]
    subprocess.run(command, check=True)

    def run(code, **environment):
        return subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env={**os.environ, "LD_LIBRARY_PATH": str(folder), **environment},
            capture_output=True,
            text=True,
            timeout=60,
        )

    return run


READ = "from d2l_recsys.hardware import cuda; print(*cuda.read_driver())"


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        (dict(STUB_GPUS="8.6"), "(11, 0) [(8, 6)]"),
        (dict(STUB_GPUS="9.0,3.5,10.2", STUB_CUDA="12040"), "(12, 4) [(9, 0), (3, 5), (10, 2)]"),
        (dict(STUB_CUDA="10020"), "(10, 2) []"),
    ],
)
def test_the_driver_tells_its_version_and_the_capabilities(stub_driver, environment, said):
    done = stub_driver(READ, **environment)
    assert (done.stdout, done.stderr) == (f"{said}\n", "")


def test_a_driver_that_fails_is_told_with_its_own_words(stub_driver):
    done = stub_driver(READ, STUB_INIT="999", STUB_GPUS="8.6")
    *_, last = done.stderr.splitlines()
    said = "the NVIDIA driver fails: cuInit returns 999 (made up by the stub driver)"
    assert last == f"d2l_recsys.errors.DeviceError: {said}"


def test_without_a_driver_there_is_none_to_ask(monkeypatch):
    monkeypatch.setattr(cuda, "DRIVER", "libnone.so.1")
    with pytest.raises(DeviceError, match=r"there is no NVIDIA driver \(libnone\.so\.1: "):
        cuda.read_driver()


def is_cuda_build():
    try:
        importlib.metadata.distribution(cuda.WHEEL)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


FIND = """
import d2l_recsys.backend
from d2l_recsys import devices
print(devices.mx.context.num_gpus(), devices.try_all_gpus(), devices.pick_devices(1))
"""


@pytest.mark.skipif(not is_cuda_build(), reason="the CUDA build of MXNet is not installed")
@pytest.mark.parametrize(
    ("gpus", "found", "noted"),
    [
        ("", "0 [cpu(0)] [cpu(0)]", ""),
        ("8.9", "1 [gpu(0)] [gpu(0)]", ""),
        ("9.0", "1 [cpu(0)] [cpu(0)]", "GPU 0 (compute capability 9.0)"),
        ("3.5,8.6", "2 [gpu(1)] [gpu(1)]", "GPU 0 (compute capability 3.5)"),
    ],
)
def test_the_cuda_build_uses_the_gpus_it_has_code_for(stub_driver, gpus, found, noted):
    done = stub_driver(FIND, STUB_GPUS=gpus)
    assert done.stdout == f"{found}\n", done.stderr
    assert len(done.stderr.splitlines()) == bool(noted)
    assert noted in done.stderr


@pytest.mark.parametrize(
    ("capability", "runs"),
    [
        ((3, 5), False),
        ((5, 0), True),
        ((5, 2), True),
        ((6, 1), True),
        ((7, 5), True),
        ((8, 0), True),
        ((8, 6), True),
        ((8, 9), True),
        ((9, 0), False),
        ((10, 0), False),
        ((12, 0), False),
    ],
)
def test_code_runs_on_the_same_major_and_no_lower_minor(capability, runs):
    assert cuda.has_code(capability) is runs


def test_code_does_not_run_on_a_lower_minor(monkeypatch):
    monkeypatch.setattr(cuda, "CODE_FOR", ((7, 5),))
    assert [minor for minor in range(9) if cuda.has_code((7, minor))] == [5, 6, 7, 8]


@pytest.mark.parametrize(
    ("said", "to_do"),
    [
        (
            "libcuda.so.1: cannot open shared object file",
            "install the driver, or change to the CPU build",
        ),
        (
            "/a/libcudnn.so.8: file too short",
            "libcudnn.so.8: pip install --force-reinstall --no-deps 'nvidia-cudnn-cu11<9'",
        ),
        (
            "libcudart.so.11.0: cannot open",
            "install --force-reinstall --no-deps 'nvidia-cuda-runtime-cu11'",
        ),
        (
            "libnvToolsExt.so.1: cannot open",
            "install --force-reinstall --no-deps 'nvidia-nvtx-cu11'",
        ),
        ("/a/mxnet/libmxnet.so: invalid ELF header", "install MXNet again"),
        ("libquadmath.so.0: cannot open", "apt install libgomp1 libquadmath0"),
    ],
)
def test_what_cannot_be_loaded_is_named_with_what_to_do(said, to_do):
    message = str(cuda.explain(OSError(said)))
    assert said in message
    assert to_do in message


@pytest.fixture
def loaded(tmp_path, monkeypatch):
    """An installed cu112 extra with empty libraries; returns the list of loaded libraries."""
    for name in cuda.CUDA_LIBRARIES[:-1]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(bytes(64))
    spec = types.SimpleNamespace(submodule_search_locations=[str(tmp_path)])
    monkeypatch.setattr(cuda.importlib.util, "find_spec", {"nvidia": spec}.get)
    for check in ("MXNET_CUDNN_LIB_CHECKING", "MXNET_CUDA_LIB_CHECKING"):
        monkeypatch.setenv(check, "1")
    calls = []
    monkeypatch.setattr(ctypes, "CDLL", lambda path, mode=None: calls.append((path, mode)))
    return calls


def test_the_cuda_wheel_gets_its_libraries_in_order_and_visible_to_all(
    loaded, tmp_path, monkeypatch
):
    monkeypatch.setattr(importlib.metadata, "distribution", lambda name: name)
    cuda.load_libraries()
    paths = [str(tmp_path / name) for name in cuda.CUDA_LIBRARIES[:-1]]
    assert loaded == [(cuda.DRIVER, None), *((path, ctypes.RTLD_GLOBAL) for path in paths)]


def test_a_library_that_is_cut_off_is_told_before_the_loader_crashes_on_it(
    loaded, tmp_path, monkeypatch
):
    monkeypatch.setattr(importlib.metadata, "distribution", lambda name: name)
    library = tmp_path / "curand/lib/libcurand.so.10"
    whole = pathlib.Path(_ctypes.__file__).read_bytes()
    library.write_bytes(whole)
    cuda.load_libraries()
    for size in (0, 63, 1000, len(whole) - 1):
        library.write_bytes(whole[:size])
        with pytest.raises(OSError, match=r"libcurand\.so\.10: the file is incomplete$"):
            cuda.load_libraries()


def test_the_cpu_wheel_gets_none(loaded, monkeypatch):
    def absent(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distribution", absent)
    cuda.load_libraries()
    assert loaded == []
