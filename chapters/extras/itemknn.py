"""ItemKNN: recommend items that are similar to the items seen so far (Sarwar et al. 2001).

Two items are similar if the same users have seen both. X is the matrix with 1 where a user has seen
an item, and 0 elsewhere. If n_i users have seen item i, and n_ij users have seen both i and j, the
cosine of the two columns of X is n_ij / sqrt(n_i n_j). This cosine can be high by chance. For
example, a film with one user has a cosine of 1 with every other film that only this user has seen.
``shrink`` is added to the denominator. It lowers a similarity most if few users support it (after
Bell and Koren 2007):

    s[i, j] = n_ij / (sqrt(n_i n_j) + shrink)          s[i, i] = 0

Each item keeps its ``num_neighbors`` largest similarities. N(i) is the set of these neighbors. The
score of an item is the sum over its neighbors that the user has seen:

    y_hat[u, i] = sum over j in N(i) with x[u, j] = 1 of s[i, j]

The model has no parameters for users, so it can serve a new user without training.

Run this file from the root of the checkout. It needs no MXNet:

    python chapters/extras/itemknn.py
    python chapters/extras/itemknn.py --num-neighbors 20 --shrink 0
"""

import dataclasses
from typing import Any, Dict, Optional

import numpy as np

from d2l_recsys.loaders.interactions import (
    RankingData,
    check_rows,
    cosine_similarities,
    interaction_matrix,
    seen_rows,
)
from d2l_recsys.model_bases.closed_form import ClosedForm, axes
from d2l_recsys.runs.closed_form_run import ClosedFormRun
from d2l_recsys.sections import command_line
from d2l_recsys.sections.options import section


@dataclasses.dataclass(frozen=True)
class ItemKNN(ClosedForm):
    """The similarity of each item (a row) to its neighbors, and 0 for all other items."""

    similarities: np.ndarray = axes("items", "items")

    def score_all(self, users: np.ndarray, read: Optional[np.ndarray] = None) -> np.ndarray:
        """Return the scores of all items for each of ``users``, float32 (len(users), num_items).

        ``read`` has the row of each user. Raises DataError if ``read`` is None or does not have a
        column for each item.
        """
        check_rows(read, len(self.similarities))
        return read @ self.similarities.T

    def user_inputs(self, data: RankingData) -> np.ndarray:
        """Return a row for each user: 1 at the items seen, else 0; float32."""
        return seen_rows(data)

    def similar_to(self, item: int) -> np.ndarray:
        """Return the similarities of ``item`` to its neighbors, (num_items,); 0 for all others."""
        return self.similarities[item]


def fit(data: RankingData, num_neighbors: int, shrink: float) -> ItemKNN:
    """Compute the similarities of the items, and keep the largest ones of each item.

    If two neighbors are equally similar, the item with the lower number goes first.
    """
    X = interaction_matrix(data.users, data.items, *data.sizes)
    similarities = cosine_similarities(X, shrink)
    beyond = np.argsort(-similarities, axis=1, kind="stable")[:, num_neighbors:]
    np.put_along_axis(similarities, beyond, 0, axis=1)
    return ItemKNN(similarities.astype(np.float32))


@section("itemknn")
def main(
    run: ClosedFormRun,
    num_neighbors: int = 100,
    shrink: float = 0,
) -> Dict[str, Any]:
    """Recommend the neighbors of the items that a user of MovieLens-100K has seen."""
    return run.finish(run.fit(fit, num_neighbors, shrink))


if __name__ == "__main__":
    command_line.run(main)
