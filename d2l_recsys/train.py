"""The chapter's training loops, and the loop of the companions."""

from typing import Callable, Iterable, Mapping, Optional, Sequence

import numpy

from d2l_recsys.backend import gluon, mx
from d2l_recsys.devices import try_all_gpus
from d2l_recsys.errors import SettingError
from d2l_recsys.evaluation.evaluators import evaluate_clicks, evaluate_rating, score_held_out
from d2l_recsys.loaders.batches import BatchLoader
from d2l_recsys.model_bases.contract import ClickModel
from d2l_recsys.ranking import HeldOut
from d2l_recsys.settings import Protocol, Scores, as_choice, check_settings
from d2l_recsys.training.history import CTR_CURVE, RANKING_CURVE, RATING_CURVE, Curve, History
from d2l_recsys.training.loop import Steps, train_epochs
from d2l_recsys.training.objectives import click_loss, ranking_loss, rating_loss
from d2l_recsys.training.resume import Saver
from d2l_recsys.training.train_loss import TrainClicks, TrainLoss

__all__ = [
    "train_ctr",
    "train_ranking",
    "train_recommender",
    "train_recsys_rating",
    "try_all_gpus",
]


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
    net : maps the inputs of a batch to predictions; initialized on ``devices``. If ``net`` and
        ``loss`` both inherit ``HybridBlock.forward``, they are hybridized in one graph
    train_iter, test_iter : yield batches (inputs..., labels), or one array that is input and labels
    loss : maps (predictions, labels) to one loss per example
    trainer : steps with gradients divided by the number of examples in the batch
    devices : each batch is split across these devices; default: all GPUs, or one CPU
    evaluator : called as ``evaluator(net, test_iter, devices)``, or, if ``inter_mat`` is given, as
        ``evaluator(net, test_iter, inter_mat, devices)``. Returns Scores, or a float that is taken
        as the printed test RMSE. Default: ``evaluate_rating``
    protocol : the result lines and the live figure show the numbers of this protocol
    quiet : show no live figure and print no lines
    inter_mat : an argument for the evaluator; AutoRec's evaluator takes the matrix of test ratings
    saver : saves the run after each epoch, and resumes a saved run. With a saver, Ctrl-C finishes
        the current batch, saves the run, and raises Stopped

    Returns the History. Prints the chapter's two result lines; examples/sec is the number of
    training examples divided by the wall time of training, without evaluation.

    Raises SettingError if ``protocol`` is unknown, if ``num_epochs`` is less than 1, or if the
    training data does not fill one batch in an epoch. Raises DivergedError if a loss, a weight
    or a prediction is not finite. Raises the errors of the methods of ``saver``.
    """
    evaluator = evaluator or evaluate_rating
    devices = list(devices or try_all_gpus())
    extra = [] if inter_mat is None else [inter_mat]

    def evaluate() -> Scores:
        scores = evaluator(net, test_iter, *extra, devices)
        if isinstance(scores, Scores):
            return scores
        return Scores(printed={"test_rmse": float(scores)}, defined={})

    return train_epochs(
        Steps(rating_loss(net, loss), net, train_iter, trainer, devices),
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
    net : maps (inputs..., items) to scores; initialized on ``devices``. If ``net`` and ``loss``
        both inherit ``HybridBlock.forward``, they are hybridized in one graph
    train_iter : yields batches (inputs..., items, negative items)
    test_iter, test_seq_iter : the held-out items of each user, and each user's last items or None;
        the arguments ``test_input`` and ``seq`` of ``score_ranking``
    loss : maps (scores of items, scores of negative items) to their loss, summed over the examples
    trainer : steps with gradients divided by the number of examples in the batch
    num_users, num_items : the sizes of the embedding tables
    devices : each batch is split across these devices; default: all GPUs, or one CPU
    evaluator : called as ``evaluator(net, test_iter, test_seq_iter, candidates, num_users,
        num_items, devices)``. Returns Scores, or the pair of hit rate and AUC, which are taken as
        printed. Default: the metrics of ``score_ranking``
    candidates : the training items of each user, which are not ranked; required
    eval_step : number of epochs from one evaluation to the next
    protocol, quiet : as in ``train_recsys_rating``
    cutoffs : further cutoffs for the defined metrics of the default evaluator
    saver : as in ``train_recsys_rating``

    Returns the History. Prints the chapter's two result lines, with the numbers of the last
    evaluation; examples/sec is the number of training examples divided by the wall time of
    training.

    Raises SettingError if ``num_epochs`` or ``eval_step`` is less than 1, if ``eval_step`` is
    greater than ``num_epochs``, if ``candidates`` is None, if ``protocol`` is unknown, or if the
    training data does not fill one batch in an epoch. With the default evaluator, raises the errors
    of ``HeldOut`` before the first epoch, and the other errors of ``score_ranking`` at the first
    evaluation. Raises DivergedError as ``train_recsys_rating`` does, and the errors of the methods
    of ``saver``.
    """
    check_settings(num_epochs=num_epochs, eval_step=eval_step)
    if eval_step > num_epochs:
        raise SettingError(
            f"--eval-step is {eval_step}, more than the {num_epochs} epochs: nothing would be "
            "evaluated; choose a smaller --eval-step"
        )
    if candidates is None:
        raise SettingError(
            "train_ranking needs the candidates: give the training items of each user"
        )
    devices = list(devices or try_all_gpus())
    if evaluator is None:
        # Its errors should come before the first epoch.
        held_out = HeldOut(test_iter, candidates, num_users, num_items)

    def evaluate() -> Scores:
        if evaluator is None:
            return score_held_out(net, held_out, test_seq_iter, devices, cutoffs)
        scores = evaluator(net, test_iter, test_seq_iter, candidates, num_users, num_items, devices)
        if isinstance(scores, Scores):
            return scores
        hit_rate, auc = map(float, scores)
        return Scores(printed={"test_hit_rate": hit_rate, "test_auc": auc}, defined={})

    return train_epochs(
        Steps(ranking_loss(net, loss), net, train_iter, trainer, devices),
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
    protocol: str = "defined",
    curve: Curve = RANKING_CURVE,
    measure: Callable[[], TrainLoss] = TrainLoss,
    whole_epochs: bool = False,
) -> History:
    """Train a net with any loss, and evaluate it after each epoch: the loop of the companions.

    Parameters
    ----------
    net : initialized on ``devices``
    loss_of_share : maps the arrays of a batch to losses; ``training.objectives`` makes such
        functions
    train_iter : yields batches
    evaluate : returns the numbers of the net in its present state
    trainer : steps with gradients divided by the number of rows in the batch
    devices : each batch is split across these devices; default: all GPUs, or one CPU
    quiet, saver : as in ``train_recsys_rating``
    begin_epoch : called with the number of each epoch (from 1) before the first batch of the epoch;
        also for a resumed epoch
    protocol : the result lines show the numbers of this protocol
    curve : what the live figure and the first result line show
    measure : makes the object that adds up the losses of an epoch
    whole_epochs : as in ``train_epochs``

    Returns the History. Prints the two result lines of ``train_ranking``.
    Raises the errors of ``train_recsys_rating`` and of ``evaluate``.
    """
    devices = list(devices or try_all_gpus())
    return train_epochs(
        Steps(loss_of_share, net, train_iter, trainer, devices),
        num_epochs,
        evaluate,
        curve,
        protocol,
        quiet,
        saver,
        measure=measure,
        begin_epoch=begin_epoch,
        whole_epochs=whole_epochs,
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

    The chapter uses the book's loop for image classification, ``train_ch13``, instead.

    Parameters
    ----------
    net : maps features (n, fields) to probabilities of a click, (n, 1); initialized on ``devices``.
        A ``ClickModel`` has a method ``logits(F, features)``, which returns the logits of these
        probabilities. (The nets in the book do not have it, and train only as printed.) If ``net``
        and ``loss`` both inherit ``HybridBlock.forward``, they are hybridized in one graph
    train_iter, test_iter : yield batches (features, labels), with labels of shape (n, 1). If
        ``test_iter`` is a ``BatchLoader``, the printed test accuracy counts only the rows that the
        chapter's loader yields in this epoch: full batches, with the rest rolled over
    loss : ``SigmoidBinaryCrossEntropyLoss()``
    trainer : steps with gradients divided by the number of examples in the batch
    devices : each batch is split across these devices; default: all GPUs, or one CPU
    protocol : decides what is trained and which numbers are shown. ``printed`` passes the
        probabilities to the loss, which applies the sigmoid a second time, as in the chapter.
        ``defined`` passes the logits to the loss
    quiet : show no live figure and print no lines
    saver : as in ``train_recsys_rating``

    Returns the History, with the metrics of ``TrainClicks`` and ``click_scores``. Prints the
    chapter's two result lines, and a line with log loss and AUC; examples/sec is the number of
    training examples divided by the wall time of training.

    Raises SettingError if ``protocol`` is unknown, if ``num_epochs`` is less than 1, if the
    training data does not fill one batch in an epoch, if ``protocol`` is ``defined`` and ``net`` is
    not a ``ClickModel``, and if ``test_iter`` is a ``BatchLoader`` that shuffles or leaves out
    rows. Raises DivergedError as ``train_recsys_rating`` does, and the errors of the methods of
    ``saver``.
    """
    protocol = as_choice(Protocol, "protocol", protocol)
    if protocol is Protocol.defined and not isinstance(net, ClickModel):
        raise SettingError(
            "--protocol is defined, but the net has no logits(F, features); train it as printed"
        )
    devices = list(devices or try_all_gpus())
    rolled_over = None
    if isinstance(test_iter, BatchLoader):
        if test_iter.last_batch != "keep" or test_iter.shuffle:
            raise SettingError(
                "the test loader must keep all rows in order: last_batch='keep', no shuffle"
            )
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

    history = train_epochs(
        Steps(click_loss(net, loss, protocol), net, train_iter, trainer, devices, labels=True),
        num_epochs,
        evaluate,
        CTR_CURVE,
        protocol,
        quiet,
        saver,
        measure=TrainClicks,
        # A resumed run needs the rows that this loader rolls over from one evaluation to the next.
        loaders=[] if rolled_over is None else [rolled_over],
    )
    if not quiet:
        defined = history.final.defined
        print(f"test log loss {defined['test_log_loss']:.3f}, test AUC {defined['test_auc']:.3f}")
        if "test_acc" not in history.final.printed:
            print(
                "no printed test accuracy: the chapter's loader yields only full batches, and the "
                "test rows did not fill one; choose a smaller --batch-size"
            )
    return history
