"""All figures. They do not use pyplot, so they leave matplotlib's global state alone."""

import io
import textwrap
from typing import Any, Mapping, Optional, Sequence, Tuple, Union

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, StrMethodFormatter

# The chapter's figure size in inches, its line styles and their colours.
FIGSIZE = (3.5, 2.5)
LINES = (("-", "C0"), ("--", "m"), ("-.", "g"), (":", "r"))


def new_figure(
    figsize: Tuple[float, float] = FIGSIZE, columns: int = 1
) -> Tuple[Figure, Union[Axes, np.ndarray]]:
    """A figure with its axes; with several ``columns``, with an array of axes side by side."""
    figure = Figure(figsize=figsize, dpi=200, layout="constrained")
    axes = figure.subplots(1, columns, squeeze=False)[0]
    for part in axes:
        part.spines[["top", "right"]].set_visible(False)
    return figure, axes[0] if columns == 1 else axes


def draw_curves(
    curves: np.ndarray,
    legend: Sequence[str],
    ylim: Tuple[float, Optional[float]],
    reported: Sequence[float] = (),
    title: str = "",
) -> Figure:
    """Draw the section's figure: one line per name in ``legend``, one point per epoch (from 1).

    ``curves`` has shape (epochs, lines), with NaN for a missing point. For several runs it has
    shape (runs, epochs, lines): each line is then the mean, in a band from the smallest to the
    largest value. ``reported`` are numbers of the book, drawn as horizontal levels. ``title``
    stands above the axes.
    """
    figure, axes = new_figure()
    runs = np.array(curves, ndmin=3)
    epochs = np.arange(1, runs.shape[1] + 1)
    for level in reported:
        axes.axhline(level, color="0.6", linewidth=0.8)
        axes.annotate(
            f"reported {level:.3f}",
            (0.99, level),
            xycoords=("axes fraction", "data"),
            xytext=(0, -3),
            textcoords="offset points",
            horizontalalignment="right",
            verticalalignment="top",
            fontsize=7,
            color="0.4",
        )
    for values, name, (style, color) in zip(np.moveaxis(runs, 2, 0), legend, LINES):
        drawn = ~np.isnan(values).any(axis=0)
        x, values = epochs[drawn], values[:, drawn]
        marker = "." if len(x) == 1 else ""
        axes.plot(x, values.mean(axis=0), style, color=color, label=name, marker=marker)
        if len(runs) > 1:
            axes.fill_between(x, values.min(axis=0), values.max(axis=0), color=color, alpha=0.2)
    axes.set(xlabel="epoch", ylim=ylim, xlim=(1, max(len(epochs), 2)))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    axes.grid(color="0.9")
    axes.set_axisbelow(True)
    axes.legend(frameon=False, fontsize=8)
    axes.set_title(title, fontsize=8)
    return figure


def draw_standings(standings: Sequence[Tuple[str, Sequence[float], float]]) -> Figure:
    """Draw reported numbers among reproduced numbers, one row for each.

    ``standings`` has (name, distances, z): the distances of the reproduced numbers from their mean,
    and the distance of the reported number from the same mean. Each row has its own scale.
    """
    figure, axes = new_figure((5.2, 0.8 + 0.24 * len(standings)))
    for row, (_, distances, z) in enumerate(standings):
        labels = (f"each of {len(distances)} seeds", "reported") if row == 0 else (None, None)
        height = np.full(len(distances), row)
        axes.plot(distances, height, "|", color="C0", alpha=0.7, markersize=9, label=labels[0])
        axes.plot(z, row, "D", color="C3", markersize=5, label=labels[1], clip_on=False)
    axes.set_yticks(range(len(standings)), [name for name, *_ in standings], fontsize=7)
    axes.set(xlabel="standard deviations from the mean", ylim=(len(standings) - 0.5, -0.5))
    axes.tick_params(axis="x", labelsize=7)
    axes.xaxis.label.set_size(8)
    reach = max(3.2, *(abs(limit) for limit in axes.get_xlim()))
    axes.set_xlim(-reach, reach)
    axes.axvspan(-2, 2, color="0.94", zorder=0)
    axes.axvline(0, color="0.8", linewidth=0.8, zorder=0)
    axes.legend(frameon=False, fontsize=7, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2)
    return figure


def draw_hits(ranks: Mapping[str, np.ndarray], num_items: int, title: str = "") -> Figure:
    """Draw the share of users whose held-out item is among the first k, for k to ``num_items``.

    ``ranks`` maps the name of each line to the rank (from 0) of each user's held-out item. Another
    line shows a random order.
    """
    figure, axes = new_figure()
    k = np.arange(1, num_items + 1)
    axes.plot(k, k / num_items, color="0.7", linewidth=0.8, label="by chance")
    for (name, of_users), (style, color) in zip(ranks.items(), LINES):
        hits = np.searchsorted(np.sort(of_users), k, side="left") / len(of_users)
        axes.plot(k, hits, style, color=color, label=name)
    axes.set(xscale="log", xlabel="first k items", ylabel="share of users", ylim=(0, 1))
    axes.set_xlim(1, max(num_items, 2))
    axes.grid(color="0.9")
    axes.set_axisbelow(True)
    axes.legend(frameon=False, fontsize=8)
    axes.set_title(title, fontsize=8)
    return figure


def draw_losses(
    leads: np.ndarray,
    losses: Mapping[str, Tuple[np.ndarray, np.ndarray]],
    curves: Mapping[str, Any],
) -> Figure:
    """Draw losses of a pair of items, their derivatives, and what training with each gives.

    ``leads`` are the differences of the two scores. ``losses`` has the values and the derivatives
    of each loss there. ``curves`` has a number over the epochs for each loss: its name is the title
    of the last panel, and each of its values maps the name of a loss to one value per epoch.
    """
    figure, axes = new_figure((3.2 * (2 + len(curves)), 2.6), 2 + len(curves))
    titles = ["loss", "derivative", *curves]
    for place, name in enumerate(losses):
        style, color = LINES[place]
        for part, values in zip(axes, losses[name]):
            part.plot(leads, values, style, color=color, label=name)
        for part, of_losses in zip(axes[2:], curves.values()):
            epochs = np.arange(1, len(of_losses[name]) + 1)
            part.plot(epochs, of_losses[name], style, color=color, label=name)
    for place, (part, title) in enumerate(zip(axes, titles)):
        part.set_title(title, fontsize=9)
        part.set_xlabel("lead of the seen item" if place < 2 else "epoch", fontsize=8)
        part.tick_params(labelsize=7)
        part.grid(color="0.9")
        part.set_axisbelow(True)
        if place >= 2:
            part.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    axes[0].legend(frameon=False, fontsize=8)
    return figure


def draw_over_epochs(groups: Sequence[Tuple[str, np.ndarray]], ylabel: str) -> Figure:
    """Draw a number epoch by epoch, a thin line for each run; the runs of a group share a colour.

    ``groups`` has the name of each group and its curves, (runs, epochs).
    """
    figure, axes = new_figure((5.2, 3.0))
    for place, (name, curves) in enumerate(groups):
        for run, curve in enumerate(curves):
            epochs = np.arange(1, len(curve) + 1)
            label = name if run == 0 else None
            axes.plot(epochs, curve, color=f"C{place}", linewidth=0.8, alpha=0.7, label=label)
    axes.set(xlabel="epoch", ylabel=ylabel, ylim=(0, None))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(color="0.9")
    axes.set_axisbelow(True)
    axes.legend(frameon=False, fontsize=7, loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def draw_singular_values(values: np.ndarray, title: str = "") -> Figure:
    """Draw the singular values of a matrix (logarithmic), the largest first."""
    figure, axes = new_figure()
    axes.plot(np.arange(1, len(values) + 1), values, ".", markersize=4)
    axes.set(yscale="log", xlabel="factor", ylabel="singular value")
    axes.grid(color="0.9")
    axes.set_axisbelow(True)
    axes.set_title(title, fontsize=8)
    return figure


def draw_leaderboard(
    points: Sequence[Tuple[str, float, float, Tuple[float, float]]], bar: float
) -> Figure:
    """Draw NDCG@10 against seconds of training (logarithmic), one point for each system.

    ``points`` has (name, seconds, NDCG@10, its interval). ``bar`` is the level that every system
    should reach. Each name stands beside its point; if there is no room, a line connects them.
    """
    figure, axes = new_figure((7.0, 5.0))
    # Times are rounded to 0.001 s, and 0 cannot be drawn on a logarithmic scale.
    points = [(name, max(seconds, 1e-3), *rest) for name, seconds, *rest in points]
    axes.axhline(bar, color="0.6", linewidth=0.8)
    for _, seconds, quality, (low, high) in points:
        color = "C0" if quality > bar else "0.6"
        axes.plot([seconds] * 2, [low, high], color=color, alpha=0.3, linewidth=1)
        axes.plot(seconds, quality, "o", color=color, markersize=4)
    axes.set(xscale="log", xlabel="seconds of training", ylabel="NDCG@10", ylim=(0, None))
    axes.set_axisbelow(True)
    axes.grid(color="0.93")
    axes.margins(x=0.18)
    figure.draw_without_rendering()
    _place_names(axes, [(name, seconds, quality) for name, seconds, quality, _ in points])
    return figure


def _place_names(axes: Axes, points: Sequence[Tuple[str, float, float]]) -> None:
    """Write each name at the free place nearest to its point."""
    size, height = 6.5, 9.0
    at = axes.transData.transform([(x, y) for _, x, y in points]) * 72 / axes.figure.dpi
    taken = [(x - 3, y - 3, x + 3, y + 3) for x, y in at]
    for (name, *point), (x, y) in zip(points, at):
        width = 0.56 * size * len(name)
        places = [
            (side * 5 - (side < 0) * width, step * height / 2)
            for step in sorted(range(-16, 17), key=abs)
            for side in (1, -1)
        ]
        for dx, dy in places:
            box = (x + dx, y + dy - height / 2, x + dx + width, y + dy + height / 2)
            if not any(
                box[0] < b[2] and b[0] < box[2] and box[1] < b[3] and b[1] < box[3] for b in taken
            ):
                break
        taken.append(box)
        far = abs(dy) > height / 2
        axes.annotate(
            name,
            point,
            xytext=(dx, dy),
            textcoords="offset points",
            fontsize=size,
            verticalalignment="center",
            arrowprops={"arrowstyle": "-", "color": "0.7", "linewidth": 0.5} if far else None,
        )


def draw_rating_histogram(counts: Sequence[int], title: str) -> Figure:
    """Draw how often each rating 1, 2, ... was given, with its share above the bar."""
    figure, axes = new_figure()
    ratings = range(1, len(counts) + 1)
    bars = axes.bar(ratings, counts, width=0.8, color="C0")
    total = sum(counts)
    axes.bar_label(bars, [f"{count / total:.0%}" for count in counts], fontsize=7, padding=1)
    axes.set(xlabel="rating", ylabel="count", xticks=list(ratings))
    axes.margins(y=0.1)
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.set_title(title, fontsize=8)
    return figure


def draw_predictions(
    predictions: Sequence[float],
    xlabel: str,
    ylabel: str,
    title: str,
    mean_rating: Optional[float] = None,
) -> Figure:
    """Draw how often each prediction occurs, in 30 bars of equal width.

    ``mean_rating`` is the mean of the real ratings, drawn as a vertical line; None draws no line.
    """
    figure, axes = new_figure()
    axes.hist(np.asarray(predictions, dtype=np.float64), bins=30, color="C0")
    if mean_rating is not None:
        label = f"mean of the real ratings, {mean_rating:.2f}"
        axes.axvline(mean_rating, color="C3", linewidth=1, label=label)
        axes.legend(
            frameon=False, fontsize=7, loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0
        )
    axes.set(xlabel=xlabel, ylabel=ylabel)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    # The title of a movie can be longer than the figure is wide.
    figure.suptitle(textwrap.fill(title, 48), fontsize=8)
    return figure


def draw_field_sizes(sizes: Mapping[str, int], title: str) -> Figure:
    """Draw how many features each field has (logarithmic), in the given order."""
    # The names of many fields need a wider figure.
    figure, axes = new_figure((max(FIGSIZE[0], 0.16 * len(sizes)), FIGSIZE[1]))
    positions = range(len(sizes))
    axes.bar(positions, list(sizes.values()), width=0.8, color="C0")
    axes.set(yscale="log", ylabel="features", ylim=(0.5, None))
    axes.set_xticks(positions, list(sizes), rotation=90, fontsize=7)
    axes.set_title(title, fontsize=8)
    return figure


def png(figure: Figure) -> bytes:
    """The bytes of ``figure`` as a PNG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()
