"""``--config FILE.toml``: the options of a command from a file."""

import pathlib
from typing import Any, Dict, Optional

import typer

from d2l_recsys.errors import SettingError
from d2l_recsys.settings import nearest
from d2l_recsys.storage.files import content_of


def read_config(context: typer.Context, path: Optional[pathlib.Path]) -> None:
    """Make the values in the file at ``path`` the defaults of the command of ``context``.

    A key is the name of an option, with dashes or underscores. Options on the command line replace
    the values of the file. The file is only read. Raises SettingError if it cannot be read, is not
    TOML, or has a key that is no option of the command.
    """
    if path is None:
        return
    # Arguments have no default, so a file cannot set them.
    options = {p.name: p for p in context.command.params if p.param_type_name == "option"}
    known = {
        name: parameter for name, parameter in options.items() if name not in ("config", "help")
    }
    values: Dict[str, Any] = {}
    for key, value in _parsed(path).items():
        name = key.replace("-", "_")
        if name not in known:
            raise SettingError(f"--config {path} has {key!r}; {nearest(name, known)}")
        if isinstance(value, dict):
            raise SettingError(f"--config {path}: {key} is a table; give it one value or a list")
        if isinstance(value, list):
            value = ",".join(map(str, value))
        values[name] = [value] if known[name].multiple else value
    context.default_map = {**(context.default_map or {}), **values}


def _parsed(path: pathlib.Path) -> Dict[str, Any]:
    try:
        import tomllib
    except ImportError:  # Python before 3.11
        import tomli as tomllib

    try:
        return tomllib.loads(content_of(path).decode("utf-8"))
    except OSError as error:
        raise SettingError(
            f"--config {path} cannot be read: {error.strerror or error}; name a readable file"
        ) from error
    except ValueError as error:
        raise SettingError(f"--config {path} is not a TOML file: {error}; correct it") from error
