"""The figure of a sweep: each number against the settings, with the spread over the seeds."""

import math
from typing import Any, List, Sequence, Tuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator, NullFormatter, NullLocator

from d2l_recsys.reproduction.tables import formatted, words
from d2l_recsys.runs.plots import new_figure
from d2l_recsys.sweeps.grid import as_text
from d2l_recsys.sweeps.table import Row, better, heading

# The width of one panel, in inches, and the ratio of two values from which an axis is logarithmic.
WIDTH, WIDE = 3.6, 20
# A figure is at most this wide and this high, in inches: larger ones cannot be stored.
LARGEST = 60


def draw_sweep(rows: Sequence[Row], numbers: Sequence[str], title: str = "") -> Figure:
    """Draw each of ``numbers`` in a panel of its own.

    One numeric setting gives a line through the means, in a band from the smallest to the largest
    value over the seeds. Two settings give a heat map. Anything else gives a point for each row,
    with the same range as a bar. Settings for which every run failed are marked.
    """
    labels = list(rows[0].labels)
    if len(labels) == 2 and len(rows) > 1 and _is_grid(rows):
        draw, size = _draw_map, _map_size(rows)
    elif len(labels) == 1 and len(rows) > 1 and _are_numbers(_values(rows, labels[0])):
        draw, size = _draw_line, (WIDTH, 2.7)
    else:
        draw, size = _draw_points, (WIDTH + 0.4, 1.1 + 0.28 * len(rows))
    size = min(size[0] * len(numbers), LARGEST), min(size[1], LARGEST)
    figure, axes = new_figure(size, len(numbers))
    for part, number in zip(np.atleast_1d(axes), numbers):
        draw(part, rows, number)
        part.tick_params(labelsize=7)
        told = better(number)
        part.set_title(heading(number) + f" ({told})" * bool(told), fontsize=9)
        part.xaxis.label.set_size(8)
        part.yaxis.label.set_size(8)
    if title:
        figure.suptitle(title, fontsize=8)
    return figure


def _values(rows: Sequence[Row], label: str) -> List[Any]:
    """The values of a label, each once, in the order of the rows."""
    found: List[Any] = []
    for row in rows:
        if row.labels[label] not in found:
            found.append(row.labels[label])
    return found


def _is_grid(rows: Sequence[Row]) -> bool:
    """Whether the rows are all pairs of two labels that both have several values."""
    sizes = [len(_values(rows, label)) for label in rows[0].labels]
    return min(sizes) > 1 and math.prod(sizes) == len(rows)


def _are_numbers(values: Sequence[Any]) -> bool:
    return all(type(value) in (int, float) for value in values)


def _spread_of(row: Row, number: str) -> Tuple[float, float, float]:
    """Mean, smallest and largest value; NaN without a value."""
    spread = row.numbers.get(number)
    return (spread.mean, spread.min, spread.max) if spread else (math.nan,) * 3


def _draw_line(axes: Axes, rows: Sequence[Row], number: str) -> None:
    (label,) = rows[0].labels
    rows = sorted(rows, key=lambda row: row.labels[label])
    values = [row.labels[label] for row in rows]
    x = np.array(values, dtype=float)
    wide = x[x > 0].size > 1 and x[x > 0].max() / x[x > 0].min() >= WIDE
    if wide and x.min() > 0:
        axes.set_xscale("log")
    elif wide:
        # A logarithmic axis has no place for 0, so all values stand at equal distances.
        x = np.arange(len(x), dtype=float)
    mean, low, high = np.array([_spread_of(row, number) for row in rows]).T
    axes.fill_between(x, low, high, color="C0", alpha=0.2, linewidth=0)
    axes.plot(x, mean, "-", color="C0", marker=".", markersize=5)
    for place, row in zip(x, rows):
        if number in row.numbers:
            each = row.numbers[number].values
            axes.plot([place] * len(each), each, "_", color="C0", alpha=0.6, markersize=5)
    axes.xaxis.set_major_locator(FixedLocator(x))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())
    crowded = len("".join(map(as_text, values))) > 24
    axes.set_xticks(x, map(as_text, values), rotation=45 * crowded)
    failed = [place for place, row in zip(x, rows) if row.all_failed]
    if failed:
        height = axes.get_xaxis_transform()
        axes.plot(failed, [0.97] * len(failed), "x", color="C3", transform=height, label="failed")
        axes.legend(frameon=False, fontsize=7)
    axes.set_xlabel(words(label))
    axes.grid(color="0.92")
    axes.set_axisbelow(True)


def _draw_points(axes: Axes, rows: Sequence[Row], number: str) -> None:
    mean, low, high = np.array([_spread_of(row, number) for row in rows]).T
    places = np.arange(len(rows))
    axes.hlines(places, low, high, color="C0", alpha=0.35, linewidth=4)
    axes.plot(mean, places, "o", color="C0", markersize=4)
    names = [", ".join(map(as_text, row.labels.values())) or "defaults" for row in rows]
    names = [name + " (failed)" * row.all_failed for name, row in zip(names, rows)]
    axes.set_yticks(places, names)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=4))
    axes.grid(color="0.92", axis="x")
    axes.set_axisbelow(True)


def _map_size(rows: Sequence[Row]) -> Tuple[float, float]:
    down, across = (len(_values(rows, label)) for label in rows[0].labels)
    return 1.6 + 0.75 * across, 1.2 + 0.38 * down


def _draw_map(axes: Axes, rows: Sequence[Row], number: str) -> None:
    """A row for each value of the first setting, a column for each value of the second."""
    first, second = rows[0].labels
    down, across = (_values(rows, label) for label in (first, second))
    means, texts = np.full((len(down), len(across)), np.nan), {}
    for row in rows:
        place = down.index(row.labels[first]), across.index(row.labels[second])
        means[place] = _spread_of(row, number)[0]
        spread = row.numbers.get(number)
        texts[place] = _short(number, spread.mean) if spread else "failed" * row.all_failed
    # A few values that are far off must not take all shades.
    low, middle, high = np.nanmin(means), np.nanmedian(means), np.nanmax(means)
    reach = 2 * min(middle - low, high - middle)
    shades = axes.imshow(
        means,
        cmap="viridis",
        aspect="auto",
        vmin=max(low, middle - reach),
        vmax=min(high, middle + reach),
    )
    axes.spines[:].set_visible(False)
    for (i, j), text in texts.items():
        dark = not math.isnan(means[i, j]) and shades.norm(means[i, j]) < 0.5
        axes.text(j, i, text, ha="center", va="center", fontsize=7, color="w" if dark else "k")
    axes.set_xticks(range(len(across)), map(as_text, across))
    axes.set_yticks(range(len(down)), map(as_text, down))
    axes.set(xlabel=words(second), ylabel=words(first))


def _short(number: str, value: float) -> str:
    """``value`` as a cell has room for it."""
    return formatted(number, value) if abs(value) < 1000 else f"{value:.0e}"
