"""Files that are written whole or not at all, and the folder they go to."""

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
    """``result`` as it stands in ``result.json``; a number that is not finite stands as null."""
    text = json.dumps(_finite(result), indent=2, ensure_ascii=False, allow_nan=False)
    return (text + "\n").encode("utf-8")


def _finite(value: object) -> object:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def prepare_folder(
    out: Optional[PathLike], chapter: str, seed: Optional[int] = None
) -> pathlib.Path:
    """Make the folder for results, before the work begins that they will cost.

    Where ``out`` is None it is ``results/CHAPTER/seed-SEED``, without the seed
    ``results/CHAPTER``. Raises OutputError where it cannot be made or written.
    """
    default = pathlib.Path("results", chapter, *([] if seed is None else [f"seed-{seed}"]))
    folder = default if out is None else pathlib.Path(out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=str(folder)):
            pass
        # What a process that was killed while it wrote has left.
        for leftover in folder.glob(f".*{PARTIAL}"):
            leftover.unlink()
    except OSError as error:
        raise _cannot_write(folder, error) from error
    return folder


def write_files(folder: pathlib.Path, files: Mapping[str, bytes]) -> None:
    """Write all files under temporary names, then rename them in order: none is ever half written.

    Raises OutputError where one cannot be written; the files from before are then still there.
    """
    written: Dict[str, str] = {}
    try:
        for name, content in files.items():
            with tempfile.NamedTemporaryFile(
                dir=str(folder), prefix=f".{name}.", suffix=PARTIAL, delete=False
            ) as temporary:
                written[name] = temporary.name
                temporary.write(content)
                # Renamed before it is on disk, a file can be empty after a loss of power.
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
    room = "make room there or " * (error.errno == errno.ENOSPC)
    return OutputError(
        f"cannot write to {folder}: {error.strerror or error}; {room}"
        "choose another folder with --out or --results"
    )
