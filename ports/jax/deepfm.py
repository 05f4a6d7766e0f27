"""DeepFM (section 15.10): a factorization machine, and a network that reads the same factors.

The factorization machine sees the features in pairs. The network has their factors side by side,
field after field, and can find what takes more than two (eq. 15.10.1-2):

    z_0 = [v_1; ...; v_f]        z_l = relu(W_l z_(l-1) + b_l)

Its last layer has one unit without a relu; the log odds of a click are those of both together
(eq. 15.10.3). Training drops hidden units, after each relu.
"""

from typing import Optional

import jax

from ports.jax.fm import fm
from ports.jax.layers import (
    Arrays,
    Parameters,
    Share,
    dense,
    dropout,
    embedding,
    num_layers,
)


def deepfm(
    p: Parameters, batch: Arrays, key: Optional[jax.Array] = None, share: Share = 0.0
) -> jax.Array:
    """Log odds (n,) of impressions with the ``features`` (n, fields), as ``fm`` has them.

    The layers are ``mlp.l``; with a ``key``, a share of each hidden one is dropped.
    """
    v = embedding(p, "embedding", batch["features"])
    z = v.reshape(len(v), -1)
    last = num_layers(p, "mlp") - 1
    for layer in range(last):
        key_here = None if key is None else jax.random.fold_in(key, layer)
        z = dropout(jax.nn.relu(dense(p, f"mlp.{layer}", z)), key_here, share)
    return fm(p, batch) + dense(p, f"mlp.{last}", z)[:, 0]
