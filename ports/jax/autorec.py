"""AutoRec (section 15.4): a row of ratings goes in with holes and comes out without.

A row R_i is what all users gave one item, 0 where they gave nothing. It is squeezed through a
hidden layer and spread out again (eq. 15.4.1):

    h(R_i) = W sigmoid(V R_i + mu) + b

V and mu are the ``encoder``, W and b the ``decoder``. Training drops hidden units, and looks at the
observed ratings alone: that mask is part of the loss (``losses.masked_l2``), not of the net.
"""

from typing import Optional

import jax

from ports.jax.layers import Arrays, Parameters, Share, dense, dropout


def autorec(
    p: Parameters, batch: Arrays, key: Optional[jax.Array] = None, share: Share = 0.0
) -> jax.Array:
    """The rows ``ratings`` (n, row_length) completed; with a ``key``, units are dropped."""
    hidden = jax.nn.sigmoid(dense(p, "encoder", batch["ratings"]))
    return dense(p, "decoder", dropout(hidden, key, share))
