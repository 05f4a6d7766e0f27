"""The interaction of factorization machines (section 15.9), without a loop over pairs."""

from typing import Any

from d2l_recsys.operators import sum_fields

__all__ = ["fm_interaction"]


def fm_interaction(F: Any, embedded: Any) -> Any:
    r"""Sum of the inner products of all pairs of a row's feature vectors (eq. 15.9.2; Rendle 2010).

    .. math:: \sum_{i=1}^d \sum_{j=i+1}^d \langle v_i, v_j \rangle x_i x_j
        = \frac{1}{2} \sum_{l=1}^k \left( \left( \sum_i v_{il} x_i \right)^2
        - \sum_i v_{il}^2 x_i^2 \right)

    ``embedded`` holds the vectors v of the features that are present (x = 1), float32
    (n, fields, k); returns (n, 1). ``F`` is ``mxnet.nd``, or in a hybridized block
    ``mxnet.symbol``. The right-hand form is linear in the number of fields.
    """
    square_of_sum = F.np.square(sum_fields(F, embedded))
    sum_of_square = sum_fields(F, F.np.square(embedded))
    return 0.5 * F.np.sum(square_of_sum - sum_of_square, axis=1, keepdims=True)
