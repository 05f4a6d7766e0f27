"""Note Ctrl-C, so that training can stop at a point from which it can resume."""

import contextlib
import signal
import threading
from types import FrameType
from typing import Callable, Iterator, List, Optional


class Stopped(KeyboardInterrupt):
    """Ctrl-C has stopped a run; the message says how to continue."""


@contextlib.contextmanager
def noting_interrupts() -> Iterator[Callable[[], bool]]:
    """While this context is active, note the first Ctrl-C; the second raises KeyboardInterrupt.

    Yields a function that returns whether the user has pressed Ctrl-C. Outside the main thread, or
    if another handler than Python's own is set for Ctrl-C, the context changes nothing and the
    function returns False.
    """
    noted: List[int] = []
    if (
        threading.current_thread() is not threading.main_thread()
        or signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    ):
        yield lambda: False
        return

    def note(number: int, frame: Optional[FrameType]) -> None:
        if noted:
            signal.default_int_handler(number, frame)
        noted.append(number)

    signal.signal(signal.SIGINT, note)
    try:
        yield lambda: bool(noted)
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
