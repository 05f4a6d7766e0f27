"""Read and write ``.npz`` files that programs in any language can read."""

import io
import os
import pathlib
import zipfile
from typing import Dict, Mapping, Union

import numpy as np

from d2l_recsys.errors import DataError
from d2l_recsys.storage.archive import shown
from d2l_recsys.storage.files import content_of

PathLike = Union[str, "os.PathLike[str]"]
# The earliest time that a zip archive can store. A fixed time makes the bytes reproducible.
NO_TIME = (1980, 1, 1, 0, 0, 0)
# Every zip archive begins with these bytes.
ZIP = b"PK"


def npz_bytes(arrays: Mapping[str, np.ndarray]) -> bytes:
    """The content of a ``.npz`` file with ``arrays``, without pickle and without compression.

    Numbers are little-endian, arrays are in C order. The same arrays give the same bytes; the order
    of the names in ``arrays`` does not matter.
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

    Raises DataError if the file cannot be read, is not a ``.npz`` file, or has a member that is not
    an array of numbers.
    """
    path = pathlib.Path(path)
    damaged = f"{path} is not a .npz file, that is a zip archive of arrays of numbers"
    try:
        content = content_of(path)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    if not content.startswith(ZIP):
        raise DataError(f"{damaged}; write it again")
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            found = {name: arrays[name] for name in arrays.files}
    # A damaged file can raise almost any error: numpy passes on those of Python's parser, and
    # zipfile those of zlib.
    except Exception as error:
        raise DataError(f"{damaged} ({shown(error)}); write it again") from error
    for name, array in found.items():
        if not isinstance(array, np.ndarray) or array.dtype.kind not in "biuf":
            raise DataError(f"{path}: {shown(name)} is not an array of numbers; write it again")
    return found
