"""The chapter in PyTorch: six modules, their losses and MXNet's Adam, in float32.

``Port`` is what ``d2l_recsys.baseline.port`` asks for.
"""

from .port import Port

__all__ = ["Port"]
