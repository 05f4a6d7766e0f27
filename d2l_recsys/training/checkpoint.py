"""A training run as it stood after an epoch, or after a batch of one: the file it goes on from."""

import os
from typing import Any, Dict, List, Mapping, NamedTuple, Union

import numpy as np

from d2l_recsys.errors import DataError
from d2l_recsys.loaders.batches import LoaderState
from d2l_recsys.storage.archive import pack, shown, unpack
from d2l_recsys.training.history import EVERY_ROW

CHECKPOINT = "checkpoint.safetensors"
# Where the checkpoint of an unfinished run goes that another one replaces.
BEFORE = "checkpoint.before.safetensors"
KIND, VERSION = "checkpoint", 1
ANEW = "leave --resume out to begin anew"
# The arrays of each parameter: its values, and Adam's moments of its gradient.
PARTS = ("parameters", "means", "variances")
PathLike = Union[str, "os.PathLike[str]"]


class Checkpoint(NamedTuple):
    """All that the rest of a training run depends on.

    ``history`` are the rows of the finished epochs. Of the epoch that follows, ``batches`` are
    done, in ``seconds``, and ``measured`` is the state of what they are summed up in. ``loaders``
    are the states of the loaders when that epoch began: from there its batches are drawn once more.

    ``parameters`` are the values by name; ``means`` and ``variances``, likewise, Adam's moments,
    and ``updates`` how often each parameter was updated. The three are empty before the first step.
    """

    history: List[Dict[str, float]]
    batches: int
    seconds: float
    measured: List[float]
    loaders: List[LoaderState]
    parameters: Dict[str, np.ndarray]
    means: Dict[str, np.ndarray]
    variances: Dict[str, np.ndarray]
    updates: Dict[str, int]

    def __str__(self) -> str:
        """How far the run has come."""
        epochs = len(self.history)
        if self.batches:
            return f"batch {self.batches} of epoch {epochs + 1}"
        return f"epoch {epochs}" if epochs else "the beginning"


def checkpoint_bytes(run: Mapping[str, Any], checkpoint: Checkpoint, num_epochs: int) -> bytes:
    """``checkpoint`` as a file. ``run`` says whose it is: what its numbers depend on, by name.

    ``num_epochs`` is how many the run is to have; it may be taken up with more.
    """
    arrays = {
        f"{part}/{name}": array
        for part in PARTS
        for name, array in getattr(checkpoint, part).items()
    }
    loaders = []
    for i, loader in enumerate(checkpoint.loaders):
        names = [f"loader-{i}/rolled-over-{j}" for j in range(len(loader.rolled_over))]
        arrays.update(zip(names, loader.rolled_over))
        loaders.append({"generators": loader.generators, "rolled_over": names})
    content = {
        "run": dict(run),
        "num_epochs": num_epochs,
        "history": checkpoint.history,
        "batches": checkpoint.batches,
        "seconds": checkpoint.seconds,
        "measured": checkpoint.measured,
        "loaders": loaders,
        "updates": checkpoint.updates,
    }
    return pack(KIND, VERSION, content, arrays)


def is_unfinished(path: PathLike) -> bool:
    """Whether there is, at ``path``, the checkpoint of a run with epochs to go."""
    try:
        content, _ = unpack(path, KIND, VERSION, ANEW)
        return len(content["history"]) < content["num_epochs"]
    except (DataError, KeyError, TypeError):
        return False


def read_checkpoint(path: PathLike, run: Mapping[str, Any]) -> Checkpoint:
    """The checkpoint at ``path``, which has to be one of ``run``.

    Raises DataError for a file that is damaged, of another version, or, naming the first
    difference, the checkpoint of another run.
    """
    content, arrays = unpack(path, KIND, VERSION, ANEW)
    theirs = content.get("run")
    if not isinstance(theirs, dict):
        raise DataError(f"{path} does not say whose checkpoint it is; {ANEW}")
    for name in [*run, *(name for name in theirs if name not in run)]:
        if theirs.get(name) != run.get(name):
            there, here = (shown(of.get(name, "not set")) for of in (theirs, run))
            raise DataError(
                f"{path} is of another run: {shown(name)} is {there} there and {here} here; "
                f"give the options that it was made with, or {ANEW}"
            )
    try:
        return _checkpoint(content, arrays)
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
        reason = shown(repr(error))
        raise DataError(f"{path} is not a whole checkpoint ({reason}); {ANEW}") from error


def _checkpoint(content: Dict[str, Any], arrays: Dict[str, np.ndarray]) -> Checkpoint:
    parts: Dict[str, Dict[str, np.ndarray]] = {part: {} for part in PARTS}
    for name, array in arrays.items():
        part, _, parameter = name.partition("/")
        if part in parts:
            parts[part][parameter] = array
    history = [{name: _number(v) for name, v in row.items()} for row in content["history"]]
    for epoch, row in enumerate(history, start=1):
        if row.get("epoch") != epoch or not set(row) >= EVERY_ROW:
            raise ValueError(f"the row of epoch {epoch} is not whole")
    return Checkpoint(
        history=history,
        batches=_count(content["batches"]),
        seconds=_number(content["seconds"]),
        measured=list(map(_number, content["measured"])),
        loaders=[
            LoaderState(
                [dict(generator) for generator in loader["generators"]],
                [arrays[name] for name in loader["rolled_over"]],
            )
            for loader in content["loaders"]
        ],
        updates={name: _count(count) for name, count in content["updates"].items()},
        **parts,
    )


def _number(value: Any) -> float:
    if type(value) not in (int, float):
        raise ValueError(f"{value!r} is no number")
    return value


def _count(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 2**63:
        raise ValueError(f"{value!r} is no count")
    return value
