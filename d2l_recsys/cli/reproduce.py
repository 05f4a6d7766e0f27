"""``d2l-recsys reproduce`` and ``d2l-recsys report``: run the chapter over seeds, and report."""

import importlib
import importlib.util
import os
import pathlib
from typing import Any, List, Optional, Sequence

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
        Optional[List[pathlib.Path]], typer.Argument(help="Folders with a result.json each.")
    ] = None,
    num_devices: Annotated[int, "Report the reproduction on this number of devices."] = 2,
    results: pathlib.Path = pathlib.Path("results"),
    json: AsJson = False,
) -> None:
    """Print the book's numbers beside the numbers in the FOLDERS of results.

    Without FOLDERS: write the report of the reproduction again, from all its finished runs.
    """
    from d2l_recsys.reproduction.summary import summarise
    from d2l_recsys.reproduction.tables import label
    from d2l_recsys.runs.results import read_result

    if not folders:
        from d2l_recsys.reproduction.runs import gather
        from d2l_recsys.storage.in_use import alone_in

        gathered = gather(results, num_devices)
        from d2l_recsys.reproduction.pages import Reproduction

        with alone_in(results, "--results"):
            show_report(Reproduction(*gathered), results, json)
        return
    found = [read_result(folder) for folder in folders]
    summaries = [summarise(result["chapter"], [result]) for result in found]
    files = {
        str(folder): sorted(p.name for p in folder.iterdir() if p.is_file()) for folder in folders
    }
    document = {
        "results": [
            {"folder": folder, "files": names, "result": result}
            for (folder, names), result in zip(files.items(), found)
        ]
    }

    def text() -> str:
        table = table_text(summaries, [label(result) for result in found], list(files))
        return "\n".join([table, *(f"{f}: {', '.join(names)}" for f, names in files.items())])

    show(document, text, json)


def show_report(reproduction: Any, results: pathlib.Path, in_json: bool) -> None:
    """Write the report and print its table, or ``numbers.json`` if ``in_json``."""
    from d2l_recsys.reproduction.pages import numbers, write_report

    files = ", ".join(map(str, write_report(reproduction, results)))
    summaries = reproduction.summaries()
    show(
        numbers(reproduction, summaries),
        lambda: f"{table_text(summaries)}\nreport: {files}",
        in_json,
    )


def table_text(
    summaries: Sequence[Any], labels: Sequence[str] = (), names: Sequence[str] = ()
) -> str:
    """The table of ``summaries``, how the book's runs differed, and the data sets.

    ``names`` are the names of the summaries below the table, by default their own.
    """
    from d2l_recsys.reproduction.tables import condition_lines, data_lines, table

    notes = condition_lines(summaries, names) + data_lines(
        [summary.dataset for summary in summaries]
    )
    return "\n".join([table(summaries, labels), "", *notes])
