"""AutoRec (section 15.4): an autoencoder that completes rows of ratings.

A row R_i has the ratings of item i by all users, with 0 for each user who did not rate it. A small
hidden layer encodes the row, and the output has a rating for every user (eq. 15.4.1):

    h(R_i) = W sigmoid(V R_i + mu) + b

V and mu belong to the ``encoder``, W and b to the ``decoder``. Training uses dropout on the hidden
layer. In training only the observed ratings count: the loss masks all other cells of the row
(``losses.masked_l2``).
"""

from typing import Optional

import jax

from ports.jax.layers import Arrays, Parameters, Share, dense, dropout


def autorec(
    p: Parameters, batch: Arrays, key: Optional[jax.Array] = None, share: Share = 0.0
) -> jax.Array:
    """The completed rows of ``ratings``, (n, row_length). A ``key`` switches dropout on."""
    hidden = jax.nn.sigmoid(dense(p, "encoder", batch["ratings"]))
    return dense(p, "decoder", dropout(hidden, key, share))
