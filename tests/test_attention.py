import numpy as np
import pytest

backend = pytest.importorskip("d2l_recsys.backend")
from d2l_recsys.errors import SettingError  # noqa: E402
from d2l_recsys.layers import attention  # noqa: E402

autograd, mx, nn, npx = backend.autograd, backend.np, backend.nn, backend.npx
WIDTH, LENGTH = 8, 5
PADDED = np.array([[1, 1, 0, 0, 0], [0] * 5, [1, 1, 1, 1, 0]], dtype="float32")


def made(block, scale=0.6):
    npx.set_np()
    block.initialize(init=backend.init.Normal(scale))
    rng = np.random.default_rng(1)
    for parameter in block.collect_params().values():
        parameter.set_data(mx.array(rng.normal(scale=scale, size=parameter.shape)))
    return block


def rows(seed=0):
    return np.random.default_rng(seed).normal(size=(3, LENGTH, WIDTH)).astype("float32")


def never(num_heads=1, padded=PADDED):
    return attention.blocked(backend.mx.nd, mx.array(padded), num_heads)


def float64(parameter):
    return parameter.data().asnumpy().astype(np.float64)


def normalised(norm, row):
    unit = (row - row.mean()) / np.sqrt(row.var() + 1e-5)
    return unit * float64(norm.gamma) + float64(norm.beta)


def attended(layer, num_heads, x, padded):
    """Compute attention in float64, one position and one head at a time; NaN at padding."""
    W_q, W_k, W_v = (float64(part.weight) for part in (layer.query, layer.key, layer.value))
    size = WIDTH // num_heads
    out = np.full(x.shape, np.nan)
    for t in range(len(x)):
        if padded[t]:
            continue
        for head in range(num_heads):
            part = slice(head * size, (head + 1) * size)
            seen = [s for s in range(t + 1) if not padded[s]]
            query = (W_q @ x[t])[part]
            scores = np.array([query @ (W_k @ x[s])[part] for s in seen]) / np.sqrt(size)
            weights = np.exp(scores) / np.exp(scores).sum()
            out[t, part] = sum(w * (W_v @ x[s])[part] for w, s in zip(weights, seen))
    return out


def block_by_block(block, num_heads, x, padded):
    out = np.array(x)
    read = np.array([normalised(block.attention_norm, row) for row in x])
    out = out + attended(block.attention, num_heads, read, padded)
    (W1, b1), (W2, b2) = ((float64(part.weight), float64(part.bias)) for part in block.network)
    for t, row in enumerate(out):
        hidden = np.maximum(W1 @ normalised(block.network_norm, row) + b1, 0)
        out[t] = row + W2 @ hidden + b2
    return out


def assert_equal_but_at_padding(found, expected, atol=2e-5):
    assert np.isfinite(found).all()
    np.testing.assert_array_equal(np.isnan(expected).all(axis=-1), PADDED > 0)
    np.testing.assert_allclose(found[PADDED == 0], expected[PADDED == 0], atol=atol)


@pytest.mark.parametrize("hybridized", [False, True])
@pytest.mark.parametrize("num_heads", [1, 2, 8])
def test_attention_is_a_plain_loop(num_heads, hybridized):
    layer, x = made(attention.CausalSelfAttention(WIDTH, num_heads)), rows()
    if hybridized:
        layer.hybridize()
    expected = [attended(layer, num_heads, *one) for one in zip(x.astype(np.float64), PADDED)]
    found = layer(mx.array(x), never(num_heads)).asnumpy()
    assert_equal_but_at_padding(found, np.array(expected))


@pytest.mark.parametrize("num_heads", [1, 4])
def test_a_block_is_a_plain_loop(num_heads):
    block, x = made(attention.SelfAttentionBlock(WIDTH, num_heads, dropout=0.5)), rows()
    expected = [block_by_block(block, num_heads, *one) for one in zip(x.astype(np.float64), PADDED)]
    found = block(mx.array(x), never(num_heads)).asnumpy()
    assert_equal_but_at_padding(found, np.array(expected), atol=1e-4)


@pytest.mark.parametrize("num_heads", [1, 2])
def test_later_and_padded_positions_change_no_bit(num_heads):
    block, x = made(attention.SelfAttentionBlock(WIDTH, num_heads)), rows()
    before = block(mx.array(x), never(num_heads)).asnumpy()
    for t in range(LENGTH):
        changed = np.where(PADDED[:, :, None] > 0, 50 * rows(2), x).astype("float32")
        changed[:, t + 1 :] = 100 * rows(3)[:, t + 1 :]
        after = block(mx.array(changed), never(num_heads)).asnumpy()
        real = PADDED[:, t] == 0
        np.testing.assert_array_equal(after[real, t], before[real, t])
    earlier = np.concatenate([rows(4)[:, :1], x[:, 1:]], axis=1)
    after = block(mx.array(earlier), never(num_heads)).asnumpy()
    assert abs(after[1] - before[1]).max(axis=1).min() > 0.01


def test_what_is_blocked_is_later_or_padded_for_each_head():
    found = never(num_heads=2).asnumpy()
    assert found.shape == (6, LENGTH, LENGTH)
    for row, sequence in enumerate(PADDED):
        for head in range(2):
            for t in range(LENGTH):
                for s in range(LENGTH):
                    is_blocked = s > t or sequence[s]
                    assert (found[2 * row + head, t, s] <= attention.NEVER) == is_blocked
                    assert is_blocked or found[2 * row + head, t, s] == 0


@pytest.mark.parametrize("hybridized", [False, True])
def test_layer_norm_is_gluons(hybridized):
    ours, theirs = made(attention.LayerNorm(WIDTH)), made(nn.LayerNorm(in_channels=WIDTH))
    found = []
    # Include a row without variance, and a row far from 0.
    x = rows()
    x[0, 0], x[0, 1] = 3, x[0, 1] + 50
    for norm in (ours, theirs):
        if hybridized:
            norm.hybridize()
        given = mx.array(x)
        given.attach_grad()
        with autograd.record():
            total = (norm(given) * mx.array(rows(4))).sum()
        total.backward()
        gradients = [given.grad, norm.gamma.grad(), norm.beta.grad()]
        found.append([part.asnumpy() for part in (norm(given), *gradients)])
    for ours, theirs in zip(*found):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4)
    fresh = attention.LayerNorm(WIDTH)
    fresh.initialize()
    for row in fresh(mx.array(rows())).asnumpy().reshape(-1, WIDTH):
        np.testing.assert_allclose([row.mean(), row.var()], [0, 1], atol=1e-4)


def test_dropout_acts_on_what_is_added_and_in_training_alone():
    block, x = made(attention.SelfAttentionBlock(WIDTH, dropout=0.5)), mx.array(rows())
    given = []
    block.dropout.register_forward_hook(lambda block, read, out: given.append((read[0], out)))
    added = []
    block.attention.register_forward_hook(lambda block, read, out: added.append(out))
    block.network.register_forward_hook(lambda block, read, out: added.append(out))
    assert (block(x, never()) == block(x, never())).all()
    given.clear(), added.clear()
    with autograd.record():
        first, second = block(x, never()), block(x, never())
    assert not np.array_equal(first.asnumpy(), second.asnumpy())
    assert len(given) == len(added) == 4
    for (read, out), sublayer in zip(given, added):
        assert (read == sublayer).all()
        assert 0.3 < (out == 0).mean() < 0.7
    np.testing.assert_array_equal((x + given[0][1] + given[1][1]).asnumpy(), first.asnumpy())


def test_heads_that_do_not_divide_are_refused():
    with pytest.raises(SettingError, match=r"--num-heads is 3, which does not divide 8, "):
        attention.CausalSelfAttention(WIDTH, 3)
    with pytest.raises(SettingError, match=r"--num-heads is 0; it must lie between 1"):
        attention.SelfAttentionBlock(WIDTH, 0)
    attention.check_heads(8, 8)
