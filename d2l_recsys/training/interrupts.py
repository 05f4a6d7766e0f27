"""Note Ctrl-C and SIGTERM, so that training can stop at a point from which it can resume."""

import contextlib
import signal
import threading
from types import FrameType
from typing import Callable, Iterator, List, Optional

from d2l_recsys.sections.signals import terminate

# The signals, and the handlers that this module may replace: Python's own, and the commands'.
HANDLERS = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: terminate}


@contextlib.contextmanager
def noting_interrupts() -> Iterator[Callable[[], int]]:
    """While this context is active, note the first signal to stop; the second stops at once.

    Yields a function that returns the number of the noted signal, or 0. SIGINT (Ctrl-C) is noted
    if the program has no handler of its own for it. SIGTERM is noted in a command. Outside the main
    thread, the context changes nothing and the function returns 0.
    """
    noted: List[int] = []

    def note(number: int, frame: Optional[FrameType]) -> None:
        if noted:
            HANDLERS[number](number, frame)
        noted.append(number)

    replaced = []
    if threading.current_thread() is threading.main_thread():
        replaced = [n for n, handler in HANDLERS.items() if signal.getsignal(n) is handler]
    for number in replaced:
        signal.signal(number, note)
    try:
        yield lambda: noted[0] if noted else 0
    finally:
        for number in replaced:
            if signal.getsignal(number) is note:
                signal.signal(number, HANDLERS[number])
