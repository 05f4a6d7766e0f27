"""Operators that MXNet 1.9 has in more than one form, in their fast form.

Those of its numpy interface are generic kernels. The older ones that copy go to oneDNN: forward and
backward, ``np.concatenate`` takes two to nine times as long, ``np.transpose`` four times (float32,
thousands of rows of tens of numbers). A sum over an axis that is not the last takes ten times as
long as the product of matrices that it is.
"""

from typing import Any, Sequence, Tuple

from d2l_recsys.backend import nn, np, npx

# Hidden units of all pairs that are computed at once: what bounds the memory of an evaluation.
UNITS_AT_ONCE = 2**21


def concatenate(F: Any, *arrays: Any) -> Any:
    """Rows side by side: ``F.np.concatenate(arrays, axis=1)``, bit for bit.

    ``F`` is ``mxnet.nd``, or in a hybridized block ``mxnet.symbol``.
    """
    return F.concat(*(array.as_nd_ndarray() for array in arrays), dim=1).as_np_ndarray()


def transpose(F: Any, array: Any, axes: Tuple[int, ...]) -> Any:
    """``F.np.transpose(array, axes)``, bit for bit; ``F`` as in ``concatenate``."""
    return F.transpose(array.as_nd_ndarray(), axes=axes).as_np_ndarray()


def sum_fields(F: Any, array: Any) -> Any:
    """``F.np.sum(array, axis=1)`` of an array (n, fields, k), up to rounding; ``F`` as above."""
    array = array.as_nd_ndarray()
    ones = F.ones_like(F.BlockGrad(F.slice_axis(array, axis=2, begin=0, end=1)))
    return F.reshape(F.batch_dot(ones, array, transpose_a=True), shape=(0, -1)).as_np_ndarray()


def fm_interaction(F: Any, embedded: Any) -> Any:
    r"""Sum of the inner products of all pairs of a row's feature vectors (eq. 15.9.2; Rendle 2010).

    .. math:: \sum_{i=1}^d \sum_{j=i+1}^d \langle v_i, v_j \rangle x_i x_j
        = \frac{1}{2} \sum_{l=1}^k \left( \left( \sum_i v_{il} x_i \right)^2
        - \sum_i v_{il}^2 x_i^2 \right)

    ``embedded`` holds the vectors v of the features that are present (x = 1), float32
    (n, fields, k); returns (n, 1). ``F`` is ``mxnet.nd``, or in a hybridized block
    ``mxnet.symbol``. The right-hand form is linear in the number of fields.
    """
    square_of_sum = F.np.square(sum_fields(F, embedded))
    sum_of_square = sum_fields(F, F.np.square(embedded))
    return 0.5 * F.np.sum(square_of_sum - sum_of_square, axis=1, keepdims=True)


def score_all_pairs(
    layers: Sequence[nn.Dense], h: np.ndarray, users: np.ndarray, items: np.ndarray
) -> np.ndarray:
    """The scores ``h . layers([users[u]; items[i]])`` of all pairs, (len(users), len(items)).

    ``users`` and ``items`` are rows of what the first layer reads, the user's part before the
    item's; ``layers`` end in a relu each, and ``h`` weighs the units of the last, shape (units,).

    The first layer is linear before its relu, so it is computed once a user and once an item, and
    only their sum for each pair.
    """
    first, *deeper = layers
    W, b = first.weight.data(users.ctx), first.bias.data(users.ctx)
    of_users = np.dot(users, W[:, : users.shape[1]].T) + b
    of_items = np.dot(items, W[:, users.shape[1] :].T)
    widest = max(layer.weight.shape[0] for layer in layers)
    size = max(1, UNITS_AT_ONCE // (len(items) * widest))
    parts = [of_users[start : start + size] for start in range(0, len(users), size)]
    return np.concatenate([_score_part(part, of_items, deeper, h) for part in parts])


def _score_part(
    of_users: np.ndarray, of_items: np.ndarray, deeper: Sequence[nn.Dense], h: np.ndarray
) -> np.ndarray:
    """The scores from the first layer's parts, of some users and of all items.

    All sums of a row of the one with a row of the other are a product of matrices: MXNet's
    broadcasting takes ten times as long. Multiplied by ones and zeros, finite sums are exact.
    """
    (num_users, width), num_items, ctx = of_users.shape, len(of_items), of_users.ctx
    ones = np.ones((num_items, 1), ctx=ctx)
    copies = np.tile(np.eye(width, ctx=ctx), (1, num_users))
    hidden = np.dot(
        np.concatenate([of_items, ones], axis=1),
        np.concatenate([copies, of_users.reshape(1, -1)], axis=0),
    ).reshape(num_items * num_users, width)
    hidden = npx.activation(hidden, act_type="relu")
    for layer in deeper:
        hidden = layer(hidden)
    return np.dot(hidden, h).reshape(num_items, num_users).T
