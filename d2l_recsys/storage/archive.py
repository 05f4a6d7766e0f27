"""Archives: arrays and their description in one file. Reading an archive never executes code.

The format is safetensors: a JSON header, then the bytes of the arrays. The metadata of the header
has one entry, ``d2l_recsys``. Its value is JSON with the ``kind`` of the file, the ``version`` of
its layout, the ``content`` that describes the arrays, and the CRC-32 of the content and the arrays.
"""

import json
import os
import pathlib
import zlib
from typing import Any, Dict, Mapping, Tuple, Union

import numpy as np

from d2l_recsys.errors import DataError
from d2l_recsys.storage.files import open_file

KEY = "d2l_recsys"
PathLike = Union[str, "os.PathLike[str]"]


def pack(
    kind: str, version: int, content: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
) -> bytes:
    """Returns the bytes of an archive. ``content`` has JSON values and numpy numbers.

    The same content and arrays give the same bytes.
    """
    from safetensors.numpy import save

    # safetensors copies the bytes of an array in the order in which they are in memory.
    arrays = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    # JSON can change values, so compute the checksum from the values that a reader will get.
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
    """Returns the content and the arrays of the archive at ``path``.

    Memory is bounded by the size of the file. Raises DataError if the file cannot be read, is
    damaged, or has another ``kind`` or ``version``. The message ends with ``mend``, which says what
    to do.
    """
    path = pathlib.Path(path)
    described, arrays = _read(path, mend)
    if described.get("kind") != kind:
        raise DataError(f"{path} is not a {kind}; {mend}")
    if described.get("version") != version:
        raise DataError(
            f"{path} has version {shown(described.get('version'))} of the format, but this program "
            f"reads version {version}; {mend}"
        )
    content = described.get("content")
    if not isinstance(content, dict) or described.get("crc32") != _checksum(content, arrays):
        raise DataError(f"{path} is damaged: its content does not match its checksum; {mend}")
    return content, arrays


def shown(value: Any) -> str:
    """Returns a value from a file as printable text for a message, at most 80 characters."""
    text = str(value)
    return (text if text.isprintable() else repr(text))[:80]


def _read(path: pathlib.Path, mend: str) -> Tuple[Dict[str, Any], Dict[str, np.ndarray]]:
    from safetensors import SafetensorError, safe_open

    try:
        # Also open the file here: safetensors does not report a folder or a missing permission.
        with open_file(path), safe_open(str(path), framework="np") as file:
            described = json.loads((file.metadata() or {}).get(KEY, "null"))
            # For a dtype that numpy lacks, safetensors raises a TypeError or an AttributeError.
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
    """Returns the CRC-32 of the content and the arrays, to find damaged and incomplete files.

    A digest that also protects against forgery takes four times as long.
    """
    value = zlib.crc32(json.dumps(content, sort_keys=True).encode())
    for name in sorted(arrays):
        array = arrays[name]
        value = zlib.crc32(f"{name} {array.dtype.str} {array.shape}".encode(), value)
        value = zlib.crc32(array.data if array.flags.c_contiguous else array.tobytes(), value)
    return value
