"""The scores that a model of any kind gives: numpy comes out; MXNet is needed for nets alone."""

from typing import Any, Iterator, Optional, Sequence, Tuple

import numpy as np

from d2l_recsys.errors import DataError
from d2l_recsys.loaders.interactions import RankingData
from d2l_recsys.model_bases.closed_form import ClosedForm
from d2l_recsys.model_bases.contract import Recommender

# Users that a closed form scores at once: what bounds memory.
USERS_AT_ONCE = 1024


def all_scores(
    model: Any, data: RankingData, devices: Optional[Sequence[object]] = None
) -> Iterator[Tuple[int, np.ndarray]]:
    """The first user of each block, and the float32 scores of all items for its users.

    ``model`` is a ``ClosedForm``, or a Gluon net on ``devices``, by default where its parameters
    are. Raises DataError where it does not fit ``data``.
    """
    read = inputs_of(model, data)
    if not isinstance(model, ClosedForm):
        from d2l_recsys.evaluation.evaluators import score_blocks

        devices = devices or _devices_of(model)
        yield from score_blocks(model, read, *data.sizes, devices)
        return
    for first in range(0, data.num_users, USERS_AT_ONCE):
        users = np.arange(first, min(first + USERS_AT_ONCE, data.num_users))
        of_users = None if read is None else read[users]
        yield first, model.score_all(users, of_users).astype(np.float32)


def user_scores(model: Any, data: RankingData, user: int) -> np.ndarray:
    """The float32 scores of all items for one ``user`` (zero-based), as ``all_scores`` has them.

    A Gluon net computes where its parameters are. Raises DataError where the scores are not for
    the items of ``data``.
    """
    users, read = np.array([user], dtype=np.int32), inputs_of(model, data)
    inputs = [users] if read is None else [users, read[[user]]]
    if isinstance(model, ClosedForm):
        scores = model.score_all(*inputs)
    else:
        scores = _scores_of_net(model, inputs, data.num_items)
    if scores.shape != (1, data.num_items):
        raise DataError(
            f"the scores of a user are of shape {scores.shape[1:]}, ({data.num_items},) is needed"
        )
    return scores[0].astype(np.float32)


def inputs_of(model: Any, data: RankingData) -> Optional[np.ndarray]:
    """What ``model`` reads of each user; a net that is no ``Recommender`` reads nothing."""
    return model.user_inputs(data) if isinstance(model, Recommender) else None


def _devices_of(net: Any) -> Sequence[Any]:
    """Where the parameters of a net are; nowhere, if it has none."""
    return next((p.list_ctx() for p in net.collect_params().values()), [])


def _scores_of_net(net: Any, inputs: Sequence[np.ndarray], num_items: int) -> np.ndarray:
    from d2l_recsys.backend import np as mx_np
    from d2l_recsys.evaluation.evaluators import as_recommender

    ctx = next(iter(_devices_of(net)), None)
    model = as_recommender(net, num_items)
    types = ["int32", "float32" if model.reads_rows else "int32"]
    arrays = (mx_np.array(p, dtype=dtype, ctx=ctx) for p, dtype in zip(inputs, types))
    return model.score_all(*arrays).asnumpy()
