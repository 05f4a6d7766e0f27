import numpy as np
import pytest

backend = pytest.importorskip("d2l_recsys.backend")
from d2l_recsys.settings import Optimizer  # noqa: E402
from d2l_recsys.training.checkpoint import KEPT  # noqa: E402
from d2l_recsys.training.optimizers import OPTIMIZERS, as_state, kept_arrays  # noqa: E402

mx = backend.mx
LR, WD, EXAMPLES = 0.05, 0.1, 4
GRADIENTS = np.random.default_rng(0).normal(0, 3, (5, 6))


def one_step(name, w, gradient, kept, t):
    """The formulas of the module, number by number; ``kept`` has what the step keeps."""
    for i in range(len(w)):
        g = gradient[i] / EXAMPLES + (0 if name == "adagrad" else WD * w[i])
        if name == "sgd":
            w[i] -= LR * g
        elif name == "nag":
            before, m = w[i], 0.9 * kept[0][i] - LR * g
            w[i] += 0.9 * m - LR * g
            kept[0][i] = m - LR * WD * (w[i] - before)
        elif name == "adagrad":
            kept[0][i] += g**2
            w[i] -= LR * (g / np.sqrt(kept[0][i] + 1e-7) + WD * w[i])
        elif name == "rmsprop":
            kept[0][i] = 0.9 * kept[0][i] + 0.1 * g**2
            w[i] -= LR * g / np.sqrt(kept[0][i] + 1e-8)
        else:
            kept[0][i] = 0.9 * kept[0][i] + 0.1 * g
            kept[1][i] = 0.999 * kept[1][i] + 0.001 * g**2
            scale = np.sqrt(1 - 0.999**t) / (1 - 0.9**t)
            w[i] -= LR * scale * kept[0][i] / (np.sqrt(kept[1][i]) + 1e-8)


@pytest.mark.parametrize("name", Optimizer)
def test_each_optimizer_follows_its_formula(name):
    optimizer = OPTIMIZERS[name](learning_rate=LR, wd=WD, rescale_grad=1 / EXAMPLES)
    parts = kept_arrays(optimizer)
    expected = np.linspace(-1, 1, 6)
    kept = np.zeros((2, 6))
    weight = mx.nd.array(expected, dtype="float32")
    state = as_state(optimizer, tuple(mx.nd.zeros(6) for _ in parts))
    for t, gradient in enumerate(GRADIENTS, start=1):
        optimizer.update(0, weight, mx.nd.array(gradient, dtype="float32"), state)
        one_step(name, expected, gradient, kept, t)
    np.testing.assert_allclose(weight.asnumpy(), expected, rtol=2e-5)
    found = state if isinstance(state, tuple) else [state] * len(parts)
    for array, values in zip(found, kept):
        np.testing.assert_allclose(array.asnumpy(), values, rtol=2e-5)


@pytest.mark.parametrize("name", Optimizer)
def test_a_state_has_the_form_that_the_optimizer_makes(name):
    optimizer = OPTIMIZERS[name](learning_rate=LR)
    made = optimizer.create_state(0, mx.nd.zeros(6))
    ours = as_state(optimizer, tuple(mx.nd.zeros(6) for _ in kept_arrays(optimizer)))
    assert type(ours) is type(made)
    assert not isinstance(made, tuple) or len(ours) == len(made)
    assert set(kept_arrays(optimizer)) <= set(KEPT)


def test_other_optimizers_and_other_forms_are_not_known():
    assert kept_arrays(mx.optimizer.Ftrl()) is None
    assert kept_arrays(mx.optimizer.RMSProp(centered=True)) is None
    assert kept_arrays(mx.optimizer.SGD(momentum=0.5)) == ("momenta",)
    assert kept_arrays(mx.optimizer.NAG()) == ()
