"""Answer an exercise: do its runs, check its claims, and put the numbers into its words."""

from typing import Dict, List, NamedTuple, Sequence

from d2l_recsys.exercises.claims import Checked, check, filled
from d2l_recsys.exercises.clicks import EXERCISES as ON_CLICKS
from d2l_recsys.exercises.data import EXERCISES as ON_DATA
from d2l_recsys.exercises.exercise import Exercise
from d2l_recsys.exercises.parts import Conditions, Shown, shown
from d2l_recsys.exercises.ranking import EXERCISES as ON_RANKINGS
from d2l_recsys.exercises.ratings import EXERCISES as ON_RATINGS
from d2l_recsys.exercises.tutorial import EXERCISES as OF_THE_TUTORIAL
from d2l_recsys.settings import ClickDataset
from d2l_recsys.sweeps.grid import Point

EXERCISES: Dict[str, Exercise] = {
    exercise.number: exercise
    for exercise in [*ON_DATA, *ON_RATINGS, *ON_RANKINGS, *ON_CLICKS, *OF_THE_TUTORIAL]
}


class Answer(NamedTuple):
    """An answered exercise: its parts, its checked claims, and its words with the numbers."""

    exercise: Exercise
    parts: List[Shown]
    checked: List[Checked]
    words: str


def answer(exercise: Exercise, conditions: Conditions) -> Answer:
    """Do the runs of ``exercise`` that are not finished, and put its answer together.

    The words and the claims are about MovieLens. With other clicks they are left out. Raises what
    ``run_points`` raises.
    """
    parts = [shown(part, conditions) for part in exercise.parts]
    if exercise.on_clicks and not conditions.has_words:
        return Answer(exercise, parts, [], "")
    rows = [part.rows for part in parts]
    checked = [check(claim, rows) for claim in exercise.claims]
    return Answer(exercise, parts, checked, filled(exercise.answer, rows))


def points_of(exercises: Sequence[Exercise], dataset: ClickDataset) -> List[Point]:
    """All points of ``exercises``."""
    parts = [part for exercise in exercises for part in exercise.parts]
    return [point for part in parts for point in part.points(dataset)]
