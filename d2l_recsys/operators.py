"""Operators that MXNet 1.9 has twice, in their fast form.

Those of its numpy interface are generic kernels; the older ones of the same meaning go to oneDNN.
Forward and backward, ``np.concatenate`` takes two to nine times as long, ``np.transpose`` four
times (float32, thousands of rows of tens of numbers). Only copies are made, so no bit differs.
"""

from typing import Any, Tuple

__all__ = ["concatenate", "transpose"]


def concatenate(F: Any, *arrays: Any) -> Any:
    """Rows side by side: ``F.np.concatenate(arrays, axis=1)``.

    ``F`` is ``mxnet.nd``, or in a hybridized block ``mxnet.symbol``.
    """
    return F.concat(*(array.as_nd_ndarray() for array in arrays), dim=1).as_np_ndarray()


def transpose(F: Any, array: Any, axes: Tuple[int, ...]) -> Any:
    """``F.np.transpose(array, axes)``; ``F`` as in ``concatenate``."""
    return F.transpose(array.as_nd_ndarray(), axes=axes).as_np_ndarray()
