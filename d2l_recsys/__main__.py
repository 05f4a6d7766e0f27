"""The command ``d2l-recsys``: run a section, reproduce the chapter, report, see to the data."""

import importlib
import importlib.util
import os
import pathlib
from typing import Any, List, Optional

import typer
from typer.core import TyperCommand, TyperGroup
from typing_extensions import Annotated

import d2l_recsys
from d2l_recsys import command_line as cli
from d2l_recsys import cuda, datasets
from d2l_recsys.baseline import commands as kit
from d2l_recsys.leaderboard.commands import leaderboard
from d2l_recsys.recommend_command import recommend
from d2l_recsys.registry import SYSTEMS, VARIANTS, Section, as_variants
from d2l_recsys.settings import check_settings

__all__ = ["main"]

MOST_JOBS = 8
Results = Annotated[pathlib.Path, typer.Option(help="Folder of all results.")]


class SectionCommand(TyperCommand):
    """A section's ``main`` as a command; imported when its options are asked for, not before."""

    def __init__(self, section: Section) -> None:
        self.section = section
        self.loaded: Optional[TyperCommand] = None
        help = f"{section.described}."
        super().__init__(section.name, help=help, rich_markup_mode=None)

    @property
    def params(self) -> List[Any]:
        """The options of the section's ``main``."""
        if self.loaded is None:
            app = cli.make_app(add_completion=False)
            app.command(self.name)(cli.command(self.section.main()))
            self.loaded = typer.main.get_command(app)
        return self.loaded.params

    @params.setter
    def params(self, params: List[Any]) -> None:
        """The constructor of a command sets its options; here they come from the section."""

    def invoke(self, context: Any) -> Any:
        """Call the section's ``main``."""
        return self.loaded.invoke(context)


class SectionGroup(TyperGroup):
    """A command for each section and each companion in the registry."""

    def list_commands(self, context: Any) -> List[str]:
        """Their names, the sections' in the order of the book."""
        return list(SYSTEMS)

    def get_command(self, context: Any, name: str) -> Optional[SectionCommand]:
        """The section's command, None where there is no such section."""
        return SectionCommand(SYSTEMS[name]) if name in SYSTEMS else None


def show_version(asked: bool) -> None:
    """Print the version and leave, if ``asked``."""
    if asked:
        print(f"d2l-recsys {d2l_recsys.__version__}")
        raise typer.Exit


def options(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option("--version", callback=show_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """The recommender-systems chapter of Dive into Deep Learning: run it, reproduce it.

    Bad input ends with one line on standard error and exit code 2.
    """
    cli.demand_command(context)


def reproduce(
    seeds: Annotated[int, typer.Option(help="Runs of each variant: seeds 0, 1, ...")] = 10,
    num_devices: Annotated[int, typer.Option(help="Devices to spread each batch over.")] = 2,
    only: Annotated[
        str,
        typer.Option(help="Sections or variants, separated by commas.", show_default="all"),
    ] = ",".join(VARIANTS),
    jobs: Annotated[int, typer.Option(help="Runs at once.", show_default="cores, at most 8")] = min(
        os.cpu_count() or 1, MOST_JOBS
    ),
    data_dir: cli.DataDir = None,
    results: Results = pathlib.Path("results"),
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress.")] = False,
) -> None:
    """Run the chapter over seeds and write results/report.md and results/report.html.

    Goes on where it was stopped: a run that is finished is done again only if the code, the data or
    what is installed has changed since.
    """
    check_settings(seeds=seeds, num_devices=num_devices, jobs=jobs)
    variants = as_variants(only)
    # What is not installed or has no driver is told before any data is fetched.
    if importlib.util.find_spec("mxnet") is None or cuda.is_installed():
        importlib.import_module("d2l_recsys.backend")
    from d2l_recsys import reproduce as steps
    from d2l_recsys.report_pages import Reproduction

    with steps.alone_in(results):
        done = steps.do_all(variants, range(seeds), num_devices, data_dir, results, jobs, quiet)
        show_report(Reproduction(*done), results)


def report(
    folders: Annotated[
        Optional[List[pathlib.Path]], typer.Argument(help="Folders with a result.json each.")
    ] = None,
    num_devices: Annotated[
        int, typer.Option(help="Of the reproductions, the one on so many devices.")
    ] = 2,
    results: Results = pathlib.Path("results"),
) -> None:
    """Print the reported numbers of the chapter beside those in the results FOLDERS.

    Without FOLDERS: write the report of the last reproduction again, from all its finished runs.
    """
    from d2l_recsys.report import data_lines, label, table
    from d2l_recsys.results import read_result
    from d2l_recsys.summary import summarise

    if not folders:
        from d2l_recsys.reproduce import alone_in, gather

        gathered = gather(results, num_devices)
        from d2l_recsys.report_pages import Reproduction

        with alone_in(results):
            show_report(Reproduction(*gathered), results)
        return
    found = [read_result(folder) for folder in folders]
    summaries = [summarise(result["chapter"], [result]) for result in found]
    print(table(summaries, [label(result) for result in found]))
    print()
    print(*data_lines([result["dataset"] for result in found]), sep="\n")
    for folder in folders:
        files = sorted(path.name for path in folder.iterdir() if path.is_file())
        print(f"{folder}: {', '.join(files)}")


def show_report(reproduction: Any, results: pathlib.Path) -> None:
    """Write the report and print its table."""
    from d2l_recsys.report import data_lines, table
    from d2l_recsys.report_pages import write_report

    files = write_report(reproduction, results)
    summaries = reproduction.summaries()
    print(table(summaries))
    print()
    print(*data_lines([summary.dataset for summary in summaries]), sep="\n")
    print(f"report: {', '.join(map(str, files))}")


def make_app() -> typer.Typer:
    """The application with all its commands."""
    app = cli.make_app()
    app.callback(invoke_without_command=True)(options)
    sections = cli.make_app(cls=SectionGroup, subcommand_metavar="NAME [OPTIONS]")
    about = "Run a section; its options are those of its script."
    sections.callback(invoke_without_command=True, help=about)(cli.demand_command)
    app.add_typer(sections, name="run")
    for function in (reproduce, report, leaderboard, recommend):
        app.command()(cli.command(function))
    data = cli.make_app()
    about = "See to the data that the chapter needs."
    data.callback(invoke_without_command=True, help=about)(cli.demand_command)
    for function in datasets.COMMANDS:
        data.command()(cli.command(function))
    app.add_typer(data, name="data")
    baseline = cli.make_app()
    about = "Hold a port of the chapter to another framework against this one."
    baseline.callback(invoke_without_command=True, help=about)(cli.demand_command)
    for function in kit.COMMANDS:
        baseline.command()(cli.command(function))
    app.add_typer(baseline, name="baseline")
    return app


def main(arguments: Optional[List[str]] = None) -> None:
    """Run the command with ``arguments`` (default: ``sys.argv``), then exit."""
    cli.start(make_app(), arguments, "d2l-recsys")


if __name__ == "__main__":
    main()
