"""The base of nets that read a session and score the next item, and the losses of such nets."""

from typing import Any, Optional

import numpy

from d2l_recsys.backend import nn, np
from d2l_recsys.errors import DataError
from d2l_recsys.losses import softplus
from d2l_recsys.model_bases.contract import Recommender
from d2l_recsys.settings import SessionLoss


class SessionNet(nn.HybridBlock, Recommender):
    """A net that describes the items of a session so far by a vector x of ``num_factors`` numbers.

    The score of item i as the next item is v_i . x + b_i. ``V`` has the factors v_i, and ``b`` the
    biases. A subclass makes its layers and overrides ``session_vectors``.
    """

    def __init__(
        self, num_factors: int, num_items: int, loss: str = SessionLoss.cross_entropy, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.num_factors, self.num_items, self.loss = num_factors, num_items, SessionLoss(loss)
        self.V = nn.Embedding(num_items, num_factors)
        self.b = nn.Embedding(num_items, 1, weight_initializer="zeros")

    def session_vectors(self, sessions: np.ndarray) -> np.ndarray:
        """The vector x after each item of each session, float32 (n, length, num_factors).

        ``sessions`` has a session in each row: int32 (n, length), oldest item first. The vector at
        place t depends only on the items up to place t.
        """
        raise NotImplementedError

    def score_vectors(self, x: np.ndarray) -> np.ndarray:
        """The scores of all items for each of the vectors ``x``, (n, num_items)."""
        return np.dot(x, self.V.weight.data(x.ctx).T) + self.b.weight.data(x.ctx).T

    def score_all(self, users: np.ndarray, sequences: Optional[np.ndarray] = None) -> np.ndarray:
        """The scores of all items as the next item of each of ``sequences``, (n, num_items).

        A row of ``sequences`` has all items of a session so far. The scores do not depend on
        ``users``. Raises DataError if ``sequences`` is None.
        """
        if sequences is None:
            raise DataError("the model scores items from the session so far: give its items")
        return self.score_vectors(self.session_vectors(sequences)[:, -1])

    def item_vectors(self) -> numpy.ndarray:
        """The item factors, (num_items, num_factors)."""
        return self.V.weight.data().asnumpy()

    def losses(self, F, x, targets):
        """The loss of each of n vectors ``x`` (n, num_factors), whose next items are ``targets``.

        For the losses ``top1`` and ``bpr``, the negative items of a row are the targets of the
        other rows that are not its own target. ``cross_entropy`` compares the target with all
        items. Returns (n,); F is ``mxnet.nd`` or ``mxnet.symbol``.
        """
        if self.loss is SessionLoss.cross_entropy:
            every = F.np.arange(self.num_items, dtype="int32")
            scores = F.npx.fully_connected(
                x, self.V(every), F.np.reshape(self.b(every), (-1,)), num_hidden=self.num_items
            )
            return -F.npx.pick(F.npx.log_softmax(scores, axis=-1), targets, axis=-1)
        v, b = self.V(targets), self.b(targets)
        scores = F.dot(x.as_nd_ndarray(), v.as_nd_ndarray(), transpose_b=True).as_np_ndarray()
        scores = scores + F.np.reshape(b, (1, -1))
        own = F.np.sum(x * v, axis=1, keepdims=True) + b
        is_negative = F.np.expand_dims(targets, 1) != F.np.expand_dims(targets, 0)
        is_negative = is_negative.astype("float32")
        if self.loss is SessionLoss.top1:
            losses = F.npx.sigmoid(scores - own) + F.npx.sigmoid(F.np.square(scores))
        else:
            losses = softplus(F, scores - own)
        num_negatives = F.np.maximum(F.np.sum(is_negative, axis=1), 1)
        return F.np.sum(losses * is_negative, axis=1) / num_negatives
