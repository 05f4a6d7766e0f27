import warnings

import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import kstest, norm

backend = pytest.importorskip("d2l_recsys.backend")
from d2l_recsys.chapters.extras import multvae  # noqa: E402
from d2l_recsys.data import load_ranking_ml100k  # noqa: E402
from d2l_recsys.errors import DataError  # noqa: E402
from d2l_recsys.loaders.interactions import seen_rows  # noqa: E402
from d2l_recsys.runs.run import CompanionRun  # noqa: E402
from d2l_recsys.training.objectives import own_loss  # noqa: E402

autograd, mx, nd = backend.autograd, backend.np, backend.mx.nd
seed_mxnet = backend.mx.random.seed
ROWS = np.array([[0, 1, 0, 1, 1, 0, 0], [1, 0, 0, 0, 0, 1, 0]], dtype="float32")
WEIGHTS = np.array([0.3, 0.7], dtype="float32")
USERS = [0, 1]


def made(dropout=0.0, num_hidden=3, num_factors=2, num_items=7):
    backend.npx.set_np()
    seed_mxnet(0)
    net = multvae.MultVAE(num_hidden, num_factors, num_items, dropout)
    net.initialize(init=backend.init.Normal(1))
    for bias in net.collect_params(".*bias").values():
        bias.set_data(mx.random.normal(size=bias.shape))
    return net


@pytest.fixture
def net():
    return made()


def parts_of(net):
    layers = (net.encoder, net.mean, net.log_variance, *net.decoder)
    return [part for layer in layers for part in (layer.weight, layer.bias)]


def parameters(net):
    return [part.data().asnumpy().astype(np.float64) for part in parts_of(net)]


def dense(W, b, x):
    return np.array([W[k] @ x + b[k] for k in range(len(b))])


def encoded(parameters, row):
    V, mu, Wm, bm, Wv, bv, *_ = parameters
    hidden = np.tanh(dense(V, mu, row / np.sqrt(sum(x * x for x in row))))
    return dense(Wm, bm, hidden), dense(Wv, bv, hidden)


def decoded(parameters, z):
    U, c, W, b = parameters[-4:]
    return dense(W, b, np.tanh(dense(U, c, z)))


def losses(parameters, noise, weights=WEIGHTS):
    """Compute the loss of each row in float64, one unit at a time."""
    found = []
    for row, e, weight in zip(ROWS, noise, weights):
        m, v = encoded(parameters, row)
        outputs = decoded(parameters, m + np.exp(v / 2) * e)
        likelihood = sum(x * (y - logsumexp(outputs)) for x, y in zip(row, outputs))
        kl = sum((np.exp(v[k]) + m[k] ** 2 - 1 - v[k]) / 2 for k in range(len(m)))
        found.append(-likelihood + weight * kl)
    return np.array(found)


def noise_of(seed):
    """Return the first random numbers that MXNet draws after ``seed``."""
    seed_mxnet(seed)
    return nd.random.normal(shape=(2, 2)).asnumpy().astype(np.float64)


def given(weights=WEIGHTS):
    return mx.array(ROWS), mx.array(weights)


def test_the_divergence_is_the_closed_formula():
    rng = np.random.default_rng(0)
    mean, log_variance = rng.normal(size=(2, 5, 4)).astype("float32") * 2
    found = multvae.kl_divergence(nd, mx.array(mean), mx.array(log_variance)).asnumpy()
    mean, variance = mean.astype(np.float64), np.exp(log_variance.astype(np.float64))
    expected = -0.5 * (1 + np.log(variance) - mean**2 - variance).sum(axis=1)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    zeros = mx.zeros((1, 3))
    assert multvae.kl_divergence(nd, zeros, zeros).asnumpy() == 0


def test_the_divergence_is_what_samples_say():
    rng = np.random.default_rng(1)
    mean, log_variance = np.array([[0.5, -1.5, 2]]), np.array([[-2, 0.5, 1]])
    found = multvae.kl_divergence(nd, mx.array(mean), mx.array(log_variance)).asnumpy()[0]
    sd = np.exp(log_variance / 2)
    z = rng.normal(mean, sd, size=(200000, 3))
    ratios = (norm.logpdf(z, mean, sd) - norm.logpdf(z)).sum(axis=1)
    error = ratios.std() / np.sqrt(len(ratios))
    assert error < 0.01 * found
    assert abs(found - ratios.mean()) < 4 * error


def test_the_loss_is_that_of_the_paper(net):
    graph = own_loss(net)
    for seed, weights in ((1, WEIGHTS), (2, np.zeros(2)), (3, np.ones(2))):
        expected = losses(parameters(net), noise_of(seed), weights)
        seed_mxnet(seed)
        with autograd.record():
            found = graph(*given(weights))
        np.testing.assert_allclose(found.asnumpy(), expected, rtol=1e-5)
        seed_mxnet(seed)
        eager = net.batch_loss(nd, *given(weights))
        np.testing.assert_allclose(eager.asnumpy(), expected, rtol=1e-5)


def test_the_gradient_is_that_of_the_loss_through_the_sample(net):
    graph = own_loss(net)
    noise = noise_of(4)
    seed_mxnet(4)
    with autograd.record():
        total = graph(*given()).sum()
    total.backward()
    values = parameters(net)
    for value, part in zip(values, parts_of(net)):
        expected = np.empty_like(value)
        for place in np.ndindex(value.shape):
            kept, sides = value[place], []
            for step in (1e-5, -1e-5):
                value[place] = kept + step
                sides.append(losses(values, noise).sum())
            value[place] = kept
            expected[place] = (sides[0] - sides[1]) / 2e-5
        np.testing.assert_allclose(part.grad().asnumpy(), expected, rtol=1e-3, atol=1e-4)


def test_samples_have_the_law_that_the_encoder_tells(net):
    m, v = encoded(parameters(net), ROWS[0])
    seen = []
    net.decoder.register_forward_hook(lambda block, given, out: seen.append(given[0].asnumpy()))
    rows = mx.array(np.repeat(ROWS[:1], 5000, axis=0))
    net.batch_loss(nd, rows, mx.zeros(5000))
    for k in range(2):
        assert kstest(seen[0][:, k], norm(m[k], np.exp(v[k] / 2)).cdf).pvalue > 1e-3
    # Each row and each factor has its own random number.
    standard = (seen[0] - m) / np.exp(v / 2)
    assert abs(np.corrcoef(standard.T)[0, 1]) < 5 / np.sqrt(5000)
    assert len(np.unique(seen[0])) > 9900


def test_every_batch_draws_anew_and_the_seed_decides(net):
    graph = own_loss(net)

    def drawn():
        with autograd.record():
            return graph(*given()).asnumpy()

    seed_mxnet(5)
    first, second = drawn(), drawn()
    seed_mxnet(5)
    np.testing.assert_array_equal([drawn(), drawn()], [first, second])
    assert (first != second).all()


def test_scores_come_from_the_mean_and_draw_nothing():
    net = made(dropout=0.5)
    means = [encoded(parameters(net), row)[0] for row in ROWS]
    expected = [decoded(parameters(net), m) for m in means]
    users, rows = mx.array(USERS, dtype="int32"), mx.array(ROWS)
    np.testing.assert_allclose(net(rows).asnumpy(), expected, rtol=1e-5, atol=1e-6)
    # In training the net is part of a graph. Scoring must not warn about it.
    own_loss(net)
    noise = noise_of(6)
    seed_mxnet(6)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scores = net.score_all(users, rows).asnumpy()
    np.testing.assert_allclose(scores, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(nd.random.normal(shape=(2, 2)).asnumpy(), noise)


def test_a_share_of_the_row_at_length_1_is_dropped_in_training_alone():
    net = made(dropout=0.3, num_items=500)
    seen = []
    net.encoder.register_forward_hook(lambda block, given, out: seen.append(given[0].asnumpy()))
    rows = mx.ones((200, 500))
    net.score_all(mx.zeros(200, dtype="int32"), rows)
    with autograd.record():
        net.batch_loss(nd, rows, mx.zeros(200))
    np.testing.assert_allclose(seen[0], 1 / np.sqrt(500), rtol=1e-6)
    dropped = seen[1] == 0
    # Allow five standard deviations of a share of 100000 draws.
    assert abs(dropped.mean() - 0.3) < 5 * np.sqrt(0.3 * 0.7 / 1e5)
    np.testing.assert_allclose(seen[1][~dropped], 1 / np.sqrt(500) / 0.7, rtol=1e-6)
    assert len({row.tobytes() for row in dropped}) == 200


def test_large_outputs_and_empty_rows_are_finite(net):
    net.decoder[1].bias.set_data(mx.array([0, 1e4, 0, 0, 0, 0, 0]))
    net.decoder[1].weight.set_data(mx.zeros((7, 3)))
    rows = np.array([ROWS[0], np.zeros(7)], dtype="float32")
    found = net.batch_loss(nd, mx.array(rows), mx.zeros(2)).asnumpy()
    np.testing.assert_allclose(found, [2e4, 0], rtol=1e-6)
    assert np.isfinite(net(mx.array(rows)).asnumpy()).all()


def test_the_weight_rises_from_0_to_beta():
    steps = [multvae.annealed(0.2, 4, epoch) for epoch in range(1, 8)]
    np.testing.assert_allclose(steps, [0, 0.05, 0.1, 0.15, 0.2, 0.2, 0.2], rtol=1e-12)
    assert [multvae.annealed(0.2, 0, epoch) for epoch in (1, 2)] == [0.2, 0.2]


def test_every_batch_of_an_epoch_has_its_weight(ratings_dir, tmp_path, monkeypatch):
    seen = {}
    monkeypatch.setattr(CompanionRun, "train", lambda run, *given, **options: seen.update(options))
    multvae.main(
        data_dir=ratings_dir,
        out=tmp_path,
        quiet=True,
        force=True,
        batch_size=8,
        beta=0.4,
        anneal_epochs=4,
    )
    rows, weights = seen["train_iter"].arrays
    assert weights.dtype == np.float32
    np.testing.assert_array_equal(rows, seen_rows(load_ranking_ml100k(ratings_dir)))
    # Use the epochs in any order, because a resumed run starts in the middle.
    for epoch, weight in ((3, 0.2), (1, 0), (9, 0.4)):
        seen["begin_epoch"](epoch)
        found = np.concatenate([batch[1] for batch in seen["train_iter"]])
        np.testing.assert_allclose(found, np.full(30, weight), rtol=1e-6)


def test_beta_reaches_the_training(ratings_dir, tmp_path):
    """With a weight above 0, the loss includes the divergence times the weight."""

    def loss(**options):
        common = {
            "data_dir": ratings_dir,
            "out": tmp_path,
            "quiet": True,
            "force": True,
            "lr": 0,
            "num_epochs": 2,
        }
        return multvae.main(**common, **options)["defined"]["train_loss"]

    without = loss(beta=0)
    # With two annealing epochs, the weight in the second epoch is half of beta.
    half, whole = (loss(beta=2, anneal_epochs=n) - without for n in (2, 0))
    assert half > 0.01
    np.testing.assert_allclose(whole, 2 * half, rtol=1e-3)


def test_an_items_vector_is_what_the_last_layer_weighs_with(net):
    hidden = net.decoder[0](net.encode(nd, mx.array(ROWS))[0]).asnumpy()
    scores = hidden @ net.item_vectors().T + net.decoder[1].bias.data().asnumpy()
    assert net.item_vectors().shape == (7, 3)
    np.testing.assert_allclose(scores, net(mx.array(ROWS)).asnumpy(), rtol=1e-5, atol=1e-6)


def test_rows_of_other_items_are_refused(net):
    users = mx.array(USERS, dtype="int32")
    with pytest.raises(DataError, match="give it their rows"):
        net.score_all(users)
    with pytest.raises(DataError, match="a model of 7 items"):
        net.score_all(users, mx.array(ROWS[:, :6]))
