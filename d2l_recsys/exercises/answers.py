"""Answer an exercise: do its runs, check its claims, and put the numbers into its words."""

import pathlib
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence

import numpy as np

from d2l_recsys.exercises.claims import Checked, check, filled
from d2l_recsys.exercises.clicks import EXERCISES as ON_CLICKS
from d2l_recsys.exercises.data import EXERCISES as ON_DATA
from d2l_recsys.exercises.exercise import Exercise, OfOneMovie, Part
from d2l_recsys.exercises.ranking import EXERCISES as ON_RANKINGS
from d2l_recsys.exercises.ratings import EXERCISES as ON_RATINGS
from d2l_recsys.recommend.predictions import predict, summary_of
from d2l_recsys.recommend.titles import title_with_year
from d2l_recsys.reproduction.tables import ABSENT, aligned, data_lines
from d2l_recsys.runs.plots import draw_predictions, png
from d2l_recsys.saved_models import load_model
from d2l_recsys.settings import ClickDataset
from d2l_recsys.sweeps.grid import Point
from d2l_recsys.sweeps.pages import Sweep
from d2l_recsys.sweeps.runs import FoundData, Outcome, run_points
from d2l_recsys.sweeps.table import Row

EXERCISES: Dict[str, Exercise] = {
    exercise.number: exercise for exercise in [*ON_DATA, *ON_RATINGS, *ON_RANKINGS, *ON_CLICKS]
}
# The styles of the tables: for a terminal, and for Markdown.
STYLES = ("simple", "pipe")


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


class Answer(NamedTuple):
    """An answered exercise: its parts, its checked claims, and its words with the numbers."""

    exercise: Exercise
    parts: List[Shown]
    checked: List[Checked]
    words: str


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

    def run(self, points: Sequence[Point], seeds: Sequence[int]) -> List[Outcome]:
        """Run ``points`` under these conditions."""
        runs = self.folder / "runs"
        return run_points(points, seeds, runs, self.data_dir, self.jobs, self.quiet, self.found)


def answer(exercise: Exercise, conditions: Conditions) -> Answer:
    """Do the runs of ``exercise`` that are not finished, and put its answer together.

    The words and the claims are about MovieLens. With other clicks they are left out. Raises what
    ``run_points`` raises.
    """
    parts = [
        _of_one_movie(part, conditions)
        if isinstance(part, OfOneMovie)
        else _sweep(part, conditions)
        for part in exercise.parts
    ]
    if exercise.on_clicks and not conditions.has_words:
        return Answer(exercise, parts, [], "")
    rows = [part.rows for part in parts]
    checked = [check(claim, rows) for claim in exercise.claims]
    return Answer(exercise, parts, checked, filled(exercise.answer, rows))


def points_of(exercises: Sequence[Exercise], dataset: ClickDataset) -> List[Point]:
    """All points of ``exercises``."""
    parts = [part for exercise in exercises for part in exercise.parts]
    return [point for part in parts for point in part.points(dataset)]


def _sweep(part: Part, conditions: Conditions) -> Shown:
    first = conditions.first_seed
    seeds = range(first, first + (conditions.seeds or part.seeds))
    outcomes = conditions.run(part.points(conditions.dataset), seeds)
    sweep = Sweep(part.title, outcomes, part.numbers, part.shown)
    return Shown(
        sweep.title,
        {style: sweep.table(style) for style in STYLES},
        sweep.notes,
        {part.title: sweep.figure()} if len(outcomes) > 1 and sweep.numbers else {},
        sweep.rows,
        sweep.as_dict(),
    )


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
