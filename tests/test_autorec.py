import numpy as np
import pytest

backend = pytest.importorskip("d2l_recsys.backend")
from d2l_recsys.chapters import autorec  # noqa: E402
from d2l_recsys.data import (  # noqa: E402
    load_data_ml100k,
    load_ranking_ml100k,
    read_data_ml100k,
    split_data_ml100k,
)
from d2l_recsys.errors import DataError, SettingError  # noqa: E402
from d2l_recsys.evaluation.scoring import all_scores, user_scores  # noqa: E402
from d2l_recsys.saved_models import load_model  # noqa: E402
from d2l_recsys.seeds import seed_streams  # noqa: E402
from d2l_recsys.train import train_recsys_rating  # noqa: E402

autograd, mx = backend.autograd, backend.np


@pytest.fixture
def net():
    backend.npx.set_np()
    net = autorec.AutoRec(3, 7, dropout=0)
    net.initialize(init=backend.init.Normal(1))
    return net


ROWS = np.array([[0, 3, 0, 5, 1, 0, 0], [2, 0, 0, 0, 0, 4, 0]], dtype="float32")


def reference(net):
    """Eq. 15.4.1 in float64, computed unit by unit."""
    V, mu, W, b = (p.data().asnumpy().astype(np.float64) for p in net.collect_params().values())
    rows = []
    for row in ROWS:
        hidden = [1 / (1 + np.exp(-(V[k] @ row + mu[k]))) for k in range(3)]
        rows.append([W[i] @ hidden + b[i] for i in range(7)])
    return np.array(rows)


def test_the_model_is_eq_15_4_1_and_is_masked_in_training_alone(net):
    expected = reference(net)
    np.testing.assert_allclose(net(mx.array(ROWS)).asnumpy(), expected, rtol=1e-5)
    with autograd.record():
        masked = net(mx.array(ROWS)).asnumpy()
    np.testing.assert_allclose(masked, expected * (ROWS > 0), rtol=1e-5)


ACTIVATIONS = {
    "identity": lambda x: x,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "tanh": np.tanh,
    "relu": lambda x: np.maximum(x, 0),
}


@pytest.mark.parametrize(("encoder", "decoder"), list(zip(ACTIVATIONS, reversed(ACTIVATIONS))))
def test_several_layers_and_other_activations_are_a_plain_product(encoder, decoder):
    backend.npx.set_np()
    net = autorec.AutoRec([4, 2, 3], 7, 0, "item", encoder, decoder)
    net.initialize(init=backend.init.Normal(0.5))
    weights = [p.data().asnumpy().astype(np.float64) for p in net.collect_params().values()]
    hidden = ROWS.astype(np.float64)
    for W, b in zip(weights[:6:2], weights[1:6:2]):
        hidden = ACTIVATIONS[encoder](hidden @ W.T + b)
    expected = ACTIVATIONS[decoder](hidden @ weights[6].T + weights[7])
    assert [w.shape for w in weights[::2]] == [(4, 7), (2, 4), (3, 2), (7, 3)]
    np.testing.assert_allclose(net(mx.array(ROWS)).asnumpy(), expected, rtol=1e-5, atol=1e-6)


def test_a_run_with_several_layers_leaves_a_model_that_loads(ratings_dir, tmp_path):
    result = autorec.main(
        num_epochs=1, batch_size=8, nums_hiddens=[6, 3], encoder_activation="tanh",
        data_dir=ratings_dir, out=tmp_path, quiet=True,
    )  # fmt: skip
    assert result["reported"] == {}
    assert result["settings"]["nums_hiddens"] == [6, 3]
    loaded = load_model(tmp_path)
    assert loaded.arguments["num_hidden"] == [6, 3]
    assert loaded.net.decoder.weight.shape == (30, 3)
    with pytest.raises(SettingError, match="--num-hidden has no effect beside --nums-hiddens"):
        autorec.main(num_hidden=9, nums_hiddens=[6], data_dir=ratings_dir, out=tmp_path / "b")


def test_unobserved_ratings_have_no_gradient(net):
    """Eq. 15.4.2: the gradient of a decoder bias has only the observed errors of its column."""
    loss = backend.gluon.loss.L2Loss()
    with autograd.record():
        total = loss(net(mx.array(ROWS)), mx.array(ROWS)).sum()
    total.backward()
    errors = (reference(net) - ROWS) * (ROWS > 0)
    gradient = net.decoder.bias.grad().asnumpy()
    np.testing.assert_allclose(gradient, errors.sum(axis=0) / 7, rtol=1e-4, atol=1e-6)
    assert (gradient[[2, 6]] == 0).all()
    # The inputs of a column without ratings are 0, so its encoder weights have no gradient.
    assert (net.encoder.weight.grad().asnumpy()[:, [2, 6]] == 0).all()


def test_dropout_acts_on_the_hidden_layer_in_training_alone():
    backend.npx.set_np()
    net = autorec.AutoRec(400, 7, dropout=0.5)
    net.initialize(init=backend.init.Normal(1))
    row = mx.array(ROWS[:1])
    assert (net(row).asnumpy() == net(row).asnumpy()).all()
    with autograd.record():
        first, second = net(row).asnumpy(), net(row).asnumpy()
    assert not np.array_equal(first, second)
    # Dropout acts on the hidden layer, with a different mask for each row.
    seen = {}
    net.encoder.register_forward_hook(lambda block, given, out: seen.update(hidden=out))
    net.dropout.register_forward_hook(
        lambda block, given, out: seen.update(given=given[0], out=out)
    )
    with autograd.record():
        net(mx.array(np.repeat(ROWS, 20, axis=0)))
    np.testing.assert_array_equal(seen["given"].asnumpy(), seen["hidden"].asnumpy())
    kept = seen["out"].asnumpy() != 0
    assert abs(kept.mean() - 0.5) < 0.03
    assert len({row.tobytes() for row in kept}) == len(kept)


def test_recording_a_prediction_masks_nothing(net):
    with autograd.record(train_mode=False):
        recorded = net(mx.array(ROWS)).asnumpy()
    np.testing.assert_allclose(recorded, reference(net), rtol=1e-5)


@pytest.mark.parametrize(("variant", "shape"), [("item", (40, 30)), ("user", (30, 40))])
def test_the_variant_chooses_the_rows(variant, shape, ratings, ratings_dir, tmp_path, monkeypatch):
    seen = {}

    def train(net, train_iter, test_iter, *arguments, inter_mat, **options):
        (seen["train"],), (seen["eval"],) = train_iter.arrays, test_iter.arrays
        seen["test"], seen["net"], seen["iter"] = inter_mat, net, test_iter
        return train_recsys_rating(
            net, train_iter, test_iter, *arguments, inter_mat=inter_mat, **options
        )

    monkeypatch.setattr(autorec, "train_recsys_rating", train)
    result = autorec.main(
        num_epochs=1, batch_size=8, variant=variant, dropout=0.3, data_dir=ratings_dir,
        out=tmp_path, quiet=True, force=True,
    )  # fmt: skip
    assert bool(result["reported"]) == (variant == "item")
    assert seen["net"].dropout._rate == 0.3
    assert (seen["iter"].shuffle, seen["iter"].last_batch) == (False, "keep")
    np.testing.assert_array_equal(seen["eval"], seen["train"])
    assert seen["train"].shape == seen["eval"].shape == seen["test"].shape == shape
    assert seen["net"].encoder.weight.shape == (500, shape[1])
    whole = np.zeros((30, 40))
    whole[ratings["user_id"] - 1, ratings["item_id"] - 1] = ratings["rating"]
    whole = whole if variant == "user" else whole.T
    np.testing.assert_array_equal(seen["train"] + seen["test"], whole)
    assert not ((seen["train"] > 0) & (seen["test"] > 0)).any()
    assert 0.02 < (seen["test"] > 0).sum() / (whole > 0).sum() < 0.25


@pytest.mark.parametrize("variant", ["item", "user"])
def test_the_split_is_the_one_asked_for(variant, ratings_dir, tmp_path, monkeypatch):
    seen = []

    def train(net, train_iter, test_iter, *arguments, inter_mat, **options):
        seen.append((train_iter.arrays[0], inter_mat))
        return train_recsys_rating(
            net, train_iter, test_iter, *arguments, inter_mat=inter_mat, **options
        )

    monkeypatch.setattr(autorec, "train_recsys_rating", train)
    data, *counts = read_data_ml100k(ratings_dir)
    for split in ("random", "seq-aware", "validation"):
        result = autorec.main(
            num_epochs=1, batch_size=8, split=split, variant=variant, data_dir=ratings_dir,
            out=tmp_path, quiet=True, force=True,
        )  # fmt: skip
        assert result["settings"]["split"] == split
        assert bool(result["reported"]) == (split == "random" and variant == "item")
        parts = split_data_ml100k(data, *counts, split, 0.1, seed_streams(0).split)
        for found, part in zip(seen.pop(), parts):
            expected = load_data_ml100k(part, *counts)[-1]
            np.testing.assert_array_equal(found, expected if variant == "item" else expected.T)


@pytest.mark.parametrize("variant", ["item", "user"])
def test_a_saved_model_scores_items_by_the_completed_ratings(
    variant, ratings_dir, tmp_path, monkeypatch
):
    autorec.main(
        num_epochs=3, batch_size=8, lr=0.02, variant=variant, data_dir=ratings_dir, out=tmp_path,
        quiet=True, force=True,
    )  # fmt: skip
    data = load_ranking_ml100k(ratings_dir)
    matrix = np.zeros((30, 40), dtype="float32")
    for user, item, rating in zip(data.users, data.items, data.ratings):
        matrix[user, item] = rating
    rows = matrix if variant == "user" else matrix.T
    for device, rows_at_once in ((backend.mx.cpu(0), 7), (backend.mx.cpu(1), 1024)):
        monkeypatch.setattr("d2l_recsys.chapters.autorec.ROWS_PER_EVALUATION", rows_at_once)
        net = load_model(tmp_path, device).net
        completed = net(mx.array(rows, ctx=device)).asnumpy()
        expected = completed if variant == "user" else completed.T
        ((_, scores),) = all_scores(net, data, [device])
        np.testing.assert_allclose(scores, expected, rtol=1e-5, atol=1e-5)
        assert np.ptp(scores) > 0.1
        one_user = user_scores(net, data, 7)
        np.testing.assert_allclose(one_user, expected[7], rtol=1e-5, atol=1e-5)


def test_without_rows_and_of_an_unknown_variant_it_scores_nothing(net):
    with pytest.raises(
        DataError, match="AutoRec needs the rows of the users: pass the rows that user_inputs"
    ):
        net.score_all(mx.arange(2, dtype="int32"))
    with pytest.raises(SettingError, match="--variant is 'both'; choose one of: item, user"):
        autorec.AutoRec(3, 7, variant="both")


def test_rows_of_another_length_are_refused(ratings_dir):
    data = load_ranking_ml100k(ratings_dir)
    for variant, length, others in (
        ("item", 40, "items' rows of 40 numbers, but the rows of this data have 30;"),
        ("user", 30, "users' rows of 30 numbers, but the rows of this data have 40;"),
    ):
        net = autorec.AutoRec(3, length, variant=variant)
        net.initialize()
        with pytest.raises(DataError, match=others):
            net.user_inputs(data)
