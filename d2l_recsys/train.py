"""The chapter's training loops."""

import math
import time
from collections import deque
from typing import Callable, Iterable, List, Optional, Sequence

from d2l_recsys.backend import autograd, gluon, mx, nn, npx
from d2l_recsys.devices import batches_on, try_all_gpus
from d2l_recsys.errors import SettingError
from d2l_recsys.evaluation import evaluate_rating
from d2l_recsys.history import History
from d2l_recsys.metrics import Scores, TrainLoss
from d2l_recsys.progress import EpochDisplay
from d2l_recsys.settings import Protocol, as_choice, check_settings

__all__ = ["train_recsys_rating", "try_all_gpus"]

# Losses are read back this many batches late: MXNet then computes while Python prepares the next
# batches, and what is under way stays bounded.
BATCHES_UNDER_WAY = 16


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
) -> History:
    """Train a rating model (MF, AutoRec) and evaluate it after each epoch; the chapter's loop.

    Parameters
    ----------
    net : maps the inputs of a batch to predictions; initialised on ``devices``. A HybridBlock is
        hybridized, in one graph with ``loss``
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

    Returns the History. Prints the chapter's two result lines; examples/sec are training samples
    over the wall time of training, without evaluation.

    Raises SettingError where ``num_epochs`` is not 1 or more, or where the training data does not
    fill one batch in an epoch.
    """
    protocol = as_choice(Protocol, "protocol", protocol)
    check_settings(num_epochs=num_epochs)
    devices = list(devices or try_all_gpus())
    evaluator = evaluator or evaluate_rating
    extra = [] if inter_mat is None else [inter_mat]
    loss_of_share = _compose(net, loss)
    history = History()
    with EpochDisplay(num_epochs, ("train loss", "test RMSE"), (0, 2), quiet) as display:
        for epoch in range(1, num_epochs + 1):
            started = time.perf_counter()
            train_loss = _train_epoch(loss_of_share, train_iter, trainer, devices)
            trained = time.perf_counter()
            scores = evaluator(net, test_iter, *extra, devices)
            if not isinstance(scores, Scores):
                scores = Scores(printed={"test_rmse": float(scores)}, defined={})
            history.append(
                Scores(
                    printed={"train_loss": train_loss.printed, **scores.printed},
                    defined={"train_loss": train_loss.defined, **scores.defined},
                ),
                examples=train_loss.examples,
                seconds_train=trained - started,
                seconds_evaluate=time.perf_counter() - trained,
                curve_train_loss=train_loss.curve,
            )
            display.add(epoch, history.curve(protocol, "test_rmse")[-1])
    if not quiet:
        final = getattr(history.final, protocol.value)
        test_rmse = final.get("test_rmse", math.nan)
        print(f"train loss {final['train_loss']:.3f}, test RMSE {test_rmse:.3f}")
        print(f"{history.examples_per_second:.1f} examples/sec on {devices}")
    return history


def _train_epoch(
    loss_of_share: Callable, train_iter: Iterable, trainer: gluon.Trainer, devices: List[mx.Context]
) -> TrainLoss:
    """One pass over ``train_iter``; returns when MXNet has finished it."""
    train_loss = TrainLoss()
    under_way: deque = deque()

    def read_back() -> None:
        losses, examples = under_way.popleft()
        values = [value.asnumpy() for value in losses]
        elements = sum(value.size for value in values)
        train_loss.add(sum(value.sum(dtype="float64") for value in values) / elements, examples)

    for shares in batches_on(devices, train_iter):
        examples = sum(len(share[-1]) for share in shares)
        with autograd.record():
            losses = [loss_of_share(*share) for share in shares]
            # A device without a share still owes the trainer a gradient: zero.
            idle = [
                loss_of_share(*(array[:1].as_in_ctx(device) for array in shares[0])) * 0
                for device in devices[len(shares) :]
            ]
        autograd.backward(losses + idle)
        trainer.step(examples)
        under_way.append((losses, examples))
        if len(under_way) > BATCHES_UNDER_WAY:
            read_back()
    while under_way:
        read_back()
    npx.waitall()
    if not train_loss.examples:
        raise SettingError(
            "the training set does not fill one batch; choose a smaller --batch-size"
        )
    return train_loss


class _LossOfNet(nn.HybridBlock):
    """Net and loss as one graph: each call into MXNet costs more than its work on a small batch."""

    def __init__(self, net: gluon.HybridBlock, loss: gluon.loss.Loss) -> None:
        super().__init__()
        self.net, self.loss = net, loss

    def hybrid_forward(self, F, *share):
        return self.loss(self.net(*(share[:-1] or share)), share[-1])


def _compose(net: gluon.Block, loss: gluon.loss.Loss) -> Callable:
    """The function from a share's arrays (inputs..., labels) to its losses."""
    if not (isinstance(net, gluon.HybridBlock) and isinstance(loss, gluon.HybridBlock)):
        return lambda *share: loss(net(*(share[:-1] or share)), share[-1])
    loss_of_net = _LossOfNet(net, loss)
    loss_of_net.hybridize(static_alloc=True, static_shape=True)
    return loss_of_net
