"""Do the runs of a part of an exercise, and show what they give: a table and figures."""

import functools
import pathlib
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple, Union

import numpy as np

from d2l_recsys.exercises.exercise import BestOfUsers, OfOneMovie, OverEpochs, Part
from d2l_recsys.recommend import in_words, recommend
from d2l_recsys.recommend.predictions import predict, summary_of
from d2l_recsys.recommend.titles import title_with_year
from d2l_recsys.reproduction.tables import ABSENT, aligned, data_lines, formatted, words
from d2l_recsys.runs.plots import draw_over_epochs, draw_predictions, png
from d2l_recsys.saved_models import load_model
from d2l_recsys.settings import ClickDataset, Protocol
from d2l_recsys.sweeps.grid import Point, as_text
from d2l_recsys.sweeps.pages import Sweep
from d2l_recsys.sweeps.runs import Done, FoundData, Outcome, run_points
from d2l_recsys.sweeps.table import Row
from d2l_recsys.training.history import History

# The styles of the tables: for a terminal, and for Markdown.
STYLES = ("simple", "pipe")
# The length of a list of recommended movies.
BEST = 5


class Shown(NamedTuple):
    """A part of an answer: its title, its table for the terminal and for Markdown, its notes.

    ``figures`` are PNG files, each with a text that says what it shows. ``rows`` are the rows of a
    sweep, which claims and words refer to. ``document`` has the numbers for JSON.
    """

    title: str
    table: Mapping[str, str]
    notes: Sequence[str]
    figures: Mapping[str, bytes]
    rows: Sequence[Row]
    document: Dict[str, Any]


class Conditions(NamedTuple):
    """How exercises are run.

    ``seeds`` is None for the number that each part asks for. ``dataset`` names the clicks, and
    ``found`` has the data sets (see ``find_data``).
    """

    folder: pathlib.Path
    data_dir: Optional[pathlib.Path]
    jobs: int
    quiet: bool
    dataset: ClickDataset = ClickDataset.movielens
    seeds: Optional[int] = None
    first_seed: int = 0
    found: Optional[FoundData] = None

    @property
    def has_words(self) -> bool:
        """Whether the words and the claims of exercises on clicks are about these clicks."""
        return self.dataset is ClickDataset.movielens

    def seeds_of(self, asked: Union[int, Sequence[int]]) -> Sequence[int]:
        """The seeds of a part that asks for ``asked``: their number, or the seeds themselves.

        The user may ask for another number, and for another first seed. Seeds that a part names
        stay as they are, because its words are about them.
        """
        if not isinstance(asked, int):
            return asked
        return range(self.first_seed, self.first_seed + (self.seeds or asked))

    def run(self, points: Sequence[Point], seeds: Sequence[int]) -> List[Outcome]:
        """Run ``points`` under these conditions."""
        runs = self.folder / "runs"
        return run_points(points, seeds, runs, self.data_dir, self.jobs, self.quiet, self.found)


@functools.singledispatch
def shown(part: Any, conditions: Conditions) -> Shown:
    """Do the runs of ``part`` that are not finished, and show what they give.

    Raises what ``run_points`` raises.
    """
    raise TypeError(f"{type(part).__name__} is no part of an exercise")


@shown.register
def _sweep(part: Part, conditions: Conditions) -> Shown:
    outcomes = conditions.run(part.points(conditions.dataset), conditions.seeds_of(part.seeds))
    sweep = Sweep(part.title, outcomes, part.numbers, part.shown)
    return Shown(
        sweep.title,
        {style: sweep.table(style) for style in STYLES},
        sweep.notes,
        {part.title: sweep.figure()} if len(outcomes) > 1 and sweep.numbers else {},
        sweep.rows,
        sweep.as_dict(),
    )


@shown.register
def _of_one_movie(part: OfOneMovie, conditions: Conditions) -> Shown:
    """Train the system with the first seed, and predict the ratings of all users for each movie."""
    (outcome,) = conditions.run(part.points(conditions.dataset), [conditions.first_seed])
    model = load_model(outcome.runs[0].folder)
    lines, figures, movies = [], {}, []
    for item in part.items:
        found = predict(model, None, item, conditions.data_dir)
        name = title_with_year(found["title"][0], found["year"][0])
        real = found["rating"].dropna().to_numpy(np.float64)
        mean = float(real.mean()) if len(real) else None
        summary = summary_of(found["prediction"])
        told = [f"{value:.3f}" for value in summary.values()]
        told += [str(len(real)), ABSENT if mean is None else f"{mean:.3f}"]
        lines.append([name, str(len(found)), *told])
        movies.append({"item_id": item, "title": name, **summary, "mean_rating": mean})
        title = f"Predicted ratings of {name}"
        figures[title] = png(
            draw_predictions(found["prediction"], "predicted rating", "users", title, mean)
        )
    headers = ["movie", "users", *summary, "real ratings", "their mean"]
    return Shown(
        part.title,
        {style: aligned(headers, lines, 1, style) for style in STYLES},
        [
            f"the model is {part.system} with seed {conditions.first_seed}; ratings as defined",
            *data_lines([result["dataset"] for result in outcome.results]),
        ],
        figures,
        [],
        {"title": part.title, "movies": movies},
    )


@shown.register
def _over_epochs(part: OverEpochs, conditions: Conditions) -> Shown:
    """Show the numbers of each run epoch by epoch, as its file ``history.csv`` has them."""
    outcomes = conditions.run(part.points(conditions.dataset), conditions.seeds_of(part.seeds))
    groups = [group for outcome in outcomes for group in _regimes_of(outcome, part.regimes)]
    sweep = Sweep(part.title, outcomes)
    protocol = next((result["protocol"] for result in sweep.results), Protocol.printed)
    lines, drawn = [], []
    for labels, histories in groups:
        for number in part.numbers:
            curves = [_curve(history, number, protocol) for history in histories]
            cells = [_mean_and_range(number, curves, epoch) for epoch in part.epochs]
            told = [as_text(value) for value in labels.values()]
            lines.append([*told, str(len(histories)), words(number), *cells])
        told = (f"{words(name)} {as_text(value)}" for name, value in labels.items())
        drawn.append((", ".join(told), histories))
    headers = [*map(words, groups[0][0]), "runs", "number", *(f"epoch {e}" for e in part.epochs)]
    several = any(len(outcome.runs) > 1 for outcome in outcomes)
    return Shown(
        part.title,
        {
            style: aligned(headers, lines, len(headers) - len(part.epochs), style)
            for style in STYLES
        },
        [
            *["mean [lowest, highest] over the runs"] * several,
            *(note for note in sweep.notes if not note.startswith("mean ±")),
        ],
        {
            f"{part.title}: {words(number)}": png(
                draw_over_epochs(
                    [(name, [_curve(h, number, protocol) for h in of]) for name, of in drawn],
                    words(number),
                )
            )
            for number in part.numbers
        },
        sweep.rows,
        sweep.as_dict(),
    )


def _regimes_of(outcome: Outcome, number: str) -> List[Tuple[Dict[str, Any], List[History]]]:
    """The labels and the histories of an outcome; split in two if its runs differ in ``number``.

    A run that failed has no history.
    """
    labels = outcome.point.labels
    runs = [run for run in outcome.runs if run.result is not None]
    if not number:
        return [(labels, [_history(run) for run in runs])]
    found = []
    for value, told in ((0, "no"), (1, "yes")):
        of_value = [_history(run) for run in runs if run.result["defined"][number] == value]
        if of_value:
            found.append(({**labels, number: told}, of_value))
    return found or [({**labels, number: ABSENT}, [])]


def _history(run: Done) -> History:
    return History.from_csv(run.folder / "history.csv")


def _curve(history: History, number: str, protocol: str) -> List[float]:
    """The ``number`` of ``protocol`` after each epoch."""
    return [values[0] for values in history.curve(protocol, (number,))]


def _mean_and_range(number: str, curves: Sequence[Sequence[float]], epoch: int) -> str:
    if not curves:
        return ABSENT
    values = [curve[epoch - 1] for curve in curves]
    mean, low, high = (formatted(number, v) for v in (np.mean(values), min(values), max(values)))
    return mean if low == high else f"{mean} [{low}, {high}]"


@shown.register
def _best_of_users(part: BestOfUsers, conditions: Conditions) -> Shown:
    """Show the movies that each model, trained with the first seed, recommends to each user."""
    outcomes = conditions.run(part.points(conditions.dataset), [conditions.first_seed])
    lines, lists = [], []
    for outcome in outcomes:
        model, labels = load_model(outcome.runs[0].folder), outcome.point.labels
        for user in part.users:
            best = recommend(model, user, BEST, conditions.data_dir)
            lines.append([*map(as_text, labels.values()), str(user), in_words(best)])
            lists.append(
                {
                    "labels": labels,
                    "user": user,
                    "movies": [
                        {"item_id": int(item_id), "title": title, "score": float(score)}
                        for item_id, title, score in best[["item_id", "title", "score"]].to_numpy()
                    ],
                }
            )
    headers = [*map(words, outcomes[0].point.labels), "user", f"the {BEST} best, with their scores"]
    return Shown(
        part.title,
        {style: aligned(headers, lines, len(headers), style) for style in STYLES},
        data_lines([result["dataset"] for o in outcomes for result in o.results]),
        {},
        [],
        {"title": part.title, "lists": lists},
    )
