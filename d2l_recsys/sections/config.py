"""``--config FILE.toml``: the options of a command from a file."""

import pathlib
from typing import Any, Dict, Optional

import typer

from d2l_recsys.errors import SettingError
from d2l_recsys.settings import nearest
from d2l_recsys.storage.files import content_of

# The key of the file's path in the ``meta`` of a context.
CONFIG = "d2l_recsys.config"


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
        if name in values:
            raise SettingError(f"--config {path} has {name} twice; give it once")
        values[name] = _value(context, known[name], value, f"--config {path}: {key}")
    context.default_map = {**(context.default_map or {}), **values}
    context.meta[CONFIG] = path


def _value(context: typer.Context, option: Any, value: Any, what: str) -> Any:
    """``value``, as TOML has it, in the form that the ``option`` takes.

    ``what`` names both. Raises SettingError if it is not of the type of the option.
    """
    takes = "true or false" if option.is_flag else "a text or a number"
    if option.multiple:
        parts = value if isinstance(value, list) else [value]
        if any(isinstance(part, (bool, dict, list)) for part in parts):
            raise SettingError(f"{what} is {value}; give one value or a list of them")
        return [",".join(map(str, parts))] if parts else []
    if isinstance(value, bool) != bool(option.is_flag) or not isinstance(
        value, (bool, int, float, str)
    ):
        raise SettingError(f"{what} is {value}; give {takes}")
    return value


def _parsed(path: pathlib.Path) -> Dict[str, Any]:
    try:
        import tomllib
    except ImportError:  # Python before 3.11
        import tomli as tomllib

    try:
        return tomllib.loads(content_of(path).decode("utf-8-sig"))
    except OSError as error:
        raise SettingError(
            f"--config {path} cannot be read: {error.strerror or error}; name a readable file"
        ) from error
    except ValueError as error:
        raise SettingError(f"--config {path} is not a TOML file: {error}; correct it") from error
