"""``d2l-recsys exercise``: do the runs that answer an exercise of the chapter, and show them."""

import pathlib
from typing import Any, List, Mapping, Optional

import typer
from typing_extensions import Annotated

from d2l_recsys.cli.output import AsJson, show
from d2l_recsys.cli.reproduce import JOBS, Jobs
from d2l_recsys.errors import SettingError
from d2l_recsys.settings import ClickDataset, as_choice, check_settings, nearest
from d2l_recsys.sweeps.grid import check_seeds

ALL = "all"


def exercise(
    numbers: Annotated[
        Optional[List[str]],
        typer.Argument(metavar="NUMBER", help="Such as 15.3.1; 15.3 or all for several."),
    ] = None,
    list_all: Annotated[bool, typer.Option("--list", help="List all exercises.")] = False,
    seeds: Annotated[
        Optional[int],
        typer.Option(help="Number of runs of each setting.", show_default="3, 5 or 10"),
    ] = None,
    first_seed: Annotated[int, "The first of the seeds."] = 0,
    dataset: Annotated[ClickDataset, "Clicks of sections 15.8 to 15.10."] = ClickDataset.movielens,
    jobs: Jobs = JOBS,
    data_dir: Optional[pathlib.Path] = None,
    out: Annotated[pathlib.Path, "Folder for the runs, the page and the figures."] = pathlib.Path(
        "results/exercises"
    ),
    json: AsJson = False,
    quiet: Annotated[bool, "Show no progress; still print the answer."] = False,
) -> None:
    """Answer exercises of the chapter: do their runs, print the tables, draw the figures.

    The page in the folder has the exercises of the last command. If it was stopped, it continues.
    A finished run is repeated only if the code, the data or the installed versions have changed
    since.
    """
    from d2l_recsys.exercises.answers import EXERCISES, answer, points_of
    from d2l_recsys.exercises.page import as_lines, document_of, write_answers
    from d2l_recsys.exercises.parts import Conditions

    if list_all or not numbers:
        listed = {n: e.question for n, e in EXERCISES.items()}
        show({"exercises": listed}, lambda: _list(EXERCISES), json)
        return
    chosen = [e for n, e in EXERCISES.items() if any(_names(name, n) for name in numbers)]
    for name in numbers:
        if not any(_names(name, number) for number in EXERCISES):
            raise SettingError(f"there is no exercise {name!r}; {nearest(name, EXERCISES)}")
    check_settings(jobs=jobs)
    counts = [p.seeds for one in chosen for p in one.parts if isinstance(p.seeds, int)]
    most = max(counts, default=1)
    check_seeds(most if seeds is None else seeds, first_seed)
    from d2l_recsys.storage.in_use import alone_in
    from d2l_recsys.sweeps.runs import find_data

    conditions = Conditions(
        out, data_dir, jobs, quiet, as_choice(ClickDataset, "dataset", dataset), seeds, first_seed
    )
    answers = []
    with alone_in(out):
        # Missing data is found out before the first run.
        points = points_of(chosen, conditions.dataset)
        found = find_data(points, out / "runs", data_dir, quiet)
        conditions = conditions._replace(found=found)
        try:
            for one in chosen:
                answers.append(answer(one, conditions))
                if not json:
                    print(as_lines(answers[-1]), end="\n\n", flush=True)
        finally:
            # If an exercise is stopped, the answers so far stay.
            written = write_answers(answers, out, conditions.has_words) if answers else []
    if json:
        show(document_of(answers), str, json)
    else:
        print(f"written to {out}: {', '.join(str(path.relative_to(out)) for path in written)}")


def _list(exercises: Mapping[str, Any]) -> str:
    """A line for each exercise: its number, its number of runs, and its question."""
    lines = ["exercise  runs  question"]
    for number, one in exercises.items():
        lines.append(f"{number:<8}{one.num_runs or '':>6}  {one.question}")
    return "\n".join(lines)


def _names(name: str, number: str) -> bool:
    """Whether ``name`` stands for the exercise ``number``: its own number, its section, or all."""
    return name in (ALL, number, number.rpartition(".")[0])
