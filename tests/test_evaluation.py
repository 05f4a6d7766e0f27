import numpy as np
import pytest

from d2l_recsys.batches import BatchLoader

backend = pytest.importorskip("d2l_recsys.backend")
from chapters.mf import MF  # noqa: E402
from d2l_recsys.evaluation import evaluate_rating  # noqa: E402


def test_both_rmses_equal_plain_loops_over_the_models_own_tables():
    backend.npx.set_np()
    devices = [backend.mx.cpu(0), backend.mx.cpu(1)]
    net = MF(3, 10, 12)
    net.initialize(ctx=devices, init=backend.init.Normal(1))
    rng = np.random.default_rng(2)
    users, items = rng.integers(0, 10, 25).astype("int32"), rng.integers(0, 12, 25).astype("int32")
    ratings = rng.integers(1, 6, 25).astype("float32")
    P, Q, b_u, b_i = (p.data(devices[0]).asnumpy() for p in net.collect_params().values())
    errors = [
        float(r) - (np.dot(P[u], Q[i]) + b_u[u, 0] + b_i[i, 0])
        for u, i, r in zip(users, items, ratings)
    ]
    # Batches of ten over two devices: shares of 5, 5; 5, 5; 3, 2.
    shares = [errors[0:5], errors[5:10], errors[10:15], errors[15:20], errors[20:23], errors[23:]]
    rmses = [np.sqrt(np.mean(np.square(share))) for share in shares]
    printed = np.mean([np.mean(rmses[:2]), np.mean(rmses[:4]), np.mean(rmses[:6])])

    scores = evaluate_rating(net, BatchLoader(users, items, ratings, batch_size=10), devices)
    assert scores.printed["test_rmse"] == pytest.approx(printed, abs=1e-5)
    assert scores.defined["test_rmse"] == pytest.approx(np.sqrt(np.mean(np.square(errors))))
