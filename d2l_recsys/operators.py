"""Operators that MXNet 1.9 has in more than one form, in their fast form.

Those of its numpy interface are generic kernels. The older ones that copy go to oneDNN: forward and
backward, ``np.concatenate`` takes two to nine times as long, ``np.transpose`` four times (float32,
thousands of rows of tens of numbers). A sum over an axis that is not the last takes ten times as
long as the product of matrices that it is.
"""

from typing import Any, Tuple

__all__ = ["concatenate", "sum_fields", "transpose"]


def concatenate(F: Any, *arrays: Any) -> Any:
    """Rows side by side: ``F.np.concatenate(arrays, axis=1)``, bit for bit.

    ``F`` is ``mxnet.nd``, or in a hybridized block ``mxnet.symbol``.
    """
    return F.concat(*(array.as_nd_ndarray() for array in arrays), dim=1).as_np_ndarray()


def transpose(F: Any, array: Any, axes: Tuple[int, ...]) -> Any:
    """``F.np.transpose(array, axes)``, bit for bit; ``F`` as in ``concatenate``."""
    return F.transpose(array.as_nd_ndarray(), axes=axes).as_np_ndarray()


def sum_fields(F: Any, array: Any) -> Any:
    """``F.np.sum(array, axis=1)`` of an array (n, fields, k), up to rounding; ``F`` as above."""
    array = array.as_nd_ndarray()
    ones = F.ones_like(F.BlockGrad(F.slice_axis(array, axis=2, begin=0, end=1)))
    return F.reshape(F.batch_dot(ones, array, transpose_a=True), shape=(0, -1)).as_np_ndarray()
