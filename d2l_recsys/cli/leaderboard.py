"""``d2l-recsys leaderboard``: compare every system under one protocol, or search for settings."""

import pathlib
from typing import Any, Dict, List, Optional

import typer
from typing_extensions import Annotated

from d2l_recsys.cli.output import AsJson, show
from d2l_recsys.cli.reproduce import JOBS, Jobs
from d2l_recsys.leaderboard.entries import ENTRIES, POPULARITY, Entry, as_entries
from d2l_recsys.settings import Split, check_settings

FOLDER = "leaderboard"
PAGE, NUMBERS = "leaderboard.md", "numbers.json"
CONTROL_SEED = 0


def leaderboard(
    seeds: Annotated[int, "Runs of each system that uses random numbers: seeds 0, 1, ..."] = 5,
    only: Annotated[
        str, typer.Option(help="Names of systems, separated by commas.", show_default="all")
    ] = "",
    jobs: Jobs = JOBS,
    shuffled: Annotated[bool, "The control: learn from ratings with shuffled items."] = False,
    search: Annotated[
        bool, "Search for settings on the validation items, not on the test."
    ] = False,
    data_dir: Optional[pathlib.Path] = None,
    results: pathlib.Path = pathlib.Path("results"),
    json: AsJson = False,
    quiet: Annotated[bool, "Show no progress; still print the table."] = False,
) -> None:
    """Compare every system by how high it ranks the last item of each user.

    Writes the table, the figure and the numbers to results/leaderboard; with --shuffled, to
    results/leaderboard/shuffled. If --only leaves out a system, they go to the subfolder part of
    that folder. After a stop, the same command resumes: a finished run is done again only if the
    code, the data, the installed versions or the settings have changed.
    """
    check_settings(seeds=seeds, jobs=jobs)
    entries = as_entries(only)
    from d2l_recsys.datasets.movielens import dataset_ml100k
    from d2l_recsys.leaderboard.control import write_shuffled
    from d2l_recsys.leaderboard.runs import made_with
    from d2l_recsys.storage.files import prepare_folder
    from d2l_recsys.storage.in_use import alone_in

    folder = results / FOLDER
    with alone_in(folder, "--results"):
        if shuffled:
            split = Split.validation if search else Split.seq_aware
            data_dir = write_shuffled(data_dir, folder / "shuffled-data", CONTROL_SEED, split)
            folder = folder / "shuffled"
        # Do not overwrite the whole leaderboard with a part of it.
        left = folder / "part" if len(entries) < len(ENTRIES) else folder
        prepare_folder(left)
        dataset = dataset_ml100k(data_dir)
        how = {"data_dir": data_dir, "depends_on": made_with(dataset), "jobs": jobs, "quiet": quiet}
        if search:
            _search(entries, folder, left, json, **how)
        else:
            done = _run(entries, seeds, folder, **how)
            _leave(done, seeds, dataset, left, shuffled, json)


def _search(
    entries: List[Entry], folder: pathlib.Path, left: pathlib.Path, in_json: bool, **how: Any
) -> None:
    """Search for the settings of ``entries``, write all trials, and print the best ones."""
    from d2l_recsys.leaderboard import pages
    from d2l_recsys.leaderboard.search import SEARCHED, as_record, search
    from d2l_recsys.storage.files import as_json, write_files

    found = search(entries, folder=folder / "search", **how)
    record = as_record(found)
    write_files(left, {SEARCHED: as_json(record)})
    written = f"written to {left}: {SEARCHED}"
    show(record, lambda: f"{pages.search_table(found)}\n{written}", in_json)


def _run(
    entries: List[Entry],
    seeds: int,
    folder: pathlib.Path,
    data_dir: Optional[pathlib.Path],
    depends_on: Dict[str, Any],
    jobs: int,
    quiet: bool,
) -> Dict[str, List[Any]]:
    """Do the runs of ``entries``, and return them by entry.

    There is one run for each seed, or only one run if the system uses no random numbers.
    """
    from d2l_recsys.leaderboard.runs import do_all, plan

    planned = []
    for seed in range(seeds):
        for entry in entries:
            if seed == 0 or entry.section.draws:
                of_run = folder / entry.name / (f"seed-{seed}" if entry.section.draws else "")
                options = dict(entry.options)
                planned.append(plan(entry, options, seed, of_run, data_dir, depends_on))
    return do_all(planned, jobs, quiet)


def _leave(
    done: Dict[str, List[Any]],
    seeds: int,
    dataset: Dict[str, Any],
    folder: pathlib.Path,
    shuffled: bool,
    in_json: bool,
) -> None:
    """Write the page, the figure and the numbers, and print the table."""
    from d2l_recsys.leaderboard import pages
    from d2l_recsys.leaderboard.scores import stand
    from d2l_recsys.leaderboard.search import recorded
    from d2l_recsys.runs.plots import draw_leaderboard, png
    from d2l_recsys.storage.files import as_json, write_files

    standings = stand(done, POPULARITY)
    found = recorded()
    trials = {name: found.get(name, []) for name in done}
    stamp = done[POPULARITY][0].stamp
    wall = sum(run.result["seconds"]["total"] for runs in done.values() for run in runs)
    text = pages.markdown(standings, seeds, trials, stamp["environment"], dataset, wall, shuffled)
    points = [(s.name, s.seconds, s.means["NDCG@10"], s.interval) for s in standings]
    bar = next(s.means["NDCG@10"] for s in standings if s.name == POPULARITY)
    numbers = {
        "seeds": seeds,
        "dataset": dataset,
        "environment": stamp["environment"],
        "code": stamp["code"],
        "standings": [s._asdict() for s in standings],
    }
    files = {
        pages.FIGURE: png(draw_leaderboard(points, bar)),
        NUMBERS: as_json(numbers),
        PAGE: text.encode("utf-8"),
    }
    write_files(folder, files)
    written = f"written to {folder}: {', '.join(files)}"
    show(numbers, lambda: f"{pages.table(standings)}\n{written}", in_json)
