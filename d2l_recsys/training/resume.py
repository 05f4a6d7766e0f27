"""Save a training run after each epoch and where it is stopped, and take it up again."""

import json
import os
import pathlib
import sys
from typing import Any, Dict, List, Mapping, NoReturn, Sequence, Tuple, Union

import numpy

from d2l_recsys.backend import gluon, mx, np
from d2l_recsys.errors import DataError, SettingError
from d2l_recsys.loaders.batches import BatchLoader, LoaderState
from d2l_recsys.model_bases.parameters import check_alike, parameters_of, set_parameters
from d2l_recsys.seeds import epoch_seed
from d2l_recsys.storage.files import write_files
from d2l_recsys.training.checkpoint import (
    BEFORE,
    CHECKPOINT,
    Checkpoint,
    checkpoint_bytes,
    is_unfinished,
    read_checkpoint,
)
from d2l_recsys.training.interrupts import Stopped

Arrays = Dict[str, numpy.ndarray]
Updates = Dict[str, int]


class Saver:
    """Keeps one training run in the file ``checkpoint.safetensors`` of a folder.

    Parameters
    ----------
    folder : a folder that is there
    run : all that the numbers of the run depend on, by name: a checkpoint of another is refused
    seed : MXNet's generator is seeded anew from it for each epoch, since its state cannot be saved
    resume : take up the run where the file in ``folder`` left it; where there is none, begin

    Raises what ``read_checkpoint`` raises.
    """

    def __init__(
        self,
        folder: Union[str, "os.PathLike[str]"],
        run: Mapping[str, Any],
        seed: int,
        resume: bool = False,
    ) -> None:
        self.folder = pathlib.Path(folder)
        self.path = self.folder / CHECKPOINT
        self.seed = seed
        # As it will be read, to be compared with that.
        self._run = json.loads(json.dumps(run))
        self._found = None
        if resume and self.path.exists():
            self._found = read_checkpoint(self.path, self._run)
        # Whether the file is this run's.
        self.on_disk = self._found is not None
        self._replaces = None
        if resume and not self.on_disk:
            print(f"there is no {self.path} yet: beginning anew", file=sys.stderr)
        elif not resume and is_unfinished(self.path):
            self._replaces = self.folder / BEFORE
            print(
                f"{self.path} is of a run that was not finished; it becomes {self._replaces} when "
                "this one is saved (--resume would go on with it)",
                file=sys.stderr,
            )

    def attach(
        self,
        net: gluon.Block,
        trainer: gluon.Trainer,
        loaders: Sequence[BatchLoader],
        num_epochs: int,
    ) -> Checkpoint:
        """Say what is to be saved; where it starts, which is where the run was left.

        ``net`` is initialised; ``trainer`` uses Adam; ``loaders`` are all whose batches depend on
        the epochs before. Raises SettingError where one is not a ``BatchLoader`` or the checkpoint
        has more than ``num_epochs`` epochs, DataError where it does not fit.
        """
        if not all(isinstance(loader, BatchLoader) for loader in loaders):
            raise SettingError("only a run whose batches come from a BatchLoader can be saved")
        if not isinstance(trainer.optimizer, mx.optimizer.Adam):
            raise SettingError("only a run whose optimizer is Adam can be saved")
        self._net, self._trainer, self._loaders = net, trainer, loaders
        self._num_epochs = num_epochs
        self._loaders_at_epoch: List[LoaderState] = []
        if self._found is None:
            self.last = self.capture([])
            return self.last
        if len(self._found.history) + (self._found.batches > 0) > num_epochs:
            raise SettingError(
                f"{self.path} holds {self._found}, but --num-epochs is {num_epochs}; give a larger "
                "one, or leave --resume out to begin anew"
            )
        self.last = self._found
        self.go_back()
        return self.last

    def begin_epoch(self, epoch: int) -> None:
        """Have all that is drawn in ``epoch`` (from 1) depend on the seed and the epoch alone."""
        mx.random.seed(epoch_seed(self.seed, epoch))
        self._loaders_at_epoch = [loader.state for loader in self._loaders]

    def save(
        self,
        history: Sequence[Mapping[str, float]],
        batches: int = 0,
        seconds: float = 0.0,
        measured: Sequence[float] = (),
    ) -> None:
        """Put the run on disk, whole or not at all; the arguments are those of ``Checkpoint``.

        Raises OutputError where it cannot be written; the checkpoint before it then stays.
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
        """What training and evaluation took until the run was taken up."""
        if self._found is None:
            return 0.0
        rows = self._found.history
        return self._found.seconds + sum(r["seconds_train"] + r["seconds_evaluate"] for r in rows)

    def stop(self) -> NoReturn:
        """Raise Stopped, which says where the run was left and how it goes on."""
        raise Stopped(
            f"stopped after {self.last}, which is saved in {self.path}; the same command with "
            "--resume goes on from there"
        )

    def capture(
        self,
        history: Sequence[Mapping[str, float]],
        batches: int = 0,
        seconds: float = 0.0,
        measured: Sequence[float] = (),
    ) -> Checkpoint:
        """The run as it stands, when MXNet has finished all that is under way."""
        return Checkpoint(
            [dict(row) for row in history],
            batches,
            seconds,
            list(measured),
            self._loaders_at_epoch if batches else [loader.state for loader in self._loaders],
            parameters_of(self._net),
            *adam_state(self._net, self._trainer),
        )

    def go_back(self) -> None:
        """Put weights, optimizer and loaders into the state of the last checkpoint."""
        if len(self.last.loaders) != len(self._loaders):
            raise DataError(
                f"{self.path} is of a run with other loaders; leave --resume out to begin anew"
            )
        try:
            set_parameters(self._net, self.last.parameters)
            set_adam_state(
                self._net,
                self._trainer,
                self.last.means,
                self.last.variances,
                self.last.updates,
            )
            for loader, state in zip(self._loaders, self.last.loaders):
                loader.state = state
        except DataError as error:
            raise DataError(f"{self.path}: {error}; leave --resume out to begin anew") from error


def _updaters(trainer: gluon.Trainer) -> List[mx.optimizer.Updater]:
    """Who has Adam's moments: each device, or where there are several the store between them.

    Gluon's own way to save them pickles the optimizer, and what is pickled runs code when read.
    """
    if not trainer._kv_initialized:
        trainer._init_kvstore()
    if trainer._params_to_init:
        trainer._init_params()
    return [trainer._kvstore._updater] if trainer._update_on_kvstore else trainer._updaters


def _indices(net: gluon.Block, trainer: gluon.Trainer) -> Dict[str, int]:
    """By what number the trainer knows each of the net's parameters that it updates."""
    return {
        name: trainer._param2idx[parameter.name]
        for name, parameter in net._collect_params_with_prefix().items()
        if parameter.name in trainer._param2idx and parameter.grad_req != "null"
    }


def adam_state(net: gluon.Block, trainer: gluon.Trainer) -> Tuple[Arrays, Arrays, Updates]:
    """Adam's moments and counts of updates, by parameter; the same on every device."""
    states = _updaters(trainer)[0].states
    moments: Tuple[Arrays, Arrays] = {}, {}
    updates = {}
    for name, index in _indices(net, trainer).items():
        if index in states:
            for arrays, moment in zip(moments, states[index]):
                arrays[name] = moment.asnumpy()
            counts = trainer.optimizer._all_index_update_counts.values()
            updates[name] = max(count.get(index, 0) for count in counts)
    return (*moments, updates)


def set_adam_state(
    net: gluon.Block, trainer: gluon.Trainer, means: Arrays, variances: Arrays, updates: Updates
) -> None:
    """Give the optimizer what ``adam_state`` returned.

    Raises DataError where it is that of another net.
    """
    indices = _indices(net, trainer)
    if updates:
        parameters = net._collect_params_with_prefix()
        updated = {name: parameters[name] for name in indices}
        check_alike(updated, means, "means")
        check_alike(updated, variances, "variances")
        if set(updates) != set(updated):
            raise DataError("its counts of updates are those of another net")
    for updater in _updaters(trainer):
        updater.states = {
            indices[name]: tuple(
                np.array(moment[name], dtype=moment[name].dtype).as_nd_ndarray()
                for moment in (means, variances)
            )
            for name in updates
        }
        # The updater brings them to the device of their parameter when it needs them.
        updater.states_synced = dict.fromkeys(updater.states, False)
    optimizer = trainer.optimizer
    counts = {indices[name]: count for name, count in updates.items()}
    optimizer._all_index_update_counts = {ctx.device_id: dict(counts) for ctx in trainer._contexts}
    optimizer.num_update = max(counts.values(), default=optimizer.begin_num_update)
