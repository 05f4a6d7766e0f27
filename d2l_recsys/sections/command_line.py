"""Run a function from the command line: each of its parameters becomes an option.

How a command ends:

- bad input, or a file that the system cannot open or write: one line on standard error, exit code 2
- a process of the run was ended from outside: one line on standard error, exit code 1
- Ctrl-C: exit code 130; SIGTERM: exit code 143
- a bug: a traceback, exit code 1

If standard output is a pipe that its reader has closed, as in ``| head -1``, the command does its
work and says nothing.
"""

import functools
import inspect
import os
import sys
from typing import Any, Callable, List, Optional

import typer
from typing_extensions import Annotated, get_args, get_origin

from d2l_recsys.errors import OutputError, RecsysError, Stopped
from d2l_recsys.sections.options import choices_of, help_of
from d2l_recsys.sections.signals import sigterm_stops
from d2l_recsys.sections.streams import lasting_streams
from d2l_recsys.settings import option

# The base class of typer's errors about the arguments of a command. Its module differs between
# versions of typer, so take it from a class that every version exports.
UsageError = typer.BadParameter.__mro__[1]


def run(main: Callable, arguments: Optional[List[str]] = None) -> None:
    """Run ``main`` with the options in ``arguments`` (default: ``sys.argv``), then exit."""
    app = make_app(add_completion=False)
    app.command()(command(main))
    start(app, arguments)


def make_app(**options: Any) -> typer.Typer:
    """A typer application that prints plain text and leaves its errors to ``start``."""
    return typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False, **options)


def demand_command(context: typer.Context) -> None:
    """If the user names no command of a group, print the group's help and exit with code 2."""
    if context.invoked_subcommand is None:
        print(context.get_help(), file=sys.stderr)
        raise typer.Exit(2)


def command(main: Callable) -> Callable:
    """Wrap ``main`` as a command of typer.

    Each parameter of ``main`` becomes an option with the help of ``options.help_of``. An error that
    the user can correct ends the command with one line on standard error and an exit code.
    """

    @functools.wraps(main)
    def guarded(*args: object, **kwargs: object) -> None:
        try:
            main(*args, **kwargs)
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

    parameters = [_for_typer(p) for p in inspect.signature(main).parameters.values()]
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
    described = typer.Option(option(parameter.name), metavar=words, help=help_of(parameter))
    return parameter.replace(annotation=Annotated[kind, described], default=default)


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
    except KeyboardInterrupt as interrupt:
        return Stopped.by(interrupt).exit_code
    except typer.Abort as abort:
        # Typer's form of an interrupt outside a command.
        return Stopped.by(abort.__cause__).exit_code
    return 2


def _complain(message: object) -> None:
    _say(f"error: {message}")


def _say(message: object) -> None:
    folder, name = os.path.split(sys.argv[0])
    # For a package that is run, the script is __main__.py; show the name of the package instead.
    name = os.path.basename(folder).replace("_", "-") if name == "__main__.py" else name
    print(f"{name}: {' '.join(str(message).split())}", file=sys.stderr)
