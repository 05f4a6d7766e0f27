import numpy as np
import pandas as pd
import pytest
from test_gmf import ITEMS, USERS, check_all_scores, float64, made, pairs, two_tastes

backend = pytest.importorskip("d2l_recsys.backend")
from d2l_recsys.chapters.extras import neumf_ratings  # noqa: E402
from d2l_recsys.data import load_ranking_ml100k  # noqa: E402
from d2l_recsys.loaders.batches import training_loader  # noqa: E402
from d2l_recsys.saved_models import load_model  # noqa: E402


@pytest.fixture(autouse=True)
def np_semantics():
    backend.npx.set_np()


@pytest.mark.parametrize("hybridized", [False, True])
def test_the_model_is_neumf_with_a_linear_head_and_a_bias(hybridized):
    net = made(neumf_ratings.NeuMFRatings(4, 6, 9, [5, 3]))
    values = {name: float64(p) for name, p in net._collect_params_with_prefix().items()}
    assert {name.partition(".")[0] for name in values} == set("PQUV") | {
        "mlp",
        "prediction",
        "bias",
    }
    P, Q, U, V = (values[f"{name}.weight"] for name in "PQUV")
    expected = []
    for u, i in zip(USERS, ITEMS):
        z = np.concatenate([U[u], V[i]])
        for layer in (0, 1):
            W, b = (values[f"mlp.{layer}.{name}"] for name in ("weight", "bias"))
            z = np.maximum(W @ z + b, 0)
        both = np.concatenate([P[u] * Q[i], z])
        expected.append(values["prediction.weight"][0] @ both + values["bias"][0])
    if hybridized:
        net.hybridize()
    found = net(*pairs())
    assert found.shape == (4,)
    np.testing.assert_allclose(found.asnumpy(), expected, rtol=1e-4, atol=1e-5)


def test_the_ratings_of_all_items_are_those_of_the_pairs():
    check_all_scores(made(neumf_ratings.NeuMFRatings(4, 6, 9, [5, 3])), 6, 9)


def test_items_vectors_are_those_of_the_gmf():
    net = made(neumf_ratings.NeuMFRatings(4, 6, 9, [5, 3]))
    h = net.prediction.weight.data().asnumpy()[:, :4]
    np.testing.assert_array_equal(net.item_vectors(), net.Q.weight.data().asnumpy() * h)


def test_the_bias_starts_at_the_mean_rating(ratings_dir, tmp_path):
    data = load_ranking_ml100k(ratings_dir)
    for devices in (1, 2):
        result = neumf_ratings.main(
            num_epochs=1, lr=0.0, batch_size=len(data.users), num_devices=devices,
            data_dir=ratings_dir, out=tmp_path, quiet=True, force=True,
        )  # fmt: skip
        net = load_model(tmp_path).net
        mean = data.ratings.mean(dtype=np.float64)
        assert net.bias.data().asnumpy() == pytest.approx([mean], rel=1e-6)
        # The loss is half the squared error of the ratings.
        scores = net.score_all(backend.np.arange(30, dtype="int32")).asnumpy()
        errors = scores[data.users, data.items].astype(np.float64) - data.ratings
        assert result["defined"]["train_loss"] == pytest.approx((errors**2 / 2).mean(), rel=1e-4)
        assert result["defined"]["train_rmse"] == pytest.approx(
            np.sqrt((errors**2).mean()), rel=1e-5
        )


def test_ratings_are_learned(tmp_path):
    data_dir = two_tastes(tmp_path)
    options = {
        "num_epochs": 8,
        "lr": 0.01,
        "batch_size": 16,
        "data_dir": data_dir,
        "quiet": True,
        "force": True,
    }
    result = neumf_ratings.main(out=tmp_path / "out", **options)["defined"]
    data = load_ranking_ml100k(data_dir)
    # Items 1 to 20 have ratings of about 1.5, the other items ratings of about 4.5.
    assert data.ratings.std() > 1.4
    assert result["train_rmse"] < 0.7
    net = load_model(tmp_path / "out").net
    scores = net.score_all(backend.np.arange(60, dtype="int32")).asnumpy()
    assert scores[:, 20:].mean() - scores[:, :20].mean() > 2
    history = pd.read_csv(tmp_path / "out" / "history.csv")
    assert history["defined_train_rmse"].iloc[-1] == pytest.approx(result["train_rmse"])
    assert history["defined_train_rmse"].iloc[0] > result["train_rmse"]


def test_the_shuffled_order_is_the_seeds(ratings_dir, tmp_path, monkeypatch):
    loaders = []

    def record(*arrays, **options):
        loaders.append(training_loader(*arrays, **options))
        return loaders[-1]

    monkeypatch.setattr(neumf_ratings, "training_loader", record)
    for seed in (1, 1, 2):
        neumf_ratings.main(
            seed=seed,
            num_epochs=1,
            batch_size=50,
            data_dir=ratings_dir,
            out=tmp_path,
            quiet=True,
            force=True,
        )
    data = load_ranking_ml100k(ratings_dir)
    for loader in loaders:
        assert (loader.batch_size, loader.last_batch, loader.shuffle) == (50, "rollover", True)
        for found, expected in zip(loader.arrays, (data.users, data.items, data.ratings)):
            np.testing.assert_array_equal(found, expected)
    states = [loader.rng.bit_generator.state for loader in loaders]
    assert states[0] == states[1] != states[2]


def test_the_mlp_speaks(ratings_dir, tmp_path):
    """With the small initial weights of section 15.6, the output of the MLP becomes 0."""
    neumf_ratings.main(batch_size=16, data_dir=ratings_dir, out=tmp_path, quiet=True, force=True)
    net, seen = load_model(tmp_path).net, []
    net.mlp.register_forward_hook(lambda block, given, out: seen.append(out.asnumpy()))
    net(*pairs(np.repeat(np.arange(30), 40), np.tile(np.arange(40), 30)))
    assert seen[0].std() > 0.01
    assert (net.prediction.weight.shape, len(net.mlp)) == ((1, 12), 3)
