"""What a model can be asked: the one contract of Gluon nets and closed forms; no MXNet.

A training loop takes any net. Evaluation, the leaderboard and ``recommend`` ask what stands here.
"""

from typing import Any, Optional

import numpy as np

from d2l_recsys.loaders.interactions import RankingData


class Recommender:
    """A model that scores items for users. It overrides what it can answer.

    ``padding`` is the number that stands for no item in the sequences that the model reads, None
    where it reads none. ``reads_rows`` says that it reads rows of numbers, not sequences of items.
    """

    padding: Optional[int] = None
    reads_rows: bool = False

    def score_all(self, users: Any, read: Optional[Any] = None) -> Any:
        """Scores of all items for each of ``users`` (zero-based), (len(users), num_items).

        ``read`` has a row for each of them, of what ``user_inputs`` returns. The arrays are
        MXNet's for a net, numpy's for a closed form.
        """
        raise NotImplementedError

    def user_inputs(self, data: RankingData) -> Optional[np.ndarray]:
        """What ``score_all`` reads of each user beside the number; None if nothing.

        Either int32 sequences of items, (num_users, length), or with ``reads_rows`` float32 rows.
        """
        return None

    def item_vectors(self) -> Optional[np.ndarray]:
        """A vector for each item, (num_items, k), by which items can be compared; or None."""
        return None

    def similar_to(self, item: int) -> Optional[np.ndarray]:
        """How alike each item and ``item`` (zero-based) are, (num_items,); None if unknown.

        Here the cosine of their ``item_vectors``, float64; a vector of zeros is like none.
        """
        vectors = self.item_vectors()
        if vectors is None:
            return None
        vectors = np.asarray(vectors, dtype=np.float64)
        lengths = np.linalg.norm(vectors, axis=1)
        lengths[lengths == 0] = np.inf
        return vectors @ vectors[item] / lengths / lengths[item]


def compares_items(kind: type) -> bool:
    """Whether models of this class can say how alike items are."""
    if not issubclass(kind, Recommender):
        return False
    return (kind.item_vectors, kind.similar_to) != (
        Recommender.item_vectors,
        Recommender.similar_to,
    )


class ClickModel:
    """A net that predicts clicks and can say the log odds that its probabilities come from."""

    def logits(self, F: Any, features: Any) -> Any:
        """The log odds of a click, (n, 1); ``F`` is ``mxnet.nd`` or ``mxnet.symbol``."""
        raise NotImplementedError
