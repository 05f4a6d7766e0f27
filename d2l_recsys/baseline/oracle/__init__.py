"""The oracle: the six models, their training and their metrics in plain numpy and float64.

This is the reference implementation for ports. It uses no framework and is written to be read, not
to be fast. It has the methods of a port, and its answers confirm the expected answers of the
baseline.
"""

from d2l_recsys.baseline.oracle.port import Port

__all__ = ["Port"]
