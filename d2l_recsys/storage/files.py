"""Write files completely or not at all, and make the folder for them."""

import contextlib
import errno
import json
import math
import os
import pathlib
import tempfile
from typing import Dict, Mapping, Optional, Union

from d2l_recsys.errors import OutputError

PARTIAL = ".partial"
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


def default_folder(name: str, seed: Optional[int] = None) -> pathlib.Path:
    """The folder of a run if none is named: ``results/NAME/seed-S``, or ``results/NAME``."""
    return pathlib.Path("results", name, *([] if seed is None else [f"seed-{seed}"]))


def prepare_folder(
    out: Optional[PathLike], chapter: str, seed: Optional[int] = None
) -> pathlib.Path:
    """Make the folder for results, and check that it can be written, before a long run starts.

    If ``out`` is None, the folder is ``default_folder(chapter, seed)``. Raises OutputError if the
    folder cannot be made or written.
    """
    folder = default_folder(chapter, seed) if out is None else pathlib.Path(out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=str(folder)):
            pass
        # Remove the files of a process that was killed while it wrote them.
        for leftover in folder.glob(f".*{PARTIAL}"):
            leftover.unlink()
    except OSError as error:
        raise _cannot_write(folder, error) from error
    return folder


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
    return OutputError(
        f"cannot write to {folder}: {error.strerror or error}; {room}"
        "choose another folder with --out or --results"
    )
