"""EASE: a linear autoencoder without a hidden layer (Steck 2019).

B (num_items x num_items) makes of what users have seen, X, as much of it again as it can, with each
item's own weight held at 0, or it would only copy:

    min over B of |X - X B|^2 + l2 |B|^2        with diag B = 0

In AutoRec's words: input and output are joined directly, and what would make it trivial is left
out. It is convex, and its solution can be written down (section 3.1 of the paper): with a
Lagrange multiplier for each entry of the diagonal,

    (X^T X + l2 I) B = X^T X - diag(gamma),    P = (X^T X + l2 I)^-1
    B = I - P diag(l2 + gamma) = I - P diag(1 / diag P)

where the last step chooses the multipliers so that the diagonal is 0. One inverse of a positive
definite matrix, n^3 operations for n items and none that depends on the number of users, replaces
training. The score of an item is what the items that the user has seen add up to:

    y_hat[u] = x_u B

Unlike a neighbourhood's, the weights may be negative, and they are of all items at once: what two
neighbours say alike is not counted twice. Run it, from the root of the checkout; needs no MXNet:

    python chapters/extras/ease.py
    python chapters/extras/ease.py --l2 500          # the paper's, on MovieLens-20M
"""

import dataclasses
from typing import Any, Dict, Optional

import numpy as np
from scipy.linalg import lapack

from d2l_recsys.errors import SettingError
from d2l_recsys.loaders.interactions import RankingData, check_rows, interaction_matrix, seen_rows
from d2l_recsys.model_bases.closed_form import ClosedForm, axes
from d2l_recsys.runs.closed_form_run import ClosedFormRun
from d2l_recsys.sections import command_line
from d2l_recsys.sections.options import section


@dataclasses.dataclass(frozen=True)
class EASE(ClosedForm):
    """B[i, j] is what it adds to the score of item j that item i was seen."""

    B: np.ndarray = axes("items", "items")

    def score_all(self, users: np.ndarray, read: Optional[np.ndarray] = None) -> np.ndarray:
        """Scores of all items for each of ``users``, (len(users), num_items): one product.

        Raises DataError without ``read``, the users' rows, or where they are of other items.
        """
        check_rows(read, len(self.B))
        return read @ self.B

    def user_inputs(self, data: RankingData) -> np.ndarray:
        """What each user has seen, float32 (num_users, num_items)."""
        return seen_rows(data)

    def similar_to(self, item: int) -> np.ndarray:
        """What ``item`` adds to the scores of all items, (num_items,); 0 to its own."""
        return self.B[item]


def regularized_inverse(G: np.ndarray, l2: float) -> np.ndarray:
    """P = (G + l2 I)^-1 of a matrix of products (n, n), symmetric and without negative eigenvalues.

    Float64, by Cholesky's factors, in half the time of an inverse that knows nothing of G. Raises
    SettingError where ``l2`` is so small that rounding leaves the sum with none.
    """
    P, failed = lapack.dpotrf(G + l2 * np.eye(len(G)), lower=True, overwrite_a=True)
    if not failed:
        P, failed = lapack.dpotri(P, lower=True, overwrite_c=True)
    if failed:
        raise SettingError(f"--l2 is {l2}, too small for the equations to be solved; raise it")
    # LAPACK fills in one half.
    P = np.tril(P)
    return P + np.tril(P, -1).T


def fit(data: RankingData, l2: float) -> EASE:
    """The weights that rebuild the matrix of the training pairs best.

    Computed in float64. Raises what ``regularized_inverse`` does.
    """
    X = interaction_matrix(data.users, data.items, *data.sizes)
    P = regularized_inverse((X.T @ X).toarray().astype(np.float64), l2)
    B = P / -P.diagonal()
    np.fill_diagonal(B, 0)
    return EASE(B.astype(np.float32))


@section("ease")
def main(
    run: ClosedFormRun,
    l2: float = 100,
) -> Dict[str, Any]:
    """Solve a linear autoencoder of MovieLens-100K."""
    return run.finish(run.fit(fit, l2))


if __name__ == "__main__":
    command_line.run(main)
