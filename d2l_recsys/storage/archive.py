"""Arrays and what describes them in one file that executes nothing when it is read.

The format is safetensors: a JSON header, then the arrays' bytes. Its metadata has one entry,
``d2l_recsys``: JSON of the ``kind`` of file, the ``version`` of its layout, the ``content`` that
describes the arrays, and the CRC-32 of that and of the arrays.
"""

import json
import os
import pathlib
import zlib
from typing import Any, Dict, Mapping, Tuple, Union

import numpy as np

from d2l_recsys.errors import DataError

KEY = "d2l_recsys"
PathLike = Union[str, "os.PathLike[str]"]


def pack(
    kind: str, version: int, content: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
) -> bytes:
    """The bytes of such a file; ``content`` is what JSON can hold, and numbers of numpy.

    The same content and arrays give the same bytes.
    """
    from safetensors.numpy import save

    # safetensors takes an array's bytes as they lie in memory.
    arrays = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    # What is read back is what was written, so the checksum is of what will be read.
    content = json.loads(json.dumps(content, default=lambda value: value.tolist()))
    described = {
        "kind": kind,
        "version": version,
        "crc32": _checksum(content, arrays),
        "content": content,
    }
    return save(arrays, metadata={KEY: json.dumps(described)})


def unpack(
    path: PathLike, kind: str, version: int, mend: str
) -> Tuple[Dict[str, Any], Dict[str, np.ndarray]]:
    """The content and the arrays of the file at ``path``, in memory bounded by its size.

    Raises DataError, which ends with ``mend``, for a file that cannot be read, is damaged, or is of
    another ``kind`` or ``version``.
    """
    path = pathlib.Path(path)
    described, arrays = _read(path, mend)
    if described.get("kind") != kind:
        raise DataError(f"{path} is not a {kind}; {mend}")
    if described.get("version") != version:
        raise DataError(
            f"{path} has version {shown(described.get('version'))} of the format, this program "
            f"reads version {version}; {mend}"
        )
    content = described.get("content")
    if not isinstance(content, dict) or described.get("crc32") != _checksum(content, arrays):
        raise DataError(f"{path} is damaged: its content does not match its checksum; {mend}")
    return content, arrays


def shown(value: Any) -> str:
    """``value``, which a file may hold, as an error's one line can."""
    text = str(value)
    return (text if text.isprintable() else repr(text))[:80]


def _read(path: pathlib.Path, mend: str) -> Tuple[Dict[str, Any], Dict[str, np.ndarray]]:
    from safetensors import SafetensorError, safe_open

    try:
        # Opened here as well: safetensors tells neither a folder nor a missing permission.
        with path.open("rb"), safe_open(str(path), framework="np") as file:
            described = json.loads((file.metadata() or {}).get(KEY, "null"))
            # A type that numpy has not is told as a TypeError or an AttributeError.
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}; {mend}") from error
    except (
        SafetensorError,
        ValueError,
        TypeError,
        AttributeError,
        KeyError,
        RecursionError,
    ) as error:
        raise DataError(f"{path} is damaged ({shown(error)}); {mend}") from error
    if not isinstance(described, dict):
        raise DataError(f"{path} was not written by d2l_recsys; {mend}")
    return described, arrays


def _checksum(content: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> int:
    """Finds what disks and cut-off copies do; a digest against forgery would take four times."""
    value = zlib.crc32(json.dumps(content, sort_keys=True).encode())
    for name in sorted(arrays):
        array = arrays[name]
        value = zlib.crc32(f"{name} {array.dtype.str} {array.shape}".encode(), value)
        value = zlib.crc32(array.data if array.flags.c_contiguous else array.tobytes(), value)
    return value
