import itertools

import numpy as np
import pytest

backend = pytest.importorskip("d2l_recsys.backend")
from d2l_recsys.chapters import deepfm, fm  # noqa: E402
from d2l_recsys.runs import section_run  # noqa: E402

FIELD_DIMS = [3, 4, 2]
OFFSETS = np.array([0, 3, 7])


@pytest.fixture(autouse=True)
def np_semantics():
    backend.npx.set_np()


def initialised(net):
    net.initialize(init=backend.init.Normal(0.5))
    return net, [p.data().asnumpy().astype(np.float64) for p in net.collect_params().values()]


def made_up_rows(n=20):
    ids = np.random.default_rng(0).integers(0, FIELD_DIMS, (n, 3)) + OFFSETS
    return backend.np.array(ids, dtype="int32"), ids


def fm_log_odds(ids, V, w, scale, w_0):
    """Eq. 15.9.1, computed pair by pair."""
    return np.array(
        [
            w_0[0]
            + scale[0, 0] * sum(w[i, 0] for i in row)
            + sum(float(V[i] @ V[j]) for i, j in itertools.combinations(row, 2))
            for row in ids
        ]
    )[:, None]


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


@pytest.mark.parametrize("hybridized", [False, True])
def test_the_model_is_eq_15_9_1(hybridized):
    net, (V, w, scale, w_0) = initialised(fm.FM(FIELD_DIMS, 4))
    assert V.shape == (9, 4)
    assert w.shape == (9, 1)
    x, ids = made_up_rows()
    if hybridized:
        net.hybridize()
    expected = fm_log_odds(ids, V, w, scale, w_0)
    np.testing.assert_allclose(net(x).asnumpy(), sigmoid(expected), atol=1e-6)
    logits = net.logits(backend.mx.nd, x)
    np.testing.assert_allclose(logits.asnumpy(), expected, atol=1e-5)
    assert net(x[:1]).shape == (1, 1)


@pytest.mark.parametrize("hybridized", [False, True])
@pytest.mark.parametrize("mlp_dims", [[5, 3], [6], []])
def test_deepfm_is_eq_15_10_1_to_3(mlp_dims, hybridized):
    net, (V, w, scale, w_0, *layers) = initialised(deepfm.DeepFM(FIELD_DIMS, 4, mlp_dims, 0.5))
    x, ids = made_up_rows()
    if hybridized:
        net.hybridize()
    hidden = V[ids].reshape(len(ids), -1)
    weights = list(zip(layers[::2], layers[1::2]))
    assert [W.shape[0] for W, _ in weights] == [*mlp_dims, 1]
    for W, b in weights[:-1]:
        hidden = np.maximum(hidden @ W.T + b, 0)
    W, b = weights[-1]
    expected = fm_log_odds(ids, V, w, scale, w_0) + hidden @ W.T + b
    # Outside of training, dropout does nothing.
    np.testing.assert_allclose(net(x).asnumpy(), sigmoid(expected), atol=1e-6)
    with backend.autograd.train_mode():
        dropped = net(x).asnumpy()
    assert (not mlp_dims) == np.allclose(dropped, sigmoid(expected), atol=1e-6)


def test_the_networks_dropout_is_the_options(clicks_dir, tmp_path, monkeypatch):
    rates = []

    class Recorded(deepfm.DeepFM):
        def __init__(self, field_dims, num_factors, mlp_dims, drop_rate):
            super().__init__(field_dims, num_factors, mlp_dims, drop_rate)
            layers = [layer for layer in self.mlp if isinstance(layer, backend.nn.Dropout)]
            rates.append([num_factors, *mlp_dims, *(layer._rate for layer in layers)])

    monkeypatch.setattr(deepfm, "DeepFM", Recorded)
    options = {"data_dir": clicks_dir, "out": tmp_path, "num_epochs": 1, "batch_size": 64}
    deepfm.main(dropout=0.25, mlp_dims=[7, 6], num_factors=3, quiet=True, force=True, **options)
    assert rates == [[3, 7, 6, 0.25, 0.25]]


@pytest.mark.parametrize("chapter", [fm, pytest.param(deepfm, marks=pytest.mark.slow)])
def test_what_is_trained_on_follows_the_protocol(chapter, clicks_dir, tmp_path):
    """The second sigmoid bounds the loss from below; only training as defined goes below that."""
    options = {
        "data_dir": clicks_dir,
        "out": tmp_path,
        "batch_size": 64,
        "quiet": True,
        "force": True,
    }
    results = {p: chapter.main(protocol=p, **options) for p in ("printed", "defined")}
    assert [r["settings"]["trained_on"] for r in results.values()] == ["scores", "logits"]
    printed, defined = results["printed"], results["defined"]
    # The chapter reports no numbers of a net that is trained on logits.
    assert printed["reported"]["test_acc"] > 0.7
    assert defined["reported"] == {}
    share = np.mean([float(line[0]) for line in (clicks_dir / "train.csv").open()])
    floor = share * np.log1p(np.exp(-1)) + (1 - share) * np.log(2)
    assert printed["printed"]["train_loss"] > floor - 0.01
    assert defined["printed"]["train_loss"] < floor - 0.1
    assert defined["printed"]["train_loss"] == pytest.approx(
        defined["defined"]["train_loss"], abs=1e-6
    )
    assert defined["defined"]["train_loss"] < printed["defined"]["train_loss"]


@pytest.mark.parametrize("chapter", [fm, deepfm])
def test_min_threshold_and_strict_reach_the_data(chapter, clicks_dir, tmp_path, monkeypatch):
    given = {}
    load = section_run.load_data_ctr

    def record(**options):
        given.update(options)
        return load(**options)

    monkeypatch.setattr(section_run, "load_data_ctr", record)
    chapter.main(
        dataset="book", data_dir=clicks_dir, out=tmp_path, num_epochs=1, batch_size=64,
        min_threshold=9, strict=True, quiet=True, force=True,
    )  # fmt: skip
    del given["shuffle_rng"]
    assert given == {
        "dataset": "book", "data_dir": clicks_dir, "batch_size": 64, "min_threshold": 9,
        "strict": True, "quiet": True,
    }  # fmt: skip


@pytest.mark.parametrize("chapter", [fm, deepfm])
def test_clicks_are_learned_and_a_model_that_learns_nothing_fails(chapter, clicks_dir, tmp_path):
    options = {
        "data_dir": clicks_dir,
        "out": tmp_path,
        "batch_size": 32,
        "quiet": True,
        "force": True,
    }
    learned = chapter.main(protocol="defined", num_epochs=10, **options)["defined"]
    nothing = chapter.main(protocol="defined", num_epochs=1, lr=0.0, **options)["defined"]
    assert learned["test_auc"] > 0.75
    assert abs(nothing["test_auc"] - 0.5) < 0.15
    assert learned["test_log_loss"] < nothing["test_log_loss"] - 0.05
