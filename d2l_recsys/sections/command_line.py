"""Run a function from the command line: each of its parameters becomes an option.

How a command ends:

- bad input, or a file that the system cannot open or write: one line on standard error, exit code 2
- a process of the run was ended from outside: one line on standard error, exit code 1
- Ctrl-C: exit code 130; SIGTERM: exit code 143
- a bug: a traceback, exit code 1

If standard output is a pipe that its reader has closed, as in ``| head -1``, the command does its
work and says nothing.
"""

import collections
import functools
import inspect
import os
import pathlib
import sys
from typing import Any, Callable, List, Optional

import typer
from typer.core import TyperCommand, TyperGroup, TyperOption
from typing_extensions import Annotated, get_args, get_origin

from d2l_recsys.errors import OutputError, RecsysError, SettingError, Stopped
from d2l_recsys.sections.config import CONFIG, read_config
from d2l_recsys.sections.options import choices_of, help_of, is_list_of_numbers
from d2l_recsys.sections.signals import sigterm_stops
from d2l_recsys.sections.streams import lasting_streams
from d2l_recsys.settings import nearest, option

# The base class of typer's errors about the arguments of a command. Its module differs between
# versions of typer, so take it from a class that every version exports.
UsageError = typer.BadParameter.__mro__[1]
ConfigFile = Annotated[
    Optional[pathlib.Path],
    typer.Option(
        "--config",
        metavar="FILE.toml",
        callback=read_config,
        is_eager=True,
        help="Read options from this file; options on the command line win.",
    ),
]
HELP = {"help_option_names": ["-h", "--help"]}


class OnceCommand(TyperCommand):
    """A command that refuses an option that is given twice, unless it takes a list, or is empty."""

    def parse_args(self, context: typer.Context, args: List[str]) -> List[str]:
        """Parse ``args`` as typer does. Raises UsageError if an option is given twice or empty."""
        values, _, given = self.make_parser(context).parse_args(args=list(args))
        for parameter in given:
            # An empty text is often a variable of the shell that is not set.
            if isinstance(parameter, TyperOption) and values.get(parameter.name) in ("", [""]):
                raise UsageError(f"{parameter.opts[0]} is ''; give it a value, or leave it out")
        for parameter, count in collections.Counter(given).items():
            is_option = isinstance(parameter, TyperOption)
            if count > 1 and is_option and not (parameter.multiple or parameter.is_flag):
                raise UsageError(f"{parameter.opts[0]} is given {count} times; give it once")
        try:
            return super().parse_args(context, args)
        except UsageError as error:
            if CONFIG not in context.meta:
                raise
            raise UsageError(
                f"{error.format_message()} (see also --config {context.meta[CONFIG]})"
            ) from error


class NearestGroup(TyperGroup):
    """A group of commands that takes a name in upper case, and helps with a wrong name."""

    def resolve_command(self, context: typer.Context, args: List[str]) -> Any:
        """Find the command of ``args[0]``. Raises SettingError for an unknown name."""
        name, *rest = args
        names = self.list_commands(context)
        for found in names:
            if found.lower() == name.lower():
                return super().resolve_command(context, [found, *rest])
        raise SettingError(f"there is no command {name!r}; {nearest(name, names)}")


def run(main: Callable, arguments: Optional[List[str]] = None) -> None:
    """Run ``main`` with the options in ``arguments`` (default: ``sys.argv``), then exit."""
    app = make_app(add_completion=False)
    add(app, main)
    start(app, arguments)


def make_app(**options: Any) -> typer.Typer:
    """A typer application that prints plain text and leaves its errors to ``start``."""
    options = {"cls": NearestGroup, "context_settings": HELP, **options}
    return typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False, **options)


def add(app: typer.Typer, main: Callable, name: Optional[str] = None) -> None:
    """Make ``main`` a command of ``app``."""
    app.command(name, cls=OnceCommand, context_settings=HELP)(command(main))


def show_help(context: typer.Context) -> None:
    """If the user names no command of a group, print the group's help."""
    if context.invoked_subcommand is None:
        print(context.get_help())
        raise typer.Exit


def command(main: Callable) -> Callable:
    """Wrap ``main`` as a command of typer.

    Each parameter of ``main`` becomes an option with the help of ``options.help_of``. An error that
    the user can correct ends the command with one line on standard error and an exit code.
    """
    signature = inspect.signature(main)
    lists = [name for name, p in signature.parameters.items() if is_list_of_numbers(p)]

    @functools.wraps(main)
    def guarded(*args: object, **kwargs: object) -> None:
        # Typer passes the value of this option although ``read_config`` has used it.
        del kwargs["config"]
        try:
            main(*args, **{**kwargs, **{name: _numbers(name, kwargs[name]) for name in lists}})
        except RecsysError as error:
            _complain(error)
            raise typer.Exit(error.exit_code) from None
        except OSError as error:
            name = f"{error.filename}: " if error.filename else ""
            _complain(f"{name}{error.strerror or error}")
            raise typer.Exit(2) from None
        except KeyboardInterrupt as interrupt:
            if str(interrupt):
                _say(interrupt)
            raise typer.Exit(Stopped.by(interrupt).exit_code) from None

    parameters = [_for_typer(p) for p in signature.parameters.values()]
    parameters.append(
        inspect.Parameter(
            "config", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=ConfigFile
        )
    )
    guarded.__signature__ = inspect.Signature(parameters)
    guarded.__annotations__ = {p.name: p.annotation for p in parameters}
    # Leave out the options in the docstring, since typer prints its own list of options.
    guarded.__doc__ = (inspect.getdoc(main) or "").partition("\n\nParameters\n")[0]
    return guarded


def _for_typer(parameter: inspect.Parameter) -> inspect.Parameter:
    """The parameter as an option of typer; unchanged if it is already annotated for typer."""
    kind, default = parameter.annotation, parameter.default
    parts = get_args(kind) if get_origin(kind) is Annotated else (kind,)
    known = (typer.models.OptionInfo, typer.models.ArgumentInfo)
    if kind is typer.Context or any(isinstance(part, known) for part in parts):
        return parameter
    kind, choices, words = parts[0], choices_of(parts[0]), None
    if choices is not None:
        # For typer the choice is a string. ``main`` checks it, so that a wrong word gets the same
        # message as any other bad setting.
        words = "|".join(member.value for member in choices)
        kind = str if isinstance(default, choices) else Optional[str]
        default = default and default.value
    if is_list_of_numbers(parameter):
        # ``guarded`` makes the numbers, so that commas can separate them.
        kind, words = List[str], "INTEGER,..."
        default = [",".join(map(str, default))] if default else []
    described = typer.Option(option(parameter.name), metavar=words, help=help_of(parameter))
    return parameter.replace(annotation=Annotated[kind, described], default=default)


def _numbers(name: str, texts: List[str]) -> List[int]:
    """The whole numbers in ``texts``, which has one text for each time that the option is given.

    Commas separate numbers within a text. Raises SettingError for what is no whole number.
    """
    numbers = []
    for word in (word.strip() for text in texts for word in text.split(",")):
        try:
            numbers.append(int(word))
        except ValueError:
            raise SettingError(
                f"{option(name)} has {word!r}; give whole numbers, separated by commas"
            ) from None
    return numbers


def start(
    app: typer.Typer, arguments: Optional[List[str]] = None, name: Optional[str] = None
) -> None:
    """Run ``app`` with ``arguments`` (default: ``sys.argv``), then exit.

    ``name`` is the name of the program in the usage line, by default the name of the script.
    """
    try:
        with lasting_streams():
            status = _status(app, arguments, name)
    except OutputError as error:
        _complain(error)
        status = error.exit_code
    sys.exit(status)


def _status(app: typer.Typer, arguments: Optional[List[str]], name: Optional[str]) -> int:
    """Run ``app``, and return its exit code."""
    try:
        with sigterm_stops():
            return app(arguments, prog_name=name, standalone_mode=False) or 0
    except UsageError as error:
        _complain(error.format_message())
    except RecsysError as error:
        # Commands handle their own errors (``command``); this one was raised outside a command.
        _complain(error)
        return error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        return 130
    return 2


def _complain(message: object) -> None:
    _say(f"error: {message}")


def _say(message: object) -> None:
    folder, name = os.path.split(sys.argv[0])
    # For a package that is run, the script is __main__.py; show the name of the package instead.
    name = os.path.basename(folder).replace("_", "-") if name == "__main__.py" else name
    print(f"{name}: {' '.join(str(message).split())}", file=sys.stderr)
