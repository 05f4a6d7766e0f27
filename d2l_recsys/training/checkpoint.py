"""The checkpoint file: a training run resumes from it, after an epoch or in the middle of one."""

import os
from typing import Any, Dict, List, Mapping, NamedTuple, Union

import numpy as np

from d2l_recsys.errors import DataError
from d2l_recsys.loaders.batches import LoaderState
from d2l_recsys.storage.archive import pack, shown, unpack
from d2l_recsys.training.history import EVERY_ROW

CHECKPOINT = "checkpoint.safetensors"
# When a new run replaces the checkpoint of an unfinished run, the old file gets this name.
BEFORE = "checkpoint.before.safetensors"
KIND, VERSION = "checkpoint", 1
ANEW = "leave out --resume to start from scratch"
# The arrays that the optimizers keep for each parameter (``optimizers.kept_arrays``).
KEPT = ("means", "variances", "momenta", "sums_of_squares", "means_of_squares")
PathLike = Union[str, "os.PathLike[str]"]


class Checkpoint(NamedTuple):
    """The state of a training run that the rest of the run depends on.

    ``history`` has the rows of the finished epochs. ``batches`` and ``seconds`` (of training) tell
    how far the unfinished epoch has come; ``measured`` holds its running totals. ``loaders`` are
    the states of the loaders at the beginning of the unfinished epoch: a resumed run draws the
    batches of that epoch again.

    ``parameters`` maps names to values. ``kept`` has what the optimizer keeps, such as Adam's
    ``means`` and ``variances``: an array for each of these names. ``updates`` has the number of
    updates for each of them. Before the first step, ``kept`` and ``updates`` have no names.
    """

    history: List[Dict[str, float]]
    batches: int
    seconds: float
    measured: List[float]
    loaders: List[LoaderState]
    parameters: Dict[str, np.ndarray]
    kept: Dict[str, Dict[str, np.ndarray]]
    updates: Dict[str, int]

    def __str__(self) -> str:
        """How far the run has come, such as "batch 7 of epoch 2"."""
        epochs = len(self.history)
        if self.batches:
            return f"batch {self.batches} of epoch {epochs + 1}"
        return f"epoch {epochs}" if epochs else "the beginning"


def checkpoint_bytes(run: Mapping[str, Any], checkpoint: Checkpoint, num_epochs: int) -> bytes:
    """The bytes of the file that stores ``checkpoint``.

    ``run`` identifies the run: it maps the name of each thing that the numbers depend on to its
    value. ``num_epochs`` is the planned number of epochs; a resumed run may have more.
    """
    parts = {"parameters": checkpoint.parameters, **checkpoint.kept}
    arrays = {
        f"{part}/{name}": array
        for part, of_part in parts.items()
        for name, array in of_part.items()
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
    """Whether ``path`` is a readable checkpoint of a run that has epochs left to train."""
    try:
        content, _ = unpack(path, KIND, VERSION, ANEW)
        return len(content["history"]) < content["num_epochs"]
    except (DataError, KeyError, TypeError):
        return False


def read_checkpoint(
    path: PathLike, run: Mapping[str, Any], defaults: Mapping[str, Any] = {}
) -> Checkpoint:
    """Read the checkpoint at ``path``, which must belong to ``run``.

    ``defaults`` has the values of options that an older checkpoint may lack.

    Raises DataError if the file is damaged or has another format version. Raises DataError with the
    first difference if the checkpoint belongs to another run.
    """
    content, arrays = unpack(path, KIND, VERSION, ANEW)
    theirs = content.get("run")
    if not isinstance(theirs, dict):
        raise DataError(f"{path} does not say which run it belongs to; {ANEW}")
    theirs = {**{name: value for name, value in defaults.items() if name in run}, **theirs}
    for name in [*run, *(name for name in theirs if name not in run)]:
        if theirs.get(name) != run.get(name):
            there, here = (shown(of.get(name, "not set")) for of in (theirs, run))
            raise DataError(
                f"{path} belongs to another run: {shown(name)} is {there} in the checkpoint and "
                f"{here} in this run; use the options of that run, or {ANEW}"
            )
    try:
        return _checkpoint(content, arrays)
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
        reason = shown(repr(error))
        raise DataError(f"{path} is not a complete checkpoint ({reason}); {ANEW}") from error


def _checkpoint(content: Dict[str, Any], arrays: Dict[str, np.ndarray]) -> Checkpoint:
    parameters: Dict[str, np.ndarray] = {}
    kept: Dict[str, Dict[str, np.ndarray]] = {part: {} for part in KEPT}
    for name, array in arrays.items():
        part, _, parameter = name.partition("/")
        of_part = parameters if part == "parameters" else kept.get(part)
        if of_part is not None:
            of_part[parameter] = array
    history = [{name: _number(v) for name, v in row.items()} for row in content["history"]]
    for epoch, row in enumerate(history, start=1):
        if row.get("epoch") != epoch or not set(row) >= EVERY_ROW:
            raise ValueError(f"the row of epoch {epoch} is wrong or not complete")
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
        parameters=parameters,
        kept={part: of_part for part, of_part in kept.items() if of_part},
        updates={name: _count(count) for name, count in content["updates"].items()},
    )


def _number(value: Any) -> float:
    if type(value) not in (int, float):
        raise ValueError(f"{value!r} is not a number")
    return value


def _count(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 2**63:
        raise ValueError(f"{value!r} is not a count")
    return value
