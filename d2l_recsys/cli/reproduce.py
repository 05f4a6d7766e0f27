"""``d2l-recsys reproduce`` and ``d2l-recsys report``: run the chapter over seeds, and report."""

import importlib
import importlib.util
import os
import pathlib
from typing import Any, List, Mapping, Optional, Sequence

import typer
from typing_extensions import Annotated

from d2l_recsys.cli.output import AsJson, show
from d2l_recsys.sections.registry import VARIANTS, as_variants
from d2l_recsys.settings import SETTINGS, check_settings

# The option --jobs and its default, for every command that does several runs.
Jobs = Annotated[int, typer.Option(help=SETTINGS["jobs"].help, show_default="cores, at most 8")]
JOBS = min(os.cpu_count() or 1, 8)


def reproduce(
    seeds: int = 10,
    num_devices: int = 2,
    only: Annotated[
        str,
        typer.Option(help="Sections or variants, separated by commas.", show_default="all"),
    ] = ",".join(VARIANTS),
    jobs: Jobs = JOBS,
    data_dir: Optional[pathlib.Path] = None,
    results: pathlib.Path = pathlib.Path("results"),
    json: AsJson = False,
    quiet: Annotated[bool, "Show no progress; still print the table."] = False,
) -> None:
    """Run the chapter over seeds and write results/report.md and results/report.html.

    If it was stopped, it continues. A finished run is repeated only if the code, the data or the
    installed versions have changed since.
    """
    check_settings(seeds=seeds, num_devices=num_devices, jobs=jobs)
    variants = as_variants(only)
    from d2l_recsys.hardware import cuda

    # Report a missing library or driver before any data is fetched.
    if importlib.util.find_spec("mxnet") is None or cuda.is_installed():
        importlib.import_module("d2l_recsys.backend")
    from d2l_recsys.reproduction.pages import Reproduction
    from d2l_recsys.reproduction.runs import do_all
    from d2l_recsys.storage.in_use import alone_in

    with alone_in(results, "--results"):
        done = do_all(variants, range(seeds), num_devices, data_dir, results, jobs, quiet)
        show_report(Reproduction(*done), results, json)


def report(
    folders: Annotated[
        Optional[List[pathlib.Path]], typer.Argument(help="Folders of runs, or folders of them.")
    ] = None,
    num_devices: Annotated[int, "Report the reproduction on this number of devices."] = 2,
    results: pathlib.Path = pathlib.Path("results"),
    json: AsJson = False,
) -> None:
    """Print the book's numbers beside the numbers in the FOLDERS of results.

    A folder without a result.json stands for all folders below it that have one.

    Without FOLDERS: write the report of the reproduction again, from all its finished runs.
    """
    if folders:
        show_runs(folders, json)
        return
    from d2l_recsys.reproduction.runs import gather
    from d2l_recsys.storage.in_use import alone_in

    gathered = gather(results, num_devices)
    from d2l_recsys.reproduction.pages import Reproduction

    with alone_in(results, "--results"):
        show_report(Reproduction(*gathered), results, json)


def show_runs(folders: Sequence[pathlib.Path], in_json: bool) -> None:
    """Print a table of the runs in ``folders`` and below them, or all results if ``in_json``."""
    from d2l_recsys.reproduction.differing import differing_settings
    from d2l_recsys.runs.results import read_result, result_folders

    of_runs = result_folders(folders)
    found = [read_result(folder) for folder in of_runs]
    document = {
        "results": [
            {
                "folder": str(folder),
                "files": sorted(path.name for path in folder.iterdir() if path.is_file()),
                "result": result,
                "differs": differs,
            }
            for folder, result, differs in zip(of_runs, found, differing_settings(found))
        ]
    }
    show(document, lambda: runs_text(document["results"]), in_json)


def runs_text(runs: Sequence[Mapping[str, Any]]) -> str:
    """The table of ``runs`` (as in the JSON document), how they differ from the book, their files.

    The table has the book's numbers only beside runs with the book's settings.
    """
    from d2l_recsys.reproduction.summary import summarise
    from d2l_recsys.reproduction.tables import (
        condition_lines,
        has_other_settings,
        label_among,
        other_settings_lines,
    )

    summaries, others = [], []
    for run in runs:
        result = run["result"]
        if has_other_settings(result):
            result = {**result, "reported": {}}
            others.append(run["folder"])
        summaries.append(summarise(result["chapter"], [result]))
    names = [run["folder"] for run in runs]
    notes = condition_lines(summaries, names) + other_settings_lines(others)
    labels = [label_among(run["result"], run["differs"]) for run in runs]
    files = [f"{run['folder']}: {', '.join(run['files'])}" for run in runs]
    return "\n".join([table_text(summaries, notes, labels), *files])


def show_report(reproduction: Any, results: pathlib.Path, in_json: bool) -> None:
    """Write the report and print its table, or ``numbers.json`` if ``in_json``."""
    from d2l_recsys.reproduction.pages import numbers, write_report
    from d2l_recsys.reproduction.tables import condition_lines

    files = ", ".join(map(str, write_report(reproduction, results)))
    summaries = reproduction.summaries()
    show(
        numbers(reproduction, summaries),
        lambda: f"{table_text(summaries, condition_lines(summaries))}\nreport: {files}",
        in_json,
    )


def table_text(summaries: Sequence[Any], notes: Sequence[str], labels: Sequence[str] = ()) -> str:
    """The table of ``summaries``, and below it the lines ``notes`` and the data sets."""
    from d2l_recsys.reproduction.tables import data_lines, table

    data = data_lines([summary.dataset for summary in summaries])
    return "\n".join([table(summaries, labels), "", *notes, *data])
