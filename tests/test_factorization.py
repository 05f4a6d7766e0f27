import itertools

import numpy as np
import pytest

backend = pytest.importorskip("d2l_recsys.backend")
from d2l_recsys.factorization import fm_interaction  # noqa: E402

autograd, mx, mnp = backend.autograd, backend.mx, backend.np


@pytest.fixture(autouse=True)
def np_semantics():
    backend.npx.set_np()


@pytest.mark.parametrize("shape", [(5, 34, 20), (7, 10, 10), (3, 2, 1), (4, 1, 6), (1, 3, 4)])
def test_it_is_the_double_sum_over_pairs(shape):
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
    # A vector's gradient is the sum of the others.
    others = V64.sum(axis=1, keepdims=True) - V64
    np.testing.assert_allclose(embedded.grad.asnumpy(), others, atol=1e-6)
