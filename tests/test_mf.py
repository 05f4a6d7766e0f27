import json

import numpy as np
import pytest
from conftest import run_script

backend = pytest.importorskip("d2l_recsys.backend")
from d2l_recsys.chapters import mf  # noqa: E402
from d2l_recsys.data import split_and_load_ml100k  # noqa: E402
from d2l_recsys.runs import section_run  # noqa: E402
from d2l_recsys.seeds import seed_streams  # noqa: E402
from d2l_recsys.settings import Scores  # noqa: E402
from d2l_recsys.train import train_recsys_rating  # noqa: E402

QUICK = {"num_epochs": 2, "batch_size": 64, "quiet": True, "force": True}


@pytest.fixture
def net():
    backend.npx.set_np()
    net = mf.MF(5, 8, 9)
    net.initialize(init=backend.init.Normal(1))
    return net


def test_the_model_is_eq_15_3_2(net):
    P, Q, b_u, b_i = (p.data().asnumpy().astype(np.float64) for p in net.collect_params().values())
    users, items = np.array([0, 3, 7, 3], dtype="int32"), np.array([8, 0, 1, 1], dtype="int32")
    expected = [sum(P[u, k] * Q[i, k] for k in range(5)) + b_u[u, 0] + b_i[i, 0]
                for u, i in zip(users, items)]  # fmt: skip
    inputs = backend.np.array(users, dtype="int32"), backend.np.array(items, dtype="int32")
    np.testing.assert_allclose(net(*inputs).asnumpy(), expected, rtol=1e-5)
    net.hybridize()
    np.testing.assert_allclose(net(*inputs).asnumpy(), expected, rtol=1e-5)


def test_a_batch_of_one_keeps_its_batch_axis(net):
    one = backend.np.array([2], dtype="int32")
    assert net(one, one).shape == (1,)


def test_nothing_is_reported_for_a_split_the_chapter_does_not_use(ratings_dir, tmp_path):
    for split in ("random", "validation"):
        result = mf.main(split=split, data_dir=ratings_dir, out=tmp_path, **QUICK)
        assert (result["reported"], result["settings"]["split"]) == ({}, split)


def test_ratings_are_products_with_the_items_vectors_and_biases(net):
    ratings = net.score_all(backend.np.arange(8, dtype="int32")).asnumpy()
    P, b_u, b_i = (part.weight.data().asnumpy() for part in (net.P, net.user_bias, net.item_bias))
    expected = P @ net.item_vectors().T + b_u + b_i.T
    np.testing.assert_allclose(ratings, expected, rtol=1e-4, atol=1e-5)


def test_printed_scores_rows_twenty_and_thirty_and_defined_the_ids(
    ratings_dir, tmp_path, monkeypatch
):
    asked = []
    monkeypatch.setattr(mf, "predict_rating", lambda net, u, i, device: asked.append((u, i)) or 3.5)
    mf.main(data_dir=ratings_dir, out=tmp_path, **QUICK)
    assert asked == [(20, 30), (19, 29)]
    # A table of 30 users has no row 30. MXNet would use row 29 without a warning.
    result = mf.main(data_dir=ratings_dir, out=tmp_path, user=30, **QUICK)
    assert asked[2:] == [(29, 29)]
    assert "score_user30_item30" not in result["printed"]


def test_the_same_seed_gives_the_same_bits_and_another_seed_others(ratings_dir, tmp_path):
    def numbers(seed, split):
        result = mf.main(seed=seed, split=split, data_dir=ratings_dir, out=tmp_path, **QUICK)
        return result["printed"], result["defined"]

    for split in ("seq-aware", "random"):
        assert numbers(5, split) == numbers(5, split)
        assert numbers(5, split) != numbers(6, split)


def test_the_split_and_the_order_of_batches_follow_the_seed(ratings_dir, tmp_path, monkeypatch):
    given = {}

    def load(*args, **kwargs):
        given.update(kwargs)
        return split_and_load_ml100k(*args, **kwargs)

    monkeypatch.setattr(mf, "split_and_load_ml100k", load)
    for seed in (7, 8):
        streams = seed_streams(seed)
        expected = [stream.bit_generator.state for stream in (streams.split, streams.shuffle)]
        monkeypatch.setattr(section_run, "seed_streams", {seed: streams}.__getitem__)
        mf.main(seed=seed, data_dir=ratings_dir, out=tmp_path, **QUICK)
        assert given["split_rng"] is streams.split
        assert given["shuffle_rng"] is streams.shuffle
        assert streams.split.bit_generator.state == expected[0]
        assert streams.shuffle.bit_generator.state != expected[1]


def test_the_options_reach_the_model_and_the_optimizer(ratings_dir, tmp_path, monkeypatch):
    seen = {}

    def train(net, train_iter, test_iter, loss, trainer, num_epochs, devices, **options):
        seen[options["protocol"]] = {
            "P": net.P.weight.data().asnumpy(),
            "batch_size": train_iter.batch_size,
            "lr": trainer.learning_rate,
            "wd": trainer.optimizer.wd,
            "num_epochs": num_epochs,
            "devices": len(devices),
        }
        return train_recsys_rating(
            net, train_iter, test_iter, loss, trainer, num_epochs, devices, **options
        )

    monkeypatch.setattr(mf, "train_recsys_rating", train)
    settings = {"num_factors": 7, "lr": 0.5, "wd": 0.25, "batch_size": 33, "num_devices": 2}
    for seed, protocol in ((1, "printed"), (2, "defined")):
        mf.main(
            seed=seed,
            num_epochs=1,
            protocol=protocol,
            data_dir=ratings_dir,
            out=tmp_path,
            quiet=True,
            force=True,
            **settings,
        )
    first, second = seen["printed"], seen["defined"]
    assert first["P"].shape == (30, 7)
    assert not np.array_equal(first["P"], second["P"])
    assert 0.005 < first["P"].std() < 0.02
    del first["P"]
    assert first == {"batch_size": 33, "lr": 0.5, "wd": 0.25, "num_epochs": 1, "devices": 2}


def test_the_line_about_the_rating_begins_with_the_number_of_the_protocol(
    ratings_dir, tmp_path, capsys
):
    def line(protocol):
        options = {"num_epochs": 1, "batch_size": 64, "force": True}
        result = mf.main(protocol=protocol, data_dir=ratings_dir, out=tmp_path, **options)
        return result, capsys.readouterr().out.splitlines()[2]

    why = "the printed code reads rows 20 and 30: user 21, item 31"
    for protocol, other in (("printed", "defined"), ("defined", "printed")):
        result, said = line(protocol)
        numbers = {p: f"{result[p]['score_user20_item30']:.3f}" for p in (protocol, other)}
        assert numbers["printed"] != numbers["defined"]
        assert said == (
            f"user 20 would give item 30 the rating {numbers[protocol]} "
            f"(as {other}: {numbers[other]}; {why})"
        )
    # The last user has no printed rating.
    scores = Scores({}, {"score_user943_item5": 3.25})
    for protocol in ("printed", "defined"):
        assert mf.rating_line(scores, protocol, 943, 5) == (
            "user 943 would give item 5 the rating 3.250 (as defined; the printed code reads rows "
            "943 and 5, which do not exist)"
        )


@pytest.mark.network
def test_the_chapters_settings_reach_what_the_chapter_reports(ml100k_dir, tmp_path):
    """Each number is within four standard deviations of the mean that ``reproduce`` measured."""
    done = run_script("chapters/mf.py", "--data-dir", ml100k_dir, "--seed", 3, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    result = json.loads((tmp_path / "results" / "mf" / "seed-3" / "result.json").read_text())
    for protocol, name, mean, deviation in (
        ("printed", "train_loss", 0.0642, 0.0009),
        ("defined", "train_loss", 0.3395, 0.0053),
        ("printed", "test_rmse", 1.0467, 0.0093),
        ("defined", "test_rmse", 1.0333, 0.0078),
    ):
        assert result[protocol][name] == pytest.approx(mean, abs=4 * deviation)
    final = result["printed"]
    lines = done.stdout.splitlines()
    assert lines[0] == f"train loss {final['train_loss']:.3f}, test RMSE {final['test_rmse']:.3f}"
    assert lines[1].endswith("examples/sec on [cpu(0)]")
    assert f"item 30 the rating {final['score_user20_item30']:.3f}" in lines[2]
    assert not result["dataset"]["substitute"]


@pytest.mark.network
def test_an_untrained_model_fails_where_a_trained_one_passes(ml100k_dir, tmp_path):
    def rmse(**settings):
        options = {
            "split": "random",
            "data_dir": ml100k_dir,
            "out": tmp_path,
            "quiet": True,
            "force": True,
        }
        return mf.main(**options, **settings)["defined"]["test_rmse"]

    constant = 1.126  # the standard deviation of the ratings: the RMSE of predicting their mean
    assert rmse(num_epochs=6) < 0.97 * constant
    assert rmse(num_epochs=1, lr=0.0) > 2 * constant
