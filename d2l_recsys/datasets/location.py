"""The folder of the data: from ``--data-dir``, from the environment, or a default."""

import contextlib
import os
import pathlib
from typing import Iterator, Optional, Union

from d2l_recsys.errors import DataError

PathLike = Union[str, "os.PathLike[str]"]

DATA_VARIABLE = "D2L_RECSYS_DATA"


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
        if was_named and not folder.is_dir():
            raise DataError(
                f"{_named_by(data_dir)}: the folder {folder} does not exist; name another one"
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
