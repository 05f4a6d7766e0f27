"""Ordered EASE: a linear model, solved in closed form, that knows the order of a history.

EASE (Steck 2019, ``ease.py``) reads a history as a set. An item seen a year ago counts as much as
the item seen last, and two films of one evening are no closer than any other two. This model reads
the history of a user item by item, in the order of time. i(t) is item t of the history. After this
item, the state z_t of the user has the last w items (``window``): the newest one with weight 1, the
one before with weight ``decay``, and so on. e(i) is a row with 1 at item i and 0 elsewhere:

    z_t = sum over k = 0 ... w - 1 of decay^k e(i(t - k))

The weights B predict a target y_t from each state. The target is the state itself, as in EASE, plus
``alpha`` times the next item:

    y_t = z_t + alpha e(i(t + 1))
    min over B of  sum over all users and t of |y_t - z_t B|^2 + l2 |B|^2       with diag B = 0

t runs on after the last item until that item has left the window. So every item is in the same
number of states. After the end of the history, e is 0. If the window is long and alpha = 1 / decay,
then y_t = z_(t + 1) / decay: the model predicts the next state from the present one (an
autoregression). If alpha = 0, the model is an autoencoder of states: it knows which items are near
each other, but not which one comes first. As in EASE,
there is a Lagrange multiplier for each entry of the diagonal, and the solution is

    G = sum of z_t^T z_t,    F = sum of z_t^T e(i(t + 1)),    P = (G + l2 I)^-1
    A = P (G + alpha F),     B = A - P diag(diag A / diag P)

If alpha = 0, this is the solution of EASE, with G in place of X^T X. The program never stores a
state, because two counts are enough for G and F: C_d[i, j] is how often item j comes d items after
item i, and n_i is how often item i occurs at all:

    c(d) = sum over k = 0 ... w - 1 - d of decay^(2 k + d)
    G = c(0) diag(n) + sum over d = 1 ... w - 1 of c(d) (C_d + C_d^T)
    F = sum over d = 1 ... w of decay^(d - 1) C_d

The scores of a user are x_u B. x_u is like a state, but it has the whole history and its own decay:
an item with k later items in the history has weight ``recency``^k.

The search on the validation items chose alpha = 0. One reason: half of the ratings in
MovieLens-100K have the same second as the rating before. So the data shows which items are near
each other, but often not which item came first.

Run this file from the root of the checkout. It needs no MXNet:

    python chapters/extras/ordered_ease.py
    python chapters/extras/ordered_ease.py --alpha 1
    python chapters/extras/ordered_ease.py --recency 1       # all seen items count the same
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
    """The weights B: ``B[i, j]`` is added to the score of item j if item i was seen last.

    If item i was seen k items before the last one, ``recency``^k times ``B[i, j]`` is added. With
    ``recency`` 0 only the last item counts, with 1 all items count the same.
    """

    B: np.ndarray = axes("items", "items")
    recency: float

    def score_all(self, users: np.ndarray, read: Optional[np.ndarray] = None) -> np.ndarray:
        """Return the scores of all items for each of ``users``, float32 (len(users), num_items).

        ``read`` has the row of each user. Raises DataError if ``read`` is None or does not have a
        column for each item.
        """
        check_rows(read, len(self.B))
        return read @ self.B

    def user_inputs(self, data: RankingData) -> np.ndarray:
        """Return a row for each user: recency^k at an item with k later items, else 0; float32."""
        stops = np.cumsum(np.bincount(data.users, minlength=data.num_users))
        later = stops[data.users] - 1 - np.arange(len(data.users))
        weights = np.float64(self.recency) ** later
        sizes = data.num_users, data.num_items
        return interaction_matrix(data.users, data.items, *sizes, weights).toarray()

    def similar_to(self, item: int) -> np.ndarray:
        """Return what ``item``, if seen last, adds to each item's score, (num_items,)."""
        return self.B[item]


def state_products(data: RankingData, window: int, decay: float) -> Tuple[np.ndarray, np.ndarray]:
    """Return G and F: the products of states with states, and of states with the next items.

    Both are float64 (num_items, num_items), and sums over the states of all training histories.
    """
    users, items = data.users, data.items.astype(np.int64)
    counts = np.bincount(items, minlength=data.num_items)
    longest = np.bincount(users).max()
    # The rows are sorted by user and time, so d rows later means d items later in a history.
    first = [np.flatnonzero(users[d:] == users[:-d]) for d in range(1, min(window + 1, longest))]
    d = np.repeat(np.arange(1, len(first) + 1), [len(rows) for rows in first])
    rows = np.concatenate([np.empty(0, np.int64), *first])
    pairs = items[rows] * data.num_items + items[rows + d]

    def counted(weights: np.ndarray) -> np.ndarray:
        """Return the sum over d of ``weights[d]`` C_d."""
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
    """Solve for the weights B that predict the states and the next items of the training histories.

    The computation is in float64, the result is float32. Raises SettingError if ``l2`` is too
    small to solve the equations.
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
    """Solve a linear model for the order in which users of MovieLens-100K see items."""
    return run.finish(run.fit(fit, l2, window, decay, alpha, recency))


if __name__ == "__main__":
    command_line.run(main)
