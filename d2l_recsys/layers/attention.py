r"""Self-attention over sequences, in which no position reads a later one.

Each position has a query, a key and a value: a row of Q, K and V with k numbers. The output of a
position is the weighted mean of the values of this and all earlier positions. The better the query
of the position matches a key, the larger is the weight of the value (Vaswani et al. 2017, eq. 1):

.. math:: \mathrm{softmax}\left(\frac{Q K^\top}{\sqrt{k}}\right) V
"""

import math
from typing import Any

from d2l_recsys.backend import init, nn
from d2l_recsys.errors import SettingError
from d2l_recsys.layers.operators import transpose
from d2l_recsys.settings import check_settings

# Added to a score to make its weight exactly 0.
NEVER = -1e9
# Keeps the division finite for a row without variance; MXNet's default.
EPSILON = 1e-5


def check_heads(num_hidden: int, num_heads: int) -> None:
    """Raise SettingError unless ``num_heads`` is in its range and divides ``num_hidden``."""
    check_settings(num_heads=num_heads)
    if num_hidden % num_heads:
        raise SettingError(
            f"--num-heads is {num_heads}, which does not divide {num_hidden}, the value of "
            "--num-factors; choose a divisor of that value"
        )


def blocked(F: Any, padded: Any, num_heads: int = 1) -> Any:
    """Return what to add to the attention scores, (n num_heads, length, length).

    Row t belongs to position t. It is ``NEVER`` at the positions that t must not read: later
    positions, and padded ones. It is 0 elsewhere. ``padded`` is float32 (n, length), with 1 at a
    padded position and 0 elsewhere. (The output at a padded position has no meaning.) ``F`` is
    ``mxnet.nd``, or in a hybridized block ``mxnet.symbol``.
    """
    padded = padded.as_nd_ndarray()
    place = F.contrib.arange_like(padded, axis=1)
    later = F.broadcast_lesser(F.expand_dims(place, axis=1), F.expand_dims(place, axis=0))
    pairs = F.broadcast_add(F.expand_dims(padded, axis=1), F.expand_dims(later, axis=0)) * NEVER
    return F.repeat(pairs, repeats=num_heads, axis=0).as_np_ndarray()


class LayerNorm(nn.HybridBlock):
    r"""Layer normalization: scale each row to mean 0 and variance 1, then apply a gain and a bias.

    .. math:: \gamma \frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}} + \beta

    Called with an array (n, length, num_hidden); returns an array of the same shape. The result
    equals that of ``nn.LayerNorm`` up to rounding and takes a fourth of the time. For this, matrix
    products subtract the mean and apply the gain, and ``L2Normalization`` divides each row by its
    length. The squared length is a sum of ``num_hidden`` squares, and the variance is their mean.
    So epsilon is multiplied by ``num_hidden``.
    """

    def __init__(self, num_hidden: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.num_hidden = num_hidden
        self.gamma = self.params.get("gamma", shape=(num_hidden,), init=init.One())
        self.beta = self.params.get("beta", shape=(num_hidden,), init=init.Zero())

    def hybrid_forward(self, F, x, gamma, beta):
        """Normalize the rows; F is ``mxnet.nd`` or, once hybridized, ``mxnet.symbol``."""
        k, x, gamma, beta = self.num_hidden, *(a.as_nd_ndarray() for a in (x, gamma, beta))
        rows, options = F.reshape(x, shape=(-1, k)), dict(num_hidden=k)
        minus_mean = F.eye(k) - 1 / k
        centred = F.FullyConnected(rows, minus_mean, no_bias=True, **options)
        unit = F.L2Normalization(centred, eps=k * EPSILON)
        normal = F.FullyConnected(unit, F.diag(gamma * math.sqrt(k)), beta, **options)
        return F.reshape_like(normal, x).as_np_ndarray()


class CausalSelfAttention(nn.HybridBlock):
    """Self-attention in which a position reads only itself and earlier positions.

    Called with an array ``x`` (n, length, num_hidden) and the result of ``blocked``; returns the
    outputs of the heads side by side, of the shape of ``x``. Queries, keys and values are the
    products of ``x`` with three matrices. Each of the ``num_heads`` heads uses its own
    ``num_hidden / num_heads`` numbers of them. Raises SettingError if ``num_heads`` is outside its
    range or does not divide ``num_hidden``.
    """

    def __init__(self, num_hidden: int, num_heads: int = 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_heads(num_hidden, num_heads)
        self.num_heads = num_heads
        self.scale = (num_hidden / num_heads) ** -0.5
        self.query, self.key, self.value = (_dense(num_hidden, use_bias=False) for _ in range(3))

    def hybrid_forward(self, F, x, never):
        """Apply attention; F is ``mxnet.nd`` or, once hybridized, ``mxnet.symbol``."""
        query, key, value = (
            self._heads_apart(F, layer(x)) for layer in (self.query, self.key, self.value)
        )
        scores = F.npx.batch_dot(query * self.scale, key, transpose_b=True) + never
        return self._heads_together(F, F.npx.batch_dot(F.npx.softmax(scores, axis=-1), value))

    def _heads_apart(self, F, x):
        """Reshape (n, length, num_hidden) to (n num_heads, length, num_hidden / num_heads)."""
        if self.num_heads == 1:
            return x
        apart = F.reshape(x.as_nd_ndarray(), shape=(0, 0, self.num_heads, -1)).as_np_ndarray()
        apart = transpose(F, apart, (0, 2, 1, 3)).as_nd_ndarray()
        return F.reshape(apart, shape=(-3, 0, 0)).as_np_ndarray()

    def _heads_together(self, F, x):
        """Undo ``_heads_apart``."""
        if self.num_heads == 1:
            return x
        apart = F.reshape(x.as_nd_ndarray(), shape=(-4, -1, self.num_heads, 0, 0)).as_np_ndarray()
        apart = transpose(F, apart, (0, 2, 1, 3)).as_nd_ndarray()
        return F.reshape(apart, shape=(0, 0, -3)).as_np_ndarray()


class SelfAttentionBlock(nn.HybridBlock):
    """A block of SASRec: self-attention, then a network that reads each position separately.

    The block first computes ``x = x + dropout(attention(norm(x)))`` and then
    ``x + dropout(network(norm(x)))`` (Kang and McAuley 2018, section III.C). The network has two
    layers of ``num_hidden`` units with a relu between them. ``dropout`` is the share of the outputs
    of both parts that is dropped in training.

    Inputs, output and errors are as in ``CausalSelfAttention``.
    """

    def __init__(
        self, num_hidden: int, num_heads: int = 1, dropout: float = 0.0, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.attention_norm, self.network_norm = LayerNorm(num_hidden), LayerNorm(num_hidden)
        self.attention = CausalSelfAttention(num_hidden, num_heads)
        self.network = nn.HybridSequential()
        self.network.add(_dense(num_hidden, activation="relu"), _dense(num_hidden))
        self.dropout = nn.Dropout(dropout)

    def hybrid_forward(self, F, x, never):
        """Apply both parts; F is ``mxnet.nd`` or, once hybridized, ``mxnet.symbol``."""
        x = x + self.dropout(self.attention(self.attention_norm(x), never))
        return x + self.dropout(self.network(self.network_norm(x)))


def _dense(num_hidden: int, **options: Any) -> nn.Dense:
    """Return a layer from ``num_hidden`` to ``num_hidden`` numbers, applied to each position.

    Xavier's initial values keep the scale of the input.
    """
    return nn.Dense(
        num_hidden,
        in_units=num_hidden,
        flatten=False,
        weight_initializer=init.Xavier(),
        **options,
    )
