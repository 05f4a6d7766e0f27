"""DeepFM (section 15.10): a factorization machine and an MLP with the same embeddings.

The factorization machine models pairs of features. The MLP reads the concatenated embeddings, field
after field, and can model interactions of more than two features (eq. 15.10.1-2):

    z_0 = [v_1; ...; v_f]        z_l = relu(W_l z_(l-1) + b_l)

The last layer has one unit and no relu. The logit of a click is the sum of both outputs
(eq. 15.10.3). Training uses dropout after each relu.
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
    """The logits (n,) of examples with the ``features`` (n, fields), as in ``fm``.

    The layers of the MLP are ``mlp.0``, ``mlp.1``, ... A ``key`` switches dropout on: a ``share``
    of the units of each hidden layer becomes 0.
    """
    v = embedding(p, "embedding", batch["features"])
    z = v.reshape(len(v), -1)
    last = num_layers(p, "mlp") - 1
    for layer in range(last):
        key_here = None if key is None else jax.random.fold_in(key, layer)
        z = dropout(jax.nn.relu(dense(p, f"mlp.{layer}", z)), key_here, share)
    return fm(p, batch) + dense(p, f"mlp.{last}", z)[:, 0]
