"""SVD: the ratings as a matrix of low rank (PureSVD of Cremonesi et al. 2010, and its kin).

Of all matrices of rank k, the singular value decomposition cut off after its k largest singular
values is the nearest to R (num_users x num_items) in squares (Eckart and Young 1936):

    R ~ U S V^T,    P = U S,    Q = V,    r_hat[u, i] = p_u . q_i + mean_u

No entry of R may be missing, and of a rating matrix most are. What stands there (``--fill``):

- ``mean``: the user's mean. Each user's mean over the observed ratings, mean_u, is taken from
  those; the others are 0. It predicts ratings, and says of an item that few have rated that they
  would all have found it middling.
- ``zero``: a rating of 0, below the worst; the observed ones stay as they are, mean_u is 0. As
  predictions of ratings these are far off. But what a user rates at all says more about what comes
  next than how it is rated, and so this one ranks better by far: PureSVD.

Many notebooks fill with 0 *before* they take each row's mean, zeros included, from the whole row.
What stands for a missing rating is then still a 0, and not the user's mean: that is close to
``zero``, whatever it is called. Run it, from the root of the checkout; needs no MXNet:

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
    """What stands for a rating that was not given: the user's mean, or 0."""

    mean = "mean"
    zero = "zero"


@dataclasses.dataclass(frozen=True)
class SVD(ClosedForm):
    """Factors of users, with the singular values in them, and of items; the users' means."""

    P: np.ndarray = axes("users", "factors")
    Q: np.ndarray = axes("items", "factors")
    means: np.ndarray = axes("users")

    def score_all(self, users: np.ndarray, read: Optional[np.ndarray] = None) -> np.ndarray:
        """The ratings of all items by each of ``users``, (len(users), num_items): one product."""
        return self.P[users] @ self.Q.T + self.means[users, None]

    def item_vectors(self) -> np.ndarray:
        """The items' factors Q, (num_items, num_factors)."""
        return self.Q


def truncated_svd(R: csr_matrix, k: int) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
    """U, the singular values and V of ``R``, cut off after the k largest, the largest first.

    The same matrix gives the same bits: the iteration starts from a fixed vector, and the entry of
    each column of V that is largest in size is positive. Where R has fewer than k singular values
    above 0, the columns of the others are 0.
    """
    # SciPy's newer versions refuse to iterate on nothing.
    if not R.data.any():
        return np.zeros((R.shape[0], k)), np.zeros(k), np.zeros((R.shape[1], k))
    # Not a vector of ones, in which iterations often start: to rows that sum to 0 it is nothing.
    start = np.random.default_rng(0).normal(size=min(R.shape))
    U, sigma, Vt = svds(R, k=k, v0=start)
    largest_first = np.argsort(-sigma, kind="stable")
    U, sigma, V = U[:, largest_first], sigma[largest_first], Vt[largest_first].T
    signs = np.sign(V[np.abs(V).argmax(axis=0), np.arange(k)])
    # Of a singular value that is 0 but for rounding, the vectors are arbitrary.
    signs[sigma <= sigma[0] * max(R.shape) * np.finfo(np.float64).eps] = 0
    return U * signs, sigma, V * signs


def fit(data: RankingData, num_factors: int, fill: Fill = Fill.mean) -> SVD:
    """The truncated SVD of the training ratings.

    Raises SettingError where there are not more users, and more items, than factors.
    """
    shape = data.sizes
    if num_factors >= min(shape):
        raise SettingError(
            f"--num-factors is {num_factors}; for {shape[0]} users and {shape[1]} items it must be "
            f"less than {min(shape)}"
        )
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
