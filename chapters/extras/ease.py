"""EASE: a linear autoencoder without a hidden layer, solved in closed form (Steck 2019).

X is the matrix (num_users x num_items) with 1 where a user has seen an item, and 0 elsewhere. The
weights B (num_items x num_items) restore X as well as they can. The weight of each item for itself
is fixed at 0; otherwise B would only copy X:

    min over B of |X - X B|^2 + l2 |B|^2        with diag B = 0

Compared with AutoRec (section 15.4), the inputs are connected directly to the outputs, and each
item lacks the connection to itself. The problem is convex, and its solution has a formula
(section 3.1 of the paper). gamma holds a Lagrange multiplier for each entry of the diagonal:

    (X^T X + l2 I) B = X^T X - diag(gamma),    P = (X^T X + l2 I)^-1
    B = I - P diag(l2 + gamma) = I - P diag(1 / diag P)

The last step chooses the multipliers so that the diagonal of B is 0. One inverse of a positive
definite matrix replaces training. It takes on the order of n^3 operations for n items, however many
users there are. The score of an item is the sum of the weights from the items that the user has
seen:

    y_hat[u] = x_u B

A neighborhood model such as ``itemknn`` looks at two items at a time. EASE finds all weights
together, so it does not count the same information twice if two seen items are similar. Its weights
may also be negative.

Run this file from the root of the checkout. It needs no MXNet:

    python chapters/extras/ease.py
    python chapters/extras/ease.py --l2 500          # the paper's value on MovieLens-20M
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
    """The weights B: ``B[i, j]`` is added to the score of item j if the user has seen item i."""

    B: np.ndarray = axes("items", "items")

    def score_all(self, users: np.ndarray, read: Optional[np.ndarray] = None) -> np.ndarray:
        """Return the scores of all items for each of ``users``, float32 (len(users), num_items).

        ``read`` has the row of each user. Raises DataError if ``read`` is None or does not have a
        column for each item.
        """
        check_rows(read, len(self.B))
        return read @ self.B

    def user_inputs(self, data: RankingData) -> np.ndarray:
        """Return a row for each user: 1 at the items seen, else 0; float32."""
        return seen_rows(data)

    def similar_to(self, item: int) -> np.ndarray:
        """Return what ``item``, if seen, adds to each item's score, (num_items,); 0 for itself."""
        return self.B[item]


def regularized_inverse(G: np.ndarray, l2: float) -> np.ndarray:
    """Return P = (G + l2 I)^-1, float64 (n, n).

    G is a matrix of inner products: float64, symmetric and without negative eigenvalues. The
    Cholesky factors of such a matrix take half the time of a general inverse. Raises SettingError
    if ``l2`` is so small that, up to rounding, the sum has no inverse.
    """
    P, failed = lapack.dpotrf(G + l2 * np.eye(len(G)), lower=True, overwrite_a=True)
    if not failed:
        P, failed = lapack.dpotri(P, lower=True, overwrite_c=True)
    if failed:
        raise SettingError(f"--l2 is {l2}, too small to solve the equations; choose a larger value")
    # LAPACK writes only the lower half.
    P = np.tril(P)
    return P + np.tril(P, -1).T


def fit(data: RankingData, l2: float) -> EASE:
    """Solve for the weights B that restore the matrix of the training pairs best.

    The computation is in float64, the result is float32. Raises SettingError if ``l2`` is too
    small to solve the equations.
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
    """Solve a linear autoencoder for what the users of MovieLens-100K have seen."""
    return run.finish(run.fit(fit, l2))


if __name__ == "__main__":
    command_line.run(main)
