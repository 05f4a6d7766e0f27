"""Score a trained model on held-out data."""

from typing import Iterable, Sequence

from d2l_recsys.backend import gluon, mx
from d2l_recsys.devices import batches_on
from d2l_recsys.metrics import Scores, rating_scores

__all__ = ["evaluate_rating"]


def evaluate_rating(net: gluon.Block, test_iter: Iterable, devices: Sequence[mx.Context]) -> Scores:
    """``test_rmse`` of ``net`` (eq. 15.3.4), printed and defined, from one pass over ``test_iter``.

    Batches are the net's inputs followed by the ratings; each is spread over ``devices``.
    """
    batches = [
        [(share[-1], net(*share[:-1])) for share in shares]
        for shares in batches_on(devices, test_iter)
    ]
    # MXNet computes on while Python goes ahead, so the results are fetched once all are under way.
    return rating_scores([[(r.asnumpy(), r_hat.asnumpy()) for r, r_hat in b] for b in batches])
