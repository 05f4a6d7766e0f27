"""The scores of any model as numpy arrays; only a Gluon net needs MXNet."""

from typing import Any, Iterator, Optional, Sequence, Tuple

import numpy as np

from d2l_recsys.errors import DataError
from d2l_recsys.loaders.interactions import RankingData
from d2l_recsys.model_bases.closed_form import ClosedForm
from d2l_recsys.model_bases.contract import Recommender

# The number of users that a closed form scores at once; it bounds memory.
USERS_AT_ONCE = 1024


def all_scores(
    model: Any, data: RankingData, devices: Optional[Sequence[object]] = None
) -> Iterator[Tuple[int, np.ndarray]]:
    """Yield the first user of each block, and the scores of all items for the users of the block.

    The scores are a float32 array with a row per user and a column per item. ``model`` is a
    ``ClosedForm`` or a Gluon net. A net computes on ``devices``, by default the devices of its
    parameters. Raises DataError if a net does not fit ``data``.
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
    """The scores of all items for one ``user`` (zero-based), a float32 array (num_items,).

    They equal those of ``all_scores`` up to rounding. A Gluon net computes on the device of its
    parameters. Raises DataError if the number of scores is not the number of items in ``data``.
    """
    users, read = np.array([user], dtype=np.int32), inputs_of(model, data)
    inputs = [users] if read is None else [users, read[[user]]]
    if isinstance(model, ClosedForm):
        scores = model.score_all(*inputs)
    else:
        scores = _scores_of_net(model, inputs, data.num_items)
    if scores.shape != (1, data.num_items):
        raise DataError(
            f"the scores of a user have shape {scores.shape[1:]}, not ({data.num_items},)"
        )
    return scores[0].astype(np.float32)


def inputs_of(model: Any, data: RankingData) -> Optional[np.ndarray]:
    """The input that ``model`` reads for each user; None if it is not a ``Recommender``."""
    return model.user_inputs(data) if isinstance(model, Recommender) else None


def _devices_of(net: Any) -> Sequence[Any]:
    """The devices of a net's parameters; empty if the net has no parameters."""
    return next((p.list_ctx() for p in net.collect_params().values()), [])


def _scores_of_net(net: Any, inputs: Sequence[np.ndarray], num_items: int) -> np.ndarray:
    from d2l_recsys.backend import np as mx_np
    from d2l_recsys.evaluation.evaluators import as_recommender

    ctx = next(iter(_devices_of(net)), None)
    model = as_recommender(net, num_items)
    types = ["int32", "float32" if model.reads_rows else "int32"]
    arrays = (mx_np.array(p, dtype=dtype, ctx=ctx) for p, dtype in zip(inputs, types))
    return model.score_all(*arrays).asnumpy()
