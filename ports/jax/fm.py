"""Factorization machines (section 15.9).

An example has one feature for each field. Each feature i has a weight w_i and a vector of factors
v_i. The logit of a click is (eq. 15.9.1)

    y_hat = w_0 + w sum_i w_i + sum over pairs i < j of <v_i, v_j>

The sums run over the features of the example. The factor w and w_0 are the weight and the bias of a
dense layer in the chapter's code; the equation has no w. The sum over pairs needs no loop over
pairs: the square of the sum minus the sum of the squares has each pair twice (eq. 15.9.2).
"""

import jax

from ports.jax.layers import Arrays, Parameters, dense, embedding


def fm(p: Parameters, batch: Arrays) -> jax.Array:
    """The logits (n,) of examples with the ``features`` (n, fields).

    The feature ids are unique across the fields. The tables are ``embedding`` (num_features, k) for
    the factors and ``fc`` (num_features, 1) for the weights.
    """
    weights, v = (embedding(p, name, batch["features"]) for name in ("fc", "embedding"))
    linear = dense(p, "linear_layer", weights.sum(axis=1))
    return linear[:, 0] + pairs(v)


def pairs(v: jax.Array) -> jax.Array:
    """The sum of <v_i, v_j> over all pairs of fields, (n,), from v (n, fields, k)."""
    square_of_sum = v.sum(axis=1) ** 2
    sum_of_squares = (v**2).sum(axis=1)
    return (square_of_sum - sum_of_squares).sum(axis=1) / 2
