"""Matrix factorization (section 15.3).

User u has a vector of factors p_u and a bias b_u. Item i has a vector of factors q_i and a bias
b_i. The rating is the inner product of the two vectors plus both biases (eq. 15.3.2):

    r_hat[u, i] = p_u . q_i + b_u + b_i

The model has no global mean. The biases start near 0 and have to learn the mean.
"""

import jax

from ports.jax.layers import Arrays, Parameters, embedding


def mf(p: Parameters, batch: Arrays) -> jax.Array:
    """The ratings (n,) of the pairs ``user_id`` (n,) and ``item_id`` (n,).

    The tables are ``P`` (num_users, k), ``Q`` (num_items, k), ``user_bias`` (num_users, 1) and
    ``item_bias`` (num_items, 1).
    """
    users, items = batch["user_id"], batch["item_id"]
    agreement = (embedding(p, "P", users) * embedding(p, "Q", items)).sum(axis=-1)
    b_u = embedding(p, "user_bias", users)[..., 0]
    b_i = embedding(p, "item_bias", items)[..., 0]
    return agreement + b_u + b_i


def score_all(p: Parameters, users: jax.Array) -> jax.Array:
    """The ratings of all items by each of ``users``, (len(users), num_items)."""
    P_u, b_u = embedding(p, "P", users), embedding(p, "user_bias", users)
    return P_u @ p["Q.weight"].T + b_u + p["item_bias.weight"].T
