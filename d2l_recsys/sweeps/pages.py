"""The files of a sweep: a table in Markdown and as text, a figure, CSV and JSON."""

import dataclasses
import functools
import json
import pathlib
from typing import Any, Dict, List, Optional, Sequence

import pandas as pd

from d2l_recsys.errors import OutputError
from d2l_recsys.reproduction.tables import data_lines
from d2l_recsys.runs.plots import png
from d2l_recsys.runs.results import environment
from d2l_recsys.sections.registry import SYSTEMS, Kind
from d2l_recsys.settings import Protocol
from d2l_recsys.storage.archive import shown
from d2l_recsys.storage.files import as_json, content_of, write_files
from d2l_recsys.sweeps.figure import draw_sweep
from d2l_recsys.sweeps.grid import as_text
from d2l_recsys.sweeps.runs import Outcome
from d2l_recsys.sweeps.table import Row, row_of, shown_numbers, table_of

# The names of the files that ``write_sweep`` leaves, without their ends.
SWEEP = "sweep"
# At most this many numbers have a panel in the figure.
PANELS = 3


@dataclasses.dataclass(frozen=True)
class Sweep:
    """A finished sweep: its name, and the outcome of each of its points.

    ``wanted`` are the names of further numbers that its table shows. ``shown`` says which numbers
    it shows, by default those of the protocol of each run.
    """

    name: str
    outcomes: Sequence[Outcome]
    wanted: Sequence[str] = ()
    shown: Optional[Protocol] = None

    @property
    def title(self) -> str:
        """The name, with an asterisk if the data is a substitute."""
        return self.name + "*" * any(result["dataset"]["substitute"] for result in self.results)

    @functools.cached_property
    def results(self) -> List[Dict[str, Any]]:
        """The results of all runs that have numbers."""
        return [result for outcome in self.outcomes for result in outcome.results]

    @functools.cached_property
    def rows(self) -> List[Row]:
        """A row for each outcome."""
        return [row_of(outcome, self.shown) for outcome in self.outcomes]

    @property
    def numbers(self) -> List[str]:
        """The names of the numbers that the table shows; empty if no run has numbers."""
        kinds = dict.fromkeys(outcome.point.section.kind for outcome in self.outcomes)
        return shown_numbers(self.rows, list(kinds))

    @property
    def drawn(self) -> List[str]:
        """The names of the numbers that the figure shows: those that are not all equal, if any."""
        vary = [
            name
            for name in self.numbers
            if len({row.numbers[name].mean for row in self.rows if name in row.numbers}) > 1
        ]
        return (vary or self.numbers)[:PANELS]

    @property
    def notes(self) -> List[str]:
        """Lines below the table: what ± is, how the runs differ, which data they used."""
        results, lines = self.results, []
        seeds = sorted({result["seed"] for result in results if result["seed"] is not None})
        if len(seeds) > 1:
            lines.append(f"mean ± standard deviation over the seeds {as_text(seeds)}")
        protocols = {
            self.shown or result["protocol"]
            for result in results
            if SYSTEMS[result["chapter"]].kind is not Kind.data
        }
        if protocols:
            lines.append(f"the numbers are the {' and the '.join(sorted(protocols))} ones")
        if any(result["settings"].get("split") == "validation" for result in results):
            lines.append('split validation: "test" stands for what is held out to choose settings')
        # One line for each point: over the seeds, a point fails for the same reason.
        failed = {
            str(outcome.point): run.failed
            for outcome in self.outcomes
            for run in outcome.runs
            if run.failed
        }
        lines += [f"failed: {message}" for message in failed.values()]
        return lines + data_lines([result["dataset"] for result in results])

    def table(self, style: str = "simple") -> str:
        """The table in a style of ``aligned``."""
        return table_of(self.rows, [*self.numbers, *self.wanted], style)

    def text(self) -> str:
        """The table and the notes, for a terminal."""
        return "\n".join([self.title, "", self.table(), "", *self.notes])

    def markdown(self, figure: str) -> str:
        """The table, the notes and the ``figure`` (a path), as Markdown."""
        notes = "\n".join(f"- {note}" for note in self.notes)
        shown = f"\n![{self.title}]({figure})\n" * bool(self.numbers)
        title = self.title.replace("*", "\\*")
        return f"# {title}\n\n{self.table('pipe')}\n\n{notes}\n{shown}"

    def as_dict(self) -> Dict[str, Any]:
        """The content of ``sweep.json``."""
        return {
            "title": self.title,
            "environment": environment(),
            "points": [
                {
                    "system": outcome.point.section.name,
                    "options": outcome.point.options,
                    "labels": row.labels,
                    "seeds": [run.stamp["seed"] for run in outcome.runs],
                    "failed": row.num_failed,
                    "numbers": {name: spread._asdict() for name, spread in row.numbers.items()},
                    "dataset": outcome.results[0]["dataset"] if outcome.results else None,
                    "reported": row.reported,
                    "seconds": row.seconds,
                }
                for outcome, row in zip(self.outcomes, self.rows)
            ],
        }

    def figure(self) -> bytes:
        """The figure, as PNG."""
        return png(draw_sweep(self.rows, self.drawn, self.title))

    def csv(self) -> bytes:
        """A line for each run: its labels, its seed, and all its numbers of both protocols."""
        lines = []
        for outcome in self.outcomes:
            labels = {name: as_text(value) for name, value in outcome.point.labels.items()}
            for run in outcome.runs:
                line = {**labels, "seed": run.stamp["seed"], "failed": run.failed}
                for protocol in Protocol:
                    numbers = (run.result or {}).get(protocol, {})
                    line.update({f"{protocol}_{name}": v for name, v in numbers.items()})
                lines.append(line)
        return pd.DataFrame(lines).to_csv(index=False).encode("utf-8")


def refuse_another_sweep(folder: pathlib.Path, name: str) -> None:
    """Raise OutputError if ``folder`` has the files of a sweep that is not called ``name``.

    A file that is no sweep is not protected.
    """
    try:
        title = json.loads(content_of(folder / f"{SWEEP}.json"))["title"]
    except (OSError, ValueError, KeyError, TypeError):
        return
    if str(title).rstrip("*") != name:
        raise OutputError(
            f"{folder} has another sweep ({shown(title)}, not {name}); choose another folder with "
            "--out"
        )


def write_sweep(sweep: Sweep, folder: pathlib.Path) -> List[str]:
    """Write the files of ``sweep`` into ``folder``, and return their names.

    If no run has numbers, there is no figure. Raises OutputError if a file cannot be written.
    """
    picture = f"{SWEEP}.png"
    files = {
        f"{SWEEP}.csv": sweep.csv(),
        f"{SWEEP}.json": as_json(sweep.as_dict()),
        f"{SWEEP}.md": sweep.markdown(picture).encode("utf-8"),
    }
    if sweep.numbers:
        files[picture] = sweep.figure()
    else:
        (folder / picture).unlink(missing_ok=True)
    write_files(folder, files)
    return list(files)
