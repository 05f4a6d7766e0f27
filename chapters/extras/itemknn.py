"""ItemKNN: whoever has seen this may want what is seen by the same users (Sarwar et al. 2001).

Two items are alike where the same users have seen both. With n_i users of item i and n_ij of both,
the cosine of the items' columns of the matrix X of what was seen is n_ij / sqrt(n_i n_j); a film
with one user has a cosine of 1 with all that this user has seen, which is chance. ``shrink`` adds
to the denominator, and what rests on few users shrinks most (after Bell and Koren 2007):

    s[i, j] = n_ij / (sqrt(n_i n_j) + shrink)          s[i, i] = 0

Of each item's similarities the ``num_neighbors`` largest are kept, N(i), and an item's score is the
sum over those of its neighbours that the user has seen:

    y_hat[u, i] = sum over j in N(i) with x[u, j] = 1 of s[i, j]

It is a model of items alone: whoever comes new is served without training. Run it, from the root of
the checkout; needs no MXNet:

    python chapters/extras/itemknn.py
    python chapters/extras/itemknn.py --num-neighbors 20 --shrink 0
"""

import dataclasses
from typing import Any, Dict, Optional

import numpy as np

from d2l_recsys.loaders.interactions import RankingData, check_rows, interaction_matrix, seen_rows
from d2l_recsys.model_bases.closed_form import ClosedForm, axes
from d2l_recsys.runs.closed_form_run import ClosedFormRun
from d2l_recsys.sections import command_line
from d2l_recsys.sections.options import section


@dataclasses.dataclass(frozen=True)
class ItemKNN(ClosedForm):
    """A row for each item: the similarities of its neighbours, 0 for all other items."""

    similarities: np.ndarray = axes("items", "items")

    def score_all(self, users: np.ndarray, read: Optional[np.ndarray] = None) -> np.ndarray:
        """Scores of all items for each of ``users``, (len(users), num_items): one product.

        Raises DataError without ``read``, the users' rows, or where they are of other items.
        """
        check_rows(read, len(self.similarities))
        return read @ self.similarities.T

    def user_inputs(self, data: RankingData) -> np.ndarray:
        """What each user has seen, float32 (num_users, num_items)."""
        return seen_rows(data)

    def similar_to(self, item: int) -> np.ndarray:
        """The similarities of the neighbours of ``item``, (num_items,); 0 for itself."""
        return self.similarities[item]


def fit(data: RankingData, num_neighbors: int, shrink: float) -> ItemKNN:
    """The similarities of the items' columns of the training pairs, and of them the largest.

    Of neighbours that are equally alike, the lower item goes first.
    """
    X = interaction_matrix(data.users, data.items, *data.sizes)
    both = (X.T @ X).toarray().astype(np.float64)
    counts = both.diagonal().copy()
    np.fill_diagonal(both, 0)
    # Where an item has no user, there is nothing to divide either.
    similarities = both / np.maximum(np.sqrt(np.outer(counts, counts)) + shrink, 1)
    beyond = np.argsort(-similarities, axis=1, kind="stable")[:, num_neighbors:]
    np.put_along_axis(similarities, beyond, 0, axis=1)
    return ItemKNN(similarities.astype(np.float32))


@section("itemknn")
def main(
    run: ClosedFormRun,
    num_neighbors: int = 100,
    shrink: float = 0,
) -> Dict[str, Any]:
    """Recommend the neighbours of what a user has seen, on MovieLens-100K."""
    return run.finish(run.fit(fit, num_neighbors, shrink))


if __name__ == "__main__":
    command_line.run(main)
