import numpy as np
import pytest

backend = pytest.importorskip("d2l_recsys.backend")
from d2l_recsys.errors import DataError  # noqa: E402
from d2l_recsys.layers.graph import (  # noqa: E402
    Adjacency,
    GraphRecommender,
    Memory,
    UserItemGraph,
    normalized_adjacency,
)
from d2l_recsys.model_bases.parameters import parameters_of  # noqa: E402

autograd, gluon, mx, npx = backend.autograd, backend.gluon, backend.mx, backend.npx
npx.set_np()
NUM_USERS, NUM_ITEMS = 5, 7
# The edges have no order. User 3 and the items 2 and 6 have no edge.
USERS = np.array([4, 0, 1, 0, 2, 4, 2, 4], dtype="int32")
ITEMS = np.array([5, 0, 0, 4, 1, 0, 3, 4], dtype="int32")
DEVICES = [mx.cpu(0), mx.cpu(1)]


def dense_adjacency(users, items, num_users, num_items):
    """Return D^-1/2 A D^-1/2 of all nodes, users first, in float64."""
    A = np.zeros((num_users + num_items, num_users + num_items))
    for user, item in zip(users, items):
        A[user, num_users + item] = A[num_users + item, user] = 1
    degrees = A.sum(axis=1)
    scale = np.diag([d**-0.5 if d else 0.0 for d in degrees])
    return scale @ A @ scale


@pytest.fixture
def dense():
    return dense_adjacency(USERS, ITEMS, NUM_USERS, NUM_ITEMS)


@pytest.fixture
def half():
    return normalized_adjacency(USERS, ITEMS, NUM_USERS, NUM_ITEMS)


def normal(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def test_the_adjacency_falls_into_a_half_and_its_transpose(dense):
    with np.errstate(all="raise"):
        half = normalized_adjacency(USERS, ITEMS, NUM_USERS, NUM_ITEMS)
    assert (half.shape, half.dtype, half.nnz) == ((NUM_USERS, NUM_ITEMS), np.float32, len(USERS))
    np.testing.assert_allclose(half.toarray(), dense[:NUM_USERS, NUM_USERS:], rtol=1e-6)
    np.testing.assert_allclose(half.toarray().T, dense[NUM_USERS:, :NUM_USERS], rtol=1e-6)
    assert not dense[:NUM_USERS, :NUM_USERS].any()
    assert not dense[NUM_USERS:, NUM_USERS:].any()


def test_nodes_beyond_the_tables_are_refused():
    for users, items, message in (
        ([0, 5], [0, 0], "user 5 of the graph is outside the table of 5 users"),
        ([0, -1], [0, 0], "user -1 of the graph"),
        ([0, 1], [7, 0], "item 7 of the graph is outside the table of 7 items"),
        ([0, 1], [0, -2], "item -2 of the graph"),
    ):
        with pytest.raises(DataError, match=message):
            normalized_adjacency(np.array(users), np.array(items), NUM_USERS, NUM_ITEMS)


@pytest.mark.parametrize("device", DEVICES, ids=str)
def test_what_is_sent_and_its_gradient_are_those_of_the_dense_product(device, half, dense):
    parts = [normal(1, NUM_USERS, 3), normal(2, NUM_ITEMS, 3)]
    heads = [normal(3, NUM_USERS, 3), normal(4, NUM_ITEMS, 3)]
    on_device = [mx.np.array(part, ctx=device) for part in parts]
    for part in on_device:
        part.attach_grad()
    adjacency = Adjacency(half, device)
    with autograd.record():
        # Send twice and add both results, so that gradients of two paths are added up.
        once = adjacency.send(*on_device)
        sent = [a + b for a, b in zip(once, adjacency.send(*once))]
    autograd.backward(sent, [mx.np.array(head, ctx=device) for head in heads])
    steps = dense + dense @ dense
    assert [part.ctx for part in sent] == [device, device]
    for found, of in ((sent, parts), ([part.grad for part in on_device], heads)):
        expected = steps @ np.concatenate(of)
        together = np.concatenate([part.asnumpy() for part in found])
        np.testing.assert_allclose(together, expected, rtol=1e-5, atol=1e-6)


def test_the_real_product_is_that_of_scipy():
    rng = np.random.default_rng(5)
    pairs = rng.permutation(300 * 400)[:20000]
    half = normalized_adjacency(pairs // 400, pairs % 400, 300, 400)
    users, items = normal(1, 300, 16), normal(2, 400, 16)
    sent = Adjacency(half, mx.cpu()).send(mx.np.array(users), mx.np.array(items))
    np.testing.assert_allclose(sent[0].asnumpy(), half @ items, atol=1e-6)
    np.testing.assert_allclose(sent[1].asnumpy(), half.T @ users, atol=1e-6)


@pytest.mark.parametrize("device", DEVICES, ids=str)
def test_edges_are_dropped_in_training_alone_in_both_directions(device):
    pairs = np.arange(100 * 80)
    half = normalized_adjacency(pairs // 80, pairs % 80, 100, 80)
    whole = Adjacency(half, device)
    assert whole.without_edges(0.25) is whole
    with autograd.record():
        assert whole.without_edges(0.0) is whole

    def thinned(seed):
        mx.random.seed(seed)
        with autograd.record():
            users, items = (mx.np.eye(n, ctx=device) for n in half.shape)
            for part in (users, items):
                part.attach_grad()
            sent = whole.without_edges(0.25).send(users, items)
        ones = [mx.np.ones(part.shape, ctx=device) for part in sent]
        autograd.backward(list(sent), ones)
        assert sent[0].ctx == device
        return (*(part.asnumpy() for part in sent), users.grad.asnumpy(), items.grad.asnumpy())

    to_users, to_items, of_users, of_items = thinned(1)
    np.testing.assert_array_equal(to_users, to_items.T)
    # The gradients use the same edges.
    np.testing.assert_allclose(of_users, to_users.sum(axis=1)[:, None].repeat(100, 1), rtol=1e-4)
    np.testing.assert_allclose(of_items, to_users.sum(axis=0)[:, None].repeat(80, 1), rtol=1e-4)
    kept = to_users != 0
    assert kept.mean() == pytest.approx(0.75, abs=0.03)
    np.testing.assert_allclose(to_users[kept], (half.toarray() / 0.75)[kept], rtol=1e-6)
    np.testing.assert_array_equal(thinned(1)[0], to_users)
    assert (thinned(2)[0] != to_users).any()


def test_memory_holds_as_long_as_the_values_do():
    parameter = gluon.Parameter("p", shape=(3,), init="zeros")
    parameter.initialize(ctx=DEVICES)
    memory, computed = Memory(), []

    def get(device):
        return memory.get(device, [parameter], lambda: computed.append(device) or len(computed))

    assert [get(DEVICES[0]), get(DEVICES[0]), get(DEVICES[1]), get(DEVICES[0])] == [1, 1, 2, 1]
    parameter.set_data(mx.np.array([0.0, 0.0, 1.0]))
    assert [get(DEVICES[0]), get(DEVICES[0]), get(DEVICES[1])] == [3, 3, 4]
    # Change the values in place, as an optimizer does.
    parameter.data(DEVICES[0])[:] = 2.0
    assert [get(DEVICES[0]), get(DEVICES[1])] == [5, 4]


@pytest.fixture
def graph():
    graph = UserItemGraph(NUM_USERS, NUM_ITEMS, len(USERS))
    graph.initialize(ctx=DEVICES, init=backend.init.Xavier())
    return graph


def test_the_edges_are_constants_of_the_net_that_are_saved_with_it(graph):
    graph.set_edges(USERS, ITEMS)
    saved = parameters_of(graph)
    assert {name: array.dtype for name, array in saved.items()} == {
        "users": np.int32, "items": np.int32}  # fmt: skip
    np.testing.assert_array_equal(saved["users"], USERS)
    np.testing.assert_array_equal(saved["items"], ITEMS)
    assert [p.grad_req for p in graph.collect_params().values()] == ["null", "null"]


@pytest.mark.parametrize("device", DEVICES, ids=str)
def test_the_graph_is_that_of_its_edges_even_when_they_change(graph, dense, device):
    users, items = (mx.np.eye(n, ctx=device) for n in (NUM_USERS, NUM_ITEMS))

    def to_users():
        return graph.adjacency(device).send(users, items)[0].asnumpy()

    graph.set_edges(USERS, ITEMS)
    np.testing.assert_allclose(to_users(), dense[:NUM_USERS, NUM_USERS:], rtol=1e-6)
    assert graph.adjacency(device) is graph.adjacency(device)
    other = dense_adjacency(USERS, ITEMS[::-1], NUM_USERS, NUM_ITEMS)
    graph.set_edges(USERS, ITEMS[::-1])
    np.testing.assert_allclose(to_users(), other[:NUM_USERS, NUM_USERS:], rtol=1e-6)


def test_edges_beyond_the_tables_are_refused_where_the_graph_is_used(graph):
    graph.set_edges(USERS, ITEMS + 1)
    graph.adjacency(mx.cpu())
    graph.set_edges(USERS, ITEMS + 2)
    with pytest.raises(DataError, match="item 7 of the graph is outside the table of 7 items"):
        graph.adjacency(mx.cpu())


class Doubled(GraphRecommender):
    """Doubles the embeddings, and applies dropout in training."""

    def propagate(self, device):
        P, Q = (part.weight.data(device) * 2 for part in (self.P, self.Q))
        return npx.dropout(P, p=0.5), npx.dropout(Q, p=0.5)


@pytest.fixture
def net():
    net = Doubled(3, NUM_USERS, NUM_ITEMS, len(USERS))
    net.initialize(ctx=DEVICES, init=backend.init.Normal(0.7))
    return net


def tables(net):
    return [part.weight.data(mx.cpu()).asnumpy().astype(float) for part in (net.P, net.Q)]


def test_pairs_and_all_items_are_scored_by_inner_products(net):
    P, Q = tables(net)
    users, items = np.array([4, 0, 4], dtype="int32"), np.array([6, 6, 0], dtype="int32")
    for device in DEVICES:
        u, i = (mx.np.array(part, dtype="int32", ctx=device) for part in (users, items))
        np.testing.assert_allclose(
            net(u, i).asnumpy(), [4 * P[a] @ Q[b] for a, b in zip(users, items)], rtol=1e-5
        )
        scores = net.score_all(u)
        assert (scores.ctx, scores.shape) == (device, (3, NUM_ITEMS))
        np.testing.assert_allclose(scores.asnumpy(), 4 * P[users] @ Q.T, rtol=1e-4)
    np.testing.assert_allclose(net.item_vectors(), 2 * Q, rtol=1e-6)


def test_scores_follow_the_weights_and_nothing_is_dropped_in_them(net):
    users = mx.np.arange(NUM_USERS, dtype="int32")
    with autograd.record():
        before = net.score_all(users).asnumpy()
    P, Q = tables(net)
    np.testing.assert_allclose(before, 4 * P @ Q.T, rtol=1e-4)
    net.P.weight.set_data(net.P.weight.data() * 3)
    np.testing.assert_allclose(net.score_all(users).asnumpy(), 3 * before, rtol=1e-4)


def test_what_the_loss_is_made_of_is_computed_pair_by_pair(net, monkeypatch):
    P, Q = tables(net)
    triples = [np.array(part, dtype="int32") for part in ([4, 0, 4, 1], [6, 6, 0, 2], [1, 2, 6, 2])]
    calls, propagate = [], Doubled.propagate
    monkeypatch.setattr(Doubled, "propagate", lambda *a: calls.append(a) or propagate(*a))
    for device in DEVICES:
        arrays = [mx.np.array(part, dtype="int32", ctx=device) for part in triples]
        losses = net.bpr_losses(mx.nd, *arrays).asnumpy()
        norms = net.squared_norms(*arrays).asnumpy()
        for n, (u, i, j) in enumerate(zip(*triples)):
            lead = 4 * (P[u] @ Q[i] - P[u] @ Q[j])
            assert losses[n] == pytest.approx(-np.log(1 / (1 + np.exp(-lead))), rel=1e-4)
            assert norms[n] == pytest.approx(P[u] @ P[u] + Q[i] @ Q[i] + Q[j] @ Q[j], rel=1e-5)
    assert len(calls) == len(DEVICES)
