"""MXNet's CUDA build: the libraries that it needs, the NVIDIA driver, and the GPUs it can use.

This module does not need MXNet.
"""

import ctypes
import importlib.metadata
import importlib.util
import os
import pathlib
import re
from typing import List, NamedTuple, Tuple

from d2l_recsys.errors import BackendError, DeviceError

WHEEL = "mxnet-cu112"
DRIVER = "libcuda.so.1"
# Each library comes after the libraries that it needs.
CUDA_LIBRARIES = (
    "cuda_runtime/lib/libcudart.so.11.0",
    "nvtx/lib/libnvToolsExt.so.1",
    "cuda_nvrtc/lib/libnvrtc.so.11.2",
    "cublas/lib/libcublasLt.so.11",
    "cublas/lib/libcublas.so.11",
    "cusparse/lib/libcusparse.so.11",
    "cufft/lib/libcufft.so.10",
    "curand/lib/libcurand.so.10",
    "cusolver/lib/libcusolver.so.11",
    "cudnn/lib/libcudnn.so.8",
    "nccl/lib/libnccl.so.2",
)

Capability = Tuple[int, int]
# `cuobjdump --list-elf` finds this code in the libmxnet.so of mxnet-cu112 1.9.1. `--list-ptx` finds
# nothing, so the library has no code that a driver could translate for another GPU.
CODE_FOR: Tuple[Capability, ...] = ((5, 0), (6, 0), (7, 0), (8, 0), (8, 6))
CODE_IN_WORDS = "5.0 to 8.6 (8.7 to 8.9 can run the code for 8.6)"

# Constants of the driver's API: a result of cuInit, and two attributes of a device.
NO_DEVICE = 100
MAJOR, MINOR = 75, 76


class Driver(NamedTuple):
    """The CUDA version of the NVIDIA driver, and the compute capability of each GPU."""

    cuda: Tuple[int, int]
    capabilities: List[Capability]


def is_installed() -> bool:
    """Whether the CUDA build of MXNet is installed."""
    try:
        importlib.metadata.distribution(WHEEL)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def load_libraries() -> None:
    """Load the driver and the CUDA libraries of the ``cu112`` extra, so that MXNet finds them.

    If the CUDA build of MXNet is not installed, nothing is loaded. If a library of the extra is
    missing, the system's loader must find it later. Raises OSError if a library cannot be loaded;
    ``explain`` turns this error into a message for the user.
    """
    if not is_installed():
        return
    # Turn off two warnings of MXNet. The first is about a cuDNN that is newer than the one it was
    # built with; the extra installs a newer one. The second is about missing GPUs, and MXNet prints
    # it even when it computes on CPUs.
    for check in ("MXNET_CUDNN_LIB_CHECKING", "MXNET_CUDA_LIB_CHECKING"):
        os.environ.setdefault(check, "0")
    # MXNet needs the driver, too. Load it first, because it is most often the missing part.
    ctypes.CDLL(DRIVER)
    spec = importlib.util.find_spec("nvidia")
    for folder in (spec and spec.submodule_search_locations) or ():
        for name in CUDA_LIBRARIES:
            library = pathlib.Path(folder) / name
            if library.is_file():
                if _is_cut_off(library):
                    raise OSError(f"{library}: the file is incomplete")
                ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)


def _is_cut_off(library: pathlib.Path) -> bool:
    """Whether an ELF file ends before its section table ends; the loader would crash on it."""
    with library.open("rb") as file:
        header = file.read(64)
    if len(header) < 64:
        return True
    start = int.from_bytes(header[40:48], "little")
    size, count = (int.from_bytes(header[i : i + 2], "little") for i in (58, 60))
    return library.stat().st_size < start + size * count


def explain(error: OSError) -> BackendError:
    """Returns an error for the user if MXNet or a library that it needs cannot be loaded."""
    named = re.search(r"(lib\w+)\.so[.\d]*", str(error))
    library = named[0] if named else ""
    if library == DRIVER:
        return BackendError(
            f"the CUDA build of MXNet does not start without an NVIDIA driver ({error}); install "
            "the driver, or change to the CPU build: pip uninstall -y mxnet mxnet-cu112; "
            "pip install -e '.[cpu]'"
        )
    packages = {os.path.basename(name): name.split("/")[0] for name in CUDA_LIBRARIES}
    if library in packages:
        package = f"nvidia-{packages[library].replace('_', '-')}-cu11"
        # Later versions have libcudnn.so.9 instead.
        package += "<9" * (package == "nvidia-cudnn-cu11")
        remedy = f"install {library}: pip install --force-reinstall --no-deps '{package}'"
    elif library == "libmxnet.so":
        remedy = "install MXNet again: pip install --force-reinstall --no-deps mxnet==1.9.1, or "
        remedy += "mxnet-cu112==1.9.1 for the CUDA build"
    else:
        remedy = "install the missing library; on Debian: apt install libgomp1 libquadmath0"
    return BackendError(f"MXNet cannot be loaded ({error}); {remedy}")


def read_driver() -> Driver:
    """Ask the NVIDIA driver. Raises DeviceError if there is no driver or if it fails."""
    try:
        driver = ctypes.CDLL(DRIVER)
    except OSError as error:
        raise DeviceError(f"there is no NVIDIA driver ({error})") from None
    number = ctypes.c_int()

    def ask(name: str, *arguments: int) -> int:
        code = getattr(driver, name)(ctypes.byref(number), *arguments)
        _check(driver, name, code)
        return number.value

    started = driver.cuInit(0)
    if started != NO_DEVICE:
        _check(driver, "cuInit", started)
    thousands, rest = divmod(ask("cuDriverGetVersion"), 1000)
    count = 0 if started == NO_DEVICE else ask("cuDeviceGetCount")
    devices = [ask("cuDeviceGet", i) for i in range(count)]
    return Driver(
        cuda=(thousands, rest // 10),
        capabilities=[
            (ask("cuDeviceGetAttribute", MAJOR, d), ask("cuDeviceGetAttribute", MINOR, d))
            for d in devices
        ],
    )


def _check(driver: ctypes.CDLL, name: str, code: int) -> None:
    if code:
        text = ctypes.c_char_p()
        driver.cuGetErrorString(code, ctypes.byref(text))
        said = text.value.decode(errors="replace") if text.value else "no error text"
        raise DeviceError(f"the NVIDIA driver fails: {name} returns {code} ({said})")


def has_code(capability: Capability) -> bool:
    """Whether the CUDA build of MXNet runs on a GPU of this compute capability.

    Code for one compute capability runs on GPUs with the same major number and the same or a higher
    minor number. For example, code for 8.6 runs on 8.9, but not on 9.0
    (https://docs.nvidia.com/cuda/ada-compatibility-guide/, section 1.2).
    """
    major, minor = capability
    return any(major == its_major and minor >= its_minor for its_major, its_minor in CODE_FOR)
