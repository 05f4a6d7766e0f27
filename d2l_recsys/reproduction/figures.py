"""The figures of the report: each with a text that says what it shows, and with a caption."""

from typing import Dict, Mapping, NamedTuple, Sequence, Tuple

import numpy as np

from d2l_recsys.reproduction.runs import DescribedData, FinishedRun
from d2l_recsys.reproduction.summary import Summary
from d2l_recsys.reproduction.tables import count, words, z_score
from d2l_recsys.runs.plots import draw_curves, draw_standings, png
from d2l_recsys.sections.registry import VARIANTS
from d2l_recsys.training.history import CURVES

OVERVIEW = "standings.png"
# For each section on data: the key of its result that its figure shows, and what the figure shows.
OF_DATA = {
    "movielens": ("ratings", "How often each rating occurs in {}"),
    "ctr": ("fields", "How many features each field of {} has"),
}


class Picture(NamedTuple):
    """A PNG file, a plain text for readers who cannot see it, and the line below it."""

    content: bytes
    alt: str
    caption: str


def draw_figures(
    data: Mapping[str, DescribedData],
    by_variant: Mapping[str, Sequence[FinishedRun]],
    summaries: Sequence[Summary],
) -> Dict[str, Picture]:
    """The figures of the sections on data, each variant's curves, and the standings, by file name.

    There are no standings if no reported number has a z score.
    """
    figures = {f"{name}.png": _of_data(name, described) for name, described in data.items()}
    figures.update((f"{name}.png", _of_training(name, runs)) for name, runs in by_variant.items())
    standings = []
    for summary in summaries:
        for number, found in summary.comparisons.items():
            if found.z is not None:
                of_number = summary.printed[number]
                distances = np.subtract(of_number.values, of_number.mean) / found.scale
                standings.append((f"{summary.name}: {words(number)}", distances, found.z))
    if standings:
        figures[OVERVIEW] = _of_standings(standings)
    return figures


def _of_data(name: str, described: DescribedData) -> Picture:
    key, shown = OF_DATA[name]
    shown = shown.format(described.result["dataset"]["name"])
    bars = (f"{bar}: {height:,}" for bar, height in described.result.get(key, {}).items())
    return Picture(described.figure, f"{shown}, as bars. {'; '.join(bars)}", f"{shown}.")


def _of_training(name: str, runs: Sequence[FinishedRun]) -> Picture:
    result, curve = runs[0].result, CURVES[VARIANTS[name].section.kind]
    substitute = result["dataset"]["substitute"]
    quoted = {} if substitute else result["reported"]
    # The loss that the chapter draws is not the loss that it reports.
    levels = {n: quoted[n] for n in curve.metrics if n in quoted and n != "train_loss"}
    curves = np.array([run.history.curve(result["protocol"], curve.metrics) for run in runs])
    other_data = f"{result['dataset']['name']}, not the chapter's data" * substitute
    figure = draw_curves(curves, curve.legend, curve.ylim, list(levels.values()), other_data)

    over = f"mean of {count(len(runs), 'seed')}" if len(runs) > 1 else "one seed"
    if substitute:
        over += f", on {other_data}"
    courses = []
    for metric, label, values in zip(curve.metrics, curve.legend, np.moveaxis(curves, 2, 0)):
        reported = f" (the book reports {levels[metric]:.3f})" if metric in levels else ""
        courses.append(f"the {label} {course_of(values, curve.ylim[1])}{reported}")
    epochs = count(curves.shape[1], "epoch")
    alt = f"Curves of {name} over {epochs}, {over}: {'; '.join(courses)}."
    caption = f"{name} after each epoch: {result['protocol']} numbers, {over}."
    return Picture(png(figure), alt, caption)


def course_of(values: np.ndarray, top: float) -> str:
    """Say in words how the mean of a curve over seeds runs, as far as it lies below ``top``.

    ``values`` has shape (seeds, epochs), with NaN for a missing point.
    """
    means = values[:, ~np.isnan(values).any(axis=0)].mean(axis=0)
    if not len(means):
        return "is missing"
    ends = means[0], means[-1], means.min(), means.max()
    first, last, low, high = (f"above {top:g}" if v > top else f"{v:.3f}" for v in ends)
    if first == last:
        course = f"begins and ends at {first}"
    else:
        course = f"{'falls' if means[0] > means[-1] else 'rises'} from {first} to {last}"
    for word, extreme in (("lowest", low), ("highest", high)):
        course += f", {word} {extreme}" * (extreme not in (first, last))
    return course


def _of_standings(standings: Sequence[Tuple[str, Sequence[float], float]]) -> Picture:
    seeds = count(len(standings[0][1]), "seed")
    alt = f"Distance of each number in the book from the mean of {seeds}, in standard deviations. "
    alt += "; ".join(f"{name} {z_score(z)}" for name, _, z in standings)
    caption = f"The numbers in the book among the printed numbers of {seeds}."
    return Picture(png(draw_standings(standings)), alt, caption)
