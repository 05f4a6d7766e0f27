"""How many threads are computed with, which decides the last bits of sums."""

import contextlib
import os
import sys
from typing import ContextManager

VARIABLE = "OMP_NUM_THREADS"


def fix_num_threads() -> None:
    """One thread, unless ``$OMP_NUM_THREADS`` says otherwise; to be called before MXNet is loaded.

    Left to itself MXNet decides by the machine. Products of matrices are then cut in other places
    on another one, and sums of floating-point numbers depend on their order. Where MXNet is loaded
    already it has decided, and a line on standard error says so.
    """
    if os.environ.get(VARIABLE):
        return
    if "mxnet" in sys.modules:
        print(
            "MXNet was imported before d2l_recsys could fix its number of threads: the last bits "
            "of results may depend on the machine; import d2l_recsys.backend first, or set "
            f"{VARIABLE}",
            file=sys.stderr,
        )
    else:
        os.environ[VARIABLE] = "1"


def num_threads() -> str:
    """The number of threads, as it was fixed."""
    return os.environ.get(VARIABLE) or "not fixed"


def fixed_num_threads() -> ContextManager:
    """As long as it is entered, numpy's products are made by as many threads as MXNet's.

    Theirs can be changed while they run. Without MXNet nothing else says how many there are.
    """
    import threadpoolctl

    asked_for = os.environ.get(VARIABLE) or "1"
    if not asked_for.isdecimal():
        return contextlib.nullcontext()
    return threadpoolctl.threadpool_limits(max(1, int(asked_for)))
