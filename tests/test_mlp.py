import numpy as np
import pytest
from test_gmf import ITEMS, USERS, check_all_scores, float64, made, pairs, two_tastes

backend = pytest.importorskip("d2l_recsys.backend")
from d2l_recsys.chapters.extras import mlp  # noqa: E402
from d2l_recsys.errors import SettingError  # noqa: E402
from d2l_recsys.layers import operators  # noqa: E402
from d2l_recsys.saved_models import load_model  # noqa: E402


@pytest.fixture(autouse=True)
def np_semantics():
    backend.npx.set_np()


@pytest.mark.parametrize("hybridized", [False, True])
@pytest.mark.parametrize("nums_hiddens", [[5], [7, 5, 3]])
def test_the_model_is_eq_10_of_he(nums_hiddens, hybridized):
    net = made(mlp.MLP(4, 6, 9, nums_hiddens))
    U, V, *layers, h = (float64(p) for p in net.collect_params().values())
    assert [W.shape[0] for W in layers[::2]] == nums_hiddens
    expected = []
    for u, i in zip(USERS, ITEMS):
        z = np.concatenate([U[u], V[i]])
        for W, b in zip(layers[::2], layers[1::2]):
            z = np.array([max(sum(W[j] * z) + b[j], 0) for j in range(len(b))])
        expected.append(h[0] @ z)
    if hybridized:
        net.hybridize()
    np.testing.assert_allclose(net(*pairs()).asnumpy(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("nums_hiddens", [[5], [7, 5, 3], [3, 8]])
@pytest.mark.parametrize("units", [1, 9 * 8 * 4, 2**21])
def test_scores_of_all_items_are_those_of_the_pairs_in_however_many_parts(
    nums_hiddens, units, monkeypatch
):
    monkeypatch.setattr(operators, "UNITS_AT_ONCE", units)
    check_all_scores(made(mlp.MLP(4, 6, 9, nums_hiddens)), 6, 9)


def test_no_more_pairs_are_computed_at_once_than_memory_is_bounded_by(monkeypatch):
    monkeypatch.setattr(operators, "UNITS_AT_ONCE", 9 * 8 * 4)
    net, rows = made(mlp.MLP(4, 6, 9, [3, 8])), []
    net.mlp[1].register_forward_pre_hook(lambda block, given: rows.append(len(given[0])))
    net.score_all(backend.np.arange(6, dtype="int32"))
    assert rows == [9 * 4, 9 * 2]


def test_users_and_items_parts_may_be_of_unequal_length():
    """The users' and items' parts of DeepFM have unequal lengths."""
    layer = made(backend.nn.Dense(5, activation="relu", in_units=7))
    rng = np.random.default_rng(0)
    users, items, h = (rng.normal(size=shape).astype("float32") for shape in ((3, 5), (4, 2), 5))
    W, b = float64(layer.weight), float64(layer.bias)
    expected = [[np.maximum(W @ np.concatenate([u, i]) + b, 0) @ h for i in items] for u in users]
    found = operators.score_all_pairs([layer], *map(backend.np.array, (h, users, items)))
    np.testing.assert_allclose(found.asnumpy(), expected, rtol=1e-4, atol=1e-5)


def test_an_items_vector_is_what_the_first_layer_takes_in_of_it():
    net = made(mlp.MLP(4, 6, 9, [7, 3]))
    seen = []
    net.mlp[0].register_forward_hook(lambda block, given, out: seen.append(given[0].asnumpy()))
    net(*pairs(np.zeros(9), np.arange(9)))
    seen[0][:, :4] = 0
    expected = seen[0] @ net.mlp[0].weight.data().asnumpy().T
    np.testing.assert_allclose(net.item_vectors(), expected, rtol=1e-4, atol=1e-5)


def test_a_network_without_layers_is_refused(ratings_dir, tmp_path):
    with pytest.raises(SettingError, match="--nums-hiddens is empty"):
        mlp.main(nums_hiddens=[], data_dir=ratings_dir, out=tmp_path, quiet=True)


def test_the_layers_start_as_xaviers_and_the_embeddings_small(ratings_dir, tmp_path):
    options = {"data_dir": ratings_dir, "out": tmp_path, "batch_size": 64, "quiet": True}
    mlp.main(num_epochs=1, lr=0.0, **options)
    net = load_model(tmp_path).net
    for part in (net.U, net.V):
        assert part.weight.data().asnumpy().std() == pytest.approx(0.01, rel=0.15)
    for layer in (*net.mlp, net.h):
        weight = layer.weight.data().asnumpy()
        bound = np.sqrt(3 / (sum(weight.shape) / 2))
        assert 0.7 * bound < np.abs(weight).max() <= bound


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["log", "bpr"])
def test_two_tastes_are_learned(loss, tmp_path):
    learned = mlp.main(
        loss=loss, num_factors=4, num_epochs=10, lr=0.02, batch_size=32,
        data_dir=two_tastes(tmp_path), out=tmp_path / "out", quiet=True,
    )  # fmt: skip
    assert learned["defined"]["test_auc"] > 0.8
    assert (learned["settings"]["loss"], learned["settings"]["nums_hiddens"]) == (loss, [32, 16, 8])
