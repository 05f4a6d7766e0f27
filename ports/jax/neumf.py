"""NeuMF (section 15.6): a product of factors beside a neural network, for ranking.

One tower multiplies a user's and an item's factors number by number (eq. 15.6.1), the other reads
two further vectors side by side through relu layers (eq. 15.6.2):

    x = p_u * q_i              z_0 = [u_u; v_i]        z_l = relu(W_l z_(l-1) + b_l)

As in the chapter's code, the score is the sum of all numbers that come out of both; the weights h
of eq. 15.6.3 are left out, and so is its sigmoid, since a ranking does not need it.
"""

import jax
import jax.numpy as jnp

from ports.jax.layers import Arrays, Parameters, dense, embedding, num_layers

USERS_AT_ONCE = 32


def neumf(p: Parameters, batch: Arrays) -> jax.Array:
    """Scores (n,) of the pairs ``user_id`` (n,) and ``item_id`` (n,).

    ``P`` and ``U`` are (num_users, k), ``Q`` and ``V`` (num_items, k), the layers ``mlp.l``.
    """
    users, items = batch["user_id"], batch["item_id"]
    x = embedding(p, "P", users) * embedding(p, "Q", items)
    z = jnp.concatenate([embedding(p, "U", users), embedding(p, "V", items)], axis=1)
    for layer in range(num_layers(p, "mlp")):
        z = jax.nn.relu(dense(p, f"mlp.{layer}", z))
    return x.sum(axis=1) + z.sum(axis=1)


def score_all(p: Parameters, users: jax.Array) -> jax.Array:
    """Scores of all items for each of the users, (len(users), num_items).

    The network has to see each pair; some users at a time, so that memory is bounded.
    """
    items = jnp.arange(len(p["Q.weight"]))

    def of_user(user: jax.Array) -> jax.Array:
        return neumf(p, {"user_id": jnp.full_like(items, user), "item_id": items})

    return jax.lax.map(of_user, users, batch_size=USERS_AT_ONCE)
