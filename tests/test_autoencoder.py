import numpy as np
import pytest

backend = pytest.importorskip("d2l_recsys.backend")
from d2l_recsys.chapters.extras import autoencoder  # noqa: E402
from d2l_recsys.data import load_ranking_ml100k  # noqa: E402
from d2l_recsys.errors import DataError  # noqa: E402
from d2l_recsys.loaders.interactions import seen_rows  # noqa: E402
from d2l_recsys.runs.run import CompanionRun  # noqa: E402
from d2l_recsys.training.objectives import own_loss  # noqa: E402

autograd, mx = backend.autograd, backend.np
ROWS = np.array([[0, 1, 0, 1, 1, 0, 0], [1, 0, 0, 0, 0, 1, 0]], dtype="float32")


@pytest.fixture
def net():
    backend.npx.set_np()
    net = autoencoder.Autoencoder(3, 7)
    net.initialize(init=backend.init.Normal(1))
    for bias in (net.encoder.bias, net.decoder.bias):
        bias.set_data(mx.random.normal(size=bias.shape))
    return net


def parameters(net):
    return [p.data().asnumpy().astype(np.float64) for p in net.collect_params().values()]


def outputs(parameters):
    """Compute the outputs in float64, one unit at a time."""
    V, mu, W, b = parameters
    rows = []
    for row in ROWS:
        hidden = [1 / (1 + np.exp(-(V[k] @ row + mu[k]))) for k in range(3)]
        rows.append([W[i] @ hidden + b[i] for i in range(7)])
    return np.array(rows)


def losses(parameters):
    """Return the loss of each row; unseen items count as 0."""
    completed = outputs(parameters)
    return np.array([sum((completed[u, i] - ROWS[u, i]) ** 2 for i in range(7)) for u in range(2)])


def test_rows_come_out_through_the_hidden_layer(net):
    expected = outputs(parameters(net))
    np.testing.assert_allclose(net(mx.array(ROWS)).asnumpy(), expected, rtol=1e-5, atol=1e-6)
    # The numbers 7 and 9 belong to no user; the net scores from the rows only.
    scores = net.score_all(mx.array([7, 9], dtype="int32"), mx.array(ROWS)).asnumpy()
    np.testing.assert_allclose(scores, expected, rtol=1e-5, atol=1e-6)


def test_the_loss_is_the_squared_error_of_the_whole_row(net):
    graph = own_loss(net)
    with autograd.record():
        found = graph(mx.array(ROWS))
    np.testing.assert_allclose(found.asnumpy(), losses(parameters(net)), rtol=1e-5)


def test_the_gradient_is_that_of_the_loss(net):
    graph = own_loss(net)
    with autograd.record():
        total = graph(mx.array(ROWS)).sum()
    total.backward()
    values = parameters(net)
    for value, parameter in zip(values, net.collect_params().values()):
        expected = np.empty_like(value)
        for place in np.ndindex(value.shape):
            kept, sides = value[place], []
            for step in (1e-5, -1e-5):
                value[place] = kept + step
                sides.append(losses(values).sum())
            value[place] = kept
            expected[place] = (sides[0] - sides[1]) / 2e-5
        np.testing.assert_allclose(parameter.grad().asnumpy(), expected, rtol=1e-3, atol=1e-4)


def test_rows_of_other_items_are_refused(net):
    users = mx.array([0, 1], dtype="int32")
    with pytest.raises(DataError, match="give it their rows"):
        net.score_all(users)
    with pytest.raises(DataError, match="a model of 7 items"):
        net.score_all(users, mx.array(ROWS[:, :6]))


def test_an_items_vector_is_what_the_hidden_layer_is_weighed_with(net):
    hidden = net.encoder(mx.array(ROWS)).asnumpy()
    scores = hidden @ net.item_vectors().T + net.decoder.bias.data().asnumpy()
    assert net.item_vectors().shape == (7, 3)
    np.testing.assert_allclose(scores, outputs(parameters(net)), rtol=1e-5, atol=1e-6)


def test_it_is_trained_on_the_rows_that_it_reads(net, ratings_dir, tmp_path, monkeypatch):
    seen = {}
    monkeypatch.setattr(CompanionRun, "train", lambda run, *given, **options: seen.update(options))
    autoencoder.main(data_dir=ratings_dir, out=tmp_path, quiet=True)
    expected = seen_rows(load_ranking_ml100k(ratings_dir))
    np.testing.assert_array_equal(seen["train_iter"].arrays, [expected])
    np.testing.assert_array_equal(net.user_inputs(load_ranking_ml100k(ratings_dir)), expected)
