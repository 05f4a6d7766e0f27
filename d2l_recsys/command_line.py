"""Run a function from the command line: its arguments are the options.

Bad input, and files that the system refuses, end with one line on standard error and exit code 2,
a run whose process was ended with one line and 1, Ctrl-C with 130, a bug with its traceback and 1.
"""

import functools
import os
import pathlib
import sys
from typing import Any, Callable, List, Optional

import typer
from typing_extensions import Annotated

from d2l_recsys.errors import RecsysError

__all__ = [
    "Clicks",
    "Cutoffs",
    "DataDir",
    "DeviceKind",
    "Loss",
    "MinThreshold",
    "NumDevices",
    "NumEpochs",
    "Out",
    "Quiet",
    "Resume",
    "Seed",
    "ShownProtocol",
    "Strict",
    "TimeSplit",
    "TrainedProtocol",
    "command",
    "demand_command",
    "make_app",
    "run",
    "start",
]

# The options that every chapter has.
Seed = Annotated[int, typer.Option(help="Seed of everything random.")]
NumEpochs = Annotated[int, typer.Option(help="Passes over the training set.")]
NumDevices = Annotated[int, typer.Option(help="Devices to spread each batch over.")]
DeviceKind = Annotated[
    Optional[str],
    typer.Option(
        metavar="cpu|gpu", help="Where to compute. Default: on GPUs, if there are any, else CPUs."
    ),
]
ShownProtocol = Annotated[
    str,
    typer.Option(
        metavar="printed|defined",
        help="Whose numbers to show: the chapter's code or its equations.",
    ),
]
DataDir = Annotated[
    Optional[pathlib.Path],
    typer.Option(help="Folder of the data. Default: $D2L_RECSYS_DATA, else data/."),
]
Out = Annotated[
    Optional[pathlib.Path],
    typer.Option(help="Folder for the results. Default: results/NAME/seed-S."),
]
Resume = Annotated[
    bool,
    typer.Option("--resume", help="Go on from the checkpoint in the folder for the results."),
]
Cutoffs = Annotated[
    List[int],
    typer.Option(help="Also cut Hit, NDCG and MRR off at this rank; may be repeated."),
]
# Those of systems that rank.
TimeSplit = Annotated[
    str,
    typer.Option(
        metavar="seq-aware|validation",
        help="Held out of each user: the last item; or the one before, to choose settings by.",
    ),
]
Loss = Annotated[
    str,
    typer.Option(
        metavar="bpr|hinge|log",
        help="The loss: of a pair of items, or of the log odds of each (log).",
    ),
]
# Those of the sections on clicks.
TrainedProtocol = Annotated[
    str,
    typer.Option(
        metavar="printed|defined",
        help="Train on the sigmoid's output, as the chapter does, or on logits; and whose numbers "
        "to show.",
    ),
]
Clicks = Annotated[
    str,
    typer.Option(
        metavar="book|movielens|criteo|avazu",
        help="Whose clicks. Where the book's cannot be had, MovieLens-100K takes their place.",
    ),
]
Strict = Annotated[bool, typer.Option("--strict", help="Refuse rows that are not clicks.")]
MinThreshold = Annotated[
    int, typer.Option(help="How often a value must occur to be a feature of its own.")
]
Quiet = Annotated[bool, typer.Option("--quiet", help="No result lines, no progress.")]

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
    """``main``, whose errors that the user has to mend end in one line and the exit code."""

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

    return guarded


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
    script = os.path.basename(sys.argv[0])
    name = "d2l-recsys" if script == "__main__.py" else script
    print(f"{name}: {' '.join(str(message).split())}", file=sys.stderr)
