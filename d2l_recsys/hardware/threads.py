"""The number of threads of MXNet and numpy, which decides the last bits of sums."""

import contextlib
import os
import sys
from typing import ContextManager

VARIABLE = "OMP_NUM_THREADS"


def fix_num_threads() -> None:
    """Set ``$OMP_NUM_THREADS`` to 1 if it is not set. Call this before MXNet is loaded.

    Without this variable, MXNet chooses a number of threads that fits the machine. Another number
    of threads splits matrix products in other places, and a sum of floating-point numbers depends
    on the order of its terms. If MXNet is already loaded, its number of threads cannot be set any
    more, and a line on standard error says so.
    """
    if os.environ.get(VARIABLE):
        return
    if "mxnet" in sys.modules:
        print(
            "MXNet was imported before d2l_recsys could set its number of threads, so the last "
            "bits of results may depend on the machine; import d2l_recsys.backend first, or set "
            f"{VARIABLE}",
            file=sys.stderr,
        )
    else:
        os.environ[VARIABLE] = "1"


def num_threads() -> str:
    """Returns the number of threads as text, or "not fixed" if it was not set."""
    return os.environ.get(VARIABLE) or "not fixed"


def fixed_num_threads() -> ContextManager:
    """Returns a context in which numpy uses as many threads for matrix products as MXNet.

    numpy's thread count can change at run time. Without MXNet nothing else sets it.
    """
    import threadpoolctl

    asked_for = os.environ.get(VARIABLE) or "1"
    if not asked_for.isdecimal():
        return contextlib.nullcontext()
    return threadpoolctl.threadpool_limits(max(1, int(asked_for)))
