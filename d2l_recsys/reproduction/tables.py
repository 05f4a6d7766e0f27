"""The tables: for each number, what the book reports beside what the runs give."""

import itertools
import math
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from tabulate import tabulate

from d2l_recsys.reproduction.differing import CHECKSUM
from d2l_recsys.reproduction.summary import Comparison, Spread, Summary
from d2l_recsys.runs.reported import (
    Conditions,
    all_reported,
    changed_settings,
    differing_conditions,
    note_on_loss,
)
from d2l_recsys.runs.results import SUBSTITUTE
from d2l_recsys.storage.archive import shown

# The settings that distinguish the variants of a section.
VARIANT = ("split", "variant", "head", "loss", "L", "trained_on", "dataset")
VALUES = {"L": "L {}", "trained_on": "on {}"}
DECIMALS = {"sparsity": 6, "examples_per_sec": 0}
COUNTS = ("num_", "train_rows", "test_rows", "dead_units")
ABSENT = "-"
# A line names so many runs; of more runs, it has the number.
NAMED_RUNS = 3
# A line has so many digits of a checksum.
CHECKSUM_DIGITS = 16


def label(result: Mapping[str, Any]) -> str:
    """Name the variant of the section that was run, by its settings."""
    return ", ".join(
        VALUES.get(name, "{}").format(value)
        for name, value in ((name, result["settings"].get(name)) for name in VARIANT)
        if value is not None
    )


def label_among(result: Mapping[str, Any], differs: Mapping[str, Any]) -> str:
    """``label``, and the further settings in ``differs``: they set the run apart from others."""
    settings = {**result["settings"], **differs}
    named = {name for name in VARIANT if settings.get(name) is not None}
    if "trained_on" in named:
        # The protocol chose it.
        named.add("protocol")
    further = [_setting(name, value) for name, value in differs.items() if name not in named]
    return ", ".join(filter(None, [label({"settings": settings}), *further]))


def _setting(name: str, value: Any) -> str:
    """A setting with its value: a list as ``100,50``, an empty list as ``none``."""
    values = value if isinstance(value, list) else [value]
    text = shown(",".join(map(str, values))) or "none"
    return f"{name} {text[:CHECKSUM_DIGITS] if name == CHECKSUM else text}"


class Line(NamedTuple):
    """One row of a table, as text. ``z`` and ``percentile`` compare reported with printed."""

    number: str
    reported: str
    printed: str
    printed_range: str
    z: str
    percentile: str
    defined: str
    defined_range: str


def lines(summary: Summary) -> List[Line]:
    """Return a line for each number of ``summary``; the speed is the last."""
    speed = {"examples_per_sec": summary.examples_per_second}
    defined = {**summary.defined, **speed}
    found = []
    for name in dict.fromkeys([*summary.printed, *summary.defined, *summary.reported, *speed]):
        line = Line(
            words(name),
            formatted(name, summary.reported.get(name)),
            *_spread(name, summary.printed.get(name)),
            *_comparison(summary.comparisons.get(name)),
            *_spread(name, defined.get(name)),
        )
        if {line.reported, line.printed, line.defined} != {ABSENT}:
            found.append(line)
    return sorted(found, key=lambda line: line.number == "examples per sec")


def _decimals(name: str) -> int:
    return 0 if name.startswith(COUNTS) else DECIMALS.get(name, 3)


def formatted(name: str, value: Optional[float]) -> str:
    """``value`` of the number ``name``, with the decimals that this number has."""
    return ABSENT if value is None else f"{value:.{_decimals(name)}f}"


def mean_and_sd(name: str, spread: Optional[Spread]) -> str:
    """Mean ± standard deviation of the number ``name``; only the number itself for one run."""
    return _spread(name, spread)[0]


def _spread(name: str, spread: Optional[Spread]) -> Tuple[str, str]:
    """Mean ± standard deviation, and the range.

    They have one decimal more than the number of a single run. Whole numbers get no decimals.
    """
    if spread is None or math.isnan(spread.mean):
        return ABSENT, ABSENT
    if len(spread.values) == 1:
        return formatted(name, spread.mean), ABSENT
    decimals = _decimals(name)
    decimals += decimals > 0
    mean, sd, low, high = (f"{value:.{decimals}f}" for value in spread[:4])
    return f"{mean} ± {sd}", f"[{low}, {high}]"


def _comparison(found: Optional[Comparison]) -> Tuple[str, str]:
    """The z score and the percentile, if there are enough seeds to compare with."""
    if found is None or found.z is None:
        return ABSENT, ABSENT
    beyond = "" if not found.outside else " (below all)" if found.z < 0 else " (above all)"
    return z_score(found.z), f"{found.percentile:.0f} %{beyond}"


def z_score(z: float) -> str:
    """A z score with its sign and one decimal."""
    # Adding 0 turns -0.0 into 0.0.
    return f"{round(z, 1) + 0:+.1f}"


def words(name: str) -> str:
    """The name of a number, as it stands in a table."""
    return name.replace("_", " ")


def table(summaries: Sequence[Summary], labels: Sequence[str] = ()) -> str:
    """The table for the terminal: each number as reported, as printed, and as defined.

    With several seeds it has standard deviations, and the z score of the reported number. An
    asterisk marks names whose data is a substitute. ``labels`` has a text for each summary.
    """
    over_seeds = any(len(summary.seeds) > 1 for summary in summaries)
    headers = ["section", *["variant"] * bool(labels), "number", "reported", "printed"]
    headers += [*["z"] * over_seeds, "defined"]
    rows = []
    for position, summary in enumerate(summaries):
        first = [marked(summary), *labels[position : position + 1]]
        for line in lines(summary):
            z = [line.z] * over_seeds
            rows.append([*first, line.number, line.reported, line.printed, *z, line.defined])
            first = [""] * len(first)
    return aligned(headers, rows, left=headers.index("reported"))


def aligned(
    headers: Sequence[str], rows: Sequence[Sequence[str]], left: int, style: str = "simple"
) -> str:
    """A table: the first ``left`` columns are aligned left, all other columns right.

    ``style`` is one of tabulate's: "simple" for the terminal, "pipe" for Markdown.
    """
    columns = ["left"] * left + ["right"] * (len(headers) - left)
    return tabulate(rows, headers, tablefmt=style, disable_numparse=True, colalign=columns)


def without_empty_columns(
    headers: Sequence[str], rows: Sequence[Sequence[str]]
) -> Tuple[List[str], List[List[str]]]:
    """The headers and the rows, without the columns that have no value in any row."""
    has_value = [any(cell != ABSENT for cell in column) for column in zip(*rows)]
    kept, *kept_rows = ([*itertools.compress(row, has_value)] for row in (headers, *rows))
    return kept, kept_rows


def count(number: int, noun: str) -> str:
    """The number and the noun; the noun is in the plural unless the number is 1."""
    return f"{number} {noun}{'s' * (number != 1)}"


def marked(summary: Summary) -> str:
    """The name, with an asterisk if the data is a substitute."""
    return summary.name + "*" * bool(summary.dataset.get("substitute"))


def data_lines(datasets: Sequence[Mapping[str, Any]]) -> List[str]:
    """A line for each data set: its name, source and checksum, and whether it is a substitute."""
    found = []
    for dataset in datasets:
        line = f"data: {dataset['name']} from {dataset['source']}, "
        line += f"SHA-256 {dataset['sha256'][:CHECKSUM_DIGITS]}"
        if dataset.get("substitute"):
            line += f"; * {SUBSTITUTE}"
        found.append(line)
    return list(dict.fromkeys(found))


def condition_lines(summaries: Sequence[Summary], names: Sequence[str] = ()) -> List[str]:
    """Say how the runs differ from the book's runs: a line for each difference.

    ``names`` has a name for each summary, by default its own. There is no line for a summary that
    the book has no numbers for, or that ran as in the book.
    """
    differing: Dict[Conditions, List[str]] = {}
    noted: Dict[str, List[str]] = {}
    for name, summary in zip(names or [summary.name for summary in summaries], summaries):
        if summary.reported:
            found = differing_conditions(summary.section, summary.settings)
            differing.setdefault(found, []).append(name)
            note = note_on_loss(summary.section, summary.settings)
            noted.setdefault(note, []).append(name)
    found_lines = [
        f"{', '.join(of)}: the book ran {found.book}; here it was {found.ours}"
        for found, of in differing.items()
        if found.ours
    ]
    return found_lines + [f"{', '.join(of)}: {note}" for note, of in noted.items() if note]


def has_other_settings(result: Mapping[str, Any]) -> bool:
    """Whether the book has numbers of this section, but of a run with other settings."""
    section = result["chapter"]
    return section in all_reported() and bool(changed_settings(section, result["settings"]))


def other_settings_lines(names: Sequence[str]) -> List[str]:
    """A line that the book has no numbers for the runs ``names``; none if there is no such run."""
    if not names:
        return []
    runs = ", ".join(names) if len(names) <= NAMED_RUNS else count(len(names), "run")
    why = "this run, because it has" if len(names) == 1 else "these runs, because they have"
    return [f"{runs}: the book has no numbers for {why} other settings"]
