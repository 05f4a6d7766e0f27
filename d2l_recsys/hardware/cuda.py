"""The NVIDIA side of MXNet's CUDA build: its libraries, the driver, the GPUs it has code for.

Nothing here needs MXNet.
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
# In the order in which they need one another.
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
# What `cuobjdump --list-elf` finds in the libmxnet.so of mxnet-cu112 1.9.1. `--list-ptx` finds
# nothing: there is no code that a driver could translate for any other GPU.
CODE_FOR: Tuple[Capability, ...] = ((5, 0), (6, 0), (7, 0), (8, 0), (8, 6))
CODE_IN_WORDS = "5.0 to 8.6, which 8.7 to 8.9 run too"

# Of the driver's API: results of cuInit, attributes of a device.
NO_DEVICE = 100
MAJOR, MINOR = 75, 76


class Driver(NamedTuple):
    """What the NVIDIA driver says: the CUDA version it is for, the capability of each GPU."""

    cuda: Tuple[int, int]
    capabilities: List[Capability]


def is_installed() -> bool:
    """Whether MXNet's CUDA build is, rather than the one for CPUs."""
    try:
        importlib.metadata.distribution(WHEEL)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def load_libraries() -> None:
    """Make the driver and the CUDA libraries of the ``cu112`` extra visible to MXNet's CUDA wheel.

    Without that wheel nothing is loaded. Libraries that the extra has not brought are left to the
    system's loader. Raises OSError, which ``explain`` explains.
    """
    if not is_installed():
        return
    # MXNet would warn of a cuDNN later than the one it was built with, which is the one that the
    # extra brings, and of missing GPUs even where it computes on CPUs.
    for check in ("MXNET_CUDNN_LIB_CHECKING", "MXNET_CUDA_LIB_CHECKING"):
        os.environ.setdefault(check, "0")
    # MXNet needs it too; asked for first, since it is what most often is not there.
    ctypes.CDLL(DRIVER)
    spec = importlib.util.find_spec("nvidia")
    for folder in (spec and spec.submodule_search_locations) or ():
        for name in CUDA_LIBRARIES:
            library = pathlib.Path(folder) / name
            if library.is_file():
                if _is_cut_off(library):
                    raise OSError(f"{library}: cut off")
                ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)


def _is_cut_off(library: pathlib.Path) -> bool:
    """Whether an ELF file ends before its last table does; the loader would crash on it."""
    with library.open("rb") as file:
        header = file.read(64)
    if len(header) < 64:
        return True
    start = int.from_bytes(header[40:48], "little")
    size, count = (int.from_bytes(header[i : i + 2], "little") for i in (58, 60))
    return library.stat().st_size < start + size * count


def explain(error: OSError) -> BackendError:
    """What is wrong and what to do, where MXNet or a library that it needs cannot be loaded."""
    named = re.search(r"(lib\w+)\.so[.\d]*", str(error))
    library = named[0] if named else ""
    if library == DRIVER:
        return BackendError(
            f"the CUDA build of MXNet does not start without an NVIDIA driver ({error}); install "
            "the driver, or the CPU build in its place: pip uninstall -y mxnet mxnet-cu112; "
            "pip install -e '.[cpu]'"
        )
    packages = {os.path.basename(name): name.split("/")[0] for name in CUDA_LIBRARIES}
    if library in packages:
        package = f"nvidia-{packages[library].replace('_', '-')}-cu11"
        # Later ones have libcudnn.so.9.
        package += "<9" * (package == "nvidia-cudnn-cu11")
        remedy = f"pip install --force-reinstall --no-deps '{package}' brings {library}"
    elif library == "libmxnet.so":
        remedy = "install MXNet again: pip install --force-reinstall --no-deps, with the name of "
        remedy += "its wheel, mxnet==1.9.1 or mxnet-cu112==1.9.1"
    else:
        remedy = "install what is missing; on Debian: apt install libgomp1 libquadmath0"
    return BackendError(f"MXNet cannot be loaded ({error}); {remedy}")


def read_driver() -> Driver:
    """Ask the NVIDIA driver; DeviceError where there is none or it fails."""
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
        said = text.value.decode(errors="replace") if text.value else "no text"
        raise DeviceError(f"the NVIDIA driver fails: {name} says {code}, {said}")


def has_code(capability: Capability) -> bool:
    """Whether the build runs on a GPU of this compute capability.

    Code for one runs on the same major and the same or a higher minor: what is built for 8.6 runs
    on 8.9, not on 9.0 (https://docs.nvidia.com/cuda/ada-compatibility-guide/, section 1.2).
    """
    major, minor = capability
    return any(major == its_major and minor >= its_minor for its_major, its_minor in CODE_FOR)
