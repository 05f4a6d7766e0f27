"""The chapter's training loops."""

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
from d2l_recsys.training.history import CTR_CURVE, RANKING_CURVE, RATING_CURVE, History
from d2l_recsys.training.loop import Steps, train_epochs
from d2l_recsys.training.objectives import click_loss, ranking_loss, rating_loss
from d2l_recsys.training.resume import Saver
from d2l_recsys.training.train_loss import TrainClicks

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
    return train_epochs(
        Steps(loss_of_share, net, train_iter, trainer, devices),
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
    if protocol is Protocol.defined and not isinstance(net, ClickModel):
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

    history = train_epochs(
        Steps(loss_of_share, net, train_iter, trainer, devices),
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
