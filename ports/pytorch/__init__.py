"""The chapter in PyTorch: the six models, their losses and MXNet's Adam, in float32.

To check this port, run ``d2l-recsys baseline check ports.pytorch`` in the root of the checkout.
"""

from .port import Port

__all__ = ["Port"]
