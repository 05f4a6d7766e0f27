import numpy as np
import pytest

backend = pytest.importorskip("d2l_recsys.backend")
from d2l_recsys.chapters import neumf  # noqa: E402
from d2l_recsys.data import load_ranking_ml100k  # noqa: E402
from d2l_recsys.errors import SettingError  # noqa: E402
from d2l_recsys.layers import operators  # noqa: E402
from d2l_recsys.losses import BPRLoss, HingeLossbRec  # noqa: E402
from d2l_recsys.train import train_ranking  # noqa: E402


@pytest.mark.parametrize("hybridized", [False, True])
@pytest.mark.parametrize("head", ["sum", "linear", "sigmoid"])
def test_the_model_is_eq_15_6_1_to_3(head, hybridized):
    backend.npx.set_np()
    net = neumf.NeuMF(4, 6, 9, [5, 3], head)
    net.initialize(init=backend.init.Normal(0.7))
    values = {
        name: p.data().asnumpy().astype(np.float64) for name, p in net.collect_params().items()
    }
    P, Q, U, V, W1, b1, W2, b2, *h = values.values()
    h = h[0][0] if h else np.ones(4 + 3)
    users, items = np.array([0, 5, 5, 2], dtype="int32"), np.array([8, 0, 8, 3], dtype="int32")
    expected = []
    for u, i in zip(users, items):
        hidden = np.maximum(W1 @ np.concatenate([U[u], V[i]]) + b1, 0)
        hidden = np.maximum(W2 @ hidden + b2, 0)
        score = h @ np.concatenate([P[u] * Q[i], hidden])
        expected.append(1 / (1 + np.exp(-score)) if head == "sigmoid" else score)
    if hybridized:
        net.hybridize()
    found = net(*(backend.np.array(part, dtype="int32") for part in (users, items))).asnumpy()
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_an_unknown_head_is_refused():
    with pytest.raises(SettingError, match="--head is 'max'; choose one of: sum, linear, sigmoid"):
        neumf.NeuMF(4, 6, 9, [5], "max")
    with pytest.raises(SettingError, match="--nums-hiddens is empty"):
        neumf.NeuMF(4, 6, 9, [])


def test_wide_layers_are_scored_in_parts(monkeypatch):
    backend.npx.set_np()
    net = neumf.NeuMF(4, 6, 9, [5, 3])
    net.initialize(init=backend.init.Normal(0.7))
    users = backend.np.arange(6, dtype="int32")
    whole = net.score_all(users).asnumpy()
    for units in (1, 9 * 5 * 4):
        monkeypatch.setattr(operators, "UNITS_AT_ONCE", units)
        np.testing.assert_allclose(net.score_all(users).asnumpy(), whole, atol=1e-6)


@pytest.mark.parametrize(("name", "kind"), [("bpr", BPRLoss), ("hinge", HingeLossbRec)])
def test_head_layers_and_loss_are_those_asked_for(name, kind, ratings_dir, tmp_path, monkeypatch):
    seen = {}

    def train(net, train_iter, test_iter, loss, *arguments, **options):
        seen.update(net=net, loss=loss)
        return train_ranking(net, train_iter, test_iter, loss, *arguments, **options)

    monkeypatch.setattr(neumf, "train_ranking", train)
    result = neumf.main(
        num_epochs=1, batch_size=64, loss=name, head="linear", nums_hiddens=[6, 2],
        data_dir=ratings_dir, out=tmp_path, quiet=True, force=True,
    )  # fmt: skip
    assert type(seen["loss"]) is kind
    assert [layer.weight.shape for layer in seen["net"].mlp] == [(6, 20), (2, 6)]
    assert seen["net"].prediction.weight.shape == (1, 12)
    assert (result["settings"]["loss"], result["settings"]["head"]) == (name, "linear")
    assert result["settings"]["nums_hiddens"] == [6, 2]


def test_nothing_is_reported_for_what_the_chapter_does_not_run(ratings_dir, tmp_path):
    for options, reported in (
        ({}, True),
        ({"head": "linear"}, False),
        ({"loss": "hinge"}, False),
        ({"split": "validation"}, False),
    ):
        result = neumf.main(
            num_epochs=1,
            batch_size=64,
            data_dir=ratings_dir,
            out=tmp_path,
            quiet=True,
            force=True,
            **options,
        )
        assert bool(result["reported"]) == reported


@pytest.mark.parametrize("head", ["sum", "linear", "sigmoid"])
def test_items_vectors_are_what_the_gmf_multiplies_users_by(head):
    """The weights of the MLP are 0 here, so the scores come only from the GMF."""
    backend.npx.set_np()
    net = neumf.NeuMF(4, 6, 9, [5, 3], head)
    net.initialize(init=backend.init.Normal(0.7))
    for layer in net.mlp:
        layer.weight.set_data(layer.weight.data() * 0)
    users = backend.np.arange(6, dtype="int32")
    scores = net.score_all(users).asnumpy()
    if head == "sigmoid":
        scores = np.log(scores / (1 - scores))
    found = net.P.weight.data().asnumpy() @ net.item_vectors().T
    np.testing.assert_allclose(found, scores, rtol=1e-3, atol=1e-5)


def test_the_split_is_the_one_asked_for(ratings_dir, tmp_path, monkeypatch):
    given = []

    def train(net, train_iter, test_iter, *arguments, candidates, **options):
        given.append((train_iter.arrays, test_iter, candidates))
        return train_ranking(
            net, train_iter, test_iter, *arguments, candidates=candidates, **options
        )

    monkeypatch.setattr(neumf, "train_ranking", train)
    options = {
        "num_epochs": 1,
        "batch_size": 64,
        "data_dir": ratings_dir,
        "quiet": True,
        "force": True,
    }
    for split in ("seq-aware", "validation"):
        result = neumf.main(split=split, out=tmp_path, **options)
        assert result["settings"]["split"] == split
        arrays, test_items, candidates = given.pop()
        data = load_ranking_ml100k(ratings_dir, split)
        for found, expected in zip(arrays, (data.users, data.items)):
            np.testing.assert_array_equal(found, expected)
        assert (test_items, candidates) == (data.test_items, data.candidates)
    with pytest.raises(
        SettingError, match="--split is 'random'; choose one of: seq-aware, validation"
    ):
        neumf.main(split="random", out=tmp_path / "none", **options)
    assert not (tmp_path / "none").exists()
