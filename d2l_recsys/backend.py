"""MXNet, ready to use: ``from d2l_recsys.backend import gluon, nn, np`` in place of ``mxnet``.

The ``mxnet-cu112`` wheel does not find the CUDA libraries that its extra installs beside it, so
they are loaded here before the first ``import mxnet``. With the CPU wheel nothing is loaded.
"""

import ctypes
import importlib.metadata
import importlib.util
import pathlib

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


def load_cuda_libraries() -> None:
    """Make the CUDA libraries of the ``cu112`` extra visible to MXNet's CUDA wheel, where it is."""
    try:
        importlib.metadata.distribution("mxnet-cu112")
    except importlib.metadata.PackageNotFoundError:
        return
    spec = importlib.util.find_spec("nvidia")
    for folder in (spec and spec.submodule_search_locations) or ():
        for name in CUDA_LIBRARIES:
            library = pathlib.Path(folder) / name
            if library.is_file():
                ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)


load_cuda_libraries()
try:
    import mxnet as mx
    from mxnet import autograd, gluon, init, np, npx
    from mxnet.gluon import nn
except ModuleNotFoundError as error:
    if error.name != "mxnet":
        raise
    raise ModuleNotFoundError(
        "MXNet is not installed, and training needs it: 'make reproduce' sets it up, or "
        "pip install -e '.[cpu]' under Python 3.8-3.11",
        name="mxnet",
    ) from None

__all__ = ["autograd", "gluon", "init", "mx", "nn", "np", "npx"]
