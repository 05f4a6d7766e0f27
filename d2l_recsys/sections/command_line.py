"""Run a function from the command line: its arguments are the options.

Bad input, and files that the system refuses, end with one line on standard error and exit code 2,
a run whose process was ended with one line and 1, Ctrl-C with 130, a bug with its traceback and 1.
"""

import functools
import inspect
import os
import sys
from typing import Any, Callable, List, Optional

import typer
from typing_extensions import Annotated, get_args, get_origin

from d2l_recsys.errors import RecsysError
from d2l_recsys.sections.options import choices_of, help_of
from d2l_recsys.settings import option

# What an installation without an extra lacks.
EXTRA_MODULES = ("matplotlib",)
# The base class of typer's complaints about the words of a command; its own home has moved.
UsageError = typer.BadParameter.__mro__[1]


def run(main: Callable, arguments: Optional[List[str]] = None) -> None:
    """Call ``main`` with the options in ``arguments`` (default: ``sys.argv``), then exit."""
    app = make_app(add_completion=False)
    app.command()(command(main))
    start(app, arguments)


def make_app(**options: Any) -> typer.Typer:
    """A typer application in plain text, whose errors ``start`` tells."""
    return typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False, **options)


def demand_command(context: typer.Context) -> None:
    """Show the help of a group of commands on standard error, where none is named: exit code 2."""
    if context.invoked_subcommand is None:
        print(context.get_help(), file=sys.stderr)
        raise typer.Exit(2)


def command(main: Callable) -> Callable:
    """``main`` for typer; errors that the user has to mend end in one line and the exit code.

    Each parameter is an option, described as ``options.help_of`` says.
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
        except KeyboardInterrupt as stopped:
            if str(stopped):
                _say(stopped)
            raise typer.Exit(130) from None

    parameters = [_for_typer(p) for p in inspect.signature(main).parameters.values()]
    guarded.__signature__ = inspect.Signature(parameters)
    guarded.__annotations__ = {p.name: p.annotation for p in parameters}
    # What follows in it are the options, which typer tells itself.
    guarded.__doc__ = (inspect.getdoc(main) or "").partition("\n\nParameters\n")[0]
    return guarded


def _for_typer(parameter: inspect.Parameter) -> inspect.Parameter:
    """The parameter as an option; one that is annotated for typer stays as it is."""
    kind, default = parameter.annotation, parameter.default
    parts = get_args(kind) if get_origin(kind) is Annotated else (kind,)
    known = (typer.models.OptionInfo, typer.models.ArgumentInfo)
    if kind is typer.Context or any(isinstance(part, known) for part in parts):
        return parameter
    kind, choices, words = parts[0], choices_of(parts[0]), None
    if choices is not None:
        # Not typer's own choices: a word that is none is refused as any other bad setting.
        words = "|".join(member.value for member in choices)
        kind = str if isinstance(default, choices) else Optional[str]
        default = default and default.value
    described = typer.Option(option(parameter.name), metavar=words, help=help_of(parameter))
    return parameter.replace(annotation=Annotated[kind, described], default=default)


def start(
    app: typer.Typer, arguments: Optional[List[str]] = None, name: Optional[str] = None
) -> None:
    """Run ``app`` on ``arguments`` (default: ``sys.argv``), then exit.

    ``name`` is what its usage calls the program, by default the script's.
    """
    try:
        status = app(arguments, prog_name=name, standalone_mode=False)
    except UsageError as error:
        _complain(error.format_message())
        status = 2
    except RecsysError as error:
        # Before a section's main is called its module is imported, and MXNet with it.
        _complain(error)
        status = error.exit_code
    except ModuleNotFoundError as error:
        if error.name not in EXTRA_MODULES:
            raise
        _complain(f"{error}; 'make reproduce' or the extra [cpu] installs all that is needed")
        status = 2
    sys.exit(status or 0)


def _complain(message: object) -> None:
    _say(f"error: {message}")


def _say(message: object) -> None:
    folder, name = os.path.split(sys.argv[0])
    # A package that is run is called by its name.
    name = os.path.basename(folder).replace("_", "-") if name == "__main__.py" else name
    print(f"{name}: {' '.join(str(message).split())}", file=sys.stderr)
