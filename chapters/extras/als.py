"""ALS: matrix factorization by alternating least squares.

Matrix factorization describes each user u by a vector p_u and each item i by a vector q_i. Their
inner product is the prediction. If the item factors Q are fixed, the best p_u of each user is the
solution of a least-squares problem that involves no other user. If the user factors P are fixed,
the same is true for each item. These problems have exact solutions. ALS solves for all users, then
for all items, and repeats this sweep. No step can raise the objective.

``--feedback`` chooses the objective. K is the set of observed pairs (u, i), and K(u) is the set of
items that user u has rated.

``explicit`` (Zhou et al. 2008) fits the observed ratings minus their mean. n_u and n_i are the
numbers of ratings of a user and of an item. They multiply the penalties, so that a user with many
ratings is regularized as strongly as a user with few:

    sum over (u, i) in K of (r[u, i] - mean - p_u . q_i)^2
        + reg (sum over u of n_u |p_u|^2 + sum over i of n_i |q_i|^2)

    (sum over i in K(u) of q_i q_i^T + reg n_u I) p_u = sum over i in K(u) of (r[u, i] - mean) q_i

``implicit`` (Hu et al. 2008, eq. 3 and 4) fits all pairs, observed or not. x[u, i] is 1 if user u
has rated item i, whatever the rating, and 0 otherwise. c[u, i] = 1 + alpha x[u, i] is the
confidence in this value:

    sum over all (u, i) of c[u, i] (x[u, i] - p_u . q_i)^2 + reg (|P|^2 + |Q|^2)

    (Q^T Q + alpha sum over i in K(u) of q_i q_i^T + reg I) p_u = (1 + alpha) sum over i in K(u) q_i

Q^T Q is the same for all users. So the equations take all pairs into account, but the program only
has to go through the observed ones.

Run this file from the root of the checkout. It needs no MXNet:

    python chapters/extras/als.py --seed 3
    python chapters/extras/als.py --feedback explicit
"""

import dataclasses
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

import numpy as np
import pandas as pd
from scipy.sparse import csr_matrix
from typing_extensions import Annotated

from d2l_recsys.errors import SettingError
from d2l_recsys.loaders.interactions import RankingData, interaction_matrix
from d2l_recsys.model_bases.closed_form import ClosedForm, axes
from d2l_recsys.runs.closed_form_run import SeededClosedFormRun
from d2l_recsys.runs.plots import draw_curves, png
from d2l_recsys.sections import command_line
from d2l_recsys.sections.options import section
from d2l_recsys.settings import Feedback

# With a smaller reg, the equations of a user with few ratings can be singular up to rounding.
SMALLEST_REG = 1e-6
# Memory limit: how many numbers of the equations, or of the factors of pairs, exist at once.
NUMBERS_AT_ONCE = 2**22


@dataclasses.dataclass(frozen=True)
class ALS(ClosedForm):
    """Factors of users and items, and the mean that was subtracted from the ratings."""

    P: np.ndarray = axes("users", "factors")
    Q: np.ndarray = axes("items", "factors")
    mean: float

    def score_all(self, users: np.ndarray, read: Optional[np.ndarray] = None) -> np.ndarray:
        """Return the scores of all items for each of ``users``, float32 (len(users), num_items).

        With explicit feedback a score is a predicted rating.
        """
        return self.P[users] @ self.Q.T + np.float32(self.mean)

    def item_vectors(self) -> np.ndarray:
        """Return the item factors Q, (num_items, num_factors)."""
        return self.Q


def solve(
    R: csr_matrix, Q: np.ndarray, shared: np.ndarray, weight: float, penalties: np.ndarray
) -> np.ndarray:
    """Return the factors p_u of every row u of ``R``, with the factors Q of its columns fixed.

    Q is (columns of R, k). The result is float64 (rows of R, k). Each p_u solves the equation

        (shared + weight sum q_i q_i^T + penalties[u] I) p_u = sum R[u, i] q_i

    with both sums over the columns i that R stores in row u. Raises numpy.linalg.LinAlgError if an
    equation is singular.
    """
    k = Q.shape[1]
    right = R @ Q
    P = np.empty_like(right)
    at_once = max(1, NUMBERS_AT_ONCE // k**2)
    for first in range(0, len(P), at_once):
        block = slice(first, first + at_once)
        starts = R.indptr[first : first + at_once + 1]
        left = np.empty((len(starts) - 1, k, k))
        # One small matrix product per row is several times faster than one sparse product with
        # all outer products q_i q_i^T, which reads k^2 numbers per rating instead of k.
        for A, start, stop in zip(left, starts, starts[1:]):
            seen = Q[R.indices[start:stop]]
            np.matmul(seen.T, seen, out=A)
        left *= weight
        left += shared
        left[:, range(k), range(k)] += penalties[block, None]
        P[block] = np.linalg.solve(left, right[block, :, None])[..., 0]
    return P


def products(P: np.ndarray, Q: np.ndarray, R: csr_matrix) -> np.ndarray:
    """Return p_u . q_i for each entry (u, i) that ``R`` stores, in the order of the entries."""
    users = np.repeat(np.arange(len(P)), np.diff(R.indptr))
    at_once = max(1, NUMBERS_AT_ONCE // P.shape[1])
    parts = [
        np.einsum("nk,nk->n", P[users[part]], Q[R.indices[part]])
        for part in (slice(n, n + at_once) for n in range(0, R.nnz, at_once))
    ]
    return np.concatenate(parts)


class Explicit:
    """The least-squares problem of Zhou et al., which predicts ratings minus their mean."""

    def __init__(self, data: RankingData, reg: float) -> None:
        shape = data.sizes
        R = interaction_matrix(data.users, data.items, *shape, data.ratings).astype(np.float64)
        self.mean = float(R.data.mean())
        R.data -= self.mean
        self.R, self.reg = R, reg
        self._sides = {"users": R, "items": R.T.tocsr()}
        self._counts = {half: np.diff(side.indptr) for half, side in self._sides.items()}

    def half_step(self, half: str, others: np.ndarray) -> np.ndarray:
        """Return the best factors of ``half`` (``users`` or ``items``), with the other half fixed.

        ``others`` holds the fixed factors. A user or an item without ratings gets factors of 0.
        """
        penalties = self.reg * np.maximum(self._counts[half], 1)
        return solve(self._sides[half], others, np.zeros(()), 1.0, penalties)

    def objective(self, P: np.ndarray, Q: np.ndarray) -> float:
        """Return the value of the objective for these factors."""
        errors = self.R.data - products(P, Q, self.R)
        sizes = [
            counts @ (factors**2).sum(axis=1)
            for counts, factors in zip(self._counts.values(), (P, Q))
        ]
        return float(errors @ errors + self.reg * sum(sizes))


class Implicit:
    """The least-squares problem of Hu et al., which predicts whether an item was rated."""

    mean = 0.0

    def __init__(self, data: RankingData, reg: float, alpha: float) -> None:
        shape = data.sizes
        self.X = interaction_matrix(data.users, data.items, *shape).astype(np.float64)
        self.reg, self.alpha = reg, alpha
        weighted = self.X * (1 + alpha)
        self._sides = {"users": weighted, "items": weighted.T.tocsr()}

    def half_step(self, half: str, others: np.ndarray) -> np.ndarray:
        """Return the best factors of ``half`` (``users`` or ``items``), with the other half fixed.

        ``others`` holds the fixed factors. A user or an item without ratings gets factors of 0.
        """
        side = self._sides[half]
        penalties = np.full(side.shape[0], self.reg)
        return solve(side, others, others.T @ others, self.alpha, penalties)

    def objective(self, P: np.ndarray, Q: np.ndarray) -> float:
        """Return the value of the objective for these factors."""
        gram_P, gram_Q = P.T @ P, Q.T @ Q
        seen = products(P, Q, self.X)
        # Add up the squared predictions of all pairs, then replace the terms of the observed pairs.
        errors = (gram_P * gram_Q).sum() + ((1 + self.alpha) * (1 - seen) ** 2 - seen**2).sum()
        return float(errors + self.reg * (np.trace(gram_P) + np.trace(gram_Q)))


class Step(NamedTuple):
    """The objective after one half of a sweep; ``half`` is ``users`` or ``items``."""

    epoch: int
    half: str
    objective: float


def fit(
    data: RankingData,
    feedback: Feedback,
    num_factors: int,
    num_epochs: int,
    reg: float,
    alpha: float,
    rng: np.random.Generator,
) -> Tuple[ALS, List[Step]]:
    """Solve for users and items in turn, in ``num_epochs`` sweeps.

    Returns the model, and the objective after each half of a sweep. The item factors start as
    random vectors from ``rng`` with a length of about 1. Raises SettingError if ``num_factors`` is
    larger than both the number of users and the number of items, or if ``reg`` is too small for
    each equation to have exactly one solution.
    """
    sizes = data.sizes
    if num_factors > max(sizes):
        raise SettingError(
            f"--num-factors is {num_factors}; for {sizes[0]} users and {sizes[1]} items it must "
            f"be {max(sizes)} or less"
        )
    too_little = SettingError(
        f"--reg is {reg}, too small for each least-squares problem to have exactly one solution; "
        "choose a larger value"
    )
    if reg < SMALLEST_REG:
        raise too_little
    explicit = feedback is Feedback.explicit
    problem = Explicit(data, reg) if explicit else Implicit(data, reg, alpha)
    Q = rng.normal(0, num_factors**-0.5, (data.num_items, num_factors))
    steps = []
    try:
        for epoch in range(1, num_epochs + 1):
            P = problem.half_step("users", Q)
            steps.append(Step(epoch, "users", problem.objective(P, Q)))
            Q = problem.half_step("items", P)
            steps.append(Step(epoch, "items", problem.objective(P, Q)))
    except np.linalg.LinAlgError:
        raise too_little from None
    return ALS(P.astype(np.float32), Q.astype(np.float32), problem.mean), steps


@section("als")
def main(
    run: SeededClosedFormRun,
    num_epochs: Annotated[int, "Sweeps over users and items."] = 15,
    num_factors: int = 64,
    reg: float = 10.0,
    alpha: float = 1.0,
    feedback: Feedback = Feedback.implicit,
) -> Dict[str, Any]:
    """Factorize the ratings of MovieLens-100K by alternating least squares.

    With implicit feedback, --alpha is the extra confidence in a pair that was rated. With explicit
    feedback, --alpha has no effect.
    """
    model, steps = run.fit(fit, feedback, num_factors, num_epochs, reg, alpha, run.streams.shuffle)
    objectives = np.array([step.objective for step in steps]).reshape(num_epochs, 2)
    # The first half-step starts from random factors, so its objective is far above all others.
    top = 1.05 * objectives[0, 1] or 1.0
    figure = draw_curves(
        objectives, ("after solving for users", "after solving for items"), (0, top)
    )
    files = {
        "history.csv": pd.DataFrame(steps).to_csv(index=False).encode(),
        "objective.png": png(figure),
    }
    return run.finish(model, {"train_loss": steps[-1].objective}, files)


if __name__ == "__main__":
    command_line.run(main)
