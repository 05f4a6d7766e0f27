"""``d2l-recsys leaderboard``: every system on one protocol, or the search for its settings."""

import json
import os
import pathlib
from typing import Any, Dict, List, Optional

import typer
from typing_extensions import Annotated

from d2l_recsys.command_line import DataDir
from d2l_recsys.leaderboard.entries import ENTRIES, POPULARITY, Entry, as_entries
from d2l_recsys.settings import Split, check_settings

__all__ = ["leaderboard"]

MOST_JOBS = 8
FOLDER = "leaderboard"
PAGE, NUMBERS = "leaderboard.md", "numbers.json"
# What the search found when it was last done for all, which the settings are.
SEARCHED = pathlib.Path(__file__).with_name("search.json")
CONTROL_SEED = 0


def leaderboard(
    seeds: Annotated[int, typer.Option(help="Runs of each system that draws: seeds 0, 1, ...")] = 5,
    only: Annotated[
        str, typer.Option(help="Systems, separated by commas.", show_default="all")
    ] = "",
    jobs: Annotated[int, typer.Option(help="Runs at once.", show_default="cores, at most 8")] = min(
        os.cpu_count() or 1, MOST_JOBS
    ),
    shuffled: Annotated[
        bool,
        typer.Option(
            "--shuffled", help="The control: learn from ratings whose items are dealt anew."
        ),
    ] = False,
    search: Annotated[
        bool,
        typer.Option("--search", help="Try settings on the validation items, not the test."),
    ] = False,
    data_dir: DataDir = None,
    results: Annotated[pathlib.Path, typer.Option(help="Folder of all results.")] = pathlib.Path(
        "results"
    ),
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress.")] = False,
) -> None:
    """Rank every system by what it makes of each user's last item.

    Writes the table, the figure and the numbers to results/leaderboard, of some systems alone to
    its folder part. Goes on where it was stopped: what is finished is done again only if code, data
    or settings have changed since.
    """
    check_settings(seeds=seeds, jobs=jobs)
    entries = as_entries(only)
    from d2l_recsys.data import dataset_ml100k
    from d2l_recsys.leaderboard.control import write_shuffled
    from d2l_recsys.leaderboard.runs import made_with
    from d2l_recsys.reproduce import alone_in
    from d2l_recsys.results import prepare_folder

    folder = results / FOLDER
    with alone_in(folder):
        if shuffled:
            split = Split.validation if search else Split.seq_aware
            data_dir = write_shuffled(data_dir, folder / "shuffled-data", CONTROL_SEED, split)
            folder = folder / "shuffled"
        # A part of the leaderboard does not take the place of all of it.
        left = folder / "part" if len(entries) < len(ENTRIES) else folder
        prepare_folder(left, "")
        dataset = dataset_ml100k(data_dir)
        how = {"data_dir": data_dir, "depends_on": made_with(dataset), "jobs": jobs, "quiet": quiet}
        if search:
            _search(entries, folder, left, **how)
        else:
            done = _run(entries, seeds, folder, **how)
            _leave(entries, done, seeds, dataset, left, shuffled)


def _search(entries: List[Entry], folder: pathlib.Path, left: pathlib.Path, **how: Any) -> None:
    """Try the settings of ``entries``, leave what was found, and print the best."""
    from d2l_recsys.leaderboard import pages
    from d2l_recsys.leaderboard.search import as_record, search
    from d2l_recsys.results import as_json, write_files

    found = search(entries, folder=folder / "search", **how)
    write_files(left, {SEARCHED.name: as_json(as_record(found))})
    print(pages.search_table(found))
    print(f"left in {left}: {SEARCHED.name}")


def _run(
    entries: List[Entry],
    seeds: int,
    folder: pathlib.Path,
    data_dir: Optional[pathlib.Path],
    depends_on: Dict[str, Any],
    jobs: int,
    quiet: bool,
) -> List[Any]:
    """What the runs of ``entries`` left: of each one a seed, or one where nothing is drawn."""
    from d2l_recsys.leaderboard import runs

    planned = [
        runs.plan(
            folder / e.name / (f"seed-{seed}" if e.section.draws else ""),
            e.name,
            dict(e.options),
            seed if e.section.draws else None,
            data_dir,
            depends_on,
        )
        for seed in range(seeds)
        for e in entries
        if seed == 0 or e.section.draws
    ]
    return runs.do_all(planned, jobs, quiet)


def _leave(
    entries: List[Entry],
    done: List[Any],
    seeds: int,
    dataset: Dict[str, Any],
    folder: pathlib.Path,
    shuffled: bool,
) -> None:
    """Write the page, the figure and the numbers, and print the table."""
    from d2l_recsys.leaderboard import pages
    from d2l_recsys.leaderboard.scores import stand
    from d2l_recsys.leaderboard.search import Trial
    from d2l_recsys.plots import draw_leaderboard, png
    from d2l_recsys.results import as_json, write_files

    by_entry = {e.name: [d for d in done if d.stamp["entry"] == e.name] for e in entries}
    standings = stand(by_entry, POPULARITY)
    recorded = json.loads(SEARCHED.read_text(encoding="utf-8"))
    trials = {
        name: [Trial(**trial) for trial in recorded.get(name, ())]
        for name in ENTRIES
        if name in by_entry
    }
    environment = done[0].stamp["environment"]
    wall = sum(d.result["seconds"]["total"] for d in done)
    text = pages.markdown(standings, seeds, trials, environment, dataset, wall, shuffled)
    points = [(s.name, s.seconds, s.means["NDCG@10"], s.interval) for s in standings]
    bar = next(s.means["NDCG@10"] for s in standings if s.name == POPULARITY)
    numbers = {
        "seeds": seeds,
        "dataset": dataset,
        "environment": environment,
        "code": done[0].stamp["code"],
        "standings": [s._asdict() for s in standings],
    }
    files = {
        pages.FIGURE: png(draw_leaderboard(points, bar)),
        NUMBERS: as_json(numbers),
        PAGE: text.encode("utf-8"),
    }
    write_files(folder, files)
    print(pages.table(standings))
    print(f"left in {folder}: {', '.join(files)}")
