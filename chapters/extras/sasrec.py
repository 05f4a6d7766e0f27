"""SASRec: self-attention over what a user did (Kang and McAuley 2018).

A user is nothing but the last n items, s_1 to s_n. Each becomes its factors plus those of its place
(eq. 1 of the paper), and blocks follow in which each place reads the places up to it and none after
(eq. 2 and 3), then goes through a network by itself (eq. 4), both as section III.C has them:

    x_t = q_{s_t} + p_t
    x   = x + dropout(attention(norm(x)))
    x   = x + dropout(W2 relu(W1 norm(x) + b1) + b2)

What x_t has become by then, normalised, scores every item as the one that comes next, through the
factors by which items are read as well (section III.D). So each place is an example to learn from:

    y_hat[t, i] = norm(x_t) . q_i

Loss ``bce`` is the paper's (section III.E): the log loss of the item that came next and of one that
the user has not seen, drawn at random. ``softmax`` compares the item that came next with all others
and learns in fewer epochs (Klenitskiy and Vasilev 2023). The paper learns from the last n items of
each user; here a history is cut into chunks of n, so that nothing is lost. (The norm before the
scores is in the authors' code alone. So are heads: each attends with its share of the numbers; one
is what the paper's equations say.) Run it, from the root of the checkout:

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
    """What training on the next item minimises."""

    bce = "bce"
    softmax = "softmax"


class SASRec(nn.HybridBlock, Recommender):
    """Self-attentive sequential recommendation.

    Called with an int array (n, max_length) of items, zero-based, oldest first, where ``padding``
    at the head stands for nothing; returns x, which scores the item after each, of shape
    (n, max_length, num_factors). ``Q`` holds the items' factors (its last row is padding's, which
    no place attends to), ``P`` those of the places.

    Raises SettingError where ``num_heads`` does not divide ``num_factors``.
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
        # Looked up for each sequence: the gradient of a sum over them takes ten times as long.
        places = sequences * 0 + F.np.arange(self.max_length)
        x = self.dropout(self.Q(sequences) + self.P(places))
        for block in self.blocks:
            x = block(x, never)
        return self.norm(x)

    def batch_loss(self, F, inputs, targets, negatives=None):
        """The losses of n sequences, (n,): of each, the sum over its targets over ``max_length``.

        All arrays are int, (n, max_length); ``padding`` is no target. Loss ``bce`` where there are
        ``negatives``, else ``softmax``; F as in ``hybrid_forward``.
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
        """1 where ``items`` are ``padding``, 0 elsewhere; float32."""
        return (items == self.padding).astype("float32")

    def user_inputs(self, data: RankingData) -> Any:
        """Each user's last items, (num_users, max_length), int32, padded at the head."""
        return last_items(data.users, data.items, self.max_length, data.num_users, self.padding)

    def score_all(self, users: np.ndarray, sequences: Optional[np.ndarray] = None) -> np.ndarray:
        """Scores of all items as the next of each of ``sequences``, (n, num_items), whoever asks.

        Raises DataError without ``sequences``, and for such of another length than ``max_length``.
        """
        if sequences is None:
            raise DataError("SASRec ranks by what users did last: give their sequences")
        if sequences.shape[1] != self.max_length:
            raise DataError(
                f"sequences of {sequences.shape[1]} items for a net with max_length = "
                f"{self.max_length}"
            )
        q = self.Q.weight.data(sequences.ctx)[: self.num_items]
        return np.dot(self(sequences)[:, -1], q.T)

    def item_vectors(self) -> Any:
        """The items' factors, (num_items, num_factors)."""
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
