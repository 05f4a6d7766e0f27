"""Fast operators: rearranging and adding up arrays, FM interactions, scores of all pairs.

MXNet 1.9 has some operators twice: in its numpy interface and in its older interface. Some of the
older ones use oneDNN and are faster, forward and backward. On float32 arrays with thousands of rows
of tens of numbers, ``np.concatenate`` takes two to nine times as long as the older operator, and
``np.transpose`` four times. A sum over an axis that is not the last one takes ten times as long as
a matrix product with ones.

Two functions compute what several sections need: ``fm_interaction`` the pairwise terms of a
factorization machine, and ``score_all_pairs`` the scores of a perceptron for all users and items.
"""

from typing import Any, Sequence, Tuple

from d2l_recsys.backend import nn, np, npx

# Memory limit of an evaluation: how many hidden units of pairs are computed at once.
UNITS_AT_ONCE = 2**21


def concatenate(F: Any, *arrays: Any) -> Any:
    """Return ``F.np.concatenate(arrays, axis=1)``, bit for bit: the rows side by side.

    ``F`` is ``mxnet.nd``, or in a hybridized block ``mxnet.symbol``.
    """
    return F.concat(*(array.as_nd_ndarray() for array in arrays), dim=1).as_np_ndarray()


def transpose(F: Any, array: Any, axes: Tuple[int, ...]) -> Any:
    """Return ``F.np.transpose(array, axes)``, bit for bit; ``F`` is as in ``concatenate``."""
    return F.transpose(array.as_nd_ndarray(), axes=axes).as_np_ndarray()


def sum_fields(F: Any, array: Any) -> Any:
    """Return ``F.np.sum(array, axis=1)`` of an array (n, fields, k), up to rounding.

    ``F`` is as in ``concatenate``.
    """
    array = array.as_nd_ndarray()
    ones = F.ones_like(F.BlockGrad(F.slice_axis(array, axis=2, begin=0, end=1)))
    return F.reshape(F.batch_dot(ones, array, transpose_a=True), shape=(0, -1)).as_np_ndarray()


def fm_interaction(F: Any, embedded: Any) -> Any:
    r"""Return the sum of the inner products of all pairs of feature vectors in each row.

    Both forms below are equal (eq. 15.9.2; Rendle 2010). The code uses the second one, because its
    time grows linearly with the number of fields.

    .. math:: \sum_{i=1}^d \sum_{j=i+1}^d \langle v_i, v_j \rangle x_i x_j
        = \frac{1}{2} \sum_{l=1}^k \left( \left( \sum_i v_{il} x_i \right)^2
        - \sum_i v_{il}^2 x_i^2 \right)

    ``embedded`` is float32 (n, fields, k), with the vectors v of the features that are present
    (x = 1). The result is (n, 1). ``F`` is as in ``concatenate``.
    """
    square_of_sum = F.np.square(sum_fields(F, embedded))
    sum_of_square = sum_fields(F, F.np.square(embedded))
    return 0.5 * F.np.sum(square_of_sum - sum_of_square, axis=1, keepdims=True)


def score_all_pairs(
    layers: Sequence[nn.Dense], h: np.ndarray, users: np.ndarray, items: np.ndarray
) -> np.ndarray:
    """Return the scores ``h . layers([users[u]; items[i]])`` of all pairs of a user and an item.

    A row of ``users`` and a row of ``items``, side by side, are the input of the first layer. Each
    of the ``layers`` ends with a relu. ``h`` has the weights of the last layer's units, (units,).
    The result is (len(users), len(items)).

    Before its relu, the first layer is a sum of a user's part and an item's part. So each part is
    computed only once per user or item, and only the sum is computed for each pair.
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
    """Return the scores of some users and all items, from their parts of the first layer.

    A matrix product adds each user's part to each item's part, because MXNet's broadcasting takes
    ten times as long. Each number is multiplied by 1 or 0, so the product gives the exact sums if
    all numbers are finite.
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
