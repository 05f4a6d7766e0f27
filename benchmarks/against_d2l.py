"""The chapter's own code against this project's, in one run on one machine.

    python -m benchmarks.against_d2l [--only mf,fm] [--pairs 3] [--data-dir DIR] [--clicks-dir DIR]

Each side runs as a process of its own, in turn, on one CPU device with the chapter's settings. The
chapter's side, in ``benchmarks/chapter``, is d2l 1.0.3 with Gluon's DataLoader; where it takes too
long, a part is timed and scaled up, and marked with ``~``. Its live figure is timed apart, by
processes that draw nothing. Ratios are taken pair by pair: median [smallest, largest].

FM and DeepFM need the book's clicks, ``train.csv`` and ``test.csv`` in ``--clicks-dir``. Without
them both sides run on generated rows, fewer than the book's and in smaller batches. From file to
final number is loading, training and evaluation: a whole script without its start and its imports.
"""

import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any, Dict, List, Optional, Sequence

import numpy as np
from tabulate import tabulate
from typer import Option
from typing_extensions import Annotated

from benchmarks.generated_clicks import GeneratedClicks
from d2l_recsys.datasets.movielens import find_ml100k
from d2l_recsys.errors import SettingError
from d2l_recsys.runs.results import environment
from d2l_recsys.sections.command_line import run

ROOT = pathlib.Path(__file__).resolve().parent.parent
PHASES = ("load", "train", "evaluate")
# Epochs, and whether the chapter's live figure is drawn often enough to be timed apart.
SECTIONS = {
    "mf": (20, True),
    "autorec": (25, True),
    "neumf": (10, False),
    "caser": (8, False),
    "fm": (30, True),
    "deepfm": (30, True),
}
CLICKS = ("fm", "deepfm")
# The chapter's batch size for clicks. The generated rows, of which there are these for training and
# testing, fill few batches of it, so they come in smaller ones.
BATCH_SIZE, GENERATED_BATCH_SIZE = 2048, 256
GENERATED = {"train.csv": 2500, "test.csv": 500}
GENERATED_FIELDS = np.geomspace(2, 1000, 34).astype(int).tolist()

ClicksDir = Annotated[
    Optional[pathlib.Path],
    Option(help="Folder of clicks for fm and deepfm: train.csv and test.csv in the book's layout."),
]


def measure(command: List[str]) -> Dict[str, Any]:
    """Wall seconds and peak memory (MiB) of a process, with the last line it prints as JSON."""
    started = time.perf_counter()
    with tempfile.TemporaryFile() as printed, tempfile.TemporaryFile() as complaints:
        process = subprocess.Popen(command, stdout=printed, stderr=complaints)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - started
        printed.seek(0)
        complaints.seek(0)
        if status:
            raise SystemExit(f"{' '.join(command)} failed:\n{complaints.read().decode()}")
        lines = printed.read().decode().strip().splitlines()
    figures = json.loads(lines[-1]) if lines and lines[-1].startswith("{") else {}
    return {**figures, "whole": wall, "memory": usage.ru_maxrss / 1024}


def chapter(
    section: str, folder: str, figure: str, arguments: Sequence[str] = ()
) -> Dict[str, Any]:
    """One run of the chapter's code; ``figure`` is "draw" or "quiet"."""
    script = ROOT / "benchmarks" / "chapter" / f"{section}.py"
    figures = measure([sys.executable, str(script), folder, figure, *arguments])
    whole = figures["whole"] - figures["spent"] + sum(figures["seconds"].values())
    return {**with_sum(figures["seconds"]), **figures, "whole": whole}


def ours(section: str, folder: str, options: Sequence[str] = ()) -> Dict[str, Any]:
    """One run of the section's script, files and figure included."""
    with tempfile.TemporaryDirectory() as out:
        script = ROOT / "chapters" / f"{section}.py"
        command = [sys.executable, str(script), "--data-dir", folder, "--out", out, *options]
        figures = measure(command)
        seconds = json.loads((pathlib.Path(out) / "result.json").read_text())["seconds"]
    return {**with_sum(seconds), **figures, "scaled": []}


def with_sum(seconds: Dict[str, float]) -> Dict[str, float]:
    """The seconds of each phase, and of all: from the file to the final number."""
    phases = {phase: seconds[phase] for phase in PHASES}
    return {**phases, "file to number": sum(phases.values())}


def row(
    name: str, theirs: List[float], mine: List[float], unit: str = "s", scaled: bool = False
) -> List[str]:
    """A line of the table: medians, and the ratios of the pairs."""
    ratios = [a / b for a, b in zip(theirs, mine)]
    spread = f"{statistics.median(ratios):.1f}x [{min(ratios):.1f}, {max(ratios):.1f}]"
    digits = 0 if unit == "MiB" else 2
    chapters, ours = (f"{statistics.median(side):.{digits}f} {unit}" for side in (theirs, mine))
    return [name, "~ " * scaled + chapters, ours, spread]


def rows(section: str, runs: Dict[str, List[Dict[str, Any]]], mark: str = "") -> List[List[str]]:
    """The section's lines of the table; ``mark`` follows its name."""
    num_epochs, _ = SECTIONS[section]
    scaled = runs["chapter"][0]["scaled"]

    def columns(name: str, side: str = "chapter", per: int = 1) -> List[List[float]]:
        return [[figures[name] / per for figures in runs[s]] for s in (side, "ours")]

    table = [
        row("load", *columns("load"), scaled="load" in scaled),
        row(f"train, {num_epochs} epochs", *columns("train"), scaled="train" in scaled),
        row("one evaluation", *columns("evaluate", per=num_epochs), scaled="evaluate" in scaled),
    ]
    for name, key in (("from file to final number", "file to number"), ("whole script", "whole")):
        table.append(row(name, *columns(key), scaled=bool(scaled)))
        if runs["no figure"]:
            table.append(row("the same, no live figure", *columns(key, "no figure")))
    table.append(row("peak memory", *columns("memory"), unit="MiB"))
    return [[section + mark if not number else "", *line] for number, line in enumerate(table)]


def main(
    only: Annotated[str, Option(help="Sections, separated by commas.")] = ",".join(SECTIONS),
    pairs: Annotated[int, Option(min=1, help="Times each side runs.")] = 3,
    data_dir: Optional[pathlib.Path] = None,
    clicks_dir: ClicksDir = None,
    batch_size: Annotated[
        Optional[int],
        Option(
            min=1,
            help="Rows in a batch of fm and deepfm; the chapter's code needs five batches in an "
            f"epoch. Default: {BATCH_SIZE}; {GENERATED_BATCH_SIZE} for generated rows.",
        ),
    ] = None,
    json_file: Annotated[
        Optional[pathlib.Path], Option(help="Also write all figures here.")
    ] = None,
) -> None:
    """Time the chapter's sections and this project's, in turn."""
    sections = only.split(",")
    for section in sections:
        if section not in SECTIONS:
            raise SettingError(f"--only has {section!r}; choose from: {', '.join(SECTIONS)}")
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
