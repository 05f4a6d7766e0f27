"""Write files completely or not at all, and make the folder for them."""

import contextlib
import errno
import hashlib
import json
import math
import os
import pathlib
import stat
import tempfile
from typing import BinaryIO, Dict, Mapping, Optional, Union

from d2l_recsys.errors import OutputError

PARTIAL = ".partial"
# File systems allow names of 255 bytes.
LONGEST_NAME = 200
PathLike = Union[str, "os.PathLike[str]"]


def as_json(result: Mapping[str, object]) -> bytes:
    """Returns ``result`` as the bytes of ``result.json``; a number that is not finite is null."""
    text = json.dumps(_finite(result), indent=2, ensure_ascii=False, allow_nan=False)
    return (text + "\n").encode("utf-8")


def _finite(value: object) -> object:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def default_folder(
    name: str, seed: Optional[int] = None, changed: Mapping[str, object] = {}
) -> pathlib.Path:
    """The folder of a run if none is named.

    This is ``results/NAME/seed-S``, or ``results/NAME`` without a seed. If some options are
    ``changed``, their names and values are a folder between both, such as
    ``num_factors=50,lr=0.001``.
    """
    told = ",".join(f"{option}={_told(value)}" for option, value in changed.items())
    if len(told) > LONGEST_NAME:
        told = f"{told[:LONGEST_NAME]}-{hashlib.sha256(told.encode()).hexdigest()[:8]}"
    parts = [told] * bool(told) + ([] if seed is None else [f"seed-{seed}"])
    return pathlib.Path("results", name, *parts)


def _told(value: object) -> str:
    return "+".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def prepare_folder(folder: PathLike) -> pathlib.Path:
    """Make the folder for results, and check that it can be written, before a long run starts.

    Raises OutputError if the folder cannot be made or written.
    """
    folder = pathlib.Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=str(folder)):
            pass
    except OSError as error:
        raise _cannot_write(folder, error) from error
    return folder


def open_file(path: PathLike) -> BinaryIO:
    """Open the file at ``path`` to read its bytes.

    Raises OSError if it cannot be opened or is no regular file. A named pipe or a device is
    refused, because reading it may take forever.
    """
    # Without O_NONBLOCK, opening a named pipe waits for a process that writes to it.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return os.fdopen(descriptor, "rb")
    os.close(descriptor)
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    raise OSError(errno.EINVAL, "it is not a regular file", str(path))


def content_of(path: PathLike) -> bytes:
    """The bytes of the file at ``path``. Raises what ``open_file`` raises."""
    with open_file(path) as file:
        return file.read()


def write_files(folder: pathlib.Path, files: Mapping[str, bytes]) -> None:
    """Write all files under temporary names, then rename them in order, so none is half written.

    Raises OutputError if a file cannot be written. The files from before then still exist.
    """
    written: Dict[str, str] = {}
    try:
        for name, content in files.items():
            with tempfile.NamedTemporaryFile(
                dir=str(folder), prefix=f".{name}.", suffix=PARTIAL, delete=False
            ) as temporary:
                written[name] = temporary.name
                temporary.write(content)
                # Without fsync, a renamed file can be empty after a power failure.
                temporary.flush()
                os.fsync(temporary.fileno())
            os.chmod(temporary.name, 0o644)
        for name in written:
            if (folder / name).is_dir():
                raise IsADirectoryError(f"{name} is a folder")
        for name in list(written):
            os.replace(written[name], folder / name)
            del written[name]
    except OSError as error:
        raise _cannot_write(folder, error) from error
    finally:
        for leftover in written.values():
            with contextlib.suppress(FileNotFoundError):
                os.unlink(leftover)


def _cannot_write(folder: pathlib.Path, error: OSError) -> OutputError:
    room = "free some disk space or " * (error.errno == errno.ENOSPC)
    reason = "it is a file, not a folder" if folder.is_file() else error.strerror or error
    return OutputError(
        f"cannot write to {folder}: {reason}; {room}choose another folder with --out or --results"
    )
