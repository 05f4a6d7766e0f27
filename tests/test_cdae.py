import numpy as np
import pytest

backend = pytest.importorskip("d2l_recsys.backend")
from d2l_recsys.chapters.extras import cdae  # noqa: E402
from d2l_recsys.data import load_ranking_ml100k  # noqa: E402
from d2l_recsys.errors import DataError, SettingError  # noqa: E402
from d2l_recsys.loaders.interactions import seen_rows  # noqa: E402
from d2l_recsys.runs.run import CompanionRun  # noqa: E402
from d2l_recsys.saved_models import load_model  # noqa: E402
from d2l_recsys.training.objectives import own_loss  # noqa: E402

autograd, mx = backend.autograd, backend.np
USERS = np.array([3, 0], dtype="int32")
ROWS = np.array([[0, 1, 0, 1, 1, 0, 0], [1, 0, 0, 0, 0, 1, 0]], dtype="float32")


def made(*arguments, **options):
    backend.npx.set_np()
    net = cdae.CDAE(*arguments, **options)
    net.initialize(init=backend.init.Normal(1))
    for bias in (net.encoder.bias, net.decoder.bias):
        bias.set_data(mx.random.normal(size=bias.shape))
    return net


def parameters(net):
    parts = (net.P.weight, net.encoder.weight, net.encoder.bias)
    parts += (net.decoder.weight, net.decoder.bias)
    return [part.data().asnumpy().astype(np.float64) for part in parts]


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def outputs(parameters):
    """Compute the outputs in float64, one unit at a time."""
    P, V, mu, W, b = parameters
    rows = []
    for user, row in zip(USERS, ROWS):
        hidden = [sigmoid(V[k] @ row + P[user, k] + mu[k]) for k in range(3)]
        rows.append([W[i] @ hidden + b[i] for i in range(7)])
    return np.array(rows)


def error(loss, x, y):
    if loss == "square":
        return (x - y) ** 2
    return -np.log(sigmoid(y)) if x else -np.log(1 - sigmoid(y))


def losses(loss, outputs):
    return [sum(error(loss, x, y) for x, y in zip(*pair)) for pair in zip(ROWS, outputs)]


def given():
    return mx.array(USERS, dtype="int32"), mx.array(ROWS)


@pytest.mark.parametrize("loss", ["log", "square"])
def test_the_model_and_its_loss_are_those_of_the_paper(loss):
    net = made(3, 4, 7, 0.0, loss)
    expected = outputs(parameters(net))
    np.testing.assert_allclose(net(*given()).asnumpy(), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(net.score_all(*given()).asnumpy(), expected, rtol=1e-5, atol=1e-6)
    graph = own_loss(net)
    with autograd.record():
        found = graph(*given())
    np.testing.assert_allclose(found.asnumpy(), losses(loss, expected), rtol=1e-5)


@pytest.mark.parametrize("loss", ["log", "square"])
def test_the_gradient_is_that_of_the_loss(loss):
    net = made(3, 4, 7, 0.0, loss)
    graph = own_loss(net)
    with autograd.record():
        total = graph(*given()).sum()
    total.backward()
    values = parameters(net)
    parts = (net.P.weight, net.encoder.weight, net.encoder.bias)
    parts += (net.decoder.weight, net.decoder.bias)
    for value, part in zip(values, parts):
        expected = np.empty_like(value)
        for place in np.ndindex(value.shape):
            kept, sides = value[place], []
            for step in (1e-5, -1e-5):
                value[place] = kept + step
                sides.append(sum(losses(loss, outputs(values))))
            value[place] = kept
            expected[place] = (sides[0] - sides[1]) / 2e-5
        np.testing.assert_allclose(part.grad().asnumpy(), expected, rtol=1e-3, atol=1e-4)


def test_the_log_loss_of_large_log_odds_is_finite():
    net = made(3, 4, 7)
    net.decoder.bias.set_data(mx.array([300, -300, 300, -300, 300, -300, 0]))
    net.decoder.weight.set_data(mx.zeros((7, 3)))
    found = net.batch_loss(backend.mx.nd, *given()).asnumpy()
    # A wrong item costs 300: items 0 to 3 in the first row, and items 2, 4 and 5 in the second.
    np.testing.assert_allclose(found, [1200 + np.log(2), 900 + np.log(2)], rtol=1e-6)


@pytest.mark.parametrize("corruption", [0.2, 0.75])
def test_a_share_of_each_row_is_missing_in_training_alone(corruption):
    net = made(3, 4, 500, corruption)
    users, rows = mx.zeros(200, dtype="int32"), mx.ones((200, 500))
    seen = []
    net.encoder.register_forward_hook(lambda block, given, out: seen.append(given[0].asnumpy()))
    net.score_all(users, rows)
    with autograd.record():
        net(users, rows)
    np.testing.assert_array_equal(seen[0], 1)
    missing = seen[1] == 0
    # Allow five standard deviations of a share of 100000 draws.
    assert abs(missing.mean() - corruption) < 5 * np.sqrt(corruption * (1 - corruption) / 1e5)
    np.testing.assert_allclose(seen[1][~missing], 1 / (1 - corruption), rtol=1e-6)
    # Each row misses different items, and each call draws again.
    assert len({row.tobytes() for row in missing}) == 200
    with autograd.record():
        net(users, rows)
    assert not np.array_equal(seen[2], seen[1])


def test_what_is_missing_is_missed_in_the_input_alone():
    """The loss compares with the whole row: if only the biases count, the loss stays the same."""
    net = made(3, 4, 7, 0.9)
    net.decoder.weight.set_data(mx.zeros((7, 3)))
    b = parameters(net)[-1]
    graph = own_loss(net)
    for _ in range(3):
        with autograd.record():
            found = graph(*given())
        np.testing.assert_allclose(found.asnumpy(), losses("log", np.array([b, b])), rtol=1e-5)


def test_scores_draw_nothing():
    net = made(3, 4, 7, 0.5)
    own_loss(net)
    scores = []
    for seed in (1, 2):
        backend.mx.random.seed(seed)
        scores.append(net.score_all(*given()).asnumpy())
    np.testing.assert_array_equal(*scores)


def test_an_items_vector_is_what_the_hidden_layer_is_weighed_with():
    net = made(3, 4, 7)
    users, rows = given()
    hidden = sigmoid((net.encoder(rows) + net.P(users)).asnumpy())
    scores = hidden @ net.item_vectors().T + net.decoder.bias.data().asnumpy()
    assert net.item_vectors().shape == (7, 3)
    np.testing.assert_allclose(scores, net(users, rows).asnumpy(), rtol=1e-5, atol=1e-6)


def test_what_does_not_fit_is_refused(tmp_path):
    net = made(3, 4, 7)
    users, rows = given()
    with pytest.raises(DataError, match="give it their rows"):
        net.score_all(users)
    with pytest.raises(DataError, match="a model of 7 items"):
        net.score_all(users, rows[:, :6])
    with pytest.raises(SettingError, match="--loss is 'hinge'; choose one of: log, square"):
        cdae.CDAE(3, 4, 7, 0.2, "hinge")
    with pytest.raises(SettingError, match="--loss is 'hinge'; choose one of: log, square"):
        cdae.main(loss="hinge", data_dir=tmp_path / "none", out=tmp_path)


@pytest.mark.parametrize("loss", ["log", "square"])
def test_the_first_biases_are_the_best_outputs_for_all_alike(loss):
    """A slightly different bias costs more. Items seen by no user or by all have finite biases."""
    rows = (np.random.default_rng(0).uniform(size=(50, 6)) < 0.3).astype("float32")
    b = cdae.first_biases(rows, loss)
    assert b.dtype == np.float32
    costs = [
        [sum(error(loss, x, b[i] + step) for x in rows[:, i]) for i in range(6)]
        for step in (-0.01, 0, 0.01)
    ]
    assert (np.argmin(costs, axis=0) == 1).all()
    rows[:, 0], rows[:, 1] = 0, 1
    found = cdae.first_biases(rows, loss)[:2]
    expected = [np.log(0.01 / 0.99), np.log(0.99 / 0.01)] if loss == "log" else [0, 1]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_training_begins_at_the_first_biases(ratings_dir, tmp_path):
    cdae.main(data_dir=ratings_dir, out=tmp_path, quiet=True, num_epochs=1, lr=0)
    rows = seen_rows(load_ranking_ml100k(ratings_dir))
    net = load_model(tmp_path).net
    np.testing.assert_array_equal(net.decoder.bias.data().asnumpy(), cdae.first_biases(rows, "log"))


def test_it_is_trained_on_the_rows_that_it_reads(ratings_dir, tmp_path, monkeypatch):
    seen = {}
    monkeypatch.setattr(CompanionRun, "train", lambda run, *given, **options: seen.update(options))
    cdae.main(data_dir=ratings_dir, out=tmp_path, quiet=True)
    users, rows = seen["train_iter"].arrays
    data = load_ranking_ml100k(ratings_dir)
    assert users.dtype == np.int32
    assert list(users) == list(range(30))
    np.testing.assert_array_equal(rows, seen_rows(data))
    np.testing.assert_array_equal(rows, made(3, 30, 40).user_inputs(data))
