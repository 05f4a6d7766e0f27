"""The report of a reproduction: Markdown, one self-contained HTML page, figures, and numbers."""

import json
import pathlib
import re
from typing import Any, Dict, List, Mapping, NamedTuple, Sequence

import numpy as np

from d2l_recsys import __version__
from d2l_recsys.reproduction.figures import OVERVIEW, Picture, draw_figures
from d2l_recsys.reproduction.page_html import CONTENTS, anchor, html_page
from d2l_recsys.reproduction.runs import DescribedData, FinishedRun
from d2l_recsys.reproduction.summary import Summary, as_reference, summarise
from d2l_recsys.reproduction.tables import (
    ABSENT,
    aligned,
    condition_lines,
    count,
    lines,
    marked,
    without_empty_columns,
    words,
)
from d2l_recsys.sections.registry import SECTIONS, VARIANTS
from d2l_recsys.storage.files import as_json, prepare_folder, write_files

FIGURES = "figures"


class Reproduction(NamedTuple):
    """What a report is about: the described data sets, and the finished runs."""

    data: Dict[str, DescribedData]
    runs: Sequence[FinishedRun]

    @property
    def seeds(self) -> List[int]:
        """The seeds of the runs."""
        return sorted({run.stamp["seed"] for run in self.runs})

    @property
    def by_variant(self) -> Dict[str, List[FinishedRun]]:
        """The runs of each variant, in the order of the registry."""
        found: Dict[str, List[FinishedRun]] = {}
        for name in VARIANTS:
            of_variant = [run for run in self.runs if run.stamp["variant"] == name]
            if of_variant:
                found[name] = of_variant
        return found

    def summaries(self) -> List[Summary]:
        """The summaries of the sections on data, then the summaries of the variants."""
        found = [summarise(name, [described.result]) for name, described in self.data.items()]
        for name, runs in self.by_variant.items():
            found.append(summarise(name, [run.result for run in runs]))
        return found


def write_report(reproduction: Reproduction, folder: pathlib.Path) -> List[pathlib.Path]:
    """Write ``report.md``, ``report.html``, ``numbers.json`` and the figures into ``folder``.

    Returns the paths of the first three. Raises OutputError if a file cannot be written.
    """
    summaries = reproduction.summaries()
    figures = draw_figures(reproduction.data, reproduction.by_variant, summaries)
    text = markdown(reproduction, summaries, figures)
    images = {f"{FIGURES}/{name}": figure.content for name, figure in figures.items()}
    files = {
        "report.md": text.encode("utf-8"),
        "report.html": html_page(text, images).encode("utf-8"),
        "numbers.json": numbers_json(reproduction, summaries),
    }
    of_figures = prepare_folder(folder / FIGURES)
    write_files(of_figures, {name: figure.content for name, figure in figures.items()})
    for former in set(of_figures.glob("*.png")) - {of_figures / name for name in figures}:
        former.unlink()
    write_files(folder, files)
    return [folder / name for name in files]


def numbers(reproduction: Reproduction, summaries: Sequence[Summary]) -> Dict[str, Any]:
    """The content of ``numbers.json``: the numbers of each variant and seed."""
    first = reproduction.runs[0]
    return {
        "seeds": reproduction.seeds,
        "version": __version__,
        "num_devices": first.stamp["num_devices"],
        "environment": first.result["environment"],
        "variants": as_reference([s for s in summaries if s.name in reproduction.by_variant]),
    }


def numbers_json(reproduction: Reproduction, summaries: Sequence[Summary]) -> bytes:
    """The file ``numbers.json``: one list on one line."""
    text = as_json(numbers(reproduction, summaries)).decode("utf-8")
    # json writes one number a line. Put each list of numbers on one line.
    text = re.sub(r"\[\n[^][{}]*\]", lambda found: json.dumps(json.loads(found[0])), text)
    return text.encode("utf-8")


def markdown(
    reproduction: Reproduction, summaries: Sequence[Summary], figures: Mapping[str, Picture]
) -> str:
    """The report as Markdown. The ``figures`` are in the folder of this name."""
    parts = ["## In brief"]
    if OVERVIEW in figures:
        parts += [*_figure(OVERVIEW, figures), READ_STANDINGS]
    conditions = "\n".join(f"- {line}" for line in condition_lines(summaries))
    parts += [_brief(summaries), *([conditions] if conditions else []), *_how_to_read(summaries)]
    for section in SECTIONS.values():
        of_section = [summary for summary in summaries if summary.section == section.name]
        if of_section:
            parts.append(f"## {section.source} {section.title}")
        for summary in of_section:
            parts += _variant(summary, figures)
    parts += ["## Made with", _made_with(reproduction)]
    parts += ["## Time", _times(summaries), _how_measured(reproduction)]
    title = f"# The chapter, reproduced over {count(len(reproduction.seeds), 'seed')}"
    start = [title, _introduction(summaries), f"## {CONTENTS}", _contents(parts)]
    return "\n\n".join([*start, *parts]) + "\n"


READ_STANDINGS = (
    "Each blue stroke is one seed. Each red diamond is a number in the book. Each row has its own "
    "scale: the distance from the mean over seeds, in standard deviations. (The standard deviation "
    "includes the rounding error of the book's number.) The gray band is two standard deviations "
    "wide on each side. The numbers of our runs are seldom outside the band."
)
READ_TABLE = (
    "**Reported** is the number in the book. **Printed** is what the book's code computes here, "
    "mistakes included. **Defined** is what the book's equations and text say."
)
READ_SPREADS = "Numbers over seeds are means ± standard deviations (n - 1)."
READ_COMPARISONS = (
    "**z** is the distance of the reported number from the printed mean, in standard deviations. "
    "(The standard deviation includes the rounding error of the reported number. z is positive if "
    "the reported number is larger.) The **percentile** is the share of seeds below the reported "
    "number. Before this comparison, the number of each seed is rounded to the decimals of the "
    "reported number. If both are equal, the seed counts as one half."
)
READ_CURVES = (
    "Each figure of a training shows printed numbers, or defined numbers if the net was trained as "
    "defined. A gray line is a number in the book. The training loss in a figure is the loss that "
    "the chapter draws. For ratings, it is not the printed loss in the table (ERRATA.md, D3)."
)
READ_BANDS = "A curve is the mean over seeds, in a band from the smallest to the largest value."


def _introduction(summaries: Sequence[Summary]) -> str:
    text = (
        "Every run has the chapter's settings, except for the change that its name states. "
        "`d2l-recsys reproduce` makes this report."
    )
    substitutes = {s.dataset["name"] for s in summaries if s.dataset.get("substitute")}
    if substitutes:
        names = _escaped(" and ".join(sorted(substitutes)))
        text += (
            f" **Names with an asterisk ran on {names}**, not on the chapter's data. Do not "
            "compare their numbers with the reported numbers."
        )
    return text


def _contents(parts: Sequence[str]) -> str:
    """A list of links: one line for each heading of level 2, with the headings below it."""
    found: List[List[str]] = []
    for part in parts:
        level, _, heading = part.partition(" ")
        link = f"[{heading}](#{anchor(heading)})"
        if level == "##":
            found.append([link])
        elif level == "###":
            found[-1].append(link)
    groups = [[first, ", ".join(others)] for first, *others in found]
    return "\n".join("- " + ": ".join(filter(None, group)) for group in groups)


def _how_to_read(summaries: Sequence[Summary]) -> List[str]:
    """Paragraphs that explain the columns and the figures of the report, and no others."""
    over_seeds = any(len(summary.seeds) > 1 for summary in summaries)
    compares = any(found.z is not None for s in summaries for found in s.comparisons.values())
    of_tables = [READ_TABLE, *[READ_SPREADS] * over_seeds, *[READ_COMPARISONS] * compares]
    return [*of_tables, " ".join([READ_CURVES, *[READ_BANDS] * over_seeds])]


def _figure(name: str, figures: Mapping[str, Picture]) -> List[str]:
    """The image of a figure, and its caption."""
    shown = figures[name]
    return [f"![{_escaped(shown.alt)}]({FIGURES}/{name})", f"*{_escaped(shown.caption)}*"]


def _table(headers: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """A table in Markdown. Its first ``left`` columns are aligned left."""
    return aligned(*without_empty_columns(headers, rows), left=left, style="pipe")


def _brief(summaries: Sequence[Summary]) -> str:
    rows = []
    for summary in summaries:
        if not summary.reported:
            continue
        name = f"[{_escaped(marked(summary))}](#{anchor(summary.name)})"
        for line in lines(summary):
            if ABSENT not in (line.reported, line.printed):
                rows.append([name, line.number, *(getattr(line, column) for column in SHORT)])
                name = ""
    if not rows:
        return "The book reports no number of these runs."
    return _table(["section", "number", *SHORT], rows, left=2)


SHORT = ("reported", "printed", "z", "percentile", "defined")


def _variant(summary: Summary, figures: Mapping[str, Picture]) -> List[str]:
    rows = [line for line in lines(summary) if line.number != words("examples_per_sec")]
    headers = ["number", "reported", "printed", "printed min, max"]
    headers += ["z", "percentile", "defined", "defined min, max"]
    parts = [f"### {_escaped(marked(summary))}"]
    if summary.name in VARIANTS:
        description = VARIANTS[summary.name].description
        parts.append(f"{description[0].upper()}{description[1:]}.")
    parts += [_table(headers, rows), *_figure(f"{summary.name}.png", figures)]
    if summary.settings:
        given = {name: value for name, value in summary.settings.items() if value != []}
        settings = ", ".join(f"{name} {value}" for name, value in given.items())
        parts.append(f"Settings: {_escaped(settings)}.")
    return parts


def _made_with(reproduction: Reproduction) -> str:
    first = reproduction.runs[0]
    environment = first.result["environment"]
    rows = [
        ["seeds", ", ".join(map(str, reproduction.seeds))],
        ["devices", ", ".join(environment["devices"])],
        *([name, environment[name]] for name in ("platform", "python", "mxnet", "numpy")),
        ["d2l_recsys", __version__],
        ["code", f"SHA-256 {first.stamp['code']}"],
    ]
    for described in reproduction.data.values():
        dataset = described.result["dataset"]
        rows.append(
            [
                _escaped(dataset["name"] + "*" * dataset["substitute"]),
                f"{_escaped(dataset['source'])}, SHA-256 {dataset['sha256']}",
            ]
        )
    return _table(["name", "value"], rows, left=2)


def _times(summaries: Sequence[Summary]) -> str:
    phases = ("load", "train", "evaluate", "total")
    rows = [
        [summary.name]
        + [f"{np.median(summary.seconds[phase].values):.1f}" for phase in phases]
        + [f"{np.median(summary.examples_per_second.values):,.0f}"]
        for summary in summaries
        if summary.examples_per_second is not None
    ]
    return _table(["variant", *phases, "examples per second"], rows)


def _how_measured(reproduction: Reproduction) -> str:
    """Say on what machine the times were measured, and what they are."""
    environment = reproduction.runs[0].result["environment"]
    devices = environment["devices"]
    models = sorted({run.result.get("processor") or "" for run in reproduction.runs} - {""})
    processor = f", processor {_escaped(' or '.join(models))}" if models else ""
    jobs = sorted({count(run.stamp["jobs"], "run") for run in reproduction.runs})
    medians = ", medians over seeds" * (len(reproduction.seeds) > 1)
    return (
        f"Measured on {environment['platform']}{processor}, with "
        f"{count(len(devices), 'device')} ({', '.join(devices)}) and {' or '.join(jobs)} at a "
        f"time. Times are seconds of wall time{medians}. Other work on the machine makes them "
        "longer. Examples per second are training samples divided by the time of training."
    )


def _escaped(text: str) -> str:
    """Escape the characters of ``text`` that Markdown would interpret."""
    return re.sub(r"([\\`*<|\[\]])", r"\\\1", text)
