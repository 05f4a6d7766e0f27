"""The chapter's training loops."""

import contextlib
import math
import time
from collections import deque
from typing import Callable, Iterable, List, Mapping, NamedTuple, Optional, Sequence, Union

import numpy

from d2l_recsys.backend import autograd, gluon, mx, np, npx
from d2l_recsys.batches import BatchLoader
from d2l_recsys.devices import batches_on, try_all_gpus
from d2l_recsys.errors import DataError, DivergedError, SettingError
from d2l_recsys.evaluation import evaluate_clicks, evaluate_rating, score_held_out
from d2l_recsys.history import CTR_CURVE, RANKING_CURVE, RATING_CURVE, Curve, History
from d2l_recsys.interrupts import noting_interrupts
from d2l_recsys.metrics import Scores, TrainClicks, TrainLoss
from d2l_recsys.objectives import click_loss, ranking_loss, rating_loss
from d2l_recsys.progress import EpochDisplay
from d2l_recsys.ranking import HeldOut
from d2l_recsys.saver import Saver, parameters_of
from d2l_recsys.settings import Protocol, as_choice, check_settings

__all__ = [
    "train_ctr",
    "train_ranking",
    "train_recommender",
    "train_recsys_rating",
    "try_all_gpus",
]

# Losses are read back this many batches late: MXNet then computes while Python prepares the next
# batches, and what is under way stays bounded.
BATCHES_UNDER_WAY = 16

Measured = Union[TrainLoss, TrainClicks]


def train_recsys_rating(
    net: gluon.Block,
    train_iter: Iterable,
    test_iter: Iterable,
    loss: gluon.loss.Loss,
    trainer: gluon.Trainer,
    num_epochs: int,
    devices: Optional[Sequence[mx.Context]] = None,
    evaluator: Optional[Callable] = None,
    protocol: str = "printed",
    quiet: bool = False,
    inter_mat: object = None,
    saver: Optional[Saver] = None,
) -> History:
    """Train a rating model (MF, AutoRec) and evaluate it after each epoch; the chapter's loop.

    Parameters
    ----------
    net : maps the inputs of a batch to predictions; initialised on ``devices``. A HybridBlock
        without a ``forward`` of its own is hybridized, in one graph with such a ``loss``
    train_iter, test_iter : yield batches (inputs..., labels), or one array that is both
    loss : maps (predictions, labels) to one loss per example
    trainer : steps with gradients divided by the number of examples in the batch
    devices : each batch is spread over them; all GPUs or one CPU by default
    evaluator : called as ``evaluator(net, test_iter, devices)``, or where ``inter_mat`` is given as
        ``evaluator(net, test_iter, inter_mat, devices)``; returns Scores, or a float that counts as
        the printed test RMSE. Default: ``evaluate_rating``
    protocol : whose numbers the printed lines and the live display show
    quiet : no display and no lines
    inter_mat : what AutoRec's evaluator needs to see beside the test set
    saver : saves the run after each epoch and takes it up where it was left; Ctrl-C then ends the
        batch, saves, and raises Stopped

    Returns the History. Prints the chapter's two result lines; examples/sec are training samples
    over the wall time of training, without evaluation.

    Raises SettingError where ``num_epochs`` is not 1 or more, or where the training data does not
    fill one batch in an epoch; DivergedError where a loss or a weight is not finite; and what the
    methods of ``saver`` raise.
    """
    evaluator = evaluator or evaluate_rating
    devices = list(devices or try_all_gpus())
    extra = [] if inter_mat is None else [inter_mat]

    def evaluate() -> Scores:
        scores = evaluator(net, test_iter, *extra, devices)
        if isinstance(scores, Scores):
            return scores
        return Scores(printed={"test_rmse": float(scores)}, defined={})

    return _train(
        _Steps(rating_loss(net, loss), net, train_iter, trainer, devices),
        num_epochs,
        evaluate,
        RATING_CURVE,
        protocol,
        quiet,
        saver,
    )


def train_ranking(
    net: gluon.Block,
    train_iter: Iterable,
    test_iter: Mapping[int, Iterable[int]],
    loss: gluon.loss.Loss,
    trainer: gluon.Trainer,
    test_seq_iter: Optional[object],
    num_users: int,
    num_items: int,
    num_epochs: int,
    devices: Optional[Sequence[mx.Context]] = None,
    evaluator: Optional[Callable] = None,
    candidates: Optional[Mapping[int, Iterable[int]]] = None,
    eval_step: int = 1,
    protocol: str = "printed",
    quiet: bool = False,
    cutoffs: Sequence[int] = (),
    saver: Optional[Saver] = None,
) -> History:
    """Train a ranking model (NeuMF, Caser) on pairs of items and evaluate it; the chapter's loop.

    Parameters
    ----------
    net : maps (inputs..., items) to scores; initialised on ``devices``. A HybridBlock without a
        ``forward`` of its own is hybridized, in one graph with such a ``loss``
    train_iter : yields batches (inputs..., items, negative items)
    test_iter, test_seq_iter, candidates : ``test_input``, ``seq`` and ``candidates`` of
        ``score_ranking``
    loss : maps (scores of items, scores of negative items) to their loss, summed over the examples
    trainer : steps with gradients divided by the number of examples in the batch
    num_users, num_items : the sizes of the embedding tables
    devices : each batch is spread over them; all GPUs or one CPU by default
    evaluator : called as ``evaluator(net, test_iter, test_seq_iter, candidates, num_users,
        num_items, devices)``; returns Scores, or hit rate and AUC, which count as printed. Default:
        ``score_ranking``
    eval_step : evaluate after every so many epochs
    protocol, quiet : as in ``train_recsys_rating``
    cutoffs : of the default evaluator's defined metrics
    saver : as in ``train_recsys_rating``

    Returns the History. Prints the chapter's two result lines, with the numbers of the last
    evaluation; examples/sec are training samples over the wall time of training.

    Raises SettingError where ``num_epochs`` or ``eval_step`` is not 1 or more or nothing would be
    evaluated, and where the training data does not fill one batch in an epoch; what
    ``score_ranking`` raises, before the first epoch where it can be told by then; and DivergedError
    as ``train_recsys_rating`` does.
    """
    check_settings(num_epochs=num_epochs, eval_step=eval_step)
    if eval_step > num_epochs:
        raise SettingError(
            f"--eval-step is {eval_step}, more than the {num_epochs} epochs: nothing would be "
            "evaluated; choose a smaller one"
        )
    if candidates is None:
        raise SettingError("train_ranking needs the candidates: the training items of each user")
    devices = list(devices or try_all_gpus())
    if evaluator is None:
        # Made here, its errors come before the work.
        held_out = HeldOut(test_iter, candidates, num_users, num_items)

    def evaluate() -> Scores:
        if evaluator is None:
            return score_held_out(net, held_out, test_seq_iter, devices, cutoffs)
        scores = evaluator(net, test_iter, test_seq_iter, candidates, num_users, num_items, devices)
        if isinstance(scores, Scores):
            return scores
        hit_rate, auc = map(float, scores)
        return Scores(printed={"test_hit_rate": hit_rate, "test_auc": auc}, defined={})

    return _train(
        _Steps(ranking_loss(net, loss), net, train_iter, trainer, devices),
        num_epochs,
        evaluate,
        RANKING_CURVE,
        protocol,
        quiet,
        saver,
        eval_step=eval_step,
    )


def train_recommender(
    net: gluon.Block,
    loss_of_share: Callable,
    train_iter: Iterable,
    evaluate: Callable[[], Scores],
    trainer: gluon.Trainer,
    num_epochs: int,
    devices: Optional[Sequence[mx.Context]] = None,
    quiet: bool = False,
    saver: Optional[Saver] = None,
    begin_epoch: Callable[[int], None] = lambda epoch: None,
) -> History:
    """Train a net by any loss, and evaluate it after each epoch: the loop of the companions.

    Parameters
    ----------
    net : initialised on ``devices``
    loss_of_share : maps the arrays of a batch to losses, such as the functions of ``objectives`` do
    train_iter : yields batches
    evaluate : returns the numbers of the net as it is
    trainer : steps with gradients divided by the number of rows in the batch
    devices : each batch is spread over them; all GPUs or one CPU by default
    quiet, saver : as in ``train_recsys_rating``
    begin_epoch : called with the number of each epoch (from 1) before its first batch, also of one
        that is gone on with

    Returns the History; prints and raises as ``train_ranking`` does, with the defined numbers.
    """
    devices = list(devices or try_all_gpus())
    return _train(
        _Steps(loss_of_share, net, train_iter, trainer, devices),
        num_epochs,
        evaluate,
        RANKING_CURVE,
        Protocol.defined,
        quiet,
        saver,
        begin_epoch=begin_epoch,
    )


def train_ctr(
    net: gluon.Block,
    train_iter: Iterable,
    test_iter: Iterable,
    loss: gluon.loss.Loss,
    trainer: gluon.Trainer,
    num_epochs: int,
    devices: Optional[Sequence[mx.Context]] = None,
    protocol: str = "printed",
    quiet: bool = False,
    saver: Optional[Saver] = None,
) -> History:
    """Train a click model (FM, DeepFM) and evaluate it after each epoch.

    The counterpart of the loop for image classification on several devices that the chapter
    borrows for it.

    Parameters
    ----------
    net : maps features (n, fields) to probabilities of a click, (n, 1); initialised on ``devices``.
        Its method ``logits(F, features)`` returns what they are the sigmoid of. (A net without it,
        as the chapter has, trains as printed only.) A HybridBlock without a ``forward`` of its own
        is hybridized, in one graph with such a ``loss``
    train_iter, test_iter : yield batches (features, labels), labels of shape (n, 1). Where
        ``test_iter`` is a ``BatchLoader``, the printed test accuracy is over the rows that the
        chapter's loader would yield in that epoch: full batches, the rest rolled over
    loss : ``SigmoidBinaryCrossEntropyLoss()``
    trainer : steps with gradients divided by the number of examples in the batch
    devices : each batch is spread over them; all GPUs or one CPU by default
    protocol : ``printed`` hands the probabilities to a loss that takes the sigmoid once more, as
        the chapter does; ``defined`` hands it the logits. It also says whose numbers are shown
    quiet : no display and no lines
    saver : as in ``train_recsys_rating``

    Returns the History, with the metrics of ``TrainClicks`` and ``click_scores``. Prints the
    chapter's two result lines, and one with log loss and AUC; examples/sec are training samples
    over the wall time of training.

    Raises SettingError where ``num_epochs`` is not 1 or more, where the training data does not
    fill one batch in an epoch, for ``defined`` with a net without ``logits``, and for a
    ``BatchLoader`` of test rows that shuffles or does not keep them all; and DivergedError as
    ``train_recsys_rating`` does.
    """
    protocol = as_choice(Protocol, "protocol", protocol)
    if protocol is Protocol.defined and not hasattr(net, "logits"):
        raise SettingError(
            "--protocol is defined, but the net has no logits(F, features) to train on"
        )
    devices = list(devices or try_all_gpus())
    loss_of_clicks = click_loss(net, loss, protocol)

    def loss_of_share(features, labels):
        return (*loss_of_clicks(features, labels), labels)

    rolled_over = None
    if isinstance(test_iter, BatchLoader):
        if test_iter.last_batch != "keep" or test_iter.shuffle:
            raise SettingError("the test loader has to keep every row in order (last_batch='keep')")
        rolled_over = BatchLoader(
            numpy.arange(len(test_iter.arrays[0])),
            batch_size=test_iter.batch_size,
            last_batch="rollover",
        )

    def evaluate() -> Scores:
        rows = None
        if rolled_over is not None:
            rows = numpy.concatenate([numpy.empty(0, dtype=int), *rolled_over])
        return evaluate_clicks(net, test_iter, devices, rows)

    history = _train(
        _Steps(loss_of_share, net, train_iter, trainer, devices),
        num_epochs,
        evaluate,
        CTR_CURVE,
        protocol,
        quiet,
        saver,
        measure=TrainClicks,
        # What it rolls over between evaluations is part of the run.
        loaders=[] if rolled_over is None else [rolled_over],
    )
    if not quiet:
        defined = history.final.defined
        print(f"test log loss {defined['test_log_loss']:.3f}, test AUC {defined['test_auc']:.3f}")
        if "test_acc" not in history.final.printed:
            print(
                "no printed test accuracy: the chapter's loader yields full batches alone, and the "
                "test rows did not fill one; choose a smaller --batch-size"
            )
    return history


class _Steps(NamedTuple):
    """What it takes to train on the batches of an epoch.

    ``loss_of_share`` returns losses, or a tuple of losses and what else is measured of a batch.
    """

    loss_of_share: Callable
    net: gluon.Block
    train_iter: Iterable
    trainer: gluon.Trainer
    devices: List[mx.Context]

    def run(
        self, measured: Measured, done: int = 0, stop: Callable[[int], bool] = lambda number: False
    ) -> int:
        """Train on the batches after the first ``done``, and let ``measured`` take them in.

        Stops after a batch for whose number (from 1) ``stop`` says so. Returns the last one's, when
        MXNet has finished it. Raises _LossNotFiniteError for the first loss that is not.
        """
        under_way: deque = deque()
        number = 0

        def read_back() -> None:
            batch, outputs, examples = under_way.popleft()
            values = [_to_numpy(output) for output in outputs]
            if not all(numpy.isfinite(_losses(value)).all() for value in values):
                raise _LossNotFiniteError(batch)
            measured.add(values, examples)

        for number, shares in enumerate(batches_on(self.devices, self.train_iter), start=1):
            with autograd.record():
                outputs = [self.loss_of_share(*share) for share in shares]
                # A device without a share still owes the trainer a gradient: zero.
                idle = [
                    _losses(self.loss_of_share(*(a[:1].as_in_ctx(device) for a in shares[0]))) * 0
                    for device in self.devices[len(shares) :]
                ]
            if number <= done:
                # For what dropout draws alone: MXNet's generator is then where it was.
                if stop(number):
                    number = done
                    break
                if number % BATCHES_UNDER_WAY == 0:
                    npx.waitall()
                continue
            autograd.backward([_losses(output) for output in outputs] + idle)
            examples = sum(len(share[-1]) for share in shares)
            self.trainer.step(examples)
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
        """The error of a loss or weights that are not finite, with the weights as they are now."""
        kept = f"; {saver.last} is kept in {saver.path}" if saver and saver.on_disk else ""
        return DivergedError(
            f"{where}, at learning rate {self.trainer.learning_rate:g}: {_worst(self.net)}; begin "
            f"anew with a smaller --lr{kept}"
        )


def _train(
    steps: _Steps,
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
) -> History:
    """Train, evaluate every ``eval_step`` epochs, show ``curve`` and print the result lines.

    ``measure()`` takes in the batches of an epoch. ``loaders`` are those besides ``train_iter``
    whose batches depend on the epochs before. ``begin_epoch`` is called with the number of each.
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
                    f"{saver.path} has measurements of another kind; leave --resume out to begin "
                    "anew"
                ) from error
    with EpochDisplay(num_epochs, curve.legend, curve.ylim, quiet) as display, (
        noting_interrupts() if saver else contextlib.nullcontext(lambda: False)
    ) as interrupted:
        for epoch, values in enumerate(history.curve(protocol, curve.metrics), start=1):
            display.add(epoch, values)
        for epoch in range(len(history) + 1, num_epochs + 1):
            started = time.perf_counter()
            begin_epoch(epoch)
            done = _train_epoch(steps, epoch, measured, done, saver, lambda _: interrupted())
            trained = time.perf_counter()
            seconds += trained - started
            if interrupted():
                saver.save(history.rows, done, seconds, measured.state)
                saver.stop()
            scores = evaluate() if epoch % eval_step == 0 else Scores({}, {})
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
                saver.stop()
            measured, done, seconds = measure(), 0, 0.0
    if not quiet:
        final = getattr(history.final, protocol.value)
        # The loss is printed whether it is drawn or not.
        shown = {"train_loss": curve.loss}
        for name, key in zip(curve.legend, curve.metrics):
            shown.setdefault(key, name)
        print(", ".join(f"{name} {final.get(key, math.nan):.3f}" for key, name in shown.items()))
        print(f"{history.examples_per_second:.1f} examples/sec on {steps.devices}")
    return history


def _train_epoch(
    steps: _Steps,
    epoch: int,
    measured: Measured,
    done: int,
    saver: Optional[Saver],
    stop: Callable[[int], bool],
) -> int:
    """``steps.run`` for the batches of ``epoch``; DivergedError where they lead nowhere."""
    if saver:
        saver.begin_epoch(epoch)
    try:
        reached = steps.run(measured, done, stop)
    except _LossNotFiniteError as found:
        batch = found.batch
        if saver:
            # MXNet was ahead of the losses: go back to the weights that this one is of.
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
    """The loss of a batch of this number is infinite or no number."""

    def __init__(self, batch: int) -> None:
        super().__init__(batch)
        self.batch = batch


def _worst(net: gluon.Block) -> str:
    """The first parameter that is not finite; where all are, the one with the largest weight."""
    trained = net._collect_params_with_prefix()
    values = {n: v for n, v in parameters_of(net).items() if trained[n].grad_req != "null"}
    for name, array in values.items():
        if not numpy.isfinite(array).all():
            return f"{name} is not finite"
    largest = {name: float(numpy.abs(array).max()) for name, array in values.items()}
    name = max(largest, key=largest.get)
    return f"the largest weight, in {name}, is {largest[name]:.2g}"


def _losses(output: Union[np.ndarray, Sequence[np.ndarray]]) -> np.ndarray:
    return output[0] if isinstance(output, tuple) else output


def _to_numpy(output: Union[np.ndarray, Sequence[np.ndarray]]):
    if isinstance(output, tuple):
        return tuple(array.asnumpy() for array in output)
    return output.asnumpy()
