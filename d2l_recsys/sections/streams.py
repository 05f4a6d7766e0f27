"""The standard streams of a command: text that cannot be written does not end the command.

A command writes its files after it prints. If standard output is a closed pipe or a full disk, the
files must be written nevertheless. So these streams keep the first error, and drop the rest of the
text. The end of the command reports the error.
"""

import contextlib
import errno
import io
import sys
from typing import Iterator, Optional, TextIO

from d2l_recsys.errors import OutputError


class _KeepsError(io.RawIOBase):
    """Writes to ``file`` until an error, which it keeps in ``error``; then drops all text."""

    def __init__(self, file: io.RawIOBase) -> None:
        self._file = file
        self.error: Optional[OSError] = None

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._file.fileno()

    def isatty(self) -> bool:
        return self._file.isatty()

    def write(self, content: bytes) -> int:
        if self.error is None:
            try:
                return self._file.write(content)
            except OSError as error:
                self.error = error
        return len(content)


@contextlib.contextmanager
def lasting_streams() -> Iterator[None]:
    """While this context is active, printing does not fail.

    A character that the encoding of a stream lacks is printed as ``?``. At the end, raises
    OutputError if standard output could not be written, unless it is a pipe that its reader has
    closed. A stream that is not a file, as in a notebook, is left alone.
    """
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = lasting = [_lasting(stream) for stream in before]
    try:
        yield
    finally:
        for stream in lasting:
            if stream is not None:
                stream.flush()
        sys.stdout, sys.stderr = before
    error = _error_of(lasting[0])
    if error is not None and error.errno != errno.EPIPE:
        raise OutputError(
            f"standard output cannot be written: {error.strerror}; the work of the command is "
            "done, but a part of the text is lost"
        )


def _error_of(stream: Optional[TextIO]) -> Optional[OSError]:
    return getattr(_raw(stream), "error", None)


def _raw(stream: Optional[TextIO]) -> Optional[io.RawIOBase]:
    """The file below ``stream``. If Python does not buffer its output, there is no buffer."""
    buffer = getattr(stream, "buffer", None)
    return getattr(buffer, "raw", buffer)


def _lasting(stream: Optional[TextIO]) -> Optional[TextIO]:
    """``stream`` with an output that keeps its error; ``stream`` itself if it is not a file."""
    raw = _raw(stream)
    if not isinstance(raw, io.FileIO):
        return stream
    stream.flush()
    keeps_error = _KeepsError(raw)
    return io.TextIOWrapper(
        keeps_error if stream.buffer is raw else io.BufferedWriter(keeps_error),
        encoding=stream.encoding,
        errors="replace" if stream is sys.stdout else stream.errors,
        newline="\n",
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )
