"""MXNet, ready to use: import ``gluon``, ``nn``, ``np`` and so on from here, not from ``mxnet``.

Before the first ``import mxnet``, this module fixes the number of threads and loads the CUDA
libraries that the extra ``cu112`` installs, because the wheel ``mxnet-cu112`` does not find them.
With the CPU wheel there are no CUDA libraries to load.

The import raises NoBackendError if MXNet is not installed, and BackendError, its base class, if a
shared library that MXNet needs cannot be loaded. It raises SettingError if ``$OMP_NUM_THREADS`` is
not a number of threads. If MXNet needs another Python module that is
missing, the ModuleNotFoundError is raised as it is.
"""

import importlib.util
import pathlib
import sys
from types import TracebackType
from typing import Optional, Type

from d2l_recsys.errors import NoBackendError, RecsysError
from d2l_recsys.hardware import cuda
from d2l_recsys.hardware.slow_imports import import_later, without_slow_imports
from d2l_recsys.hardware.threads import fix_num_threads

__all__ = ["autograd", "gluon", "init", "mx", "nn", "np", "npx"]


def _end_as_a_command() -> None:
    """Let a script of the chapter end like a command if it fails before its command line starts.

    A script imports MXNet first, so the command line cannot catch what happens in this import. If a
    script in ``chapters`` is running, an exception hook prints an error that the user can fix in
    one line, and prints nothing after Ctrl-C.
    """
    script = pathlib.Path(getattr(sys.modules["__main__"], "__file__", None) or "-").resolve()
    chapters = importlib.util.find_spec("d2l_recsys.chapters").submodule_search_locations
    if not {str(folder) for folder in script.parents} & {*map(_resolved, chapters)}:
        return
    otherwise = sys.excepthook

    def end(
        kind: Type[BaseException], raised: BaseException, trace: Optional[TracebackType]
    ) -> None:
        def fail() -> None:
            raise raised

        if isinstance(raised, RecsysError):
            from d2l_recsys.sections import command_line

            command_line.run(fail, [])
        if not isinstance(raised, KeyboardInterrupt):
            otherwise(kind, raised, trace)

    sys.excepthook = end


def _resolved(folder: str) -> str:
    return str(pathlib.Path(folder).resolve())


_end_as_a_command()
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
    raise NoBackendError(
        "MXNet is not installed, and training needs it: run 'make reproduce', or "
        "pip install -e '.[cpu]' with Python 3.8-3.11",
        name="mxnet",
    ) from None
except OSError as error:
    raise cuda.explain(error) from error

# Some functions of these two modules need scipy.stats.
import_later(mx.contrib.quantization, "stats", "scipy.stats")
import_later(mx.test_utils, "ss", "scipy.stats")
