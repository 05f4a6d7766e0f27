"""The report of a reproduction: Markdown, figures, numbers, and one self-contained HTML page."""

import base64
import html
import itertools
import json
import pathlib
import re
from typing import Dict, List, Mapping, NamedTuple, Sequence

import numpy as np

from d2l_recsys import __version__
from d2l_recsys.reproduction.runs import DescribedData, FinishedRun
from d2l_recsys.reproduction.summary import Summary, as_reference, summarise
from d2l_recsys.reproduction.tables import ABSENT, aligned, condition_lines, count, lines, marked
from d2l_recsys.runs.plots import draw_curves, draw_standings, png
from d2l_recsys.sections.registry import SECTIONS, VARIANTS
from d2l_recsys.storage.files import as_json, prepare_folder, write_files
from d2l_recsys.training.history import CURVES

FIGURES = "figures"
OVERVIEW = "standings"


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
    figures = draw_figures(reproduction, summaries)
    text = markdown(reproduction, summaries)
    files = {
        "report.md": text.encode("utf-8"),
        "report.html": html_page(text, figures).encode("utf-8"),
        "numbers.json": numbers_json(reproduction, summaries),
    }
    of_figures = prepare_folder(folder / FIGURES, "")
    write_files(of_figures, figures)
    for former in set(of_figures.glob("*.png")) - {of_figures / name for name in figures}:
        former.unlink()
    write_files(folder, files)
    return [folder / name for name in files]


def draw_figures(reproduction: Reproduction, summaries: Sequence[Summary]) -> Dict[str, bytes]:
    """Draw each variant's curve over seeds, and the standings; return PNG files by name."""
    figures = {f"{name}.png": described.figure for name, described in reproduction.data.items()}
    for name, runs in reproduction.by_variant.items():
        result, curve = runs[0].result, CURVES[VARIANTS[name].section.kind]
        substitute = result["dataset"]["substitute"]
        quoted = {} if substitute else result["reported"]
        curves = [run.history.curve(result["protocol"], curve.metrics) for run in runs]
        figure = draw_curves(
            curves,
            curve.legend,
            curve.ylim,
            reported=[quoted[n] for n in curve.metrics if n in quoted and n != "train_loss"],
            title=f"{result['dataset']['name']}, not the chapter's data" * substitute,
        )
        figures[f"{name}.png"] = png(figure)
    standings = []
    for summary in summaries:
        for number, found in summary.comparisons.items():
            if found.z is not None:
                of_number = summary.printed[number]
                distances = np.subtract(of_number.values, of_number.mean) / found.scale
                standings.append((f"{summary.name}: {_words(number)}", distances, found.z))
    if standings:
        figures[f"{OVERVIEW}.png"] = png(draw_standings(standings))
    return figures


def numbers_json(reproduction: Reproduction, summaries: Sequence[Summary]) -> bytes:
    """The file ``numbers.json``: the numbers of each variant and seed, one list on one line."""
    first = reproduction.runs[0]
    content = {
        "seeds": reproduction.seeds,
        "version": __version__,
        "num_devices": first.stamp["num_devices"],
        "environment": first.result["environment"],
        "variants": as_reference([s for s in summaries if s.name in reproduction.by_variant]),
    }
    text = as_json(content).decode("utf-8")
    # json writes one number a line. Put each list of numbers on one line.
    text = re.sub(r"\[\n[^][{}]*\]", lambda found: json.dumps(json.loads(found[0])), text)
    return text.encode("utf-8")


def markdown(reproduction: Reproduction, summaries: Sequence[Summary]) -> str:
    """The report as Markdown. Its figures are in the folder ``figures``."""
    title = f"# The chapter, reproduced over {count(len(reproduction.seeds), 'seed')}"
    parts = [title, _introduction(summaries)]
    if any(found.z is not None for s in summaries for found in s.comparisons.values()):
        parts += [f"![reported among reproduced numbers]({FIGURES}/{OVERVIEW}.png)", READ_FIGURE]
    conditions = "\n".join(f"- {line}" for line in condition_lines(summaries))
    parts += ["## In brief", _brief(summaries), *([conditions] if conditions else []), READ_TABLE]
    for section in SECTIONS.values():
        of_section = [summary for summary in summaries if summary.section == section.name]
        if of_section:
            parts.append(f"## {section.source} {section.title}")
        for summary in of_section:
            parts += _variant(summary)
    parts += ["## Made with", _made_with(reproduction), "## Time", _time(summaries)]
    jobs = count(reproduction.runs[0].stamp["jobs"], "run")
    parts.append(
        f"Medians over seeds, in seconds of wall time, with {jobs} at once. Other work on the "
        "machine makes these times longer. Examples per second are training samples divided by the "
        "time of training."
    )
    return "\n\n".join(parts) + "\n"


def html_page(text: str, figures: Mapping[str, bytes]) -> str:
    """Turn ``text``, the report in Markdown, into one HTML page that needs no other file."""
    from markdown_it import MarkdownIt

    body = MarkdownIt("commonmark").enable("table").render(text)
    for name, content in figures.items():
        data = base64.b64encode(content).decode("ascii")
        body = body.replace(f'src="{FIGURES}/{name}"', f'src="data:image/png;base64,{data}"')
    body = body.replace("<table>", '<div class="wide"><table>')
    body = body.replace("</table>", "</table></div>")
    style = pathlib.Path(__file__).with_name("report.css").read_text(encoding="utf-8")
    title = html.escape(text.partition("\n")[0].lstrip("# "))
    return PAGE.format(title=title, style=style, body=body)


PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
{style}</style>
</head>
<body>
<main>
{body}</main>
</body>
</html>
"""
READ_FIGURE = (
    "Each blue stroke is one seed. Each red diamond is a number in the book. Each row has its own "
    "scale: the distance from the mean over seeds, in standard deviations. (The standard deviation "
    "includes the rounding error of the book's number.) The gray band is two standard deviations "
    "wide on each side. The numbers of our runs are seldom outside the band."
)
READ_TABLE = (
    "**Reported** is the number in the book. **Printed** is what the book's code computes here, "
    "mistakes included. **Defined** is what the book's equations and text say. Numbers over seeds "
    "are means ± standard deviations (n - 1). **z** is the distance of the reported number from "
    "the printed mean, in standard deviations. (The standard deviation includes the rounding error "
    "of the reported number. z is positive if the reported number is larger.) The **percentile** "
    "is the share of seeds below the reported number. Before this comparison, the number of each "
    "seed is rounded to the decimals of the reported number. If both are equal, the seed counts as "
    "one half. Each figure shows the mean over seeds, in a band from the smallest to the largest "
    "value. It shows printed numbers, or defined numbers if the net was trained as defined."
)


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


def _brief(summaries: Sequence[Summary]) -> str:
    rows = []
    for summary in summaries:
        if not summary.reported:
            continue
        name = f"[{_escaped(marked(summary))}](#{summary.name})"
        for line in lines(summary):
            if ABSENT not in (line.reported, line.printed):
                rows.append([name, line.number, *(getattr(line, column) for column in SHORT)])
                name = ""
    return aligned(["", "number", *SHORT], rows, left=2, style="pipe")


SHORT = ("reported", "printed", "z", "percentile", "defined")


def _variant(summary: Summary) -> List[str]:
    rows = [list(line) for line in lines(summary) if line.number != _words("examples_per_sec")]
    headers = ["number", "reported", "printed", "min, max"]
    headers += ["z", "percentile", "defined", "min, max"]
    # Leave out a column that has no value here.
    said = [any(row[column] != ABSENT for row in rows) for column in range(len(headers))]
    headers, *rows = ([*itertools.compress(row, said)] for row in (headers, *rows))
    parts = [f'<a id="{summary.name}"></a>', f"### {_escaped(marked(summary))}"]
    if summary.name in VARIANTS:
        description = VARIANTS[summary.name].description
        parts.append(f"{description[0].upper()}{description[1:]}.")
    parts.append(aligned(headers, rows, left=1, style="pipe"))
    parts.append(f"![figure of {summary.name}]({FIGURES}/{summary.name}.png)")
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
    return aligned(["", ""], rows, left=2, style="pipe")


def _time(summaries: Sequence[Summary]) -> str:
    phases = ("load", "train", "evaluate", "total")
    rows = [
        [summary.name]
        + [f"{np.median(summary.seconds[phase].values):.1f}" for phase in phases]
        + [f"{np.median(summary.examples_per_second.values):,.0f}"]
        for summary in summaries
        if summary.examples_per_second is not None
    ]
    return aligned(["", *phases, "examples per second"], rows, left=1, style="pipe")


def _words(name: str) -> str:
    return name.replace("_", " ")


def _escaped(text: str) -> str:
    """Escape the characters of ``text`` that Markdown would interpret."""
    return re.sub(r"([\\`*<|\[\]])", r"\\\1", text)
