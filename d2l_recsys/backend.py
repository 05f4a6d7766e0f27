"""MXNet, ready to use: import ``gluon``, ``nn``, ``np`` and so on from here, not from ``mxnet``.

Before the first ``import mxnet``, this module fixes the number of threads and loads the CUDA
libraries that the extra ``cu112`` installs, because the wheel ``mxnet-cu112`` does not find them.
With the CPU wheel there are no CUDA libraries to load.

The import raises NoBackendError if MXNet is not installed, and BackendError, its base class, if a
shared library that MXNet needs cannot be loaded. If MXNet needs another Python module that is
missing, the ModuleNotFoundError is raised as it is.
"""

import importlib.util
import pathlib
import sys
from types import TracebackType
from typing import Optional, Type

from d2l_recsys.errors import BackendError, NoBackendError
from d2l_recsys.hardware import cuda
from d2l_recsys.hardware.slow_imports import import_later, without_slow_imports
from d2l_recsys.hardware.threads import fix_num_threads

__all__ = ["autograd", "gluon", "init", "mx", "nn", "np", "npx"]


def _told(error: BackendError) -> BackendError:
    """Return ``error``, and let a script of the chapter print it in one line if nobody catches it.

    A script imports MXNet before its command line starts, so the command line cannot catch the
    error. If a script in ``chapters`` is running, an exception hook prints the line instead.
    """
    script = pathlib.Path(getattr(sys.modules["__main__"], "__file__", None) or "-").resolve()
    chapters = importlib.util.find_spec("d2l_recsys.chapters").submodule_search_locations
    if not {str(folder) for folder in script.parents} & {*map(_resolved, chapters)}:
        return error
    otherwise = sys.excepthook

    def end(
        kind: Type[BaseException], raised: BaseException, trace: Optional[TracebackType]
    ) -> None:
        def fail() -> None:
            raise error

        if raised is error:
            from d2l_recsys.sections import command_line

            command_line.run(fail, [])
        otherwise(kind, raised, trace)

    sys.excepthook = end
    return error


def _resolved(folder: str) -> str:
    return str(pathlib.Path(folder).resolve())


fix_num_threads()
try:
    cuda.load_libraries()
    with without_slow_imports():
        import mxnet as mx
        from mxnet import autograd, gluon, init, np, npx
        from mxnet.gluon import nn
except ModuleNotFoundError as error:
    if error.name != "mxnet":
        raise
    raise _told(
        NoBackendError(
            "MXNet is not installed, and training needs it: run 'make reproduce', or "
            "pip install -e '.[cpu]' with Python 3.8-3.11",
            name="mxnet",
        )
    ) from None
except OSError as error:
    raise _told(cuda.explain(error)) from error

# Some functions of these two modules need scipy.stats.
import_later(mx.contrib.quantization, "stats", "scipy.stats")
import_later(mx.test_utils, "ss", "scipy.stats")
