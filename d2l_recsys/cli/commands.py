"""All commands of ``d2l-recsys``, as one application."""

import sys
from typing import Any, Callable, List, Optional, Sequence

import typer
from typing_extensions import Annotated

import d2l_recsys
from d2l_recsys.cli import baseline, data
from d2l_recsys.cli.doctor import doctor
from d2l_recsys.cli.exercise import exercise
from d2l_recsys.cli.leaderboard import leaderboard
from d2l_recsys.cli.names import list_names
from d2l_recsys.cli.predict import predict
from d2l_recsys.cli.recommend import recommend
from d2l_recsys.cli.reproduce import report, reproduce
from d2l_recsys.cli.rerun import rerun
from d2l_recsys.cli.run import SectionGroup
from d2l_recsys.cli.sweep import SweepGroup
from d2l_recsys.sections import command_line


def show_version(asked: bool) -> None:
    """Print the version and exit, if ``asked``."""
    if asked:
        print(f"d2l-recsys {d2l_recsys.__version__}")
        raise typer.Exit


def options(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option(
            "--version", "-v", callback=show_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Run and reproduce the recommender-systems chapter of Dive into Deep Learning.

    Bad input ends with one line on standard error and exit code 2.
    """
    command_line.show_help(context)


def group(about: str, functions: Sequence[Callable], **options: Any) -> typer.Typer:
    """A typer application with ``functions`` as its commands and ``about`` as its help."""
    app = command_line.make_app(**options)
    app.callback(invoke_without_command=True, help=about)(command_line.show_help)
    for function in functions:
        command_line.add(app, function)
    return app


def make_app(words: Sequence[str] = ()) -> typer.Typer:
    """The application with all its commands.

    ``words`` are the arguments of the command line. If they name a section, the groups
    ``d2l-recsys``, ``run`` and ``sweep`` get no options, not even ``--help``. To read an option of
    a group, Typer loads pydantic. This would take a third of the time that a section's help takes.
    """
    is_section = len(words) > 1 and words[0] in ("run", "sweep") and not words[1].startswith("-")
    app = command_line.make_app(add_completion=not is_section, add_help_option=not is_section)
    own = command_line.show_help if is_section else options
    app.callback(invoke_without_command=True, help=options.__doc__)(own)
    of_sections = {
        "run": (SectionGroup, "Run a section, a companion, a variant or a leaderboard entry"),
        "sweep": (SweepGroup, "Compare settings of anything that 'run' takes, over seeds"),
    }
    for name, (cls, about) in of_sections.items():
        sections = group(
            f"{about}; 'list' has all names.",
            (),
            cls=cls,
            subcommand_metavar="NAME [OPTIONS]",
            add_help_option=not is_section,
        )
        app.add_typer(sections, name=name)
    for function in (rerun, reproduce, report, exercise, leaderboard, recommend, predict, doctor):
        command_line.add(app, function)
    command_line.add(app, list_names, "list")
    about = "Find, check or fetch the data of the chapter."
    app.add_typer(group(about, data.COMMANDS), name="data")
    about = "Check a port of the chapter to another framework."
    app.add_typer(group(about, baseline.COMMANDS), name="baseline")
    return app


def start(arguments: Optional[List[str]] = None) -> None:
    """Run ``d2l-recsys`` with ``arguments`` (default: ``sys.argv``), then exit."""
    words = sys.argv[1:] if arguments is None else arguments
    command_line.start(make_app(words), arguments, "d2l-recsys")
