"""The runs of the leaderboard: train each system, rank with it, and save the ranks."""

import io
import json
import pathlib
from typing import Any, Dict, List, NamedTuple, Optional, Sequence

import numpy as np
import pandas as pd

from d2l_recsys.data import load_ranking_ml100k
from d2l_recsys.evaluation.scoring import all_scores
from d2l_recsys.leaderboard.entries import ENTRIES, Entry
from d2l_recsys.model_bases.closed_form import ClosedForm
from d2l_recsys.ranking import HeldOut
from d2l_recsys.reproduction.planned import STAMP, PlannedRun, code_digest, finish_runs, reading_run
from d2l_recsys.runs.results import environment, read_result
from d2l_recsys.saved_models import MODEL, load_model
from d2l_recsys.storage.files import as_json, content_of, write_files
from d2l_recsys.training.checkpoint import CHECKPOINT
from d2l_recsys.training.history import History

RANKS, HISTORY = "ranks.csv", "history.csv"
RANK_COLUMNS = ["user", "item", "rank", "num_negatives"]
TOP = 10


class Done(NamedTuple):
    """The results of a finished run, as read from its files.

    ``ranks`` has a row for each user: the held-out item, its ``rank``, counted from 0, and
    ``num_negatives``, the number of items it was ranked against. ``parameters`` is the number of
    trained numbers. ``median_count`` is the median number of training ratings of the items among
    the users' first ten.
    """

    stamp: Dict[str, Any]
    result: Dict[str, Any]
    ranks: pd.DataFrame
    history: Optional[History]
    parameters: int
    median_count: float


def made_with(dataset: Dict[str, Any]) -> Dict[str, Any]:
    """Return what the results of a run depend on besides its options: data, code, environment."""
    return {
        "data": dataset["sha256"],
        "code": code_digest(pathlib.Path(__file__)),
        "environment": environment(),
    }


def plan(
    entry: Entry,
    options: Dict[str, Any],
    seed: int,
    folder: pathlib.Path,
    data_dir: Optional[pathlib.Path],
    depends_on: Dict[str, Any],
) -> PlannedRun:
    """Plan a run of ``entry`` in ``folder`` with ``options``, and with ``seed`` if it uses one."""
    drawn = {"seed": seed} if entry.section.draws else {}
    told = [f"{name} {value}" for name, value in {**drawn, **options}.items()]
    stamp = {"entry": entry.name, "seed": drawn.get("seed"), "options": options, **depends_on}
    return PlannedRun(", ".join([entry.name, *told]), folder, data_dir, stamp)


def do_all(planned: Sequence[PlannedRun], jobs: int, quiet: bool) -> Dict[str, List[Done]]:
    """Do the runs that are not finished, ``jobs`` at once; return the runs of each entry.

    Shows progress on standard error, unless ``quiet``. Raises what ``finish_runs`` raises.
    """
    done: Dict[str, List[Done]] = {}
    for run in finish_runs(planned, do, read, jobs, quiet):
        done.setdefault(run.stamp["entry"], []).append(run)
    return done


def do(run: PlannedRun) -> None:
    """Train the system, rank with the saved model, and write the ranks and the stamp.

    The previous content of the run's folder is removed. Raises what ``run_section`` raises.
    """
    _, folder, data_dir, stamp = run
    seed = {} if stamp["seed"] is None else {"seed": stamp["seed"]}
    section = ENTRIES[stamp["entry"]].section
    result = run.run_section(section, **stamp["options"], **seed)
    data = load_ranking_ml100k(data_dir, result["settings"]["split"])
    model = load_model(folder).net
    held_out = HeldOut.of(data)
    blocks, first_items = [], []
    for first, scores in all_scores(model, data):
        blocks.append(held_out.ranks(first, scores))
        first_items.append(_first_unseen(held_out, first, scores))
    counts = np.bincount(data.items, minlength=data.num_items)
    ranks = pd.DataFrame(
        {
            "user": held_out.held_out.users,
            "item": held_out.held_out.items,
            "rank": np.concatenate([block.rank for block in blocks]),
            "num_negatives": held_out.num_negatives,
        }
    )
    left = {
        "num_users": data.num_users,
        "parameters": _num_parameters(model),
        "median_count": float(np.median(counts[np.concatenate(first_items)])),
    }
    write_files(
        folder,
        {RANKS: ranks.to_csv(index=False).encode(), STAMP: as_json({**stamp, "left": left})},
    )
    # Ranking was the last use of the model and the checkpoint. Many of them would fill the disk.
    for name in (CHECKPOINT, MODEL):
        (folder / name).unlink(missing_ok=True)


def _first_unseen(held_out: HeldOut, first: int, scores: np.ndarray) -> np.ndarray:
    """Return the ten unseen items with the highest scores for each user, in any order."""
    scores = scores.copy()
    starts = held_out.observed.starts[first : first + len(scores) + 1]
    seen = slice(starts[0], starts[-1])
    scores[held_out.observed.users[seen] - first, held_out.observed.items[seen]] = -np.inf
    return np.argpartition(-scores, min(TOP, scores.shape[1] - 1), axis=1)[:, :TOP]


def _num_parameters(model: Any) -> int:
    if isinstance(model, ClosedForm):
        return sum(array.size for array in model.arrays.values())
    parameters = model.collect_params().values()
    return sum(int(np.prod(p.shape)) for p in parameters if p.grad_req != "null")


def _checked(ranks: pd.DataFrame) -> pd.DataFrame:
    """Return ``ranks``; raise ValueError unless it has exactly one row of numbers per user."""
    if list(ranks) != RANK_COLUMNS or not np.isfinite(ranks.to_numpy(np.float64)).all():
        raise ValueError(f"{RANKS} needs the columns {', '.join(RANK_COLUMNS)} of finite numbers")
    if not len(ranks) or not np.array_equal(np.unique(ranks["user"]), np.arange(len(ranks))):
        raise ValueError(f"{RANKS} does not have exactly one row for each user")
    return ranks


def read(folder: pathlib.Path) -> Done:
    """Read the files of a run in ``folder``. Raises DataError if they are not complete."""
    result = read_result(folder)
    with reading_run(folder):
        stamp = json.loads(content_of(folder / STAMP).decode("utf-8"))
        left = stamp.pop("left")
        ranks = _checked(pd.read_csv(io.BytesIO(content_of(folder / RANKS))))
        history = None
        # The history of a system that is not trained in epochs (ALS) has other columns.
        path = folder / HISTORY
        if path.exists() and "seconds_train" in pd.read_csv(io.BytesIO(content_of(path)), nrows=0):
            history = History.from_csv(path)
        if len(ranks) != left["num_users"]:
            raise ValueError(f"{RANKS} does not have all users")
        return Done(stamp, result, ranks, history, left["parameters"], left["median_count"])
