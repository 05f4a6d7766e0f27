"""Caser (section 15.7): convolutions over the embeddings of the last items of a user.

The embeddings of the user's last L items, oldest first, are the rows of an image E, L x k
(eq. 15.7.1). Two kinds of filters read this image:

    vertical:      o'_f = sum over l of G_f[l] E[l]                              k numbers each
    horizontal:    o_f  = max over t of relu(<F_f, E[t : t + height]> + b)       one number each

The d' vertical filters compute weighted sums of the rows (eq. 15.7.3). For each height from 1 to L,
d horizontal filters look for a pattern of as many consecutive items, at any position (eq. 15.7.2).
A dense layer turns all responses into the vector z = relu(W [o'; o] + b). The score is
(eq. 15.7.4)

    y_hat[u, i] = v_i . [z; p_u] + b_i

The response of a horizontal filter to a window of rows is one inner product. So this file writes
the convolutions as matrix products. The weights keep the shapes of convolution weights.
"""

from functools import reduce
from typing import Optional

import jax
import jax.numpy as jnp

from ports.jax.layers import Arrays, Parameters, Share, dense, dropout, embedding


def vertical(p: Parameters, E: jax.Array) -> jax.Array:
    """The responses of the vertical filters to E (n, L, k): (n, d_prime k), filter by filter."""
    G = p["conv_v.weight"][:, 0, :, 0]
    weighed = jnp.einsum("nlk,fl->nfk", E, G) + p["conv_v.bias"][:, None]
    return weighed.reshape(len(E), -1)


def horizontal(p: Parameters, E: jax.Array, height: int) -> jax.Array:
    """The largest response of each horizontal filter of one height to E (n, L, k): (n, d)."""
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
    """[z; p_u], the part of the score that does not depend on the next item, (n, 2 k)."""
    E = embedding(p, "Q", sequences)
    heights = range(1, E.shape[1] + 1)
    features = jnp.concatenate([vertical(p, E), *(horizontal(p, E, h) for h in heights)], axis=1)
    z = jax.nn.relu(dense(p, "fc", dropout(features, key, share)))
    return jnp.concatenate([z, embedding(p, "P", users)], axis=1)


def caser(
    p: Parameters, batch: Arrays, key: Optional[jax.Array] = None, share: Share = 0.0
) -> jax.Array:
    """The scores (n,) of ``item_id`` (n,) for ``user_id`` (n,) after the items ``seq`` (n, L).

    A ``key`` switches dropout on: a ``share`` of the responses of the filters becomes 0.
    """
    seen = view(p, batch["user_id"], batch["seq"], key, share)
    v_i, b_i = (embedding(p, name, batch["item_id"]) for name in ("Q_prime", "b"))
    return (seen * v_i).sum(axis=1) + b_i[:, 0]


def score_all(p: Parameters, users: jax.Array, sequences: jax.Array) -> jax.Array:
    """The scores of all items for each of ``users``, (len(users), num_items).

    ``sequences`` (len(users), L) has the last L items of each of these users.
    """
    return view(p, users, sequences) @ p["Q_prime.weight"].T + p["b.weight"].T
