"""A multilayer perceptron that reads a user beside an item, for all items at once."""

from typing import Sequence

from d2l_recsys.backend import nn, np, npx

__all__ = ["score_all_pairs"]

# Hidden units of all pairs that are computed at once: what bounds the memory of an evaluation.
UNITS_AT_ONCE = 2**21


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
