"""SASRec: self-attention over the history of a user (Kang and McAuley 2018).

The model describes a user only by the last n items, s_1 to s_n. The input for each position t is
the sum of two vectors of factors: one of the item, and one of the position (eq. 1 of the paper).
Blocks follow. In each block, a position first reads itself and the positions before it, but none
after it (eq. 2 and 3). Then a network processes each position separately (eq. 4). Both steps have
the form of section III.C, where norm is layer normalization:

    x_t = q_{s_t} + p_t
    x   = x + dropout(attention(norm(x)))
    x   = x + dropout(W2 relu(W1 norm(x) + b1) + b2)

The output of the last block, normalized, scores every item as the next item. The scores use the
same item factors as the input (section III.D). So each position is a training example:

    y_hat[t, i] = norm(x_t) . q_i

With ``--loss bce``, as in the paper (section III.E), the loss is the log loss of the next item and
of one random item that the user has not seen. With ``--loss softmax``, the loss compares the next
item with all other items. The model then learns in fewer epochs (Klenitskiy and Vasilev 2023).

This file differs from the paper in two ways. The paper trains on the last n items of each user;
here each history is cut into chunks of n items, so that no item is lost. The norm before the scores
is not in the paper, only in the authors' code. The number of heads is an option, as in the authors'
code: each head attends with its share of the factors. The default of one head is what the paper's
equations say.

Run this file from the root of the checkout:

    python chapters/extras/sasrec.py --seed 3
    python chapters/extras/sasrec.py --loss bce
"""

from typing import Any, Dict, Optional

from d2l_recsys.backend import init, nn, np
from d2l_recsys.errors import DataError
from d2l_recsys.layers.attention import LayerNorm, SelfAttentionBlock, blocked
from d2l_recsys.loaders.batches import training_loader
from d2l_recsys.loaders.interactions import RankingData
from d2l_recsys.losses import softplus
from d2l_recsys.model_bases.contract import Recommender
from d2l_recsys.runs.run import CompanionRun
from d2l_recsys.sampling import NegativeSampler
from d2l_recsys.sections import command_line
from d2l_recsys.sections.options import section
from d2l_recsys.sequences import ChunkLoader, history_chunks, last_items
from d2l_recsys.settings import Choice
from d2l_recsys.training.objectives import own_loss


class NextItemLoss(Choice):
    """Loss of the next item: against one negative item (bce), or all other items (softmax)."""

    bce = "bce"
    softmax = "softmax"


class SASRec(nn.HybridBlock, Recommender):
    """Self-attentive sequential recommendation.

    Called with an int array of items (n, max_length), zero-based, oldest first. A sequence with
    fewer items starts with ``padding``. Returns the vectors norm(x), float32
    (n, max_length, num_factors), which score the item after each position. ``Q`` has the factors of
    the items; its last row belongs to the padding, and no position attends to padding. ``P`` has
    the factors of the positions.

    Raises SettingError if ``num_heads`` does not divide ``num_factors``.
    """

    def __init__(
        self,
        num_factors: int,
        num_items: int,
        max_length: int,
        num_blocks: int = 2,
        num_heads: int = 1,
        dropout: float = 0.2,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.num_items, self.padding, self.max_length = num_items, num_items, max_length
        self.num_heads = num_heads
        self.Q = nn.Embedding(num_items + 1, num_factors)
        self.P = nn.Embedding(max_length, num_factors)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.HybridSequential()
        for _ in range(num_blocks):
            self.blocks.add(SelfAttentionBlock(num_factors, num_heads, dropout))
        self.norm = LayerNorm(num_factors)

    def hybrid_forward(self, F, sequences):
        """Read the sequences; F is ``mxnet.nd`` or, once hybridized, ``mxnet.symbol``."""
        never = blocked(F, self._padded(sequences), self.num_heads)
        # Look up the positions once for each sequence. With one lookup for the whole batch, the
        # gradient would be a sum over the sequences, which takes ten times as long.
        places = sequences * 0 + F.np.arange(self.max_length)
        x = self.dropout(self.Q(sequences) + self.P(places))
        for block in self.blocks:
            x = block(x, never)
        return self.norm(x)

    def batch_loss(self, F, inputs, targets, negatives=None):
        """Return the loss of each of n sequences, (n,).

        The loss of a sequence is the sum over its targets, divided by ``max_length``. All arrays
        are int (n, max_length). A target that is ``padding`` does not count. The loss is ``bce`` if
        ``negatives`` are given, else ``softmax``. F is as in ``hybrid_forward``.
        """
        x = self(inputs)
        if negatives is None:
            q = self.Q(F.np.arange(self.num_items))
            scores = F.npx.fully_connected(
                x, q, num_hidden=self.num_items, no_bias=True, flatten=False
            )
            losses = -F.npx.pick(F.npx.log_softmax(scores, axis=-1), targets, axis=-1)
        else:
            positive, negative = (
                F.np.sum(x * self.Q(items), axis=-1) for items in (targets, negatives)
            )
            losses = softplus(F, -positive) + softplus(F, negative)
        return F.np.mean(losses * (1 - self._padded(targets)), axis=-1)

    def _padded(self, items):
        """Return float32 1 where ``items`` is ``padding``, and 0 elsewhere."""
        return (items == self.padding).astype("float32")

    def user_inputs(self, data: RankingData) -> Any:
        """Return each user's last items, int32 (num_users, max_length), padded at the start."""
        return last_items(data.users, data.items, self.max_length, data.num_users, self.padding)

    def score_all(self, users: np.ndarray, sequences: Optional[np.ndarray] = None) -> np.ndarray:
        """Return the score of each item as the next item of each sequence, (n, num_items).

        The scores depend only on ``sequences``, not on ``users``. Raises DataError if ``sequences``
        is None or does not have ``max_length`` columns.
        """
        if sequences is None:
            raise DataError("SASRec scores items from the users' last items: give their sequences")
        if sequences.shape[1] != self.max_length:
            raise DataError(
                f"the sequences have {sequences.shape[1]} items, but the net reads max_length = "
                f"{self.max_length}; give sequences of that length"
            )
        q = self.Q.weight.data(sequences.ctx)[: self.num_items]
        return np.dot(self(sequences)[:, -1], q.T)

    def item_vectors(self) -> Any:
        """Return the item factors, (num_items, num_factors)."""
        return self.Q.weight.data().asnumpy()[: self.num_items]


@section("sasrec")
def main(
    run: CompanionRun,
    num_epochs: int = 30,
    num_factors: int = 64,
    max_length: int = 50,
    num_blocks: int = 2,
    num_heads: int = 1,
    dropout: float = 0.2,
    lr: float = 0.003,
    wd: float = 0.0,
    batch_size: int = 64,
    loss: NextItemLoss = NextItemLoss.softmax,
) -> Dict[str, Any]:
    """Train SASRec on MovieLens-100K."""
    data = run.data
    chunks = history_chunks(data.users, data.items, max_length, *data.sizes)
    batches = {"batch_size": batch_size, "rng": run.streams.shuffle}
    if loss is NextItemLoss.bce:
        sampler = NegativeSampler(data.candidates, *data.sizes, run.streams.negatives)
        train_iter = ChunkLoader(
            *chunks, sampler=sampler, shuffle=True, last_batch="rollover", **batches
        )
    else:
        train_iter = training_loader(chunks.inputs, chunks.targets, **batches)
    return run.train(
        SASRec,
        num_factors,
        data.num_items,
        max_length,
        num_blocks,
        num_heads,
        dropout,
        loss=own_loss,
        initializer=init.Normal(0.01),
        train_iter=train_iter,
        lr=lr,
        wd=wd,
    )


if __name__ == "__main__":
    command_line.run(main)
