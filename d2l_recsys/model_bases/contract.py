"""The interface of every model, whether it is a Gluon net or a closed form; no MXNet.

A training loop accepts any net. Evaluation, the leaderboard and ``recommend`` use the classes of
this module.
"""

from typing import Any, Optional

import numpy as np

from d2l_recsys.loaders.interactions import RankingData


class Recommender:
    """A model that scores items for users. A subclass overrides the methods that it can answer.

    ``padding`` is the number that fills short sequences of items. It is None if the model uses no
    padding. ``reads_rows`` is True if a net reads a row of numbers for each user instead of a
    sequence of items; closed forms do not need it.
    """

    padding: Optional[int] = None
    reads_rows: bool = False

    def score_all(self, users: Any, read: Optional[Any] = None) -> Any:
        """Return the scores of all items for each of ``users``, (len(users), num_items).

        ``users`` are zero-based. ``read`` has the row of ``user_inputs`` for each of these users;
        it is None if ``user_inputs`` returns None. The arrays are MXNet's for a net and numpy's for
        a closed form.
        """
        raise NotImplementedError

    def user_inputs(self, data: RankingData) -> Optional[np.ndarray]:
        """Return what ``score_all`` reads for each user, or None if the user's number is enough.

        The result is either int32 (num_users, length), with a sequence of items for each user, or
        float32 (num_users, num_items), with a number for each item.
        """
        return None

    def item_vectors(self) -> Optional[np.ndarray]:
        """Return a vector for each item, (num_items, k), to compare items, or None."""
        return None

    def similar_to(self, item: int) -> Optional[np.ndarray]:
        """Return the similarity of each item to ``item`` (zero-based), (num_items,), or None.

        Unless a subclass overrides this method, the similarity is the cosine of the two
        ``item_vectors``, float64. It is 0 if a vector is all zeros. The result is None if the model
        has no item vectors.
        """
        vectors = self.item_vectors()
        if vectors is None:
            return None
        vectors = np.asarray(vectors, dtype=np.float64)
        lengths = np.linalg.norm(vectors, axis=1)
        lengths[lengths == 0] = np.inf
        return vectors @ vectors[item] / lengths / lengths[item]


def compares_items(kind: type) -> bool:
    """Return whether models of this class can compare items."""
    if not issubclass(kind, Recommender):
        return False
    return (kind.item_vectors, kind.similar_to) != (
        Recommender.item_vectors,
        Recommender.similar_to,
    )


class ClickModel:
    """A net that predicts clicks, and can return its logits as well as its probabilities."""

    def logits(self, F: Any, features: Any) -> Any:
        """Return the log odds of a click, (n, 1); ``F`` is ``mxnet.nd`` or ``mxnet.symbol``."""
        raise NotImplementedError
