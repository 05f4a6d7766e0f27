r"""Self-attention over sequences, in which no position sees a later one.

A position asks with a query, every position up to it has a key and a value, and what comes out is
the mean of the values, weighted by how well query and key agree (Vaswani et al. 2017, eq. 1):

.. math:: \mathrm{softmax}\left(\frac{Q K^\top}{\sqrt{k}}\right) V
"""

import math
from typing import Any

from d2l_recsys.backend import init, nn
from d2l_recsys.errors import SettingError
from d2l_recsys.layers.operators import transpose
from d2l_recsys.settings import check_settings

# Added to a score: the weight is then exactly 0.
NEVER = -1e9
# What keeps the division of a row without variance finite; MXNet's default.
EPSILON = 1e-5


def check_heads(num_hidden: int, num_heads: int) -> None:
    """Raise SettingError unless ``num_heads`` is in its range and divides ``num_hidden``."""
    check_settings(num_heads=num_heads)
    if num_hidden % num_heads:
        raise SettingError(
            f"--num-heads is {num_heads}, which does not divide the {num_hidden} numbers of "
            "--num-factors; choose a divisor"
        )


def blocked(F: Any, padded: Any, num_heads: int = 1) -> Any:
    """What is added to the scores of attention, (n num_heads, length, length): 0, or ``NEVER``.

    Row t is for position t, which must see neither later positions nor those that are ``padded``:
    float32, (n, length), 1 or 0. (What comes out of a padded position means nothing.) ``F`` is
    ``mxnet.nd``, or in a hybridized block ``mxnet.symbol``.
    """
    padded = padded.as_nd_ndarray()
    place = F.contrib.arange_like(padded, axis=1)
    later = F.broadcast_lesser(F.expand_dims(place, axis=1), F.expand_dims(place, axis=0))
    pairs = F.broadcast_add(F.expand_dims(padded, axis=1), F.expand_dims(later, axis=0)) * NEVER
    return F.repeat(pairs, repeats=num_heads, axis=0).as_np_ndarray()


class LayerNorm(nn.HybridBlock):
    r"""Each row minus its mean, over its standard deviation, times a gain, plus a bias.

    .. math:: \gamma \frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}} + \beta

    Called with an array (n, length, num_hidden). Gives what ``nn.LayerNorm`` gives, up to rounding,
    in a fourth of the time: mean and gain are products of matrices here, and MXNet is fast where it
    divides by the root of a sum of squares (whose epsilon is that of their mean, times the width).
    """

    def __init__(self, num_hidden: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.num_hidden = num_hidden
        self.gamma = self.params.get("gamma", shape=(num_hidden,), init=init.One())
        self.beta = self.params.get("beta", shape=(num_hidden,), init=init.Zero())

    def hybrid_forward(self, F, x, gamma, beta):
        """Normalise the rows; F is ``mxnet.nd`` or, once hybridized, ``mxnet.symbol``."""
        k, x, gamma, beta = self.num_hidden, *(a.as_nd_ndarray() for a in (x, gamma, beta))
        rows, options = F.reshape(x, shape=(-1, k)), dict(num_hidden=k)
        minus_mean = F.eye(k) - 1 / k
        centred = F.FullyConnected(rows, minus_mean, no_bias=True, **options)
        unit = F.L2Normalization(centred, eps=k * EPSILON)
        normal = F.FullyConnected(unit, F.diag(gamma * math.sqrt(k)), beta, **options)
        return F.reshape_like(normal, x).as_np_ndarray()


class CausalSelfAttention(nn.HybridBlock):
    """Self-attention with ``num_heads`` heads, each on its own ``num_hidden / num_heads`` numbers.

    Called with an array ``x`` (n, length, num_hidden) and what ``blocked`` returns; returns the
    heads' outputs side by side, of the shape of ``x``. Queries, keys and values are products of
    ``x`` with a matrix each. Raises what ``check_heads`` raises.
    """

    def __init__(self, num_hidden: int, num_heads: int = 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_heads(num_hidden, num_heads)
        self.num_heads = num_heads
        self.scale = (num_hidden / num_heads) ** -0.5
        self.query, self.key, self.value = (_dense(num_hidden, use_bias=False) for _ in range(3))

    def hybrid_forward(self, F, x, never):
        """Attend; F is ``mxnet.nd`` or, once hybridized, ``mxnet.symbol``."""
        query, key, value = (
            self._heads_apart(F, layer(x)) for layer in (self.query, self.key, self.value)
        )
        scores = F.npx.batch_dot(query * self.scale, key, transpose_b=True) + never
        return self._heads_together(F, F.npx.batch_dot(F.npx.softmax(scores, axis=-1), value))

    def _heads_apart(self, F, x):
        """(n, length, num_hidden) to (n num_heads, length, num_hidden / num_heads)."""
        if self.num_heads == 1:
            return x
        apart = F.reshape(x.as_nd_ndarray(), shape=(0, 0, self.num_heads, -1)).as_np_ndarray()
        apart = transpose(F, apart, (0, 2, 1, 3)).as_nd_ndarray()
        return F.reshape(apart, shape=(-3, 0, 0)).as_np_ndarray()

    def _heads_together(self, F, x):
        """What ``_heads_apart`` does, undone."""
        if self.num_heads == 1:
            return x
        apart = F.reshape(x.as_nd_ndarray(), shape=(-4, -1, self.num_heads, 0, 0)).as_np_ndarray()
        apart = transpose(F, apart, (0, 2, 1, 3)).as_nd_ndarray()
        return F.reshape(apart, shape=(0, 0, -3)).as_np_ndarray()


class SelfAttentionBlock(nn.HybridBlock):
    """Attention and a network for each position by itself, each added to what it reads.

    Both read normalised rows, and ``dropout`` of what they give is dropped in training (Kang and
    McAuley 2018, section III.C): ``x + dropout(attention(norm(x)))``, and from that ``x`` on
    ``x + dropout(network(norm(x)))``, the network two layers as wide as ``x`` with a relu between.

    Arguments and errors are those of ``CausalSelfAttention``.
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
        """Read and add twice; F is ``mxnet.nd`` or, once hybridized, ``mxnet.symbol``."""
        x = x + self.dropout(self.attention(self.attention_norm(x), never))
        return x + self.dropout(self.network(self.network_norm(x)))


def _dense(num_hidden: int, **options: Any) -> nn.Dense:
    """A layer of its own for each position, square; the scale of what it reads is kept."""
    return nn.Dense(
        num_hidden,
        in_units=num_hidden,
        flatten=False,
        weight_initializer=init.Xavier(),
        **options,
    )
