"""Ctrl-C as a question that the work asks itself at points where it can stop."""

import contextlib
import signal
import threading
from types import FrameType
from typing import Callable, Iterator, List, Optional


class Stopped(KeyboardInterrupt):
    """Ctrl-C, heeded at a point from which the work can go on; the message says how."""


@contextlib.contextmanager
def noting_interrupts() -> Iterator[Callable[[], bool]]:
    """For the time being, note the first Ctrl-C; the second raises KeyboardInterrupt at once.

    Yields a function that says whether there was one. Where Ctrl-C has another meaning than
    Python's own, and outside the main thread, that is left alone.
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
