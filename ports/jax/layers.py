"""What the models share: a table of factors, dense layers, dropout.

Parameters are a dict of arrays, named as ``d2l_recsys.baseline.oracle.initial.shapes`` names them.
"""

from typing import Dict, Mapping, Optional, Union

import jax

Arrays = Mapping[str, jax.Array]
Parameters = Dict[str, jax.Array]
Share = Union[float, jax.Array]


def embedding(p: Parameters, name: str, ids: jax.Array) -> jax.Array:
    """Rows of a table: ids of any shape, and one axis more."""
    return p[f"{name}.weight"][ids]


def dense(p: Parameters, name: str, x: jax.Array) -> jax.Array:
    """W x + b for each row of x (n, inputs), where W (units, inputs) has a row for each unit."""
    return x @ p[f"{name}.weight"].T + p[f"{name}.bias"]


def num_layers(p: Parameters, name: str) -> int:
    """How many dense layers there are: ``name.0``, ``name.1``, ..."""
    return sum(key.startswith(f"{name}.") and key.endswith(".weight") for key in p)


def dropout(units: jax.Array, key: Optional[jax.Array], share: Share) -> jax.Array:
    """A share of the units set to 0, the others scaled up in return; all kept without a key."""
    if key is None:
        return units
    kept = jax.random.bernoulli(key, 1 - share, units.shape)
    return units * kept / (1 - share)
