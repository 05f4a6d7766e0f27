"""The chapter in plain JAX and float32. Each model is a pure function of a dict of parameters.

Each model has its own file. Start with ``mf.py``, then read ``losses.py``, ``adam.py`` and
``port.py``. To check this port, run ``d2l-recsys baseline check ports.jax`` in the root of the
checkout.
"""

from ports.jax.port import Port

__all__ = ["Port"]
