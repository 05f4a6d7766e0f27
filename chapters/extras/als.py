"""ALS: matrix factorization by alternating least squares, on ratings or on what was rated.

With the items' factors Q held fixed, what matrix factorization minimises is least squares in each
user's p_u, apart from all other users; with the users' factors P fixed, the same goes for items.
Both have exact solutions, and to solve for all users and all items in turn, sweep by sweep, can
only lower the objective. ``--feedback`` says which one:

``explicit`` (Zhou et al. 2008), over the observed ratings K, less their mean; n_u and n_i count the
ratings of a user and of an item, so that more ratings do not mean less regularization:

    sum over (u, i) in K of (r[u, i] - mean - p_u . q_i)^2
        + reg (sum over u of n_u |p_u|^2 + sum over i of n_i |q_i|^2)

    (sum over i in K(u) of q_i q_i^T + reg n_u I) p_u = sum over i in K(u) of (r[u, i] - mean) q_i

``implicit`` (Hu et al. 2008, eq. 3 and 4), over all pairs: x[u, i] is 1 where there is a rating,
whatever it is, and 0 elsewhere, and c[u, i] = 1 + alpha x[u, i] is how sure that is:

    sum over all (u, i) of c[u, i] (x[u, i] - p_u . q_i)^2 + reg (|P|^2 + |Q|^2)

    (Q^T Q + alpha sum over i in K(u) of q_i q_i^T + reg I) p_u = (1 + alpha) sum over i in K(u) q_i

Q^T Q is the same for all users: so all pairs count, and only the observed ones are gone through.
Run it, from the root of the checkout; needs no MXNet:

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

# With less, nothing but rounding may keep the equations of who has few ratings from many solutions.
SMALLEST_REG = 1e-6
# Numbers in the equations, or in the factors of pairs, made at once: what bounds memory.
NUMBERS_AT_ONCE = 2**22


@dataclasses.dataclass(frozen=True)
class ALS(ClosedForm):
    """Factors of users and of items, and the mean that was taken from the ratings."""

    P: np.ndarray = axes("users", "factors")
    Q: np.ndarray = axes("items", "factors")
    mean: float

    def score_all(self, users: np.ndarray, read: Optional[np.ndarray] = None) -> np.ndarray:
        """Scores of all items for each of ``users``, (len(users), num_items): one product.

        With explicit feedback they are ratings.
        """
        return self.P[users] @ self.Q.T + np.float32(self.mean)

    def item_vectors(self) -> np.ndarray:
        """The items' factors Q, (num_items, num_factors)."""
        return self.Q


def solve(
    R: csr_matrix, Q: np.ndarray, shared: np.ndarray, weight: float, penalties: np.ndarray
) -> np.ndarray:
    """The factors p_u, a row for each row of ``R``, with Q (columns of R, k) fixed; float64.

    With sums over the columns i that R stores in row u, they are the solutions of

        (shared + weight sum q_i q_i^T + penalties[u] I) p_u = sum R[u, i] q_i
    """
    k = Q.shape[1]
    right = R @ Q
    P = np.empty_like(right)
    at_once = max(1, NUMBERS_AT_ONCE // k**2)
    for first in range(0, len(P), at_once):
        block = slice(first, first + at_once)
        starts = R.indptr[first : first + at_once + 1]
        left = np.empty((len(starts) - 1, k, k))
        # A small matrix product for each row: several times faster than one sparse product with
        # all outer products q_i q_i^T, which goes through k^2 numbers a rating, not k.
        for A, start, stop in zip(left, starts, starts[1:]):
            seen = Q[R.indices[start:stop]]
            np.matmul(seen.T, seen, out=A)
        left *= weight
        left += shared
        left[:, range(k), range(k)] += penalties[block, None]
        P[block] = np.linalg.solve(left, right[block, :, None])[..., 0]
    return P


def products(P: np.ndarray, Q: np.ndarray, R: csr_matrix) -> np.ndarray:
    """p_u . q_i for each entry that ``R`` stores, in its order."""
    users = np.repeat(np.arange(len(P)), np.diff(R.indptr))
    at_once = max(1, NUMBERS_AT_ONCE // P.shape[1])
    parts = [
        np.einsum("nk,nk->n", P[users[part]], Q[R.indices[part]])
        for part in (slice(n, n + at_once) for n in range(0, R.nnz, at_once))
    ]
    return np.concatenate(parts)


class Explicit:
    """The problem of Zhou et al. on ratings less their mean."""

    def __init__(self, data: RankingData, reg: float) -> None:
        shape = data.sizes
        R = interaction_matrix(data.users, data.items, *shape, data.ratings).astype(np.float64)
        self.mean = float(R.data.mean())
        R.data -= self.mean
        self.R, self.reg = R, reg
        self._sides = {"users": R, "items": R.T.tocsr()}
        self._counts = {half: np.diff(side.indptr) for half, side in self._sides.items()}

    def half_step(self, half: str, others: np.ndarray) -> np.ndarray:
        """The best factors of ``half``, ``users`` or ``items``, with those of the others fixed.

        Whoever has no ratings has factors of 0.
        """
        penalties = self.reg * np.maximum(self._counts[half], 1)
        return solve(self._sides[half], others, np.zeros(()), 1.0, penalties)

    def objective(self, P: np.ndarray, Q: np.ndarray) -> float:
        """What is minimised."""
        errors = self.R.data - products(P, Q, self.R)
        sizes = [
            counts @ (factors**2).sum(axis=1)
            for counts, factors in zip(self._counts.values(), (P, Q))
        ]
        return float(errors @ errors + self.reg * sum(sizes))


class Implicit:
    """The problem of Hu et al. on which items were rated."""

    mean = 0.0

    def __init__(self, data: RankingData, reg: float, alpha: float) -> None:
        shape = data.sizes
        self.X = interaction_matrix(data.users, data.items, *shape).astype(np.float64)
        self.reg, self.alpha = reg, alpha
        weighted = self.X * (1 + alpha)
        self._sides = {"users": weighted, "items": weighted.T.tocsr()}

    def half_step(self, half: str, others: np.ndarray) -> np.ndarray:
        """The best factors of ``half``, ``users`` or ``items``, with those of the others fixed.

        Whoever has no ratings has factors of 0.
        """
        side = self._sides[half]
        penalties = np.full(side.shape[0], self.reg)
        return solve(side, others, others.T @ others, self.alpha, penalties)

    def objective(self, P: np.ndarray, Q: np.ndarray) -> float:
        """What is minimised."""
        gram_P, gram_Q = P.T @ P, Q.T @ Q
        seen = products(P, Q, self.X)
        # The squares of all predictions; where there is a rating, its own term instead.
        errors = (gram_P * gram_Q).sum() + ((1 + self.alpha) * (1 - seen) ** 2 - seen**2).sum()
        return float(errors + self.reg * (np.trace(gram_P) + np.trace(gram_Q)))


class Step(NamedTuple):
    """The objective after one half of a sweep."""

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
    """Solve for users and items in turn, ``num_epochs`` times; the model and each half's objective.

    The items' factors, drawn from ``rng``, have a length of about 1 to begin with. Raises
    SettingError for more factors than there are users and items, and for a ``reg`` too small for
    the equations to have one solution each.
    """
    sizes = data.sizes
    if num_factors > max(sizes):
        raise SettingError(
            f"--num-factors is {num_factors}; for {sizes[0]} users and {sizes[1]} items it must "
            f"be {max(sizes)} or less"
        )
    too_little = SettingError(
        f"--reg is {reg}, too little for each least squares problem to have one solution; "
        "choose a larger one"
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
    """Factorize the ratings of MovieLens-100K by alternating least squares."""
    model, steps = run.fit(fit, feedback, num_factors, num_epochs, reg, alpha, run.streams.shuffle)
    objectives = np.array([step.objective for step in steps]).reshape(num_epochs, 2)
    # The first half-step, with factors that were drawn, is off the scale of all others.
    top = 1.05 * objectives[0, 1] or 1.0
    figure = draw_curves(objectives, ("solved for users", "solved for items"), (0, top))
    files = {
        "history.csv": pd.DataFrame(steps).to_csv(index=False).encode(),
        "objective.png": png(figure),
    }
    return run.finish(model, {"train_loss": steps[-1].objective}, files)


if __name__ == "__main__":
    command_line.run(main)
