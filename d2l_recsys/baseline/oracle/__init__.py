"""The chapter in numpy: what the baseline's expected values are checked against.

Float64, no framework, written to be read; a port like any other, and the first that passes.
"""

from d2l_recsys.baseline.oracle.port import Port

__all__ = ["Port"]
