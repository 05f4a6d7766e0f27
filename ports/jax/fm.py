"""Factorization machines (section 15.9).

An impression has one feature of each field. Each feature i has a weight w_i and a vector of factors
v_i, and the log odds of a click are (eq. 15.9.1)

    y_hat = w_0 + w sum_i w_i + sum over pairs i < j of <v_i, v_j>

over the features that are present. (In the chapter a dense layer of one unit scales the sum of the
w_i by a w of its own and adds w_0.) No pair needs to be looked at: what the square of the sum has
beside the squares is each pair, twice (eq. 15.9.2).
"""

import jax

from ports.jax.layers import Arrays, Parameters, dense, embedding


def fm(p: Parameters, batch: Arrays) -> jax.Array:
    """Log odds (n,) of impressions with the ``features`` (n, fields), numbered through all fields.

    The tables: ``embedding`` (num_features, k) and ``fc`` (num_features, 1).
    """
    weights, v = (embedding(p, name, batch["features"]) for name in ("fc", "embedding"))
    linear = dense(p, "linear_layer", weights.sum(axis=1))
    return linear[:, 0] + pairs(v)


def pairs(v: jax.Array) -> jax.Array:
    """The sum of <v_i, v_j> over all pairs of fields of v (n, fields, k): (n,)."""
    square_of_sum = v.sum(axis=1) ** 2
    sum_of_squares = (v**2).sum(axis=1)
    return (square_of_sum - sum_of_squares).sum(axis=1) / 2
