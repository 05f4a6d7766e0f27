"""The layers that the models share: embedding, dense layer and dropout.

The parameters are a dict of arrays. Their names are those of
``d2l_recsys.baseline.oracle.initial.shapes``.
"""

from typing import Dict, Mapping, Optional, Union

import jax

Arrays = Mapping[str, jax.Array]
Parameters = Dict[str, jax.Array]
Share = Union[float, jax.Array]


def embedding(p: Parameters, name: str, ids: jax.Array) -> jax.Array:
    """The rows of a table for ``ids`` of any shape; the result has one more axis."""
    return p[f"{name}.weight"][ids]


def dense(p: Parameters, name: str, x: jax.Array) -> jax.Array:
    """W x + b for each row of x (n, inputs); W (units, inputs) has a row for each unit."""
    return x @ p[f"{name}.weight"].T + p[f"{name}.bias"]


def num_layers(p: Parameters, name: str) -> int:
    """The number of dense layers ``name.0``, ``name.1``, ..."""
    return sum(key.startswith(f"{name}.") and key.endswith(".weight") for key in p)


def dropout(units: jax.Array, key: Optional[jax.Array], share: Share) -> jax.Array:
    """Set a ``share`` of the units to 0 and scale up the rest; without a key, keep all units."""
    if key is None:
        return units
    kept = jax.random.bernoulli(key, 1 - share, units.shape)
    return units * kept / (1 - share)
