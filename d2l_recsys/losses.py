r"""The pairwise ranking losses (section 15.5).

Both compare the score of an item that a user has seen with that of one the user has not, through
their distance :math:`d = \hat y_{ui} - \hat y_{uj}`, and both are sums over a batch: a trainer that
steps with the number of pairs makes them means.
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
    r"""The function :math:`\ln(1 + e^x) = \max(x, 0) + \ln(1 + e^{-|x|})`; F as in a block.

    The right-hand form stays finite, and its gradient right, where the exponential does not.
    (MXNet's own soft relu loses the small values, and turns some negative.)
    """
    size = F.np.abs(x)
    # (x + |x|) / 2 is max(x, 0), with the gradient 1/2 that the sum needs at 0.
    return (x + size) / 2 + F.np.log1p(F.np.exp(-size))


class BPRLoss(gluon.loss.Loss):
    r"""Bayesian personalized ranking (eq. 15.5.2; Rendle et al. 2009).

    .. math:: \sum_{(u, i, j)} -\ln \sigma(d) = \sum \ln(1 + e^{-d})

    The weight decay of the equation is the optimizer's.

    Called with two arrays of scores, of the seen and of the unseen items, of shape (n,) or
    (n, 1); returns their loss summed over the first axis, which is kept: shape (1,) or (1, 1).
    ``weight`` and ``batch_axis`` are Gluon's and, as in the chapter, without effect.
    """

    def __init__(self, weight: Optional[float] = None, batch_axis: int = 0, **kwargs: Any) -> None:
        super().__init__(weight=None, batch_axis=batch_axis, **kwargs)

    def hybrid_forward(self, F, positive, negative):
        """Sum over the pairs; F is ``mxnet.nd`` or ``mxnet.symbol``."""
        return F.np.sum(softplus(F, negative - positive), axis=0, keepdims=True)


class HingeLossbRec(gluon.loss.Loss):
    r"""Hinge loss (eq. 15.5.3): a seen item shall lead an unseen one by ``margin``.

    .. math:: \sum_{(u, i, j)} \max(m - d, 0)

    Called with two arrays of scores of the same shape and, if need be, the margin m; returns a
    scalar. ``weight`` and ``batch_axis`` are Gluon's and, as in the chapter, without effect.
    """

    def __init__(self, weight: Optional[float] = None, batch_axis: int = 0, **kwargs: Any) -> None:
        super().__init__(weight=None, batch_axis=batch_axis, **kwargs)

    def hybrid_forward(self, F, positive, negative, margin=1):
        """Sum over the pairs; F as in ``BPRLoss``."""
        return F.np.sum(F.np.maximum(negative - positive + margin, 0))


class LogLoss(gluon.loss.Loss):
    r"""Log loss of each item by itself (eq. 7 of He et al. 2017): a score is the log odds of seen.

    .. math:: -\sum_{(u, i)} \ln \sigma(\hat y_{ui}) - \sum_{(u, j)} \ln(1 - \sigma(\hat y_{uj}))

    Called with two arrays of scores, of the seen and of the unseen items, of shape (n,); returns
    the sum over both, of shape (1,).
    """

    def __init__(self, weight: Optional[float] = None, batch_axis: int = 0, **kwargs: Any) -> None:
        super().__init__(weight=None, batch_axis=batch_axis, **kwargs)

    def hybrid_forward(self, F, positive, negative):
        """Sum over the items; F as in ``BPRLoss``."""
        losses = softplus(F, -positive) + softplus(F, negative)
        return F.np.sum(losses, axis=0, keepdims=True)


RANKING_LOSSES = {
    RankingLoss.bpr: BPRLoss,
    RankingLoss.hinge: HingeLossbRec,
    RankingLoss.log: LogLoss,
}
