"""The runs of a sweep: plan them, do the unfinished ones, read all of them."""

import json
import pathlib
import sys
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

from d2l_recsys.datasets.movielens import dataset_ml100k
from d2l_recsys.errors import DivergedError, SettingError
from d2l_recsys.reproduction.planned import STAMP, PlannedRun, code_digest, finish_runs, reading_run
from d2l_recsys.runs.again import CLICKS
from d2l_recsys.runs.results import environment, read_result
from d2l_recsys.saved_models import MODEL
from d2l_recsys.sections.registry import SECTIONS, SYSTEMS, defaults_of
from d2l_recsys.storage.files import (
    as_json,
    content_of,
    default_folder,
    prepare_folder,
    write_files,
)
from d2l_recsys.sweeps.grid import Point
from d2l_recsys.training.checkpoint import CHECKPOINT

# The key of a stamp for the message of a run that has no numbers.
FAILED = "failed"
# For each value of the option ``dataset`` (None for ratings): the data set that is there, and the
# SHA-256 of its files.
FoundData = Dict[Any, Tuple[Any, str]]


class Done(NamedTuple):
    """A finished run: its folder, its ``run.json`` and its ``result.json``.

    ``result`` is None if the run has no numbers. ``failed`` then says why: it diverged, or its
    settings do not fit together.
    """

    folder: pathlib.Path
    stamp: Dict[str, Any]
    result: Optional[Dict[str, Any]]
    failed: str = ""
    diverged: bool = False


class Outcome(NamedTuple):
    """A point, and its runs over the seeds."""

    point: Point
    runs: List[Done]

    @property
    def results(self) -> List[Dict[str, Any]]:
        """The results of the runs that have numbers."""
        return [run.result for run in self.runs if run.result is not None]

    @property
    def num_failed(self) -> int:
        """The number of runs without numbers."""
        return len(self.runs) - len(self.results)


def find_data(
    points: Sequence[Point],
    folder: pathlib.Path,
    data_dir: Optional[pathlib.Path],
    quiet: bool = False,
) -> FoundData:
    """Find the data sets that ``points`` ask for; fetch what is missing, and read the clicks once.

    Their description goes into ``folder``. Raises DataError if a data set cannot be read.
    """
    found: FoundData = {}
    for asked in dict.fromkeys(map(_asks_for, points)):
        if asked is None:
            found[None] = None, dataset_ml100k(data_dir)["sha256"]
            continue
        if not quiet:
            print(f"reading the clicks {asked}", file=sys.stderr)
        out = prepare_folder(folder) / f"data-{asked}"
        describe = SECTIONS["ctr"].main()
        dataset = describe(dataset=asked, data_dir=data_dir, out=out, quiet=True, force=True)[
            "dataset"
        ]
        found[asked] = CLICKS.get(dataset["name"], asked), dataset["sha256"]
    return found


def _asks_for(point: Point) -> Any:
    return {**defaults_of(point.section.name), **point.options}.get("dataset")


def run_points(
    points: Sequence[Point],
    seeds: Sequence[int],
    folder: pathlib.Path,
    data_dir: Optional[pathlib.Path],
    jobs: int,
    quiet: bool = False,
    found: Optional[FoundData] = None,
) -> List[Outcome]:
    """Run each of ``points`` with each of ``seeds``, ``jobs`` at once, and return the outcomes.

    The runs are in ``folder``, each in a folder of its own. A finished run is not repeated, unless
    code, data or installed versions have changed. A system that draws no random numbers runs once.
    A run that diverges, or whose settings do not fit together, is an outcome and no error.
    ``found`` is what ``find_data`` returns. Shows progress on standard error.

    Raises SettingError if the settings of no point fit together, or if two points are the same
    because other clicks take the place of the book's. Raises what ``find_data`` and ``finish_runs``
    raise.
    """
    found = found or find_data(points, folder, data_dir, quiet)
    plans = _plan(points, seeds, folder, data_dir, found, jobs)
    done = iter(finish_runs([run for _, of in plans for run in of], do, read, jobs, quiet))
    outcomes = [Outcome(point, [next(done) for _ in of]) for point, of in plans]
    runs = [run for outcome in outcomes for run in outcome.runs]
    if all(run.failed and not run.diverged for run in runs):
        raise SettingError(runs[0].failed)
    return outcomes


def _plan(
    points: Sequence[Point],
    seeds: Sequence[int],
    folder: pathlib.Path,
    data_dir: Optional[pathlib.Path],
    found: FoundData,
    jobs: int,
) -> List[Tuple[Point, List[PlannedRun]]]:
    """Each of ``points`` with the data that is there, and its planned runs."""
    made_with = {"code": code_digest(), "environment": environment(), "jobs": jobs}
    plans: List[Tuple[Point, List[PlannedRun]]] = []
    names = set()
    for asked in points:
        dataset, sha256 = found[_asks_for(asked)]
        point = _with_data(asked, dataset)
        name = str(point._replace(labels={}))
        if name in names:
            raise SettingError(
                "the book's clicks cannot be had, and others take their place, so two of the "
                f"settings are the same: {point}; leave one out"
            )
        names.add(name)
        planned = []
        for seed in seeds if point.section.draws else [None]:
            place = default_folder(point.section.name, seed, point.options)
            stamp = {
                "system": point.section.name,
                "seed": seed,
                # A worker process cannot unpickle a choice that a section defines.
                "options": json.loads(as_json(point.options)),
                "data": sha256,
                **made_with,
            }
            told = name if seed is None else f"{name}, seed {seed}"
            here = folder / place.relative_to("results")
            planned.append(PlannedRun(told, here, data_dir, stamp))
        plans.append((point, planned))
    return plans


def _with_data(point: Point, dataset: Any) -> Point:
    """``point`` with the clicks ``dataset``, which are there; the same point for ratings."""
    if dataset is None:
        return point
    labels = {**point.labels, **({"dataset": dataset} if "dataset" in point.labels else {})}
    changed = {**point.options, "dataset": dataset}
    options = {
        name: changed[name]
        for name, default in defaults_of(point.section.name).items()
        if name in changed and changed[name] != default
    }
    return Point(point.section, options, labels)


def do(run: PlannedRun) -> None:
    """Do one run: empty its folder, run its system, and write its stamp last.

    The checkpoint is removed, and so is a model of clicks: many of them would fill the disk.
    """
    stamp = json.loads(as_json(run.stamp))
    section = SYSTEMS[stamp["system"]]
    given = {} if stamp["seed"] is None else {"seed": stamp["seed"]}
    try:
        run.run_section(section, **stamp["options"], **given)
    except (DivergedError, SettingError) as error:
        stamp[FAILED] = {"message": str(error), "diverged": isinstance(error, DivergedError)}
    prepare_folder(run.folder)
    for name in (CHECKPOINT, *[MODEL] * section.on_clicks):
        (run.folder / name).unlink(missing_ok=True)
    write_files(run.folder, {STAMP: as_json(stamp)})


def read(folder: pathlib.Path) -> Done:
    """Read the finished run in ``folder``; DataError if a file is missing or damaged."""
    with reading_run(folder):
        stamp = json.loads(content_of(folder / STAMP).decode("utf-8"))
        failed = stamp.pop(FAILED, None)
        if failed is not None:
            return Done(folder, stamp, None, str(failed["message"]), bool(failed["diverged"]))
    return Done(folder, stamp, read_result(folder))
