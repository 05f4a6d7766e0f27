"""Settings chosen by the validation items: every trial of an entry's space, with one seed."""

import pathlib
from typing import Any, Dict, List, NamedTuple, Optional, Sequence

import numpy as np

from d2l_recsys.leaderboard.entries import Entry
from d2l_recsys.leaderboard.runs import Done, Planned, do_all, plan
from d2l_recsys.ranking import ranking_metrics
from d2l_recsys.settings import Split

__all__ = ["Trial", "as_record", "search"]

SEED = 0
# What settings are chosen by.
CRITERION = "test_ndcg"


class Trial(NamedTuple):
    """One setting: its options with the best number of epochs, its NDCG@10, the time it took."""

    options: Dict[str, Any]
    ndcg: float
    seconds: float


def search(
    entries: Sequence[Entry],
    data_dir: Optional[pathlib.Path],
    folder: pathlib.Path,
    depends_on: Dict[str, Any],
    jobs: int,
    quiet: bool,
) -> Dict[str, List[Trial]]:
    """Run all trials of ``entries`` on the validation items; those of each entry, best first.

    Each user's last item is left out altogether.
    """
    planned: List[Planned] = []
    for entry in entries:
        for number, options in enumerate(entry.trials()):
            options = {**entry.identity, **options, "split": Split.validation.value}
            seed = SEED if entry.section.draws else None
            of_trial = folder / entry.name / f"trial-{number}"
            planned.append(plan(of_trial, entry.name, options, seed, data_dir, depends_on))
    by_name = {entry.name: entry for entry in entries}
    found: Dict[str, List[Trial]] = {name: [] for name in by_name}
    for done in do_all(planned, jobs, quiet):
        name = done.stamp["entry"]
        found[name].append(_trial(by_name[name], done))
    return {name: sorted(trials, key=lambda t: -t.ndcg) for name, trials in found.items()}


def _trial(entry: Entry, done: Done) -> Trial:
    options = {name: value for name, value in done.stamp["options"].items() if name in entry.space}
    seconds = done.result["seconds"]["total"]
    if entry.chooses_epoch:
        curve = [row[f"defined_{CRITERION}"] for row in done.history.rows]
        best = int(np.nanargmax(curve))
        return Trial({**options, "num_epochs": best + 1}, curve[best], seconds)
    ranks = done.ranks
    values = ranking_metrics(ranks["rank"].to_numpy(), ranks["num_negatives"].to_numpy())
    return Trial(options, float(values[CRITERION].mean()), seconds)


def as_record(trials: Dict[str, List[Trial]]) -> Dict[str, Any]:
    """The trials as JSON has them."""
    return {name: [t._asdict() for t in of_entry] for name, of_entry in trials.items()}
