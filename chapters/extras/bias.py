"""Bias: how generously a user rates, and how well an item is rated (Koren and Bell 2011).

What a rating owes to who gives it and to what is rated, each apart from the other:

    r_hat[u, i] = mu + b_u + b_i

mu is the mean of all training ratings. The biases are means of what is left over, the items' first;
K(i) and K(u) are the ratings of an item and of a user, n_i and n_u how many these are:

    b_i = sum over u in K(i) of (r[u, i] - mu) / (n_i + damping)
    b_u = sum over i in K(u) of (r[u, i] - mu - b_i) / (n_u + damping)

``damping`` adds that many ratings which are just what one would expect, so that a single 5 does not
make an item the best of all. As a prediction of ratings this is hard to beat by much. As a ranking
it is poor, for two reasons: b_u is the same for all items, so that everyone gets one list; and that
list has on top what is rated well, not what is watched. A film that few have seen, and liked, leads
one that all have seen, and what comes next is mostly of the second kind: ``popularity`` is far
ahead. Run it, from the root of the checkout; needs no MXNet:

    python chapters/extras/bias.py
    python chapters/extras/bias.py --damping 5
"""

import dataclasses
from typing import Any, Dict, Optional

import numpy as np

from d2l_recsys.loaders.interactions import RankingData
from d2l_recsys.model_bases.closed_form import ClosedForm, axes
from d2l_recsys.runs.closed_form_run import ClosedFormRun
from d2l_recsys.sections import command_line
from d2l_recsys.sections.options import section


@dataclasses.dataclass(frozen=True)
class Bias(ClosedForm):
    """The biases of users and of items, and the mean of all ratings."""

    user_biases: np.ndarray = axes("users")
    item_biases: np.ndarray = axes("items")
    mean: float

    def score_all(self, users: np.ndarray, read: Optional[np.ndarray] = None) -> np.ndarray:
        """The ratings of all items by each of ``users``, (len(users), num_items)."""
        return np.float32(self.mean) + self.user_biases[users, None] + self.item_biases


def damped_means(
    groups: np.ndarray, values: np.ndarray, num_groups: int, damping: float
) -> np.ndarray:
    """The sum of each group's ``values`` over their number plus ``damping``; 0 for an empty group.

    ``groups`` says which of ``num_groups`` each value belongs to. Float64 (num_groups,).
    """
    counts = np.bincount(groups, minlength=num_groups)
    sums = np.bincount(groups, values, minlength=num_groups)
    return sums / np.where(counts > 0, counts + damping, 1)


def fit(data: RankingData, damping: float) -> Bias:
    """The biases of the training ratings."""
    ratings = data.ratings.astype(np.float64)
    mean = float(ratings.mean())
    b_i = damped_means(data.items, ratings - mean, data.num_items, damping)
    b_u = damped_means(data.users, ratings - mean - b_i[data.items], data.num_users, damping)
    return Bias(b_u.astype(np.float32), b_i.astype(np.float32), mean)


@section("bias")
def main(
    run: ClosedFormRun,
    damping: float = 25,
) -> Dict[str, Any]:
    """Rank the films of MovieLens-100K by the ratings that biases predict."""
    return run.finish(run.fit(fit, damping))


if __name__ == "__main__":
    command_line.run(main)
