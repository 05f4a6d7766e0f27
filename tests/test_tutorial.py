"""The tutorial's systems: plain loops in float64, and the tutorial's own numbers."""

import json
import math

import numpy as np
import pandas as pd
import pytest
from conftest import some, what_it_left
from test_gmf import float64

backend = pytest.importorskip("d2l_recsys.backend")
from d2l_recsys.backend import autograd, gluon, init, mx, nn  # noqa: E402
from d2l_recsys.chapters.tutorial import autoencoder, neumf, svd  # noqa: E402
from d2l_recsys.chapters.tutorial.neumf import OutputBias, Start  # noqa: E402
from d2l_recsys.data import load_all_ml100k  # noqa: E402
from d2l_recsys.errors import SettingError, Stopped  # noqa: E402
from d2l_recsys.layers.initial_weights import draw_evenly  # noqa: E402
from d2l_recsys.recommend import recommend  # noqa: E402
from d2l_recsys.saved_models import load_model  # noqa: E402
from d2l_recsys.seeds import seed_streams  # noqa: E402

mx_np = backend.np
# What the tutorial's own code gives for user 837.
SVD_OF_837 = {
    "Postino, Il": "1.975",
    "Toy Story": "1.739",
    "Cold Comfort Farm": "1.526",
    "Spitfire Grill, The": "1.430",
    "Star Wars": "1.423",
}
LIST_OF_837 = ["Star Wars", "Fargo", "Raiders of the Lost Ark", "Toy Story", "Godfather, The"]


def matrix_of(data):
    R = np.zeros(data.sizes)
    for user, item, rating in zip(data.users, data.items, data.ratings):
        R[user, item] = rating
    return R


@pytest.mark.parametrize("k", [1, 5, 20])
def test_the_svd_is_that_of_the_demeaned_rows(k, ratings_dir):
    data = load_all_ml100k(ratings_dir)
    model, sigma = svd.fit(data, k)
    R = matrix_of(data)
    means = np.array([sum(row) / len(row) for row in R])
    U, S, Vt = np.linalg.svd(R - means[:, None])
    np.testing.assert_allclose(sigma, S[:k], rtol=1e-9)
    expected = (U[:, :k] * S[:k]) @ Vt[:k] + means[:, None]
    found = model.score_all(np.arange(data.num_users))
    np.testing.assert_allclose(found, expected, atol=1e-5)
    error = np.mean([(a - b) ** 2 for a, b in zip(R.ravel(), expected.ravel())])
    assert svd.squared_error(data, model) == pytest.approx(error, rel=1e-5)


@pytest.mark.network
def test_the_svd_gives_the_tutorials_five_movies_with_their_scores(ml100k_dir, run_here, tmp_path):
    code, out, err = run_here("run", "tutorial_svd", "--data-dir", ml100k_dir, "--out", tmp_path)
    assert (code, err) == (0, "")
    best = recommend(load_model(tmp_path), 837, 5, ml100k_dir)
    assert dict(zip(best["title"], (f"{score:.3f}" for score in best["score"]))) == SVD_OF_837
    told = [f"{title} ({year}) {score:.3f}" for title, year, score in
            zip(best["title"], best["year"], best["score"])]  # fmt: skip
    assert out.splitlines()[-1] == f"user 837: {', '.join(told)}"


def test_bad_options_of_the_svd_are_one_line(ratings_dir, run_here, tmp_path):
    for options, told in (
        (["--user", 31], "--user is 31; the data has users 1 to 30"),
        (
            ["--num-factors", 30, "--user", 1],
            "--num-factors is 30; for 30 users and 40 items",
        ),
    ):
        where = ["--data-dir", ratings_dir, "--out", tmp_path / "out"]
        code, _, err = run_here("run", "tutorial_svd", *where, *options)
        assert (code, err.count("\n")) == (2, 1)
        assert told in err


QUICK = {"num_epochs": 2, "quiet": True, "force": True}


@pytest.fixture(autouse=True)
def np_semantics():
    backend.npx.set_np()


def test_weights_and_biases_are_drawn_evenly_up_to_the_bound_of_the_inputs():
    mx.random.seed(0)
    layer = nn.Dense(500, in_units=400)
    layer.initialize()
    draw_evenly(layer)
    for values in (layer.weight.data().asnumpy().ravel(), layer.bias.data().asnumpy()):
        assert np.abs(values).max() <= 1 / 20
        # A uniform distribution has a quarter of its values in each quarter of its range.
        quarters = np.histogram(values, np.linspace(-0.05, 0.05, 5))[0] / len(values)
        np.testing.assert_allclose(quarters, 0.25, atol=4 * math.sqrt(0.1875 / len(values)))


def started(start=Start.pytorch, output_bias=OutputBias.learned, seed=0):
    mx.random.seed(seed)
    net = neumf.TutorialNeuMF(8, 30, 40, [16, 8, 4])
    net.initialize(init=init.Normal(1) if start is Start.pytorch else init.Xavier())
    neumf.draw_weights(net, start, output_bias, 3.25)
    return net


def test_the_neumf_starts_as_each_option_says():
    values = {name: float64(p) for name, p in started()._collect_params_with_prefix().items()}
    for name in "PQUV":
        assert np.std(values[f"{name}.weight"]) == pytest.approx(1, abs=0.2)
    for place, inputs in enumerate((16, 16, 8)):
        for part in ("weight", "bias"):
            largest = np.abs(values[f"mlp.{place}.{part}"]).max()
            assert 0 < largest <= inputs**-0.5
    assert 0 < np.abs(values["bias"]).max() <= 12**-0.5
    assert float(started(output_bias=OutputBias.mean).bias.data()) == 3.25
    without = started(output_bias=OutputBias.none)
    assert float(without.bias.data()) == 0
    assert without.bias.grad_req == "null"
    of_xavier = started(Start.xavier)
    assert float(of_xavier.bias.data()) == 0
    assert not of_xavier.mlp[0].bias.data().asnumpy().any()


def test_an_epoch_of_the_neumf_is_that_of_a_plain_loop(ratings_dir, tmp_path):
    """Train the net with Gluon's own Adam, batch by batch, on the batches of the run."""
    options = {"batch_size": 64, "data_dir": ratings_dir, "out": tmp_path}
    result = neumf.main(seed=3, num_epochs=1, quiet=True, **options)
    data = load_all_ml100k(ratings_dir)
    net = started(output_bias=OutputBias.learned, seed=3)
    trainer = gluon.Trainer(net.collect_params(), mx.optimizer.Adam(learning_rate=0.001))
    order, means = seed_streams(3).shuffle.permutation(len(data.users)), []
    for first in range(0, len(order), 64):
        rows = order[first : first + 64]
        batch = [mx_np.array(a[rows]) for a in (data.users, data.items, data.ratings)]
        with autograd.record():
            losses = mx_np.square(net(*batch[:2]) - batch[2])
        losses.backward()
        trainer.step(len(rows))
        means.append(losses.asnumpy())
    each = np.concatenate(means)
    assert result["defined"]["train_loss"] == pytest.approx(each.mean(), rel=1e-5)
    of_batches = np.mean([losses.mean() for losses in means])
    assert result["printed"]["train_loss"] == pytest.approx(of_batches, rel=1e-5)
    assert len(means[-1]) < 64


def test_a_net_without_an_active_unit_is_stuck(ratings_dir):
    data, net = load_all_ml100k(ratings_dir), started()
    U, V = (float64(part.weight) for part in (net.U, net.V))
    active = []
    for user, item in zip(data.users, data.items):
        z = np.concatenate([U[user], V[item]])
        for layer in net.mlp:
            z = np.maximum(float64(layer.weight) @ z + float64(layer.bias), 0)
        active.append(z > 0)
    active = np.array(active)
    assert neumf.activity(net, data) == {
        "active_pairs": pytest.approx(active.any(axis=1).mean()),
        "dead_units": (~active.any(axis=0)).sum(),
        "stuck": 0,
    }
    net.mlp[-1].bias.set_data(mx_np.full((4,), -1e3))
    assert neumf.activity(net, data) == {"active_pairs": 0.0, "dead_units": 4, "stuck": 1}


@pytest.mark.network
@pytest.mark.parametrize(
    ("epochs", "seed", "output_bias", "stuck", "low", "high"),
    [
        (1, 0, "learned", 0, 5.77, 5.78),
        (1, 47, "learned", 1, 12.0, 12.2),
        pytest.param(5, 0, "learned", 0, 1.05, 1.06, marks=pytest.mark.slow),
        pytest.param(5, 47, "learned", 1, 4.9, 5.0, marks=pytest.mark.slow),
        pytest.param(5, 65, "learned", 1, 4.4, 4.45, marks=pytest.mark.slow),
        pytest.param(5, 47, "mean", 0, 0.95, 1.01, marks=pytest.mark.slow),
        pytest.param(5, 47, "none", 1, 13.5, 13.9, marks=pytest.mark.slow),
    ],
)
def test_both_regimes_of_the_neumf(
    epochs, seed, output_bias, stuck, low, high, ml100k_dir, tmp_path
):
    """The tutorial's examples are 4.545, 1.305, ..., 1.062, and 12.87, 10.35, ..., 5.32."""
    options = {"output_bias": output_bias, "data_dir": ml100k_dir, "out": tmp_path, "quiet": True}
    numbers = neumf.main(num_epochs=epochs, seed=seed, **options)["printed"]
    assert numbers["stuck"] == stuck
    assert low < numbers["train_loss"] < high


def test_the_autoencoder_is_the_formula_and_its_loss_the_mean_over_all_items():
    rng = np.random.default_rng(0)
    net = autoencoder.TutorialAutoencoder(3, 7)
    net.initialize(init.Normal(0.5))
    rows = rng.integers(0, 6, (4, 7)).astype("float32")
    V, W, mu, b = (float64(p) for p in (net.encoder.weight, net.decoder.weight, net.encoder.bias,
                                        net.decoder.bias))  # fmt: skip
    restored = [W @ np.maximum(V @ row + mu, 0) + b for row in rows.astype(float)]
    found = net(mx_np.array(rows)).asnumpy()
    np.testing.assert_allclose(found, restored, rtol=1e-4, atol=1e-5)
    losses = [sum((x - y) ** 2) / 7 for x, y in zip(rows, restored)]
    found = net.batch_loss(mx.nd, mx_np.array(rows)).asnumpy()
    np.testing.assert_allclose(found, losses, rtol=1e-4)
    assert autoencoder.mean_row_loss(rows) == pytest.approx(
        np.mean([[(x - rows[:, i].mean()) ** 2 for i, x in enumerate(row)] for row in rows])
    )


def test_units_are_dead_if_no_row_turns_them_on():
    net = autoencoder.TutorialAutoencoder(3, 7)
    net.initialize(init.Normal(0.5))
    rows = np.random.default_rng(0).integers(0, 6, (30, 7)).astype("float32")
    net.encoder.bias.set_data(mx_np.array([-1e3, 1.0, 1.0]))
    counted = autoencoder.units_and_lists(net, rows)
    assert counted["dead_units"] == 1
    assert counted["num_lists"] > 1
    net.encoder.bias.set_data(mx_np.full((3,), -1e3))
    assert autoencoder.units_and_lists(net, rows) == {"dead_units": 3, "num_lists": 1}


def test_the_autoencoder_reads_one_row_a_step_in_the_order_of_the_users(
    ratings_dir, tmp_path, monkeypatch
):
    read = []
    real = autoencoder.BatchLoader

    def loader(*arrays, **options):
        made = real(*arrays, **options)
        batches = list(made)
        assert {len(batch) for batch in batches} == {1}
        read.extend(np.concatenate(batches))
        return made

    monkeypatch.setattr(autoencoder, "BatchLoader", loader)
    autoencoder.main(data_dir=ratings_dir, out=tmp_path, user=1, **QUICK)
    np.testing.assert_array_equal(read, matrix_of(load_all_ml100k(ratings_dir)))


@pytest.mark.network
@pytest.mark.parametrize(
    ("epochs", "loss"), [(3, "0.7129"), pytest.param(20, "0.7126", marks=pytest.mark.slow)]
)
def test_all_units_of_the_autoencoder_die_and_all_users_get_the_same_scores(
    epochs, loss, ml100k_dir, tmp_path, capsys
):
    numbers = autoencoder.main(num_epochs=epochs, data_dir=ml100k_dir, out=tmp_path)["printed"]
    assert (numbers["dead_units"], numbers["num_lists"]) == (32, 1)
    assert f"{numbers['train_loss']:.4f}" == loss
    assert f"{numbers['mean_row_loss']:.3f}" == "0.709"
    best = recommend(load_model(tmp_path), 837, 5, ml100k_dir)
    assert best["title"].tolist() == LIST_OF_837
    net, data = load_model(tmp_path).net, load_all_ml100k(ml100k_dir)
    scores = net(mx_np.array(matrix_of(data), dtype="float32")).asnumpy()
    np.testing.assert_array_equal(scores, np.broadcast_to(scores[0], scores.shape))
    told = capsys.readouterr().out
    assert (
        "dead units: 32 of 32; different lists of 943 users: 1; loss of the mean row: 0.709" in told
    )


@pytest.mark.slow
@pytest.mark.network
def test_a_smaller_step_keeps_units_alive(ml100k_dir, tmp_path):
    numbers = autoencoder.main(lr=0.0003, data_dir=ml100k_dir, out=tmp_path, quiet=True)["printed"]
    # Over seeds 0 to 2: 8 to 10 units, 870 to 877 lists, a loss of 0.453 to 0.459.
    assert 6 <= numbers["dead_units"] <= 12
    assert 850 <= numbers["num_lists"] <= 900
    assert 0.44 < numbers["train_loss"] < 0.47


@pytest.mark.parametrize("name", some(["neumf", "autoencoder"], ["neumf"]))
def test_a_run_stopped_in_an_epoch_resumes_to_the_same_bits(
    name, ratings_dir, tmp_path, stop_after
):
    main = {"neumf": neumf, "autoencoder": autoencoder}[name].main
    options = {"data_dir": ratings_dir, "num_epochs": 3, "quiet": True, "force": True}
    options.update({"neumf": {"batch_size": 16}, "autoencoder": {"user": 1}}[name])
    main(out=tmp_path / "whole", **options)
    stop_after(40)
    with pytest.raises(Stopped):
        main(out=tmp_path / "stopped", **options)
    stop_after(1000)
    main(out=tmp_path / "stopped", resume=True, **options)
    assert what_it_left(tmp_path / "stopped") == what_it_left(tmp_path / "whole")


def test_the_history_has_the_regime_of_each_epoch(ratings_dir, tmp_path):
    neumf.main(data_dir=ratings_dir, out=tmp_path, batch_size=64, **QUICK)
    history = pd.read_csv(tmp_path / "history.csv")
    assert {"defined_active_pairs", "defined_stuck", "defined_dead_units"} <= set(history)
    settings = json.loads((tmp_path / "result.json").read_text())["settings"]
    assert settings["start"] == "pytorch"
    with pytest.raises(SettingError, match="--output-bias is 'low'; choose one of: learned, mean"):
        neumf.main(output_bias="low", data_dir=ratings_dir, out=tmp_path)
