"""Save a training run after each epoch and when Ctrl-C stops it, and resume it later."""

import json
import os
import pathlib
import sys
from typing import Any, Dict, List, Mapping, NoReturn, Sequence, Tuple, Union

import numpy

from d2l_recsys.backend import gluon, mx, np
from d2l_recsys.errors import DataError, SettingError, Stopped
from d2l_recsys.loaders.batches import BatchLoader, LoaderState
from d2l_recsys.model_bases.parameters import check_alike, parameters_of, set_parameters
from d2l_recsys.seeds import epoch_seed
from d2l_recsys.settings import Optimizer
from d2l_recsys.storage.files import write_files
from d2l_recsys.training.checkpoint import (
    BEFORE,
    CHECKPOINT,
    Checkpoint,
    checkpoint_bytes,
    is_unfinished,
    read_checkpoint,
)
from d2l_recsys.training.flat_update import num_updates, updaters
from d2l_recsys.training.optimizers import arrays_of, as_state, kept_arrays

Arrays = Dict[str, numpy.ndarray]
Updates = Dict[str, int]


class Saver:
    """Saves one training run to the file ``checkpoint.safetensors`` in a folder, and resumes it.

    Parameters
    ----------
    folder : an existing folder
    run : the names and values of everything that the numbers of the run depend on. A checkpoint
        with other values is refused
    seed : the seed from which MXNet's random generator is seeded in each epoch, because the state
        of that generator cannot be saved
    resume : resume from the checkpoint in ``folder``; if there is none, start from scratch
    defaults : the values of options that a checkpoint lacks if it is older than the options

    Raises what ``read_checkpoint`` raises.
    """

    def __init__(
        self,
        folder: Union[str, "os.PathLike[str]"],
        run: Mapping[str, Any],
        seed: int,
        resume: bool = False,
        defaults: Mapping[str, Any] = {},
    ) -> None:
        self.folder = pathlib.Path(folder)
        self.path = self.folder / CHECKPOINT
        self.seed = seed
        # A checkpoint has JSON values, such as lists for tuples. Convert here, to compare with it.
        self._run, defaults = json.loads(json.dumps([run, defaults]))
        self._found = None
        if resume and self.path.exists():
            self._found = read_checkpoint(self.path, self._run, defaults)
        # Whether the file belongs to this run.
        self.on_disk = self._found is not None
        self._replaces = None
        if resume and not self.on_disk:
            print(f"{self.path} does not exist yet: starting from scratch", file=sys.stderr)
        elif not resume and is_unfinished(self.path):
            self._replaces = self.folder / BEFORE
            print(
                f"{self.path} is of an unfinished run: stop here and use --resume to continue it; "
                f"otherwise the file is renamed to {self._replaces} at the first new checkpoint",
                file=sys.stderr,
            )

    def attach(
        self,
        net: gluon.Block,
        trainer: gluon.Trainer,
        loaders: Sequence[BatchLoader],
        num_epochs: int,
    ) -> Checkpoint:
        """Take the parts of the run to save; return the checkpoint from which the run starts.

        A resumed run starts from the saved checkpoint: weights, optimizer and loaders get its
        state. ``net`` is initialized. ``loaders`` are all loaders whose batches depend on earlier
        epochs.

        Raises SettingError if ``trainer`` has an optimizer that is not in ``OPTIMIZERS``, if a
        loader is not a ``BatchLoader``, or if the checkpoint has more than ``num_epochs`` epochs.
        Raises DataError if the checkpoint does not fit the net or the loaders.
        """
        if not all(isinstance(loader, BatchLoader) for loader in loaders):
            raise SettingError("only a run whose batches come from a BatchLoader can be saved")
        if kept_arrays(trainer.optimizer) is None:
            kind = type(trainer.optimizer).__name__
            known = ", ".join(Optimizer)
            raise SettingError(f"a run with the optimizer {kind} cannot be saved; use {known}")
        self._net, self._trainer, self._loaders = net, trainer, loaders
        self._num_epochs = num_epochs
        self._loaders_at_epoch: List[LoaderState] = []
        if self._found is None:
            self.last = self.capture([])
            return self.last
        if len(self._found.history) + (self._found.batches > 0) > num_epochs:
            raise SettingError(
                f"{self.path} has reached {self._found}, but --num-epochs is {num_epochs}; give a "
                "larger --num-epochs, or leave out --resume to start from scratch"
            )
        self.last = self._found
        self.go_back()
        return self.last

    def begin_epoch(self, epoch: int) -> None:
        """Seed MXNet for ``epoch`` (from 1), and note the states of the loaders.

        The random draws of an epoch then depend only on the seed and the number of the epoch.
        """
        mx.random.seed(epoch_seed(self.seed, epoch))
        self._loaders_at_epoch = [loader.state for loader in self._loaders]

    def save(
        self,
        history: Sequence[Mapping[str, float]],
        batches: int = 0,
        seconds: float = 0.0,
        measured: Sequence[float] = (),
    ) -> None:
        """Write the checkpoint of the run; the arguments are those of ``Checkpoint``.

        Raises OutputError if the file cannot be written; the previous checkpoint then stays whole.
        """
        self.last = self.capture(history, batches, seconds, measured)
        content = checkpoint_bytes(self._run, self.last, self._num_epochs)
        if self._replaces:
            self.path.replace(self._replaces)
            self._replaces = None
        write_files(self.folder, {CHECKPOINT: content})
        self.on_disk = True

    @property
    def seconds_before(self) -> float:
        """Seconds of training and evaluation before the run was resumed; 0 for a new run."""
        if self._found is None:
            return 0.0
        rows = self._found.history
        return self._found.seconds + sum(r["seconds_train"] + r["seconds_evaluate"] for r in rows)

    def stop(self, number: int) -> NoReturn:
        """Raise Stopped; its message says where the run stopped and how to resume it.

        ``number`` is the number of the signal that stops the run.
        """
        raise Stopped(
            f"stopped after {self.last}; the run is saved in {self.path}; to resume it, run the "
            "same command with --resume",
            number,
        )

    def capture(
        self,
        history: Sequence[Mapping[str, float]],
        batches: int = 0,
        seconds: float = 0.0,
        measured: Sequence[float] = (),
    ) -> Checkpoint:
        """The checkpoint of the run as it is now; waits for the pending work of MXNet."""
        return Checkpoint(
            [dict(row) for row in history],
            batches,
            seconds,
            list(measured),
            self._loaders_at_epoch if batches else [loader.state for loader in self._loaders],
            parameters_of(self._net),
            *optimizer_state(self._net, self._trainer),
        )

    def go_back(self) -> None:
        """Give weights, optimizer and loaders the state of the last checkpoint.

        Raises DataError if the checkpoint does not fit them.
        """
        if len(self.last.loaders) != len(self._loaders):
            raise DataError(
                f"{self.path} belongs to a run with other loaders; leave out --resume to start "
                "from scratch"
            )
        try:
            set_parameters(self._net, self.last.parameters)
            set_optimizer_state(self._net, self._trainer, self.last.kept, self.last.updates)
            for loader, state in zip(self._loaders, self.last.loaders):
                loader.state = state
        except DataError as error:
            raise DataError(
                f"{self.path}: {error}; leave out --resume to start from scratch"
            ) from error


def _indices(net: gluon.Block, trainer: gluon.Trainer) -> Dict[str, int]:
    """The trainer's index of each parameter that it updates, by the name in the net."""
    return {
        name: trainer._param2idx[parameter.name]
        for name, parameter in net._collect_params_with_prefix().items()
        if parameter.name in trainer._param2idx and parameter.grad_req != "null"
    }


def optimizer_state(net: gluon.Block, trainer: gluon.Trainer) -> Tuple[Dict[str, Arrays], Updates]:
    """What the optimizer keeps (see ``kept_arrays``), and counts of updates, by parameter.

    Both are the same on every device. A parameter that was never updated is left out.
    """
    states = updaters(trainer)[0].states
    kept: Dict[str, Arrays] = {part: {} for part in kept_arrays(trainer.optimizer)}
    updates = {}
    for name, index in _indices(net, trainer).items():
        if index in states:
            for arrays, array in zip(kept.values(), arrays_of(states[index])):
                arrays[name] = array.asnumpy()
            updates[name] = num_updates(trainer, index)
    return kept, updates


def set_optimizer_state(
    net: gluon.Block, trainer: gluon.Trainer, kept: Mapping[str, Arrays], updates: Updates
) -> None:
    """Give the optimizer the state that ``optimizer_state`` returned.

    Raises DataError if the state belongs to another net or to another optimizer.
    """
    indices, optimizer = _indices(net, trainer), trainer.optimizer
    parts = kept_arrays(optimizer)
    if updates:
        parameters = net._collect_params_with_prefix()
        updated = {name: parameters[name] for name in indices}
        for part in parts:
            check_alike(updated, kept.get(part, {}), part)
        if set(updates) != set(updated):
            raise DataError("its counts of updates belong to another net")
    for updater in updaters(trainer):
        updater.states = {
            indices[name]: as_state(
                optimizer,
                tuple(
                    np.array(kept[part][name], dtype=kept[part][name].dtype).as_nd_ndarray()
                    for part in parts
                ),
            )
            for name in updates
        }
        # False: the updater copies each array to the device of its parameter when needed.
        updater.states_synced = dict.fromkeys(updater.states, False)
    counts = {indices[name]: count for name, count in updates.items()}
    optimizer._all_index_update_counts = {ctx.device_id: dict(counts) for ctx in trainer._contexts}
    optimizer.num_update = max(counts.values(), default=optimizer.begin_num_update)
