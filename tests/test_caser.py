import numpy as np
import pytest

backend = pytest.importorskip("d2l_recsys.backend")
from d2l_recsys.chapters import caser  # noqa: E402
from d2l_recsys.data import load_ranking_ml100k  # noqa: E402
from d2l_recsys.errors import SettingError  # noqa: E402
from d2l_recsys.evaluation.scoring import all_scores  # noqa: E402
from d2l_recsys.losses import BPRLoss  # noqa: E402
from d2l_recsys.ranking import HeldOut  # noqa: E402
from d2l_recsys.saved_models import load_model  # noqa: E402
from d2l_recsys.sequences import sequence_windows  # noqa: E402
from d2l_recsys.train import train_ranking  # noqa: E402

mx, nn, npx = backend.np, backend.nn, backend.npx


def make(L, d, d_prime, num_factors=3):
    npx.set_np()
    net = caser.Caser(num_factors, 6, 9, L, d, d_prime)
    net.initialize(init=backend.init.Normal(0.7))
    return net


def inputs(L):
    rng = np.random.default_rng(0)
    users, items = rng.integers(0, 6, 4).astype("int32"), rng.integers(0, 9, 4).astype("int32")
    return users, rng.integers(0, 9, (4, L)).astype("int32"), items


def float64(parameter):
    return parameter.data().asnumpy().astype(np.float64)


@pytest.mark.parametrize("hybridized", [False, True])
@pytest.mark.parametrize(
    ("L", "d", "d_prime"), [(1, 2, 2), (3, 4, 2), (5, 2, 3), (3, 0, 2), (3, 4, 0)]
)
def test_the_model_is_eq_15_7_1_to_4(L, d, d_prime, hybridized):
    """The reference computes each number by itself, in float64."""
    net = make(L, d, d_prime)
    users, sequences, items = inputs(L)
    P, Q, Q_prime = (float64(part.weight) for part in (net.P, net.Q, net.Q_prime))
    expected = []
    for u, sequence, i in zip(users, sequences, items):
        E, features = Q[sequence], []
        for f in range(d_prime):
            weights, bias = float64(net.conv_v.weight)[f], float64(net.conv_v.bias)[f]
            features += [sum(weights[t] * E[t, k] for t in range(L)) + bias for k in range(3)]
        for height in range(1, L + 1):
            for f in range(d):
                layer = net.conv_h[height - 1]
                weights = float64(layer.weight)[f].reshape(height, 3)
                bias = float64(layer.bias)[f]
                features.append(max(
                    max((weights * E[t : t + height]).sum() + bias, 0)
                    for t in range(L - height + 1)
                ))  # fmt: skip
        z = np.maximum(float64(net.fc.weight) @ features + float64(net.fc.bias), 0)
        expected.append(Q_prime[i] @ np.concatenate([z, P[u]]) + float64(net.b.weight)[i, 0])
    if hybridized:
        net.hybridize()
    found = net(*(mx.array(part, dtype="int32") for part in (users, sequences, items)))
    np.testing.assert_allclose(found.asnumpy(), expected, rtol=1e-4, atol=1e-5)


def test_the_filters_are_the_chapters_convolutions():
    """nn.Conv2D and pooling give the same features with the same weights, reshaped."""
    L, num_factors = 4, 3
    net = make(L, d=5, d_prime=2, num_factors=num_factors)
    users, sequences, _ = inputs(L)
    E = net.Q(mx.array(sequences, dtype="int32"))
    picture = mx.expand_dims(E, 1)

    def convolve(layer, channels, kernel):
        conv = nn.Conv2D(channels, kernel, in_channels=1)
        conv.initialize()
        conv.weight.set_data(layer.weight.data().reshape(channels, 1, *kernel))
        conv.bias.set_data(layer.bias.data())
        return conv(picture)

    features = [convolve(net.conv_v, 2, (L, 1)).reshape(4, -1)]
    for height, layer in enumerate(net.conv_h, start=1):
        responses = mx.squeeze(npx.relu(convolve(layer, 5, (height, num_factors))), axis=3)
        features.append(mx.squeeze(nn.MaxPool1D(L - height + 1)(responses), axis=2))
    seen = []
    net.fc.register_forward_pre_hook(lambda block, given: seen.append(given[0].asnumpy()))
    net.view(backend.mx.nd, mx.array(users, dtype="int32"), mx.array(sequences, dtype="int32"))
    np.testing.assert_allclose(
        seen[0], np.concatenate([part.asnumpy() for part in features], axis=1), atol=1e-5
    )


def test_without_any_filter_it_is_refused(ratings_dir, tmp_path):
    with pytest.raises(SettingError, match="--d and --d-prime are both 0"):
        caser.main(d=0, d_prime=0, data_dir=ratings_dir, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "reported"),
    [
        ({}, True),
        ({"L": 5}, False),
        ({"d": 0}, False),
        ({"d_prime": 0}, False),
        ({"split": "validation"}, False),
    ],
)
def test_the_ablation_and_other_lengths_run_and_quote_no_reported_number(
    options, reported, ratings_dir, tmp_path
):
    result = caser.main(
        num_epochs=1, batch_size=64, data_dir=ratings_dir, out=tmp_path, quiet=True, **options
    )
    assert bool(result["reported"]) == reported
    assert {name: result["settings"][name] for name in options} == options


def test_sequences_longer_than_any_history_still_train(ratings_dir, tmp_path):
    """A user has about eleven training items, so with L = 20 each user has one padded window."""
    result = caser.main(
        num_epochs=1, batch_size=8, L=20, d=1, data_dir=ratings_dir, out=tmp_path, quiet=True
    )
    assert 0 < result["printed"]["test_auc"] < 1


def test_loss_windows_and_dropout_are_the_sections(ratings_dir, tmp_path, monkeypatch):
    seen = {}

    def train(net, train_iter, test_iter, loss, trainer, test_seq_iter, *arguments, **options):
        seen.update(net=net, arrays=train_iter.arrays, loss=loss, test_seq=test_seq_iter)
        return train_ranking(
            net, train_iter, test_iter, loss, trainer, test_seq_iter, *arguments, **options
        )

    monkeypatch.setattr(caser, "train_ranking", train)
    caser.main(
        num_epochs=1, batch_size=64, dropout=0.3, data_dir=ratings_dir, out=tmp_path, quiet=True
    )
    data = load_ranking_ml100k(ratings_dir)
    windows = sequence_windows(data.users, data.items, 3, data.num_users)
    assert type(seen["loss"]) is BPRLoss
    assert seen["net"].dropout._rate == 0.3
    for given, expected in zip((*seen["arrays"], seen["test_seq"]), windows):
        np.testing.assert_array_equal(given, expected)
    assert caser.Caser(3, 6, 9).dropout._rate == 0.05


def test_a_run_shows_its_first_training_sample(ratings_dir, run_here):
    """The newest window of the first user; the rows are the ids less 1."""
    data = load_ranking_ml100k(ratings_dir)
    *sequence, target = data.candidates[0][-5:]
    options = ["--L", 4, "--num-epochs", 1, "--batch-size", 64, "--data-dir", ratings_dir]
    code, out, _ = run_here("run", "caser", *options)
    assert code == 0
    assert out.splitlines()[2] == (
        f"the first training sample: user 0, sequence {sequence}, next item {target} "
        "(rows, counted from 0)"
    )
    assert run_here("run", "caser", *options, "--quiet")[1] == ""


@pytest.mark.network
def test_the_first_training_sample_is_the_one_that_the_book_shows(ml100k_dir):
    data = load_ranking_ml100k(ml100k_dir)
    users, sequences, targets, _ = sequence_windows(
        data.users, data.items, caser.CHAPTERS_L, data.num_users
    )
    assert (users[0], sequences[0].tolist(), targets[0]) == (0, [110, 255, 4], 101)


def test_dropout_acts_on_the_filters_features():
    net, seen = make(3, 4, 2), {}
    net.dropout.register_forward_hook(
        lambda block, given, out: seen.update(given=given[0], out=out)
    )
    net.fc.register_forward_pre_hook(lambda block, given: seen.update(fc=given[0]))
    users, sequences, items = (mx.array(part, dtype="int32") for part in inputs(3))
    net(users, sequences, items)
    assert seen["given"].shape == (4, 2 * 3 + 4 * 3)
    assert (seen["fc"] == seen["out"]).all()


def test_dropout_acts_in_training_alone():
    net = make(3, 16, 4)
    users, sequences, items = (mx.array(part, dtype="int32") for part in inputs(3))
    assert (net(users, sequences, items) == net(users, sequences, items)).all()
    net.dropout._rate = 0.5
    with backend.autograd.record():
        first, second = net(users, sequences, items), net(users, sequences, items)
    assert not np.array_equal(first.asnumpy(), second.asnumpy())


@pytest.mark.parametrize("split", ["seq-aware", "validation"])
def test_a_saved_model_ranks_as_it_did_by_what_it_reads_of_the_data(split, ratings_dir, tmp_path):
    options = {"num_epochs": 1, "batch_size": 64, "L": 4, "data_dir": ratings_dir, "quiet": True}
    result = caser.main(split=split, out=tmp_path, **options)
    assert result["settings"]["split"] == split
    net, data = load_model(tmp_path).net, load_ranking_ml100k(ratings_dir, split)
    for user, last in enumerate(net.user_inputs(data)):
        assert last.tolist() == data.candidates[user][-4:]
    held_out = HeldOut(data.test_items, data.candidates, data.num_users, data.num_items)
    ranks = [held_out.ranks(*block) for block in all_scores(net, data)]
    assert held_out.scores(ranks).defined.items() <= result["defined"].items()


def test_items_vectors_are_what_views_are_multiplied_by():
    net = make(3, 2, 2)
    users, sequences, _ = (mx.array(part, dtype="int32") for part in inputs(3))
    view = net.view(backend.mx.nd, users, sequences).asnumpy()
    expected = net.score_all(users, sequences).asnumpy() - net.b.weight.data().asnumpy().T
    np.testing.assert_allclose(view @ net.item_vectors().T, expected, rtol=1e-4, atol=1e-5)
