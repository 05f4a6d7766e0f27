"""The chapter's six models in plain JAX: a file each, pure functions of a dict of parameters.

Float32 throughout, checked as any port is: ``d2l-recsys baseline check ports.jax``, from the root
of the checkout. What is read first: ``mf.py``, then ``losses.py``, ``adam.py`` and ``port.py``.
"""

from ports.jax.port import Port

__all__ = ["Port"]
