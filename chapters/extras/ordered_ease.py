"""EASE that knows the order of a history: a linear model of what a user has done lately.

EASE (Steck 2019, ``ease.py``) reads a history as a set: what was seen a year ago says as much as
what was seen last, and an evening's films are no closer than a lifetime's. Here a history is a
walk. When item i(t) has been seen, the user's state is a vector of the last w items (``window``),
the newest with weight 1, the one before with ``decay``, and so on; e(i) is a row with a 1 at item
i:

    z_t = sum over k = 0 ... w - 1 of decay^k e(i(t - k))

From each state, B rebuilds the state itself, as EASE does, and what comes next, ``alpha`` times:

    y_t = z_t + alpha e(i(t + 1))
    min over B of  sum over all users and t of |y_t - z_t B|^2 + l2 |B|^2       with diag B = 0

t runs from the first item until the last has left the window, so that all items count alike; where
nothing comes next, e is 0. In a long window, alpha = 1 / decay makes the target z_(t + 1) / decay:
an autoregression. alpha = 0 is an autoencoder of states, which knows what is near but not what is
first. As for EASE, each entry of the diagonal has a multiplier, and the solution is

    G = sum of z_t^T z_t,    F = sum of z_t^T e(i(t + 1)),    P = (G + l2 I)^-1
    A = P (G + alpha F),     B = A - P diag(diag A / diag P)

and with alpha = 0 EASE's own, but for G. No state need be written down: G and F only count how
often item j stands d places after item i, C_d[i, j], and n_i, how often item i stands anywhere:

    c(d) = sum over k = 0 ... w - 1 - d of decay^(2 k + d)
    G = c(0) diag(n) + sum over d = 1 ... w - 1 of c(d) (C_d + C_d^T)
    F = sum over d = 1 ... w of decay^(d - 1) C_d

A user's scores are x_u B, where x_u is a state as well, over the whole history and with a weight
of its own: recency^k for the last item but k. In half of MovieLens-100K's ratings the clock shows
the same second as in the one before, so that what is near says more than what is first: alpha = 0
is what its validation items choose. Run it, from the root of the checkout; needs no MXNet:

    python chapters/extras/ordered_ease.py
    python chapters/extras/ordered_ease.py --alpha 1
    python chapters/extras/ordered_ease.py --recency 1       # all that was seen counts alike
"""

import dataclasses
from typing import Any, Dict, Optional, Tuple

import numpy as np

from d2l_recsys.chapters.extras.ease import regularized_inverse
from d2l_recsys.loaders.interactions import RankingData, check_rows, interaction_matrix
from d2l_recsys.model_bases.closed_form import ClosedForm, axes
from d2l_recsys.runs.closed_form_run import ClosedFormRun
from d2l_recsys.sections import command_line
from d2l_recsys.sections.options import section


@dataclasses.dataclass(frozen=True)
class OrderedEASE(ClosedForm):
    """B[i, j] is what it adds to the score of item j that item i was seen last.

    Seen k items before the last, it adds ``recency``^k of that: between 0, where the last item
    alone counts, and 1, where all count alike.
    """

    B: np.ndarray = axes("items", "items")
    recency: float

    def score_all(self, users: np.ndarray, read: Optional[np.ndarray] = None) -> np.ndarray:
        """Scores of all items for each of ``users``, (len(users), num_items): one product.

        Raises DataError without ``read``, the users' rows, or where they are of other items.
        """
        check_rows(read, len(self.B))
        return read @ self.B

    def user_inputs(self, data: RankingData) -> np.ndarray:
        """The weights of what each user has seen, float32 (num_users, num_items), 0 elsewhere."""
        stops = np.cumsum(np.bincount(data.users, minlength=data.num_users))
        later = stops[data.users] - 1 - np.arange(len(data.users))
        weights = np.float64(self.recency) ** later
        sizes = data.num_users, data.num_items
        return interaction_matrix(data.users, data.items, *sizes, weights).toarray()

    def similar_to(self, item: int) -> np.ndarray:
        """What ``item``, seen last, adds to the scores of all items, (num_items,); 0 to its own."""
        return self.B[item]


def state_products(data: RankingData, window: int, decay: float) -> Tuple[np.ndarray, np.ndarray]:
    """G and F: the products of states with states, and of states with the items that come next.

    Both float64 (num_items, num_items), summed over the states of all training histories.
    """
    users, items = data.users, data.items.astype(np.int64)
    counts = np.bincount(items, minlength=data.num_items)
    longest = np.bincount(users).max()
    # Rows stand by user and time: d rows on, the same user's are d places on.
    first = [np.flatnonzero(users[d:] == users[:-d]) for d in range(1, min(window + 1, longest))]
    d = np.repeat(np.arange(1, len(first) + 1), [len(rows) for rows in first])
    rows = np.concatenate([np.empty(0, np.int64), *first])
    pairs = items[rows] * data.num_items + items[rows + d]

    def counted(weights: np.ndarray) -> np.ndarray:
        """The sum over d of ``weights[d]`` C_d."""
        cells = np.bincount(pairs, weights[d], minlength=data.num_items**2)
        return cells.reshape(data.num_items, data.num_items)

    powers = np.float64(decay) ** np.arange(window + 1)
    c = np.append(powers[:-1] * np.cumsum(powers[:-1] ** 2)[::-1], 0)
    near = counted(c)
    G = near + near.T + c[0] * np.diag(counts)
    return G, counted(np.append(0, powers[:-1]))


def fit(
    data: RankingData, l2: float, window: int, decay: float, alpha: float, recency: float
) -> OrderedEASE:
    """The weights that rebuild the states of the training histories, and what comes next, best.

    Computed in float64. Raises what ``regularized_inverse`` does.
    """
    G, F = state_products(data, window, decay)
    P = regularized_inverse(G, l2)
    A = P @ (G + alpha * F)
    B = A - P * (A.diagonal() / P.diagonal())
    np.fill_diagonal(B, 0)
    return OrderedEASE(B.astype(np.float32), recency)


@section("ordered_ease")
def main(
    run: ClosedFormRun,
    l2: float = 300,
    window: int = 50,
    decay: float = 0.9,
    alpha: float = 0,
    recency: float = 0.9,
) -> Dict[str, Any]:
    """Solve a linear model of what follows what in MovieLens-100K."""
    return run.finish(run.fit(fit, l2, window, decay, alpha, recency))


if __name__ == "__main__":
    command_line.run(main)
