"""Caser (section 15.7): what a user did last, looked at like a picture.

The factors of the user's last L items, oldest first, are the rows of a picture E, L x k
(eq. 15.7.1). Two kinds of filters look at it:

    vertical:      o'_f = sum over l of G_f[l] E[l]                              k numbers each
    horizontal:    o_f  = max over t of relu(<F_f, E[t : t + height]> + b)       one number each

The d' vertical filters weigh the rows as a mean would (eq. 15.7.3); d horizontal ones of each
height 1 ... L look for something that happens in so many steps, wherever it happens (eq. 15.7.2).
Together they are the sequence's view z = relu(W [o'; o] + b), and the score is (eq. 15.7.4)

    y_hat[u, i] = v_i . [z; p_u] + b_i

A filter as wide as the picture is a product with each of its windows, so the convolutions are
written as such; their weights keep the shapes that a convolution has.
"""

from functools import reduce
from typing import Optional

import jax
import jax.numpy as jnp

from ports.jax.layers import Arrays, Parameters, Share, dense, dropout, embedding


def vertical(p: Parameters, E: jax.Array) -> jax.Array:
    """Weighted sums of the rows of E (n, L, k): (n, d_prime k), filter by filter."""
    G = p["conv_v.weight"][:, 0, :, 0]
    weighed = jnp.einsum("nlk,fl->nfk", E, G) + p["conv_v.bias"][:, None]
    return weighed.reshape(len(E), -1)


def horizontal(p: Parameters, E: jax.Array, height: int) -> jax.Array:
    """The strongest response of each filter of a height to E (n, L, k): (n, d)."""
    F, b = p[f"conv_h.{height - 1}.weight"], p[f"conv_h.{height - 1}.bias"]
    F = F.reshape(len(F), -1).T
    starts = range(E.shape[1] - height + 1)
    responses = [E[:, t : t + height].reshape(len(E), -1) @ F for t in starts]
    return jax.nn.relu(reduce(jnp.maximum, responses) + b)


def view(
    p: Parameters,
    users: jax.Array,
    sequences: jax.Array,
    key: Optional[jax.Array] = None,
    share: Share = 0.0,
) -> jax.Array:
    """[z; p_u], all that is known before an item is named: (n, 2 k)."""
    E = embedding(p, "Q", sequences)
    heights = range(1, E.shape[1] + 1)
    features = jnp.concatenate([vertical(p, E), *(horizontal(p, E, h) for h in heights)], axis=1)
    z = jax.nn.relu(dense(p, "fc", dropout(features, key, share)))
    return jnp.concatenate([z, embedding(p, "P", users)], axis=1)


def caser(
    p: Parameters, batch: Arrays, key: Optional[jax.Array] = None, share: Share = 0.0
) -> jax.Array:
    """Scores (n,) of ``item_id`` (n,) after ``seq`` (n, L) for ``user_id`` (n,).

    With a ``key``, a share of the filters' responses is dropped.
    """
    seen = view(p, batch["user_id"], batch["seq"], key, share)
    v_i, b_i = (embedding(p, name, batch["item_id"]) for name in ("Q_prime", "b"))
    return (seen * v_i).sum(axis=1) + b_i[:, 0]


def score_all(p: Parameters, users: jax.Array, sequences: jax.Array) -> jax.Array:
    """Scores of all items for each of the users, (len(users), num_items): one product.

    ``sequences`` (len(users), L) are the last items of these users.
    """
    return view(p, users, sequences) @ p["Q_prime.weight"].T + p["b.weight"].T
