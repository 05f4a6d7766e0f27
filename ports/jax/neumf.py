"""NeuMF (section 15.6): matrix factorization and an MLP, joined, for ranking.

The first model, GMF, multiplies the factors of user and item element by element (eq. 15.6.1). The
second model, an MLP, reads the concatenation of two other embeddings (eq. 15.6.2):

    x = p_u * q_i              z_0 = [u_u; v_i]        z_l = relu(W_l z_(l-1) + b_l)

As in the chapter's code, the score is the sum of all elements of x and of the last z. Equation
15.6.3 also has weights h and a sigmoid. The head ``linear`` has the weights, and the head
``sigmoid`` has both.
"""

import jax
import jax.numpy as jnp

from ports.jax.layers import Arrays, Parameters, dense, embedding, num_layers

USERS_AT_ONCE = 32


def neumf(p: Parameters, batch: Arrays, head: str = "sum") -> jax.Array:
    """The scores (n,) of the pairs ``user_id`` (n,) and ``item_id`` (n,).

    The tables ``P`` and ``U`` are (num_users, k), ``Q`` and ``V`` are (num_items, k). The layers of
    the MLP are ``mlp.0``, ``mlp.1``, ... The weights h, (1, units), are ``prediction.weight``.
    """
    users, items = batch["user_id"], batch["item_id"]
    x = embedding(p, "P", users) * embedding(p, "Q", items)
    z = jnp.concatenate([embedding(p, "U", users), embedding(p, "V", items)], axis=1)
    for layer in range(num_layers(p, "mlp")):
        z = jax.nn.relu(dense(p, f"mlp.{layer}", z))
    if head == "sum":
        return x.sum(axis=1) + z.sum(axis=1)
    score = jnp.concatenate([x, z], axis=1) @ p["prediction.weight"][0]
    return jax.nn.sigmoid(score) if head == "sigmoid" else score


def score_all(p: Parameters, users: jax.Array, head: str = "sum") -> jax.Array:
    """The scores of all items for each of ``users``, (len(users), num_items).

    The MLP has to read every pair. The function scores a few users at a time to limit its memory.
    """
    items = jnp.arange(len(p["Q.weight"]))

    def of_user(user: jax.Array) -> jax.Array:
        return neumf(p, {"user_id": jnp.full_like(items, user), "item_id": items}, head)

    return jax.lax.map(of_user, users, batch_size=USERS_AT_ONCE)
