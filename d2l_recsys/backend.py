"""MXNet, ready to use: ``from d2l_recsys.backend import gluon, nn, np`` in place of ``mxnet``.

The ``mxnet-cu112`` wheel does not find the CUDA libraries that its extra installs beside it, so
they are loaded here before the first ``import mxnet``. With the CPU wheel nothing is loaded.

Where MXNet is not installed or cannot be loaded, the import raises BackendError.
"""

import importlib.util
import pathlib
import sys
from types import TracebackType
from typing import Optional, Type

from d2l_recsys.errors import BackendError, NoBackendError
from d2l_recsys.hardware import cuda
from d2l_recsys.hardware.threads import fix_num_threads

__all__ = ["autograd", "gluon", "init", "mx", "nn", "np", "npx"]


def _told(error: BackendError) -> BackendError:
    """``error``; where nobody catches it, a script of the chapter ends in one line.

    A script imports MXNet before its command line could tell what is wrong.
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
    import mxnet as mx
    from mxnet import autograd, gluon, init, np, npx
    from mxnet.gluon import nn
except ModuleNotFoundError as error:
    if error.name != "mxnet":
        raise
    raise _told(
        NoBackendError(
            "MXNet is not installed, and training needs it: 'make reproduce' sets it up, or "
            "pip install -e '.[cpu]' under Python 3.8-3.11",
            name="mxnet",
        )
    ) from None
except OSError as error:
    raise _told(cuda.explain(error)) from error
