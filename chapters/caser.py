"""Caser: convolutions over the last items of a user (section 15.7).

The embeddings of a user's last L items form a matrix E of L rows and k columns (eq. 15.7.1). Two
kinds of filters read E like an image. A horizontal filter has a height between 1 and L. It slides
down the rows of E, and only the largest of its outputs is kept. A vertical filter is a weighted
sum of the rows of E (eq. 15.7.2-3):

    o = [max_t relu(F_1 . E[t : t + 1]), ..., max_t relu(F_L . E[t : t + L])]     L times d numbers
    o' = [G_1 . E, ..., G_d' . E]                                                d' times k numbers
    z = relu(W [o'; o] + b)

The vector z describes the sequence, and the factors p_u describe the user in general. Together they
score an item i that may come next (eq. 15.7.4):

    y_hat[u, i, t] = v_i . [z; p_u] + b_i

Training compares the score of the item that came next with the score of a negative item
(section 15.5). The chapter's text says L = 5, but its code, the sample that it shows and its
reported numbers have L = 3. Run the section from the root of the checkout:

    python chapters/caser.py --seed 3
    python chapters/caser.py --L 5
    python chapters/caser.py --d 0            # without horizontal filters, an exercise
"""

from typing import Any, Dict, Optional

import numpy

from d2l_recsys.backend import gluon, init, mx, nn, np
from d2l_recsys.errors import DataError, SettingError
from d2l_recsys.layers.operators import concatenate, transpose
from d2l_recsys.loaders.interactions import RankingData
from d2l_recsys.losses import make_ranking_loss
from d2l_recsys.model_bases.contract import Recommender
from d2l_recsys.runs.run import RankingRun
from d2l_recsys.sampling import pairwise_loader
from d2l_recsys.sections import command_line
from d2l_recsys.sections.options import section
from d2l_recsys.sequences import sequence_windows
from d2l_recsys.settings import RankingLoss
from d2l_recsys.train import train_ranking

CHAPTERS_L = 3


class ItemConvolutions(nn.HybridBlock):
    """The part of Caser that reads the last items: the vector z of eq. 15.7.1-3.

    A horizontal filter is as wide as E, and a vertical filter is as high as E. So each filter is a
    dense layer on the numbers that it covers. The dense layers here have the weights of
    ``nn.Conv2D(d, (height, num_factors))`` and ``nn.Conv2D(d_prime, (L, 1))``, reshaped, and take a
    fraction of the time of these convolutions.
    """

    def add_convolutions(
        self, num_factors: int, num_items: int, L: int, d: int, d_prime: int, drop_ratio: float
    ) -> None:
        """Make the layers. Raises SettingError if ``d`` and ``d_prime`` are both 0."""
        if not (d or d_prime):
            raise SettingError("--d and --d-prime are both 0; keep filters of one kind")
        self.L, self.d, self.d_prime = L, d, d_prime
        self.Q = nn.Embedding(num_items, num_factors)
        if d_prime:
            self.conv_v = nn.Dense(d_prime, in_units=L, flatten=False)
        self.conv_h = nn.HybridSequential()
        for height in range(1, L + 1) if d else ():
            self.conv_h.add(nn.Dense(d, in_units=height * num_factors))
        in_units = d_prime * num_factors + d * L
        self.fc = nn.Dense(num_factors, activation="relu", in_units=in_units)
        self.dropout = nn.Dropout(drop_ratio)

    def convolve(self, F, seq):
        """The vector z of each sequence, (n, k).

        Raises DataError for sequences of another length than ``L`` (unless hybridized).
        """
        if F is mx.nd and seq.shape[1] != self.L:
            raise DataError(
                f"the sequences have {seq.shape[1]} items, but the net reads L = {self.L}; give "
                "sequences of that length"
            )
        E = self.Q(seq)
        features = []
        if self.d_prime:
            # From (n, k, d') to (n, d' k): the k outputs of one filter stand side by side.
            o_prime = transpose(F, self.conv_v(transpose(F, E, (0, 2, 1))), (0, 2, 1))
            features.append(F.npx.batch_flatten(o_prime))
        for height, conv in enumerate(self.conv_h, start=1):
            starts = range(self.L - height + 1)
            responses = [conv(E if height == self.L else E[:, t : t + height]) for t in starts]
            largest = responses[0]
            for response in responses[1:]:
                largest = F.np.maximum(largest, response)
            features.append(F.npx.relu(largest))
        return self.fc(self.dropout(concatenate(F, *features)))


class Caser(ItemConvolutions, Recommender):
    """Convolutional sequence embedding, eq. 15.7.1-4.

    Called with int arrays ``user_id`` (n,), ``seq`` (n, L) and ``item_id`` (n,), all zero-based;
    ``seq`` has the oldest item first. Returns n scores. There are ``d`` horizontal filters of each
    height, and ``d_prime`` vertical filters. One of the two numbers may be 0.

    Raises SettingError if ``d`` and ``d_prime`` are both 0.
    """

    def __init__(
        self,
        num_factors: int,
        num_users: int,
        num_items: int,
        L: int = 5,
        d: int = 16,
        d_prime: int = 4,
        drop_ratio: float = 0.05,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.P = nn.Embedding(num_users, num_factors)
        self.add_convolutions(num_factors, num_items, L, d, d_prime, drop_ratio)
        self.Q_prime = nn.Embedding(num_items, 2 * num_factors)
        self.b = nn.Embedding(num_items, 1)

    def view(self, F, user_id, seq):
        """[z; p_u], the part of the scores that does not depend on the item: (n, 2 k).

        Raises DataError for sequences of another length than ``L`` (unless hybridized).
        """
        return concatenate(F, self.convolve(F, seq), self.P(user_id))

    def hybrid_forward(self, F, user_id, seq, item_id):
        """Score the pairs; F is ``mxnet.nd``, or ``mxnet.symbol`` if hybridized."""
        products = self.view(F, user_id, seq) * self.Q_prime(item_id)
        return F.np.sum(products, axis=-1) + F.np.squeeze(self.b(item_id), axis=-1)

    def score_all(self, users: np.ndarray, sequences: Optional[np.ndarray] = None) -> np.ndarray:
        """Scores of all items for each of ``users``, (len(users), num_items).

        ``view`` is computed once for each user. One matrix product then gives the scores of all
        items. Raises DataError if ``sequences`` is None or has another length than ``L``.
        """
        if sequences is None:
            raise DataError("Caser scores items from the users' last items: give their sequences")
        Q_prime, b = (part.weight.data(users.ctx) for part in (self.Q_prime, self.b))
        return np.dot(self.view(mx.nd, users, sequences), Q_prime.T) + b.T

    def user_inputs(self, data: RankingData) -> numpy.ndarray:
        """The last ``L`` items of each user, oldest first, int32 (num_users, L)."""
        return sequence_windows(data.users, data.items, self.L, data.num_users).test_sequences

    def item_vectors(self) -> numpy.ndarray:
        """The item embeddings Q' that [z; p_u] is multiplied by, (num_items, 2 num_factors)."""
        return self.Q_prime.weight.data().asnumpy()


@section("caser")
def main(
    run: RankingRun,
    num_epochs: int = 8,
    L: int = CHAPTERS_L,
    d: int = 16,
    d_prime: int = 4,
    num_factors: int = 10,
    dropout: float = 0.05,
    lr: float = 0.04,
    wd: float = 1e-5,
    batch_size: int = 4096,
    loss: RankingLoss = RankingLoss.bpr,
    margin: float = 1.0,
    num_negatives: int = 10,
) -> Dict[str, Any]:
    """Train Caser on MovieLens-100K (section 15.7)."""
    data = run.data
    users, sequences, targets, test_sequences = sequence_windows(
        data.users, data.items, L, data.num_users
    )
    pair_loss = make_ranking_loss(loss, margin, num_negatives)
    train_iter = pairwise_loader(
        data, [users, sequences, targets], batch_size, run.streams, pair_loss
    )

    net = run.build(Caser, num_factors, *data.sizes, L, d, d_prime, dropout)
    net.initialize(ctx=run.devices, init=init.Normal(0.01))
    trainer = gluon.Trainer(net.collect_params(), run.optimizer(lr, wd))
    history = train_ranking(
        net,
        train_iter,
        data.test_items,
        pair_loss,
        trainer,
        test_sequences,
        *data.sizes,
        num_epochs,
        run.devices,
        **run.options,
    )
    run.say(
        f"the first training sample: user {users[0]}, sequence {sequences[0].tolist()}, "
        f"next item {targets[0]} (rows, counted from 0)"
    )
    is_chapters = L == CHAPTERS_L and d > 0 and d_prime > 0 and loss is RankingLoss.bpr
    return run.finish(history, compares=is_chapters)


if __name__ == "__main__":
    command_line.run(main)
