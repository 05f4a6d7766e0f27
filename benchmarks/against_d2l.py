"""Time the chapter's own code and this project's code in turn, on the same machine.

    python -m benchmarks.against_d2l [--only mf,fm] [--pairs 3] [--data-dir DIR] [--clicks-dir DIR]

Each run is its own process, on one CPU device and with the chapter's settings. The chapter's side
is ``benchmarks/chapter``: d2l 1.0.3 with Gluon's DataLoader. If a section of the chapter takes too
long, the benchmark times a part of the section, scales the time up, and marks it with ``~``. The
chapter draws a live figure while it trains. A second run of the chapter without this figure shows
how much time the figure takes. A ratio is the chapter's time over ours, computed for each pair of
runs. The table shows the median ratio and [smallest, largest].

FM and DeepFM need the book's clicks: ``train.csv`` and ``test.csv`` in ``--clicks-dir``. Without
this option, both sides use generated rows: fewer rows than the book has, in smaller batches.

The phases are loading, training and evaluation. "From file to final number" is the sum of the
phases. "Whole script" also contains the start of Python and the imports.
"""

import json
import pathlib
import statistics
import sys
import tempfile
from typing import Any, Dict, List, Optional, Sequence

import numpy as np
from tabulate import tabulate
from typer import Option
from typing_extensions import Annotated

from benchmarks.generated_clicks import GeneratedClicks
from benchmarks.measuring import ROOT, chosen, measure, spread
from d2l_recsys.datasets.movielens import find_ml100k
from d2l_recsys.runs.results import environment
from d2l_recsys.sections.command_line import run

PHASES = ("load", "train", "evaluate")
# The number of epochs, and whether to time the chapter without its live figure as well. NeuMF and
# Caser draw too rarely for the figure to matter.
SECTIONS = {
    "mf": (20, True),
    "autorec": (25, True),
    "neumf": (10, False),
    "caser": (8, False),
    "fm": (30, True),
    "deepfm": (30, True),
}
CLICKS = ("fm", "deepfm")
# The chapter's batch size for clicks, and a smaller one for the generated rows: d2l's loop needs
# five batches in an epoch, and the generated training rows fill only one of the chapter's size.
BATCH_SIZE, GENERATED_BATCH_SIZE = 2048, 256
GENERATED = {"train.csv": 2500, "test.csv": 500}
GENERATED_FIELDS = np.geomspace(2, 1000, 34).astype(int).tolist()

ClicksDir = Annotated[
    Optional[pathlib.Path],
    Option(help="Folder of the clicks of fm and deepfm: train.csv and test.csv as in the book."),
]


def chapter(
    section: str, folder: str, figure: str, arguments: Sequence[str] = ()
) -> Dict[str, Any]:
    """Run the chapter's code once; returns the seconds of each phase, and the peak memory.

    ``figure`` is "draw" or "quiet". If a phase was timed in part, ``whole`` is scaled up, too.
    """
    script = ROOT / "benchmarks" / "chapter" / f"{section}.py"
    figures = measure([sys.executable, str(script), folder, figure, *arguments])
    whole = figures["whole"] - figures["spent"] + sum(figures["seconds"].values())
    return {**with_sum(figures["seconds"]), **figures, "whole": whole}


def ours(section: str, folder: str, options: Sequence[str] = ()) -> Dict[str, Any]:
    """Run our script of the section once, with all files and the figure that it writes."""
    with tempfile.TemporaryDirectory() as out:
        script = ROOT / "chapters" / f"{section}.py"
        command = [sys.executable, str(script), "--data-dir", folder, "--out", out, *options]
        figures = measure(command)
        seconds = json.loads((pathlib.Path(out) / "result.json").read_text())["seconds"]
    return {**with_sum(seconds), **figures, "scaled": []}


def with_sum(seconds: Dict[str, float]) -> Dict[str, float]:
    """The seconds of each phase and, as ``file to number``, of all phases together."""
    phases = {phase: seconds[phase] for phase in PHASES}
    return {**phases, "file to number": sum(phases.values())}


def row(
    name: str, theirs: List[float], mine: List[float], unit: str = "s", scaled: bool = False
) -> List[str]:
    """A line of the table: the median of each side, and the ratios of the pairs."""
    ratios = [a / b for a, b in zip(theirs, mine)]
    digits = 0 if unit == "MiB" else 2
    chapters, ours = (f"{statistics.median(side):.{digits}f} {unit}" for side in (theirs, mine))
    return [name, "~ " * scaled + chapters, ours, spread(ratios)]


def rows(section: str, runs: Dict[str, List[Dict[str, Any]]], mark: str = "") -> List[List[str]]:
    """The section's lines of the table; ``mark`` is appended to the section's name."""
    num_epochs, _ = SECTIONS[section]
    scaled = runs["chapter"][0]["scaled"]

    def columns(name: str, side: str = "chapter", per: int = 1) -> List[List[float]]:
        return [[figures[name] / per for figures in runs[s]] for s in (side, "ours")]

    def both(name: str, key: str, scaled: bool) -> List[List[str]]:
        """The line of the chapter with its live figure, and the line without, if there is one."""
        found = [row(name, *columns(key), scaled=scaled)]
        if runs["no figure"]:
            found.append(row("the same, no live figure", *columns(key, "no figure")))
        return found

    table = [
        row("load", *columns("load"), scaled="load" in scaled),
        *both(f"train, {num_epochs} epochs", "train", "train" in scaled),
        row("one evaluation", *columns("evaluate", per=num_epochs), scaled="evaluate" in scaled),
        *both("from file to final number", "file to number", bool(scaled)),
        *both("whole script", "whole", bool(scaled)),
        row("peak memory", *columns("memory"), unit="MiB"),
    ]
    return [[section + mark if not number else "", *line] for number, line in enumerate(table)]


def main(
    only: Annotated[str, Option(help="Sections, separated by commas.")] = ",".join(SECTIONS),
    pairs: Annotated[int, Option(min=1, help="How often each side runs.")] = 3,
    data_dir: Optional[pathlib.Path] = None,
    clicks_dir: ClicksDir = None,
    batch_size: Annotated[
        Optional[int],
        Option(
            min=1,
            help="Batch size of fm and deepfm. The chapter's code needs at least five batches in "
            f"an epoch. Default: {BATCH_SIZE}, or {GENERATED_BATCH_SIZE} for generated rows.",
        ),
    ] = None,
    json_file: Annotated[
        Optional[pathlib.Path], Option(help="Also write all measurements to this JSON file.")
    ] = None,
) -> None:
    """Time each section of the chapter: the chapter's own code and this project's, in turn."""
    sections = chosen(only, SECTIONS)
    generated = clicks_dir is None
    batch_size = batch_size or (GENERATED_BATCH_SIZE if generated else BATCH_SIZE)
    all_runs, table = {}, []
    with tempfile.TemporaryDirectory() as temporary:
        if not set(sections) <= set(CLICKS):
            ratings = find_ml100k(data_dir).rating_lines()
            (pathlib.Path(temporary) / "u.data").write_bytes(ratings)
        if generated and set(sections) & set(CLICKS):
            clicks = GeneratedClicks(GENERATED_FIELDS)
            for name, count in GENERATED.items():
                clicks.write(pathlib.Path(temporary) / name, count)
        for section in sections:
            folder, mark, theirs, mine = temporary, "", [], []
            if section in CLICKS:
                folder = temporary if generated else str(clicks_dir)
                mark = " *" if generated else ""
                theirs = [str(batch_size)]
                mine = ["--batch-size", str(batch_size)]
            runs: Dict[str, List[Dict[str, Any]]] = {"chapter": [], "no figure": [], "ours": []}
            for _ in range(pairs):
                runs["chapter"].append(chapter(section, folder, "draw", theirs))
                runs["ours"].append(ours(section, folder, mine))
                if SECTIONS[section][1]:
                    runs["no figure"].append(chapter(section, folder, "quiet", theirs))
            all_runs[section] = runs
            table += rows(section, runs, mark)
    print(tabulate(table, ["section", "", "chapter", "ours", "ratio"]))
    machine = environment()
    if set(sections) & set(CLICKS):
        counts = " and ".join(f"{count:,}" for count in GENERATED.values())
        made_up = f"* generated, {counts} rows of {len(GENERATED_FIELDS)} fields; " * generated
        print(f"{made_up}fm, deepfm: batches of {batch_size}")
    print(
        f"~ scaled up from a part of the run; {pairs} pairs of runs; "
        f"{machine['platform']}, Python {machine['python']}"
    )
    if json_file is not None:
        clicks_read = {"generated": generated, "batch_size": batch_size}
        everything = {"environment": machine, "clicks": clicks_read, "runs": all_runs}
        json_file.write_text(json.dumps(everything, indent=2) + "\n")


if __name__ == "__main__":
    run(main)
