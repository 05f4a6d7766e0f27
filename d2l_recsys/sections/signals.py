"""What a command does when a signal asks it to stop: Ctrl-C, or SIGTERM as from a cluster."""

import contextlib
import signal
import threading
from types import FrameType
from typing import Iterator, Optional

from d2l_recsys.errors import Stopped


def terminate(number: int, frame: Optional[FrameType]) -> None:
    """Handle SIGTERM as Python handles Ctrl-C: raise Stopped, a KeyboardInterrupt.

    From then on, SIGTERM is ignored: the command ends, and shall not be disturbed.
    """
    signal.signal(number, signal.SIG_IGN)
    raise Stopped(number=number)


@contextlib.contextmanager
def sigterm_stops() -> Iterator[None]:
    """While this context is active, SIGTERM raises Stopped.

    Outside the main thread, or if the program has its own handler, the context changes nothing.
    """
    if (
        threading.current_thread() is not threading.main_thread()
        or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
    ):
        yield
        return
    signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGTERM) is terminate:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
