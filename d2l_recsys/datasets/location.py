"""The folder of the data: from ``--data-dir``, from the environment, or a default."""

import contextlib
import os
import pathlib
from typing import Iterator, Optional, Union

from d2l_recsys.errors import DataError

PathLike = Union[str, "os.PathLike[str]"]

DATA_VARIABLE = "D2L_RECSYS_DATA"
# The folders and the files of known data sets: a folder of data has at least one of them, or only
# names in ``ALSO``.
DATA = {"ml-100k", "ctr", "criteo", "avazu"}
DATA |= {"u.data", "ml-100k.inter", "train.csv", "train.csv.gz", "train.txt", "train.txt.gz"}
ALSO = {"encoded", "README.md", "SHA256SUMS"}


def default_data_dir() -> pathlib.Path:
    """Returns the folder of the data if no option names it.

    This is ``$D2L_RECSYS_DATA`` if it is set. Otherwise it is the folder ``data`` of the checkout,
    or the user's cache if the package is installed without a checkout.
    """
    if os.environ.get(DATA_VARIABLE):
        return pathlib.Path(os.environ[DATA_VARIABLE])
    data = pathlib.Path(__file__).resolve().parents[2] / "data"
    if not (data / "README.md").is_file():
        import pooch

        return pathlib.Path(pooch.os_cache("d2l_recsys"))
    try:
        return data.relative_to(pathlib.Path.cwd())
    except ValueError:
        return data


def data_folder(data_dir: Optional[PathLike] = None) -> pathlib.Path:
    """Returns ``data_dir``, or ``default_data_dir()`` if it is None.

    Raises DataError if ``data_dir`` or the environment names a folder that does not exist.
    """
    folder = pathlib.Path(data_dir) if data_dir is not None else default_data_dir()
    was_named = data_dir is not None or bool(os.environ.get(DATA_VARIABLE))
    with named_in_errors(data_dir):
        if was_named and folder.exists() and not folder.is_dir():
            raise DataError(
                f"{_named_by(data_dir)}: {folder} is not a folder; name the folder that it is in"
            )
        if was_named and not folder.is_dir():
            raise DataError(
                f"{_named_by(data_dir)}: the folder {folder} does not exist; name another one"
            )
    return folder


def folder_to_fill(data_dir: Optional[PathLike] = None) -> pathlib.Path:
    """Returns ``data_folder(data_dir)``, into which data may be fetched.

    Raises what ``data_folder`` raises, and DataError if a named folder has other files than the
    known data sets: perhaps it is not the folder that the user wanted.
    """
    folder = data_folder(data_dir)
    if data_dir is None and not os.environ.get(DATA_VARIABLE):
        return folder
    with named_in_errors(data_dir):
        names = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    others = [name for name in names if name not in ALSO]
    if others and not DATA & set(others):
        shown = ", ".join(others[:3]) + ", ..." * (len(others) > 3)
        raise DataError(
            f"{_named_by(data_dir)}: {folder} has no data set that is known here, but {shown}; "
            "name a folder that has the data, or an empty folder to fetch the data into"
        )
    return folder


def _named_by(data_dir: Optional[PathLike]) -> str:
    return "--data-dir" if data_dir is not None else DATA_VARIABLE


@contextlib.contextmanager
def named_in_errors(data_dir: Optional[PathLike]) -> Iterator[None]:
    """Turns an OSError into a DataError that names the option or variable of the folder."""
    try:
        yield
    except OSError as error:
        raise DataError(f"{_named_by(data_dir)}: {error.strerror}; name another folder") from error
