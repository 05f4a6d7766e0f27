"""MXNet, ready to use: ``from d2l_recsys.backend import gluon, nn, np`` in place of ``mxnet``.

The ``mxnet-cu112`` wheel does not find the CUDA libraries that its extra installs beside it, so
they are loaded here before the first ``import mxnet``. With the CPU wheel nothing is loaded.

Where MXNet is not installed or cannot be loaded, the import raises BackendError.
"""

import sys
from types import TracebackType
from typing import Optional, Type

from d2l_recsys import cuda
from d2l_recsys.errors import BackendError, NoBackendError
from d2l_recsys.threads import fix_num_threads

__all__ = ["autograd", "gluon", "init", "mx", "nn", "np", "npx"]


def _told(error: BackendError) -> BackendError:
    """``error``; a script with our command line that does not catch it ends in one line.

    The chapters import MXNet before ``cli.run`` could tell what is wrong.
    """
    script, cli = sys.modules["__main__"], sys.modules.get("d2l_recsys.command_line")
    if cli is None or not any(value is cli for value in vars(script).values()):
        return error
    otherwise = sys.excepthook

    def end(
        kind: Type[BaseException], raised: BaseException, trace: Optional[TracebackType]
    ) -> None:
        def fail() -> None:
            raise error

        if raised is error:
            cli.run(fail, [])
        otherwise(kind, raised, trace)

    sys.excepthook = end
    return error


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
