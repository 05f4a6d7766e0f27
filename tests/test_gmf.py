import numpy as np
import pandas as pd
import pytest
from conftest import write_ratings

backend = pytest.importorskip("d2l_recsys.backend")
from d2l_recsys.chapters.extras import gmf  # noqa: E402
from d2l_recsys.datasets.movielens import COLUMNS  # noqa: E402
from d2l_recsys.evaluation.evaluators import _PairByPair  # noqa: E402
from d2l_recsys.losses import BPRLoss, HingeLossbRec, LogLoss  # noqa: E402
from d2l_recsys.runs import run  # noqa: E402
from d2l_recsys.saved_models import load_model  # noqa: E402
from d2l_recsys.training.objectives import ranking_loss  # noqa: E402

USERS, ITEMS = np.array([0, 5, 5, 2], dtype="int32"), np.array([8, 0, 8, 3], dtype="int32")


def two_tastes(folder, num_users=60, per_user=12, seed=0):
    """Write ratings of 40 movies by two groups of users, and return the folder.

    Users with odd numbers see only odd movies, users with even numbers only even ones. A model that
    knows this ranks 20 of about 28 unseen items below the held-out item, which is an AUC of 0.86. A
    ranking that is the same for all users has an AUC of 0.5. (The gender also shows the group.)
    """
    rng = np.random.default_rng(seed)
    seen = {
        user: rng.permutation(np.arange(2 - user % 2, 41, 2))[:per_user]
        for user in range(1, num_users + 1)
    }
    # The first user of each group sees the movies that are left, so that no movie is missing.
    for parity in (1, 0):
        group = [user for user in seen if user % 2 == parity]
        missing = set(range(2 - parity, 41, 2)) - {i for user in group for i in seen[user]}
        seen[group[0]] = np.append(seen[group[0]], sorted(missing)).astype(int)
    rows = [
        (user, item, rng.choice([1, 2]) + 3 * (item > 20), 880000000 + rng.integers(1000))
        for user, items in seen.items()
        for item in items
    ]
    return write_ratings(folder, pd.DataFrame(rows, columns=COLUMNS))


def pairs(users=USERS, items=ITEMS):
    return [backend.np.array(part, dtype="int32") for part in (users, items)]


def float64(parameter):
    return parameter.data().asnumpy().astype(np.float64)


def made(net, initializer=None):
    """Initialize ``net`` with random weights, the same each time, without ones and zeros."""
    backend.mx.random.seed(1)
    net.initialize(init=initializer or backend.init.Normal(0.7))
    for parameter in net.collect_params().values():
        if parameter.grad_req != "null":
            parameter.set_data(backend.np.random.normal(0, 0.7, parameter.shape))
    return net


def check_all_scores(net, num_users, num_items):
    """Check that ``score_all`` gives the same scores as the net pair by pair."""
    users = backend.np.array(np.random.default_rng(0).permutation(num_users), dtype="int32")
    at_once = net.score_all(users).asnumpy()
    one_by_one = _PairByPair(net, num_items).score_all(users).asnumpy()
    assert at_once.shape == (num_users, num_items)
    np.testing.assert_allclose(at_once, one_by_one, rtol=1e-4, atol=1e-5)
    assert one_by_one.std() > 0.1
    return at_once


@pytest.mark.parametrize("hybridized", [False, True])
def test_the_model_is_eq_9_of_he(hybridized):
    backend.npx.set_np()
    net = made(gmf.GMF(4, 6, 9))
    P, Q, h = (float64(p) for p in net.collect_params().values())
    expected = [sum(h[0, k] * P[u, k] * Q[i, k] for k in range(4)) for u, i in zip(USERS, ITEMS)]
    if hybridized:
        net.hybridize()
    np.testing.assert_allclose(net(*pairs()).asnumpy(), expected, rtol=1e-5)


def test_scores_of_all_items_are_those_of_the_pairs_and_products_with_the_items_vectors():
    backend.npx.set_np()
    net = made(gmf.GMF(4, 6, 9))
    check_all_scores(net, 6, 9)
    scores = net.score_all(backend.np.arange(6, dtype="int32")).asnumpy()
    P = net.P.weight.data().asnumpy()
    np.testing.assert_allclose(P @ net.item_vectors().T, scores, rtol=1e-4, atol=1e-5)


def test_before_training_it_is_matrix_factorization(ratings_dir, tmp_path):
    gmf.main(
        num_epochs=1,
        lr=0.0,
        data_dir=ratings_dir,
        batch_size=64,
        out=tmp_path,
        quiet=True,
        force=True,
    )
    net = load_model(tmp_path).net
    assert (net.h.weight.data().asnumpy() == 1).all()
    for table in (net.P, net.Q):
        assert table.weight.data().asnumpy().std() == pytest.approx(0.01, rel=0.1)


@pytest.mark.parametrize(
    ("name", "kind"), [("log", LogLoss), ("bpr", BPRLoss), ("hinge", HingeLossbRec)]
)
def test_the_loss_is_the_one_asked_for(name, kind, ratings_dir, tmp_path, monkeypatch):
    seen = []

    def record(net, loss):
        seen.append(type(loss))
        return ranking_loss(net, loss)

    monkeypatch.setattr(run, "ranking_loss", record)
    options = {
        "num_epochs": 1,
        "batch_size": 64,
        "data_dir": ratings_dir,
        "quiet": True,
        "force": True,
    }
    result = gmf.main(loss=name, out=tmp_path, **options)
    assert seen == [kind]
    assert result["settings"]["loss"] == name


@pytest.mark.parametrize("loss", ["log", "bpr"])
def test_two_tastes_are_learned(loss, tmp_path):
    data_dir = two_tastes(tmp_path)

    def auc(lr):
        options = {"loss": loss, "num_factors": 4, "num_epochs": 6, "lr": lr, "batch_size": 32}
        result = gmf.main(
            data_dir=data_dir, out=tmp_path / "out", quiet=True, force=True, **options
        )
        return result["defined"]["test_auc"]

    assert auc(0.02) > 0.8
    assert auc(0.0) < 0.65
