"""The functions that training minimizes: they map the arrays of a batch to its losses."""

import functools
from typing import Callable

from d2l_recsys.backend import gluon, mx, nn
from d2l_recsys.model_bases.contract import ClickModel
from d2l_recsys.settings import Protocol


def rating_loss(net: gluon.Block, loss: gluon.loss.Loss) -> Callable:
    """The losses of a batch (inputs..., labels), or of one array that is both input and label."""
    return _compose(_rating_loss, net, loss)


def ranking_loss(net: gluon.Block, loss: gluon.loss.Loss) -> Callable:
    """The loss of a batch (inputs..., items, negative items).

    The negative items have the shape (n,), or (n, k) for a loss whose ``num_negatives`` is k.
    """
    return _compose(_ranking_loss, net, loss)


def click_loss(net: gluon.Block, loss: gluon.loss.Loss, protocol: Protocol) -> Callable:
    """The losses of a batch, the probabilities, and the logits if the net is a ``ClickModel``.

    ``printed`` passes the probabilities to the loss, ``defined`` passes the logits.
    """
    return _compose(functools.partial(_click_loss, protocol), net, loss)


def own_loss(net: gluon.Block) -> Callable:
    """The loss of a net that defines its own, as ``net.batch_loss(F, *share)``.

    ``share`` are the arrays of a batch. If the net overrides ``forward``, ``F`` is ``mxnet.nd``;
    any other net runs as a graph.
    """
    return _compose(_own_loss, net)


def _own_loss(F, net: Callable, *share):
    return net.batch_loss(F, *share)


def _rating_loss(F, net: Callable, loss: Callable, *share):
    return loss(net(*(share[:-1] or share)), share[-1])


def _ranking_loss(F, net: Callable, loss: Callable, *share):
    *inputs, items, negatives = share
    k = getattr(loss, "num_negatives", None)
    if k is None:
        return loss(net(*inputs, items), net(*inputs, negatives))
    # The net takes pairs: repeat the inputs for each of the k items.
    inputs_of_negatives = [F.np.repeat(part, k, axis=0) for part in inputs]
    scores = net(*inputs_of_negatives, F.np.reshape(negatives, (-1,)))
    return loss(net(*inputs, items), F.np.reshape(scores, (-1, k)))


def _click_loss(protocol: Protocol, F, net: Callable, loss: Callable, features, labels):
    if not isinstance(net, ClickModel):
        scores = net(features)
        return loss(scores, labels), scores
    logits = net.logits(F, features)
    scores = F.npx.sigmoid(logits)
    predicted = scores if protocol is Protocol.printed else logits
    return loss(predicted, labels), scores, logits


class _LossOfNet(nn.HybridBlock):
    """Net and loss as one graph, which needs one call into MXNet.

    On a small batch, a call costs more time than the computation. In one graph, MXNet also computes
    the common part of the two scores of a pair only once.
    """

    def __init__(
        self, loss_of_share: Callable, net: gluon.HybridBlock, *loss: gluon.loss.Loss
    ) -> None:
        super().__init__()
        self.loss_of_share, self.blocks = loss_of_share, (net, *loss)
        for block in self.blocks:
            self.register_child(block)

    def hybrid_forward(self, F, *share):
        return self.loss_of_share(F, *self.blocks, *share)


def _compose(loss_of_share: Callable, net: gluon.Block, *loss: gluon.loss.Loss) -> Callable:
    """``loss_of_share(F, net, *loss, *share)`` as a function of ``share``; ``loss`` is optional."""
    for block in (net, *loss):
        # A block that overrides ``forward`` may call functions that cannot take symbols, as the
        # losses of d2l do.
        if getattr(type(block), "forward", None) is not gluon.HybridBlock.forward:
            return functools.partial(loss_of_share, mx.nd, net, *loss)
    graph = _LossOfNet(loss_of_share, net, *loss)
    graph.hybridize(static_alloc=True, static_shape=True)
    # Hybridizing the graph hybridizes the loss as well. Undo that: a user may call the loss with a
    # margin, which a hybridized loss does not accept.
    for block in loss:
        block.hybridize(active=False)
    return graph
