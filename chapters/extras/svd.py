"""SVD: a low-rank approximation of the rating matrix, as in PureSVD (Cremonesi et al. 2010).

Take the singular value decomposition of a matrix R (num_users x num_items), and keep only the k
largest singular values. The result is the matrix of rank k with the smallest squared distance to R
(Eckart and Young 1936):

    R ~ U S V^T,    P = U S,    Q = V,    r_hat[u, i] = p_u . q_i + mean_u

The decomposition needs a value for every entry of R, but most ratings are missing. ``--fill``
chooses the value that replaces them:

- ``mean``: the mean of the user's observed ratings. The program subtracts this mean, mean_u, from
  the observed ratings and sets the other entries to 0. This model predicts ratings. But for an item
  with few ratings, it predicts that nearly every user gives the item the user's mean rating.
- ``zero``: a rating of 0, which is below the worst rating. The observed ratings stay as they are,
  and mean_u is 0. As predictions of ratings, the results are far off. But whether a user rates an
  item says more about the user's next item than the rating itself. So this model, which is PureSVD,
  ranks much better.

Many notebooks first fill the missing entries with 0. Then they compute the mean of each whole row,
zeros included, and subtract this mean. So a missing rating still stands for 0 and not for the
user's mean. A notebook may call this mean filling, but the result is close to ``zero``.

Run this file from the root of the checkout. It needs no MXNet:

    python chapters/extras/svd.py
    python chapters/extras/svd.py --fill zero
"""

import dataclasses
from typing import Any, Dict, Optional, Tuple

import numpy as np
from scipy.sparse import csr_matrix
from scipy.sparse.linalg import svds

from d2l_recsys.errors import SettingError
from d2l_recsys.loaders.interactions import RankingData, interaction_matrix
from d2l_recsys.model_bases.closed_form import ClosedForm, axes
from d2l_recsys.runs.closed_form_run import ClosedFormRun
from d2l_recsys.sections import command_line
from d2l_recsys.sections.options import section
from d2l_recsys.settings import Choice


class Fill(Choice):
    """Value that replaces a missing rating: the user's mean, or 0."""

    mean = "mean"
    zero = "zero"


@dataclasses.dataclass(frozen=True)
class SVD(ClosedForm):
    """The factors of users (multiplied by the singular values) and items, and the users' means."""

    P: np.ndarray = axes("users", "factors")
    Q: np.ndarray = axes("items", "factors")
    means: np.ndarray = axes("users")

    def score_all(self, users: np.ndarray, read: Optional[np.ndarray] = None) -> np.ndarray:
        """Return the predicted ratings of all items, float32 (len(users), num_items)."""
        return self.P[users] @ self.Q.T + self.means[users, None]

    def item_vectors(self) -> np.ndarray:
        """Return the item factors Q, (num_items, num_factors)."""
        return self.Q


def truncated_svd(R: csr_matrix, k: int) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return U, the singular values and V of ``R`` for its k largest singular values.

    U is (rows, k), V is (columns, k), and the largest singular value comes first. The same matrix
    always gives the same bits: the iteration starts from a fixed vector, and in each column of V
    the entry with the largest absolute value is positive. If R has fewer than k singular values
    above 0, the columns for the missing ones are 0.
    """
    # Newer versions of SciPy refuse a matrix of zeros.
    if not R.data.any():
        return np.zeros((R.shape[0], k)), np.zeros(k), np.zeros((R.shape[1], k))
    # A random start, because the usual vector of ones has product 0 with rows that sum to 0.
    start = np.random.default_rng(0).normal(size=min(R.shape))
    U, sigma, Vt = svds(R, k=k, v0=start)
    largest_first = np.argsort(-sigma, kind="stable")
    U, sigma, V = U[:, largest_first], sigma[largest_first], Vt[largest_first].T
    signs = np.sign(V[np.abs(V).argmax(axis=0), np.arange(k)])
    # If a singular value is 0 up to rounding, its vectors are arbitrary; set them to 0.
    signs[sigma <= sigma[0] * max(R.shape) * np.finfo(np.float64).eps] = 0
    return U * signs, sigma, V * signs


def check_num_factors(num_factors: int, sizes: Tuple[int, int]) -> None:
    """Raise SettingError unless ``num_factors`` is smaller than both ``sizes``, users and items."""
    if num_factors >= min(sizes):
        raise SettingError(
            f"--num-factors is {num_factors}; for {sizes[0]} users and {sizes[1]} items it must be "
            f"less than {min(sizes)}"
        )


def fit(data: RankingData, num_factors: int, fill: Fill = Fill.mean) -> SVD:
    """Compute the truncated SVD of the training ratings.

    Raises SettingError unless ``num_factors`` is smaller than the number of users and smaller than
    the number of items.
    """
    shape = data.sizes
    check_num_factors(num_factors, shape)
    R = interaction_matrix(data.users, data.items, *shape, data.ratings).astype(np.float64)
    means = np.zeros(data.num_users)
    if fill is Fill.mean:
        counts = np.diff(R.indptr)
        means = np.bincount(data.users, data.ratings, data.num_users) / np.maximum(counts, 1)
        R.data -= np.repeat(means, counts)
    U, sigma, V = truncated_svd(R, num_factors)
    return SVD(*(part.astype(np.float32) for part in (U * sigma, V, means)))


@section("svd")
def main(
    run: ClosedFormRun,
    num_factors: int = 50,
    fill: Fill = Fill.mean,
) -> Dict[str, Any]:
    """Factorize the ratings of MovieLens-100K by a truncated SVD."""
    return run.finish(run.fit(fit, num_factors, fill))


if __name__ == "__main__":
    command_line.run(main)
