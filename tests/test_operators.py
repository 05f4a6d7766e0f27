import itertools

import numpy as np
import pytest

backend = pytest.importorskip("d2l_recsys.backend")
from d2l_recsys.layers.operators import concatenate, fm_interaction, sum_fields, transpose  # noqa: E402

autograd, mx, nn, mnp = backend.autograd, backend.mx, backend.nn, backend.np


class Graph(nn.HybridBlock):
    def __init__(self, operate):
        super().__init__()
        self.operate = operate

    def hybrid_forward(self, F, *arrays):
        return self.operate(F, *arrays)


def value_and_gradients(operate, hybridized, *arrays):
    backend.npx.set_np()
    graph = Graph(operate)
    if hybridized:
        graph.hybridize()
    arrays = [mnp.array(array) for array in arrays]
    for array in arrays:
        array.attach_grad()
    with autograd.record():
        value = graph(*arrays)
        weighted = value * mnp.arange(value.size).reshape(value.shape)
    weighted.backward()
    return [part.asnumpy() for part in (value, *(array.grad for array in arrays))]


@pytest.mark.parametrize("hybridized", [False, True])
@pytest.mark.parametrize("columns", [(3, 4), (1, 2, 5), (7,)])
def test_concatenate_is_numpys(columns, hybridized):
    arrays = [np.random.default_rng(0).normal(size=(6, n)).astype("float32") for n in columns]
    value, *gradients = value_and_gradients(concatenate, hybridized, *arrays)
    np.testing.assert_array_equal(value, np.concatenate(arrays, axis=1))
    weights = np.arange(value.size).reshape(value.shape)
    np.testing.assert_array_equal(np.concatenate(gradients, axis=1), weights)


@pytest.mark.parametrize("hybridized", [False, True])
@pytest.mark.parametrize("axes", [(0, 2, 1), (2, 0, 1)])
def test_transpose_is_numpys(axes, hybridized):
    array = np.random.default_rng(0).normal(size=(4, 3, 5)).astype("float32")
    value, gradient = value_and_gradients(lambda F, a: transpose(F, a, axes), hybridized, array)
    np.testing.assert_array_equal(value, array.transpose(axes))
    weights = np.arange(value.size).reshape(value.shape)
    np.testing.assert_array_equal(gradient.transpose(axes), weights)


@pytest.mark.parametrize("hybridized", [False, True])
@pytest.mark.parametrize("shape", [(5, 34, 20), (3, 1, 4), (1, 6, 2), (2, 3, 1)])
def test_sum_fields_is_numpys(shape, hybridized):
    array = np.random.default_rng(0).normal(size=shape).astype("float32")
    value, gradient = value_and_gradients(sum_fields, hybridized, array)
    np.testing.assert_allclose(value, array.sum(axis=1, dtype=np.float64), atol=1e-5)
    weights = np.arange(value.size).reshape(value.shape)[:, None]
    np.testing.assert_array_equal(gradient, np.broadcast_to(weights, shape))


@pytest.mark.parametrize("shape", [(5, 34, 20), (7, 10, 10), (3, 2, 1), (4, 1, 6), (1, 3, 4)])
def test_the_interaction_is_the_double_sum_over_pairs(shape):
    backend.npx.set_np()
    n, fields = shape[:2]
    V = np.random.default_rng(0).normal(0, 0.1, shape).astype("float32")
    pairs = list(itertools.combinations(range(fields), 2))
    V64 = V.astype(np.float64)
    expected = [[sum(float(row[i] @ row[j]) for i, j in pairs)] for row in V64]
    embedded = mnp.array(V)
    embedded.attach_grad()
    with autograd.record():
        value = fm_interaction(mx.nd, embedded)
    value.backward()
    assert value.shape == (n, 1)
    np.testing.assert_allclose(value.asnumpy(), expected, atol=1e-6)
    # The gradient of a vector is the sum of the other vectors of its row.
    others = V64.sum(axis=1, keepdims=True) - V64
    np.testing.assert_allclose(embedded.grad.asnumpy(), others, atol=1e-6)
