"""The number of threads of MXNet and numpy, which decides the last bits of sums."""

import os
import sys
from typing import ContextManager, Optional

from d2l_recsys.errors import SettingError

VARIABLE = "OMP_NUM_THREADS"
# With many more threads than this, OpenMP cannot start all of them, and the process aborts.
MOST = 1024


def fix_num_threads() -> None:
    """Set ``$OMP_NUM_THREADS`` to one number, by default 1. Call this before MXNet is loaded.

    Without this variable, MXNet chooses a number of threads that fits the machine. Another number
    of threads splits matrix products in other places, and a sum of floating-point numbers depends
    on the order of its terms. If MXNet is already loaded, its number of threads cannot be set any
    more, and a line on standard error says so.

    Raises SettingError if the variable is not a number of threads.
    """
    asked_for = _asked_for()
    if "mxnet" not in sys.modules:
        os.environ[VARIABLE] = str(asked_for or 1)
    elif asked_for is None:
        print(
            "MXNet was imported before d2l_recsys could set its number of threads, so the last "
            "bits of results may depend on the machine; import d2l_recsys.backend first, or set "
            f"{VARIABLE}",
            file=sys.stderr,
        )


def num_threads() -> str:
    """Returns the number of threads as text, or "not fixed" if it was not set."""
    return os.environ.get(VARIABLE) or "not fixed"


def fixed_num_threads() -> ContextManager:
    """Returns a context in which numpy uses as many threads for matrix products as MXNet.

    numpy's thread count can change at run time. Without MXNet nothing else sets it. Raises
    SettingError if ``$OMP_NUM_THREADS`` is not a number of threads.
    """
    import threadpoolctl

    return threadpoolctl.threadpool_limits(_asked_for() or 1)


def _asked_for() -> Optional[int]:
    """The number of threads in the variable; None if it is not set or empty.

    OpenMP also takes a list, such as 4,2, with a number for each level of nested loops. MXNet
    aborts on a list. It has no nested loops, so only the first number matters.
    """
    text = os.environ.get(VARIABLE, "").strip()
    if not text:
        return None
    first = text.split(",")[0].strip()
    if not (first.isascii() and first.isdigit() and 1 <= int(first[:9]) <= MOST):
        raise SettingError(
            f"{VARIABLE} is {text[:40]!r}; set it to a number of threads from 1 to {MOST}, or "
            "unset it"
        )
    return int(first)
