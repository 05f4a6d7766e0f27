"""Bias: predict a rating from the user's and the item's average deviation (Koren and Bell 2011).

Some users give high ratings, and some items get high ratings. The model adds these two effects to
the mean rating, and nothing else:

    r_hat[u, i] = mu + b_u + b_i

mu is the mean of all training ratings. An item bias is a mean of how much the item's ratings differ
from mu. A user bias is a mean of how much the user's ratings differ from mu + b_i. K(i) are the
users who have rated item i, K(u) are the items that user u has rated, and n_i and n_u are their
numbers:

    b_i = sum over u in K(i) of (r[u, i] - mu) / (n_i + damping)
    b_u = sum over i in K(u) of (r[u, i] - mu - b_i) / (n_u + damping)

``damping`` pulls the biases toward 0. The effect is as if each item had ``damping`` more ratings
equal to mu, and each user ``damping`` more ratings equal to mu + b_i. So a single 5 does not make
an item the best of all.

As a prediction of ratings, this model is hard to beat by much. As a ranking it is poor, for two
reasons. First, b_u is the same for all items, so all users get the same order of items. Second, the
top of that order has the items with the best ratings, not the items that most users watch. A film
that a few users liked comes before a film that everyone has seen. But the held-out item is usually
a film that many users have seen, so ``popularity`` ranks much better.

Run this file from the root of the checkout. It needs no MXNet:

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
    """The biases of users and items, and the mean of all ratings."""

    user_biases: np.ndarray = axes("users")
    item_biases: np.ndarray = axes("items")
    mean: float

    def score_all(self, users: np.ndarray, read: Optional[np.ndarray] = None) -> np.ndarray:
        """Return the predicted ratings of all items by each user, (len(users), num_items)."""
        return np.float32(self.mean) + self.user_biases[users, None] + self.item_biases


def damped_means(
    groups: np.ndarray, values: np.ndarray, num_groups: int, damping: float
) -> np.ndarray:
    """Return each group's sum of ``values``, divided by the number of values plus ``damping``.

    ``groups`` has the group of each value, from 0 to ``num_groups`` - 1. The result is float64
    (num_groups,); it is 0 for an empty group.
    """
    counts = np.bincount(groups, minlength=num_groups)
    sums = np.bincount(groups, values, minlength=num_groups)
    return sums / np.where(counts > 0, counts + damping, 1)


def fit(data: RankingData, damping: float) -> Bias:
    """Compute the mean and the biases of the training ratings."""
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
    """Rank the items of MovieLens-100K by the ratings that biases predict."""
    return run.finish(run.fit(fit, damping))


if __name__ == "__main__":
    command_line.run(main)
