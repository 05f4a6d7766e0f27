"""Errors that a user can fix, and the interruption of a command.

Each message is one line: what is wrong and what to do.
"""

import signal
from typing import Optional


class RecsysError(Exception):
    """Base class of all errors that the user can fix.

    ``exit_code`` is the exit code of a command that ends with this error. 2 means that the input is
    wrong.
    """

    exit_code = 2


class DataError(RecsysError, ValueError):
    """Data is missing, damaged or not valid."""


class NoSourceError(DataError):
    """No source delivers the data set."""


class SettingError(RecsysError, ValueError):
    """A setting is outside its range, or a name is not one of the choices."""


class OutputError(RecsysError, OSError):
    """A file or folder cannot be written."""


class DivergedError(RecsysError, ArithmeticError):
    """A loss, a weight or a prediction is not finite."""


class BackendError(RecsysError, ImportError):
    """MXNet is installed but cannot be loaded."""


class NoBackendError(BackendError, ModuleNotFoundError):
    """MXNet is not installed."""


class DeviceError(RecsysError):
    """A requested GPU does not exist, or MXNet cannot run on it."""


class WorkerError(RecsysError):
    """A worker process ended before its work was done."""

    exit_code = 1


class Stopped(KeyboardInterrupt):
    """A signal has stopped a run. The message, if there is one, says how to continue.

    ``number`` is the number of the signal: SIGINT from Ctrl-C, or SIGTERM. ``exit_code`` is that of
    a shell after the signal: 130 or 143.
    """

    def __init__(self, message: str = "", number: int = signal.SIGINT) -> None:
        super().__init__(message)
        self.number = int(number)

    @classmethod
    def by(cls, interrupt: Optional[BaseException], message: str = "") -> "Stopped":
        """``message``, with the signal of ``interrupt``, which is SIGINT if it does not say."""
        return cls(message, getattr(interrupt, "number", signal.SIGINT))

    @property
    def exit_code(self) -> int:
        """128 and the number of the signal."""
        return 128 + self.number
