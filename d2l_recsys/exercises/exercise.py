"""What an exercise is: its question, the runs that answer it, the answer, and its claims."""

from typing import Any, List, Mapping, NamedTuple, Optional, Sequence, Union

from d2l_recsys.sections.registry import SYSTEMS
from d2l_recsys.settings import ClickDataset, Protocol
from d2l_recsys.sweeps.grid import Point, points_of

NUM_SEEDS = 3


class Grid(NamedTuple):
    """A system with all combinations of some ``values`` of its options.

    ``options`` are the same in all of them. ``labels`` are further names of its rows, such as
    ``{"model": "GMF"}``.
    """

    system: str
    values: Mapping[str, Sequence[Any]] = {}
    options: Mapping[str, Any] = {}
    labels: Mapping[str, Any] = {}

    @property
    def on_clicks(self) -> bool:
        """Whether the system has the option ``dataset``."""
        return "dataset" in SYSTEMS[self.system].options().parameters

    def points(self, dataset: ClickDataset) -> List[Point]:
        """The points of the grid; a system on clicks uses ``dataset``."""
        options = {**self.options, **({"dataset": dataset} if self.on_clicks else {})}
        points = points_of(SYSTEMS[self.system], options, self.values)
        return [point._replace(labels={**self.labels, **point.labels}) for point in points]


def seeds_of(asked: Union[int, Sequence[int]]) -> Sequence[int]:
    """The seeds that a part asks for, by their number or by themselves."""
    return range(asked) if isinstance(asked, int) else asked


def points_of_all(grids: Sequence[Grid], dataset: ClickDataset) -> List[Point]:
    """The points of all ``grids``; a system on clicks uses ``dataset``."""
    return [point for grid in grids for point in grid.points(dataset)]


class Part(NamedTuple):
    """A table and a figure of an exercise: its grids, each over ``seeds`` seeds.

    ``numbers`` are the names of further numbers that the table shows. ``shown`` says which numbers
    it shows, by default those of the protocol of each run.
    """

    title: str
    grids: Sequence[Grid]
    seeds: int = NUM_SEEDS
    numbers: Sequence[str] = ()
    shown: Optional[Protocol] = None

    def points(self, dataset: ClickDataset) -> List[Point]:
        """The points of all grids."""
        return points_of_all(self.grids, dataset)


class OverEpochs(NamedTuple):
    """A table and a figure of how numbers go from epoch to epoch, over ``seeds`` seeds.

    ``seeds`` is a number of seeds from 0 on, or the seeds themselves. The table shows the
    ``numbers`` after each of ``epochs``. If ``regimes`` names a number that is 0 or 1 at the end of
    a run, each row is split into the runs with 0 and those with 1.
    """

    title: str
    grids: Sequence[Grid]
    numbers: Sequence[str]
    epochs: Sequence[int]
    seeds: Union[int, Sequence[int]] = NUM_SEEDS
    regimes: str = ""

    def points(self, dataset: ClickDataset) -> List[Point]:
        """The points of all grids."""
        return points_of_all(self.grids, dataset)


class BestOfUsers(NamedTuple):
    """The five best movies of each of some users, by systems trained with the first seed."""

    title: str
    grids: Sequence[Grid]
    users: Sequence[int]
    seeds: int = 1

    def points(self, dataset: ClickDataset) -> List[Point]:
        """The points of all grids."""
        return points_of_all(self.grids, dataset)


class OfOneMovie(NamedTuple):
    """The ratings that all users would give one movie, by a system trained with the first seed."""

    title: str
    system: str
    items: Sequence[int]
    seeds: int = 1

    def points(self, dataset: ClickDataset) -> List[Point]:
        """The system with its defaults."""
        return Grid(self.system).points(dataset)


class Exercise(NamedTuple):
    """An exercise of the chapter, or a question of the tutorial.

    ``number`` is the number of its section and its place there, such as "15.3.1". ``question`` is
    the question in our words. ``answer`` is the conclusion; for an exercise without ``parts`` it is
    the whole answer. A place such as ``[test_rmse num_factors=5]`` stands for the mean ± standard
    deviation of that number over the seeds, and ``[count stuck start=xavier]`` for the number of
    runs in which it is 1. ``claims`` are the statements of the answer that the runs must
    support, in the language of ``claims.py``.

    In answers and claims, ``2: `` before a number means the second part; without it, it is the
    first.
    """

    number: str
    question: str
    answer: str
    parts: Sequence[Any] = ()
    claims: Sequence[str] = ()

    @property
    def section(self) -> str:
        """The number of its section, such as "15.3"."""
        return self.number.rpartition(".")[0]

    @property
    def num_runs(self) -> int:
        """The number of different runs; two exercises may share some."""
        return len(
            {
                (str(point), seed)
                for part in self.parts
                for point in part.points(ClickDataset.movielens)
                for seed in (seeds_of(part.seeds) if point.section.draws else [None])
            }
        )

    @property
    def on_clicks(self) -> bool:
        """Whether a run of the exercise uses clicks."""
        grids = (grid for part in self.parts for grid in getattr(part, "grids", ()))
        return any(grid.on_clicks for grid in grids)
