import numpy as np
import pytest

backend = pytest.importorskip("d2l_recsys.backend")
from d2l_recsys.chapters.extras.ngcf import NGCF, main  # noqa: E402
from d2l_recsys.data import load_ranking_ml100k  # noqa: E402
from d2l_recsys.saved_models import load_model  # noqa: E402
from d2l_recsys.training.objectives import own_loss  # noqa: E402

autograd, mx = backend.autograd, backend.mx
backend.npx.set_np()
NUM_USERS, NUM_ITEMS = 4, 6
# Item 5 has no edge, item 0 has two, user 2 has three.
USERS = np.array([0, 1, 2, 2, 2, 3], dtype="int32")
ITEMS = np.array([0, 0, 1, 2, 3, 4], dtype="int32")
# Users, items they have seen, and items they have not.
TRIPLES = np.array([[2, 0, 2, 3, 1], [1, 0, 3, 4, 0], [0, 5, 4, 5, 3]], dtype="int32")
DEVICES = [mx.cpu(0), mx.cpu(1)]


def made(num_layers, dropout=0.0, edge_dropout=0.0, reg=0.0, num_factors=3):
    sizes = NUM_USERS, NUM_ITEMS, len(USERS)
    net = NGCF(num_factors, num_layers, dropout, edge_dropout, reg, *sizes)
    net.initialize(ctx=DEVICES, init=backend.init.Normal(0.7))
    net.graph.set_edges(USERS, ITEMS)
    return net


def learned(net):
    """Return everything that is trained, in float64: embeddings (users first), then weights."""
    P, Q, *weights = (part.weight.data(mx.cpu()).asnumpy() for part in layers_of(net))
    return [part.astype(np.float64) for part in (np.concatenate([P, Q]), *weights)]


def layers_of(net):
    return [net.P, net.Q, *net.W1, *net.W2]


def propagated(E, *weights, edges=True):
    """Compute eq. 3 to 5 and 9 message by message."""
    degrees = np.bincount(np.concatenate([USERS, ITEMS + NUM_USERS]), minlength=len(E))
    half = len(weights) // 2
    layers = [E]
    for W1, W2 in zip(weights[:half], weights[half:]):
        e = layers[-1]
        sums = np.array([W1 @ own for own in e])
        for user, item in zip(USERS, ITEMS + NUM_USERS) if edges else ():
            for node, neighbour in ((user, item), (item, user)):
                message = W1 @ e[neighbour] + W2 @ (e[neighbour] * e[node])
                sums[node] += message / np.sqrt(degrees[user] * degrees[item])
        layers.append(np.where(sums > 0, sums, 0.2 * sums))
    return np.concatenate(layers, axis=1)


def losses(reg, E, *weights):
    """Compute eq. 11 pair by pair."""
    final = propagated(E, *weights)
    of_weights = sum((W**2).sum() for W in weights)
    found = []
    for u, i, j in zip(TRIPLES[0], TRIPLES[1] + NUM_USERS, TRIPLES[2] + NUM_USERS):
        lead = final[u] @ final[i] - final[u] @ final[j]
        theta = E[u] @ E[u] + E[i] @ E[i] + E[j] @ E[j] + of_weights
        found.append(-np.log(1 / (1 + np.exp(-lead))) + reg / 2 * theta)
    return np.array(found)


def final(net, device=DEVICES[0]):
    return np.concatenate([part.asnumpy() for part in net.propagate(device)])


@pytest.mark.parametrize("num_layers", [0, 1, 3])
def test_final_embeddings_are_those_of_all_layers_side_by_side(num_layers):
    net = made(num_layers, dropout=0.5, edge_dropout=0.5)
    expected = propagated(*learned(net))
    assert expected.shape == (NUM_USERS + NUM_ITEMS, 3 * (num_layers + 1))
    for device in DEVICES:
        np.testing.assert_allclose(final(net, device), expected, rtol=1e-4, atol=1e-6)


def test_the_matrix_form_is_that_of_the_messages():
    """The matrix form is eq. 7 and 8."""
    net = made(1)
    E, W1, W2 = learned(net)
    A = np.zeros((NUM_USERS + NUM_ITEMS,) * 2)
    A[USERS, ITEMS + NUM_USERS] = A[ITEMS + NUM_USERS, USERS] = 1
    scale = np.diag([d**-0.5 if d else 0.0 for d in A.sum(axis=1)])
    L = scale @ A @ scale
    sums = (L + np.eye(len(A))) @ E @ W1.T + (L @ E * E) @ W2.T
    expected = np.concatenate([E, np.where(sums > 0, sums, 0.2 * sums)], axis=1)
    np.testing.assert_allclose(final(net), expected, rtol=1e-4, atol=1e-6)


def test_an_item_that_nobody_has_seen_hears_from_itself_alone():
    net = made(2)
    E, *weights = learned(net)
    expected = [E[-1]]
    for W1 in weights[:2]:
        sums = W1 @ expected[-1]
        expected.append(np.where(sums > 0, sums, 0.2 * sums))
    np.testing.assert_allclose(net.item_vectors()[5], np.concatenate(expected), rtol=1e-4)


def test_all_scores_are_those_of_the_pairs():
    net = made(2)
    users = np.repeat(np.arange(NUM_USERS), NUM_ITEMS)
    items = np.tile(np.arange(NUM_ITEMS), NUM_USERS)
    pairs = net(*(mx.np.array(part, dtype="int32") for part in (users, items))).asnumpy()
    every = net.score_all(mx.np.arange(NUM_USERS, dtype="int32")).asnumpy()
    np.testing.assert_allclose(every.ravel(), pairs, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("device", DEVICES, ids=str)
def test_loss_and_gradient_are_those_of_the_equation(device):
    reg = 0.3
    net = made(2, reg=reg)
    at = learned(net)
    with autograd.record():
        found = own_loss(net)(*(mx.np.array(part, dtype="int32", ctx=device) for part in TRIPLES))
    found.backward()
    np.testing.assert_allclose(found.asnumpy(), losses(reg, *at), rtol=1e-4)
    P, Q, *weights = (part.weight.grad(device).asnumpy() for part in layers_of(net))
    step = 1e-5
    for part, gradient in enumerate([np.concatenate([P, Q]), *weights]):
        for place in np.ndindex(gradient.shape):
            there, back = ([array.copy() for array in at] for _ in range(2))
            there[part][place] += step
            back[part][place] -= step
            difference = losses(reg, *there).sum() - losses(reg, *back).sum()
            assert gradient[place] == pytest.approx(difference / (2 * step), rel=1e-3, abs=1e-4)


def test_dropout_drops_numbers_of_the_layers_in_training_alone():
    net = made(1, dropout=0.25, num_factors=400)
    whole = final(net)
    with autograd.record():
        dropped = final(net)
    np.testing.assert_array_equal(dropped[:, :400], whole[:, :400])
    kept = dropped[:, 400:] != 0
    assert kept.mean() == pytest.approx(0.75, abs=0.03)
    np.testing.assert_allclose(dropped[:, 400:][kept], (whole[:, 400:] / 0.75)[kept], rtol=1e-4)


def test_edge_dropout_drops_edges_in_training_alone():
    net = made(2, edge_dropout=0.999)
    mx.random.seed(1)
    with autograd.record():
        without = final(net)
    np.testing.assert_allclose(
        without, propagated(*learned(net), edges=False), rtol=1e-4, atol=1e-6
    )
    np.testing.assert_allclose(final(net), propagated(*learned(net)), rtol=1e-4, atol=1e-6)


def test_the_options_reach_model_and_training(ratings_dir, tmp_path):
    options = {"num_factors": 5, "num_layers": 2, "dropout": 0.5, "edge_dropout": 0.25, "reg": 0.75}
    main(
        num_epochs=1,
        batch_size=32,
        lr=0.0,
        data_dir=ratings_dir,
        out=tmp_path,
        quiet=True,
        **options,
    )
    model = load_model(tmp_path)
    assert {name: model.arguments[name] for name in options} == options
    net, data = model.net, load_ranking_ml100k(ratings_dir)
    edges = [edges.data().asnumpy() for edges in (net.graph.users, net.graph.items)]
    np.testing.assert_array_equal(edges, [data.users, data.items])
    assert (net.reg, net.edge_dropout, net.dropout._rate) == (0.75, 0.25, 0.5)
    assert [part.weight.shape for part in layers_of(net)] == [(30, 5), (40, 5), *[(5, 5)] * 4]
    # With lr = 0 the weights keep Xavier's uniform distribution for 30 rows of 5 numbers.
    largest = np.abs(net.P.weight.data().asnumpy()).max()
    assert 0.9 < largest / np.sqrt(6 / (30 + 5)) < 1.0001
