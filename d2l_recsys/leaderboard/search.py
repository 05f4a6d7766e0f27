"""Search the settings of each entry: run every trial on the validation items, with one seed."""

import json
import pathlib
from typing import Any, Dict, List, NamedTuple, Optional, Sequence

import numpy as np

from d2l_recsys.leaderboard.entries import Entry
from d2l_recsys.leaderboard.runs import Done, do_all, plan
from d2l_recsys.ranking import ranking_metrics
from d2l_recsys.settings import Split

SEED = 0
# The metric that chooses the settings.
CRITERION = "test_ndcg"
SEARCHED = "search.json"


class Trial(NamedTuple):
    """A trial of the search: its options (with the best epoch), its NDCG@10, and its seconds."""

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
    """Run all trials of ``entries`` on the validation items; return the trials of each entry.

    The best trial comes first. The last item of each user, which is the test, is not used at all.
    """
    planned = [
        plan(
            entry,
            {**entry.identity, **options, "split": Split.validation.value},
            SEED,
            folder / entry.name / f"trial-{number}",
            data_dir,
            depends_on,
        )
        for entry in entries
        for number, options in enumerate(entry.trials())
    ]
    done = do_all(planned, jobs, quiet)
    return {
        entry.name: sorted((_trial(entry, run) for run in done[entry.name]), key=lambda t: -t.ndcg)
        for entry in entries
    }


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
    """Return the trials as JSON values."""
    return {name: [t._asdict() for t in of_entry] for name, of_entry in trials.items()}


def recorded() -> Dict[str, List[Trial]]:
    """Return the recorded trials of each entry, from which the settings in ``entries`` come."""
    text = pathlib.Path(__file__).with_name(SEARCHED).read_text(encoding="utf-8")
    return {name: [Trial(**trial) for trial in trials] for name, trials in json.loads(text).items()}
