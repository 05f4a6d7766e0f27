"""The training loop behind ``d2l_recsys.train``: batches, epochs, and the handling of failures.

A run can be saved after each epoch, interrupted within an epoch, and resumed to the same bits. It
stops if its loss or its weights are no longer finite.
"""

import contextlib
import math
import time
from collections import deque
from typing import Callable, Iterable, Iterator, List, NamedTuple, Optional, Sequence, Union

import numpy

from d2l_recsys.backend import gluon, mx, npx
from d2l_recsys.devices import split_and_load
from d2l_recsys.errors import DataError, DivergedError, SettingError
from d2l_recsys.loaders.batches import BatchLoader
from d2l_recsys.model_bases.parameters import parameters_of
from d2l_recsys.settings import Protocol, Scores, as_choice, check_settings
from d2l_recsys.training.flat_update import FlatUpdate, is_flat, trained_parameters
from d2l_recsys.training.history import Curve, History
from d2l_recsys.training.interrupts import noting_interrupts
from d2l_recsys.training.passes import BoundPasses, Output, RecordedPasses, losses_of
from d2l_recsys.training.progress import EpochDisplay
from d2l_recsys.training.resume import Saver
from d2l_recsys.training.train_loss import TrainClicks, TrainLoss

# At most this many batches wait in MXNet before their losses are copied to numpy. So MXNet computes
# while Python prepares the next batches, and the number of pending batches stays bounded.
BATCHES_UNDER_WAY = 16

Measured = Union[TrainLoss, TrainClicks]


class Steps(NamedTuple):
    """The parts of training on the batches of one epoch.

    ``loss_of_share`` maps one device's share of a batch to its losses, or to a list of the losses
    and further arrays to measure. If ``labels`` is true, the last array of the share, which has the
    labels, is measured as well. ``passes`` and ``step`` do the work of ``loss_of_share`` and of
    ``trainer``.
    """

    loss_of_share: Callable
    net: gluon.Block
    train_iter: Iterable
    trainer: gluon.Trainer
    devices: List[mx.Context]
    labels: bool = False
    passes: Optional[RecordedPasses] = None
    step: Optional[Callable[[int], None]] = None

    def run(
        self, measured: Measured, done: int = 0, stop: Callable[[int], bool] = lambda number: False
    ) -> int:
        """Train on the batches after the first ``done``, and add their losses to ``measured``.

        ``stop`` is called with the number (from 1) of each batch. If ``stop`` returns True,
        training stops after that batch. Returns the number of the last trained batch, after MXNet
        has finished.

        Raises _LossNotFiniteError for the first batch whose loss is not finite, and SettingError if
        the training set does not fill one batch.
        """
        under_way: deque = deque()
        number = 0

        def read_back() -> None:
            batch, outputs, examples = under_way.popleft()
            values = [_to_numpy(output) for output in outputs]
            if not all(numpy.isfinite(losses_of(value)).all() for value in values):
                raise _LossNotFiniteError(batch)
            measured.add(values, examples)

        for number, shares in enumerate(split_and_load(self.devices, self.train_iter), start=1):
            outputs = self.passes.forward(shares)
            if number <= done:
                # This batch is already trained. Its forward pass only repeats the draws of
                # dropout, so that MXNet's random generator reaches the state that it had.
                if stop(number):
                    number = done
                    break
                if number % BATCHES_UNDER_WAY == 0:
                    npx.waitall()
                continue
            self.passes.backward()
            examples = sum(len(share[-1]) for share in shares)
            self.step(examples)
            if self.labels:
                outputs = [(*output, share[-1]) for output, share in zip(outputs, shares)]
            under_way.append((number, outputs, examples))
            if len(under_way) > BATCHES_UNDER_WAY:
                read_back()
            if stop(number):
                break
        while under_way:
            read_back()
        npx.waitall()
        if not measured.examples:
            raise SettingError(
                "the training set does not fill one batch; choose a smaller --batch-size"
            )
        return number

    def diverged(self, where: str, saver: Optional[Saver]) -> DivergedError:
        """The error for a loss or weights that are not finite; it tells how large weights are."""
        kept = (
            f"; the checkpoint after {saver.last} is kept in {saver.path}"
            if saver and saver.on_disk
            else ""
        )
        return DivergedError(
            f"{where}, at learning rate {self.trainer.learning_rate:g}: {_worst(self.net)}; start "
            f"from scratch with a smaller --lr{kept}"
        )


def train_epochs(
    steps: Steps,
    num_epochs: int,
    evaluate: Callable[[], Scores],
    curve: Curve,
    protocol: str,
    quiet: bool,
    saver: Optional[Saver],
    eval_step: int = 1,
    measure: Callable[[], Measured] = TrainLoss,
    loaders: Sequence[BatchLoader] = (),
    begin_epoch: Callable[[int], None] = lambda epoch: None,
    whole_epochs: bool = False,
) -> History:
    """Train, evaluate every ``eval_step`` epochs, show ``curve`` and print the result lines.

    Parameters
    ----------
    evaluate : returns the test metrics of the net
    saver : saves the run after each epoch and resumes it; None saves nothing
    measure : makes the object that adds up the losses (and accuracies) of an epoch
    loaders : further loaders, besides ``train_iter``, whose batches depend on earlier epochs
    begin_epoch : called with the number of each epoch (from 1) before its first batch
    whole_epochs : a run that is interrupted within an epoch starts this epoch again when it is
        resumed. Otherwise it goes on with the next batch. Choose True if a batch needs more from
        the batches before it than their updates of the weights, such as the state of an RNN

    Returns the History. Raises SettingError for a setting outside its range or if the training set
    does not fill one batch, DivergedError if a loss, a weight or a prediction is not finite, and
    what the methods of ``saver`` raise. With a ``saver``, Ctrl-C and SIGTERM raise Stopped after
    the run is saved.
    """
    protocol = as_choice(Protocol, "protocol", protocol)
    check_settings(num_epochs=num_epochs, eval_step=eval_step)
    history, measured, done, seconds = History(), measure(), 0, 0.0
    if saver:
        start = saver.attach(steps.net, steps.trainer, [steps.train_iter, *loaders], num_epochs)
        history.rows, done, seconds = list(start.history), start.batches, start.seconds
        if done:
            try:
                measured.state = start.measured
            except (TypeError, ValueError) as error:
                raise DataError(
                    f"{saver.path} has running totals that do not fit this run; leave out --resume "
                    "to start from scratch"
                ) from error
    with EpochDisplay(num_epochs, curve.legend, curve.ylim, quiet) as display, (
        noting_interrupts() if saver else contextlib.nullcontext(lambda: 0)
    ) as interrupted, _with_quick_steps(steps) as steps:
        for epoch, values in enumerate(history.curve(protocol, curve.metrics), start=1):
            display.add(epoch, values)
        for epoch in range(len(history) + 1, num_epochs + 1):
            started = time.perf_counter()
            begin_epoch(epoch)
            done = _train_epoch(steps, epoch, measured, done, saver, lambda _: bool(interrupted()))
            trained = time.perf_counter()
            seconds += trained - started
            if interrupted():
                if whole_epochs:
                    saver.go_back()
                    saver.save(history.rows)
                else:
                    saver.save(history.rows, done, seconds, measured.state)
                saver.stop(interrupted())
            scores = evaluate() if epoch % eval_step == 0 else Scores({}, {})
            if any(map(math.isnan, scores.defined.values())):
                # All weights are finite, but so large that the predictions overflow.
                raise steps.diverged(f"predictions are not finite after epoch {epoch}", saver)
            history.append(
                Scores(*({**a, **b} for a, b in zip(measured.scores, scores))),
                examples=measured.examples,
                seconds_train=seconds,
                seconds_evaluate=time.perf_counter() - trained,
                curve_train_loss=measured.curve,
            )
            display.add(epoch, history.curve(protocol, curve.metrics)[-1])
            if saver:
                saver.save(history.rows)
            if interrupted():
                saver.stop(interrupted())
            measured, done, seconds = measure(), 0, 0.0
    if not quiet:
        final = history.final.of(protocol)
        # Print the loss even if the figure does not draw it.
        shown = {"train_loss": curve.loss}
        for name, key in zip(curve.legend, curve.metrics):
            shown.setdefault(key, name)
        print(", ".join(f"{name} {final.get(key, math.nan):.3f}" for key, name in shown.items()))
        print(f"{history.examples_per_second:.1f} examples/sec on {steps.devices}")
    return history


@contextlib.contextmanager
def _with_quick_steps(steps: Steps) -> Iterator[Steps]:
    """Give ``steps`` the quickest passes and update that compute the same bits."""
    trainer, how = steps.trainer, (steps.loss_of_share, steps.devices)
    if not is_flat(trainer, steps.devices):
        yield steps._replace(passes=RecordedPasses(*how), step=trainer.step)
        return
    flat = FlatUpdate(trainer)
    passes = BoundPasses(*how, trained_parameters(trainer), flat.check_gradients)
    try:
        yield steps._replace(passes=passes, step=flat.step)
    finally:
        flat.give_back()


def _train_epoch(
    steps: Steps,
    epoch: int,
    measured: Measured,
    done: int,
    saver: Optional[Saver],
    stop: Callable[[int], bool],
) -> int:
    """Run ``steps`` for one epoch; raise DivergedError if a loss or a weight is not finite."""
    if saver:
        saver.begin_epoch(epoch)
    try:
        reached = steps.run(measured, done, stop)
    except _LossNotFiniteError as found:
        batch = found.batch
        if saver:
            # MXNet has already trained on later batches. Train again up to the batch before, so
            # that the error shows the weights that gave this loss.
            saver.go_back()
            saver.begin_epoch(epoch)
            if batch > done + 1:
                steps.run(type(measured)(), done, lambda number: number == batch - 1)
        where = f"the loss is not finite in epoch {epoch}, batch {batch}"
        raise steps.diverged(where, saver) from None
    if not all(numpy.isfinite(array).all() for array in parameters_of(steps.net).values()):
        where = f"weights are not finite in epoch {epoch}, after batch {reached}"
        raise steps.diverged(where, saver)
    return reached


class _LossNotFiniteError(Exception):
    """The loss of the batch with this number is infinite or NaN."""

    def __init__(self, batch: int) -> None:
        super().__init__(batch)
        self.batch = batch


def _worst(net: gluon.Block) -> str:
    """A phrase with the largest weight, or with the first parameter that is not finite."""
    trained = net._collect_params_with_prefix()
    values = {n: v for n, v in parameters_of(net).items() if trained[n].grad_req != "null"}
    for name, array in values.items():
        if not numpy.isfinite(array).all():
            return f"{name} is not finite"
    largest = {name: float(numpy.abs(array).max()) for name, array in values.items()}
    name = max(largest, key=largest.get)
    return f"the largest weight, in {name}, is {largest[name]:.2g}"


def _to_numpy(output: Output) -> Union[numpy.ndarray, Sequence[numpy.ndarray]]:
    if isinstance(output, (list, tuple)):
        return tuple(array.asnumpy() for array in output)
    return output.asnumpy()
