r"""Losses for ranking: BPR and hinge loss of pairs (section 15.5), and log loss of single items.

Each loss takes two arrays of scores: of items that users have seen, and of items that they have not
seen. The losses of pairs depend only on the distance :math:`d = \hat y_{ui} - \hat y_{uj}` between
the score of a seen item i and the score of an unseen item j of the same user. All losses are sums
over a batch. A trainer that steps with the number of pairs turns these sums into means.
"""

from typing import Any, Optional

from d2l_recsys.backend import gluon
from d2l_recsys.settings import RankingLoss

__all__ = [
    "RANKING_LOSSES",
    "BPRLoss",
    "HingeLossbRec",
    "LogLoss",
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
    same shape, and optionally with the margin m (default: 1). Returns a scalar. ``weight`` and
    ``batch_axis`` have no effect, as in ``BPRLoss``.
    """

    def __init__(self, weight: Optional[float] = None, batch_axis: int = 0, **kwargs: Any) -> None:
        super().__init__(weight=None, batch_axis=batch_axis, **kwargs)

    def hybrid_forward(self, F, positive, negative, margin=1):
        """Sum over the pairs; F as in ``BPRLoss``."""
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


RANKING_LOSSES = {
    RankingLoss.bpr: BPRLoss,
    RankingLoss.hinge: HingeLossbRec,
    RankingLoss.log: LogLoss,
}
