r"""Losses for ranking: BPR and hinge loss of pairs (section 15.5), and losses beside them.

Each loss takes two arrays of scores: of items that users have seen, and of items that they have not
seen. All losses but the log loss depend only on the distance between the score of a seen item i and
the score of an unseen item j of the same user, :math:`d_{ij} = \hat y_{ui} - \hat y_{uj}`.
All losses are sums over a batch. A trainer that steps with the number of seen items turns these
sums into means.

BPR, hinge and log loss have one unseen item for each seen item. The sampled softmax and the loss of
the hardest item have k of them; then k is the attribute ``num_negatives`` of the loss.
"""

from typing import Any, Optional

from d2l_recsys.backend import gluon
from d2l_recsys.settings import ONLY_WITH, RankingLoss

__all__ = [
    "RANKING_LOSSES",
    "BPRLoss",
    "HardestNegativeLoss",
    "HingeLossbRec",
    "LogLoss",
    "SampledSoftmaxLoss",
    "make_ranking_loss",
    "softplus",
]


def softplus(F: Any, x: Any) -> Any:
    r"""The function :math:`\ln(1 + e^x) = \max(x, 0) + \ln(1 + e^{-|x|})`.

    ``F`` is ``mxnet.nd`` or ``mxnet.symbol``. The code uses the right-hand form: its value stays
    finite, and its gradient correct, even if :math:`e^x` overflows. (MXNet's own soft relu loses
    small values, and returns some negative values.)
    """
    size = F.np.abs(x)
    # (x + |x|) / 2 is max(x, 0). At x = 0 its gradient is 1/2, which is the correct gradient of the
    # whole sum.
    return (x + size) / 2 + F.np.log1p(F.np.exp(-size))


class BPRLoss(gluon.loss.Loss):
    r"""Bayesian personalized ranking (eq. 15.5.2; Rendle et al. 2009).

    .. math:: \sum_{(u, i, j)} -\ln \sigma(d) = \sum \ln(1 + e^{-d})

    The equation also has weight decay, which the optimizer adds.

    Called with the scores of the seen items and the scores of the unseen items, two arrays of shape
    (n,) or (n, 1). Returns the sum of the losses over the first axis, which is kept: shape (1,) or
    (1, 1). ``weight`` and ``batch_axis`` are arguments of every Gluon loss. As in the chapter, they
    have no effect.
    """

    def __init__(self, weight: Optional[float] = None, batch_axis: int = 0, **kwargs: Any) -> None:
        super().__init__(weight=None, batch_axis=batch_axis, **kwargs)

    def hybrid_forward(self, F, positive, negative):
        """Sum over the pairs; F is ``mxnet.nd`` or ``mxnet.symbol``."""
        return F.np.sum(softplus(F, negative - positive), axis=0, keepdims=True)


class HingeLossbRec(gluon.loss.Loss):
    r"""Hinge loss (eq. 15.5.3): 0 if a seen item leads an unseen item by at least ``margin``.

    .. math:: \sum_{(u, i, j)} \max(m - d, 0)

    Called with the scores of the seen items and the scores of the unseen items, two arrays of the
    same shape, and optionally with the margin m (default: ``margin``). Returns a scalar. ``weight``
    and ``batch_axis`` have no effect, as in ``BPRLoss``.
    """

    def __init__(
        self,
        weight: Optional[float] = None,
        batch_axis: int = 0,
        margin: float = 1,
        **kwargs: Any,
    ) -> None:
        super().__init__(weight=None, batch_axis=batch_axis, **kwargs)
        self.margin = margin

    def hybrid_forward(self, F, positive, negative, margin=None):
        """Sum over the pairs; F as in ``BPRLoss``."""
        margin = self.margin if margin is None else margin
        return F.np.sum(F.np.maximum(negative - positive + margin, 0))


class LogLoss(gluon.loss.Loss):
    r"""Log loss of single items (eq. 7 of He et al. 2017).

    A score is the logit of the probability that the user has seen the item.

    .. math:: -\sum_{(u, i)} \ln \sigma(\hat y_{ui}) - \sum_{(u, j)} \ln(1 - \sigma(\hat y_{uj}))

    Called with the scores of the seen items and the scores of the unseen items, two arrays of shape
    (n,). Returns the sum over both, of shape (1,). ``weight`` and ``batch_axis`` have no effect, as
    in ``BPRLoss``.
    """

    def __init__(self, weight: Optional[float] = None, batch_axis: int = 0, **kwargs: Any) -> None:
        super().__init__(weight=None, batch_axis=batch_axis, **kwargs)

    def hybrid_forward(self, F, positive, negative):
        """Sum over the seen and the unseen items; F as in ``BPRLoss``."""
        losses = softplus(F, -positive) + softplus(F, negative)
        return F.np.sum(losses, axis=0, keepdims=True)


class SampledSoftmaxLoss(gluon.loss.Loss):
    r"""Sampled softmax: find the seen item i among k unseen items (Bengio and Senécal 2008).

    Wu et al. (2022) use it for recommendation. With k = 1 it is BPR.

    .. math::
        \sum_{(u, i)} -\ln \frac{e^{\hat y_{ui}}}{e^{\hat y_{ui}} + \sum_j e^{\hat y_{uj}}}
        = \sum_{(u, i)} \ln \Big(1 + \sum_j e^{-d_{ij}}\Big)

    Called with the scores of the seen items (n,) and of the unseen items (n, k). Returns the sum,
    of shape (1,).
    """

    def __init__(self, num_negatives: int, **kwargs: Any) -> None:
        super().__init__(weight=None, batch_axis=0, **kwargs)
        self.num_negatives = num_negatives

    def hybrid_forward(self, F, positive, negative):
        """Sum over the seen items; F as in ``BPRLoss``."""
        leads = negative - F.np.expand_dims(positive, axis=1)
        # ln sum_j e^(x_j) = x_1 - log_softmax(x)_1, which does not overflow.
        first = leads[:, 0] - F.npx.log_softmax(leads, axis=1)[:, 0]
        return F.np.sum(softplus(F, first), axis=0, keepdims=True)


class HardestNegativeLoss(gluon.loss.Loss):
    r"""Hinge loss with the hardest of k unseen items, which is the one with the highest score.

    Zhang et al. (2013) choose the unseen item in this way. WARP (Weston et al. 2011) also draws
    items until one is hard, and uses their number as a weight.

    .. math:: \sum_{(u, i)} \max_j \max(m - d_{ij}, 0)

    Called with the scores of the seen items (n,) and of the unseen items (n, k). Returns a scalar.
    """

    def __init__(self, num_negatives: int, margin: float = 1, **kwargs: Any) -> None:
        super().__init__(weight=None, batch_axis=0, **kwargs)
        self.num_negatives, self.margin = num_negatives, margin

    def hybrid_forward(self, F, positive, negative):
        """Sum over the seen items; F as in ``BPRLoss``."""
        # The gradient of a maximum would go to every item with the highest score. An item that is
        # drawn twice would then count twice.
        hardest = F.npx.pick(negative, F.np.argmax(negative, axis=1), axis=1)
        return F.np.sum(F.np.maximum(hardest - positive + self.margin, 0))


RANKING_LOSSES = {
    RankingLoss.bpr: BPRLoss,
    RankingLoss.hinge: HingeLossbRec,
    RankingLoss.log: LogLoss,
    RankingLoss.softmax: SampledSoftmaxLoss,
    RankingLoss.hardest: HardestNegativeLoss,
}


def make_ranking_loss(
    name: RankingLoss, margin: float = 1, num_negatives: int = 1
) -> gluon.loss.Loss:
    """The loss called ``name``, with those of the options that it takes (see ``ONLY_WITH``)."""
    options = {"margin": margin, "num_negatives": num_negatives}
    taken = {option: v for option, v in options.items() if name in ONLY_WITH[option][1]}
    return RANKING_LOSSES[name](**taken)
