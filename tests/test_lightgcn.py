import numpy as np
import pytest

backend = pytest.importorskip("d2l_recsys.backend")
from d2l_recsys.chapters.extras.lightgcn import LightGCN, main  # noqa: E402
from d2l_recsys.data import load_ranking_ml100k  # noqa: E402
from d2l_recsys.model_bases.parameters import parameters_of  # noqa: E402
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


def made(num_layers, reg=0.0):
    net = LightGCN(3, num_layers, reg, NUM_USERS, NUM_ITEMS, len(USERS))
    net.initialize(ctx=DEVICES, init=backend.init.Normal(0.7))
    net.graph.set_edges(USERS, ITEMS)
    return net


def embeddings(net):
    """Return the embeddings before propagation, users first."""
    return np.concatenate([part.weight.data(mx.cpu()).asnumpy() for part in (net.P, net.Q)]).astype(
        np.float64
    )


def propagated(E, num_layers):
    """Compute eq. 3 and 4 edge by edge."""
    degrees = np.bincount(np.concatenate([USERS, ITEMS + NUM_USERS]), minlength=len(E))
    layers = [E]
    for _ in range(num_layers):
        after = np.zeros_like(E)
        for user, item in zip(USERS, ITEMS + NUM_USERS):
            weight = 1 / np.sqrt(degrees[user] * degrees[item])
            after[user] += weight * layers[-1][item]
            after[item] += weight * layers[-1][user]
        layers.append(after)
    return sum(layers) / len(layers)


def losses(E, num_layers, reg):
    """Compute eq. 15 pair by pair."""
    final = propagated(E, num_layers)
    found = []
    for u, i, j in zip(TRIPLES[0], TRIPLES[1] + NUM_USERS, TRIPLES[2] + NUM_USERS):
        lead = final[u] @ final[i] - final[u] @ final[j]
        norms = E[u] @ E[u] + E[i] @ E[i] + E[j] @ E[j]
        found.append(-np.log(1 / (1 + np.exp(-lead))) + reg / 2 * norms)
    return np.array(found)


def arrays(device):
    return [mx.np.array(part, dtype="int32", ctx=device) for part in TRIPLES]


@pytest.mark.parametrize("num_layers", [0, 1, 2, 3, 12])
def test_final_embeddings_are_means_over_layers(num_layers):
    net = made(num_layers)
    expected = propagated(embeddings(net), num_layers)
    for device in DEVICES:
        found = np.concatenate([part.asnumpy() for part in net.propagate(device)])
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_an_item_that_nobody_has_seen_keeps_its_own_embedding_alone():
    net = made(3)
    item = net.Q.weight.data().asnumpy()[5]
    np.testing.assert_allclose(net.item_vectors()[5], item / 4, rtol=1e-6)


def test_all_scores_are_those_of_the_pairs():
    net = made(2)
    users = np.repeat(np.arange(NUM_USERS), NUM_ITEMS)
    items = np.tile(np.arange(NUM_ITEMS), NUM_USERS)
    pairs = net(*(mx.np.array(part, dtype="int32") for part in (users, items))).asnumpy()
    every = net.score_all(mx.np.arange(NUM_USERS, dtype="int32")).asnumpy()
    np.testing.assert_allclose(every.ravel(), pairs, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("device", DEVICES, ids=str)
def test_loss_and_gradient_are_those_of_the_equation(device):
    num_layers, reg = 3, 0.3
    net = made(num_layers, reg)
    E = embeddings(net)
    with autograd.record():
        found = own_loss(net)(*arrays(device))
    found.backward()
    np.testing.assert_allclose(found.asnumpy(), losses(E, num_layers, reg), rtol=1e-5)
    gradient = np.concatenate([part.weight.grad(device).asnumpy() for part in (net.P, net.Q)])
    step = 1e-5
    for place in np.ndindex(E.shape):
        there, back = E.copy(), E.copy()
        there[place] += step
        back[place] -= step
        difference = losses(there, num_layers, reg).sum() - losses(back, num_layers, reg).sum()
        assert gradient[place] == pytest.approx(difference / (2 * step), rel=1e-3, abs=1e-5)


def test_the_graph_is_that_of_the_training_pairs_and_comes_with_a_saved_model(
    ratings_dir, tmp_path
):
    for split in ("seq-aware", "validation"):
        main(
            split=split,
            num_epochs=1,
            batch_size=64,
            data_dir=ratings_dir,
            out=tmp_path,
            quiet=True,
            force=True,
        )
        data = load_ranking_ml100k(ratings_dir, split)
        saved = parameters_of(load_model(tmp_path).net)
        np.testing.assert_array_equal(saved["graph.users"], data.users)
        np.testing.assert_array_equal(saved["graph.items"], data.items)


def test_two_devices_learn_what_one_does(ratings_dir, tmp_path):
    options = {
        "num_epochs": 2,
        "batch_size": 50,
        "data_dir": ratings_dir,
        "quiet": True,
        "force": True,
    }
    one, two = (
        main(num_devices=n, out=tmp_path / str(n), **options)["defined"]["train_loss"]
        for n in (1, 2)
    )
    assert one == pytest.approx(two, rel=1e-4)
    (P, Q), (P2, Q2) = (
        [parameters_of(load_model(tmp_path / str(n)).net)[f"{name}.weight"] for name in "PQ"]
        for n in (1, 2)
    )
    np.testing.assert_allclose(P, P2, rtol=0.01, atol=1e-3)
    np.testing.assert_allclose(Q, Q2, rtol=0.01, atol=1e-3)


def test_the_options_reach_model_and_training(ratings_dir, tmp_path):
    options = {"num_factors": 5, "num_layers": 2, "reg": 0.25}
    main(
        num_epochs=1,
        batch_size=32,
        lr=0.0,
        data_dir=ratings_dir,
        out=tmp_path,
        quiet=True,
        force=True,
        **options,
    )
    model = load_model(tmp_path)
    assert {name: model.arguments[name] for name in options} == options
    assert (model.net.num_layers, model.net.reg, model.net.P.weight.shape) == (2, 0.25, (30, 5))
    # With lr = 0 the weights keep Xavier's uniform distribution for 30 rows of 5 numbers.
    largest = np.abs(model.net.P.weight.data().asnumpy()).max()
    assert 0.9 < largest / np.sqrt(6 / (30 + 5)) < 1.0001


def test_users_are_recommended_what_users_like_them_have_seen():
    """Each of two groups of users has its own items, and nobody has seen all items of a group."""
    pairs = [
        (u, i) for u in range(12) for i in range(20) if u % 2 == i % 2 and (u // 2 + i // 2) % 4
    ]
    users, items = np.array(pairs, dtype="int32").T
    net = LightGCN(8, 3, 1e-4, 12, 20, len(pairs))
    mx.random.seed(1)
    net.initialize(init=backend.init.Xavier())
    net.graph.set_edges(users, items)
    trainer = backend.gluon.Trainer(net.collect_params(), "adam", {"learning_rate": 0.05})
    seen, rng, loss = set(pairs), np.random.default_rng(0), own_loss(net)
    for _ in range(20):
        negatives = [rng.choice([j for j in range(20) if (u, j) not in seen]) for u in users]
        batch = [mx.np.array(part, dtype="int32") for part in (users, items, negatives)]
        with autograd.record():
            of_pairs = loss(*batch)
        of_pairs.backward()
        trainer.step(len(users))
    scores = net.score_all(mx.np.arange(12, dtype="int32")).asnumpy()
    for u in range(12):
        unseen = [i for i in range(20) if (u, i) not in seen]
        of_group = [scores[u, i] for i in unseen if i % 2 == u % 2]
        others = [scores[u, i] for i in unseen if i % 2 != u % 2]
        assert min(of_group) > max(others)
