"""``.npz`` files for any language: no pickle, no compression, and the same bytes each time."""

import io
import os
import pathlib
import zipfile
from typing import Dict, Mapping, Union

import numpy as np

from d2l_recsys.errors import DataError
from d2l_recsys.storage.archive import shown

PathLike = Union[str, "os.PathLike[str]"]
# The earliest time that a zip archive can name.
NO_TIME = (1980, 1, 1, 0, 0, 0)
# How every zip archive begins.
ZIP = b"PK"


def npz_bytes(arrays: Mapping[str, np.ndarray]) -> bytes:
    """The arrays as a file; the same arrays give the same bytes, in whatever order they come.

    Numbers are little-endian, in C order.
    """
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(arrays):
            array = np.array(arrays[name], order="C")
            array = array.astype(array.dtype.newbyteorder("<"))
            member = io.BytesIO()
            np.lib.format.write_array(member, array, version=(1, 0), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy", NO_TIME), member.getvalue())
    return content.getvalue()


def read_npz(path: PathLike) -> Dict[str, np.ndarray]:
    """The arrays of the file at ``path``, by name.

    Raises DataError for a file that cannot be read, is no ``.npz``, or holds what is no array of
    numbers.
    """
    path = pathlib.Path(path)
    damaged = f"{path} is not a .npz file, a zip archive of arrays of numbers"
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    if not content.startswith(ZIP):
        raise DataError(f"{damaged}; write it anew")
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            found = {name: arrays[name] for name in arrays.files}
    # Of a damaged header numpy raises what Python's own parser does, and zipfile what zlib does.
    except Exception as error:
        raise DataError(f"{damaged} ({shown(error)}); write it anew") from error
    for name, array in found.items():
        if not isinstance(array, np.ndarray) or array.dtype.kind not in "biuf":
            raise DataError(f"{path}: {shown(name)} is not an array of numbers; write it anew")
    return found
