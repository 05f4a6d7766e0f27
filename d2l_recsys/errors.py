"""The errors a user can mend. Each message is one line that says what is wrong and what to do."""


class RecsysError(Exception):
    """Base of every error that the user, not the program, has to mend.

    ``exit_code`` is what a command ends with: 2, what was given is at fault.
    """

    exit_code = 2


class DataError(RecsysError, ValueError):
    """A data file that is missing, damaged or not what it should be."""


class NoSourceError(DataError):
    """Data that none of its sources delivers."""


class SettingError(RecsysError, ValueError):
    """A setting outside its range, or a name that is not one of the choices."""


class OutputError(RecsysError, OSError):
    """A result that cannot be written where it should go."""


class DivergedError(RecsysError, ArithmeticError):
    """Training whose loss or weights are no longer finite."""


class BackendError(RecsysError, ImportError):
    """MXNet, installed in such a way that it cannot be loaded."""


class NoBackendError(BackendError, ModuleNotFoundError):
    """MXNet, not installed at all."""


class DeviceError(RecsysError):
    """A GPU that was asked for and is not there, or that MXNet cannot run on."""


class WorkerError(RecsysError):
    """A process that was ended before its work was done."""

    exit_code = 1
