"""Caser on sessions, against the chapter's Caser and a plain loop."""

import json

import numpy as np
import pytest
from conftest import what_it_left

backend = pytest.importorskip("d2l_recsys.backend")
from d2l_recsys.backend import npx  # noqa: E402
from d2l_recsys.chapters import caser  # noqa: E402
from d2l_recsys.chapters.extras import session_caser  # noqa: E402
from d2l_recsys.data import load_sessions_ml100k  # noqa: E402
from d2l_recsys.errors import DataError, SettingError  # noqa: E402
from d2l_recsys.evaluation.next_items import NextItems  # noqa: E402
from d2l_recsys.model_bases.parameters import parameters_of  # noqa: E402
from d2l_recsys.runs.on_sessions import net_ranks  # noqa: E402
from d2l_recsys.saved_models import load_model  # noqa: E402
from d2l_recsys.settings import SessionLoss  # noqa: E402
from d2l_recsys.training.objectives import own_loss  # noqa: E402

ITEMS, FACTORS, L = 9, 4, 3
RNG = np.random.default_rng(0)
WINDOWS, TARGETS = RNG.integers(0, ITEMS, (6, L)), np.array([1, 5, 1, 3, 0, 2])


def ints(values):
    return backend.np.array(values, dtype="int32")


def make(loss="top1", **options):
    npx.set_np()
    backend.mx.random.seed(0)
    net = session_caser.SessionCaser(FACTORS, ITEMS, L, 2, 2, 0.0, loss, **options)
    net.initialize(init=backend.init.Normal(0.5))
    net.b.weight.set_data(backend.np.random.normal(size=(ITEMS, 1)))
    return net


def caser_with_the_weights_of(net):
    """The chapter's Caser with p_u = 0, and with v_i and b_i in its scores."""
    model = caser.Caser(FACTORS, 1, ITEMS, L, 2, 2, 0.0)
    model.initialize(init=backend.init.Zero())
    own, parameters = parameters_of(net), model._collect_params_with_prefix()
    for name, parameter in parameters.items():
        if name in own:
            parameter.set_data(own[name])
    factors = np.concatenate([own["V.weight"], np.ones((ITEMS, FACTORS))], axis=1)
    parameters["Q_prime.weight"].set_data(factors)
    return model


def test_its_scores_are_those_of_caser_without_factors_of_users():
    net = make()
    model = caser_with_the_weights_of(net)
    users = ints(np.zeros(len(WINDOWS)))
    expected = model.score_all(users, ints(WINDOWS)).asnumpy()
    found = net.score_all(users, ints(WINDOWS)).asnumpy()
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert np.ptp(found, axis=0).min() > 0


@pytest.mark.parametrize("loss", SessionLoss)
def test_the_losses_are_those_of_the_paper(loss):
    net = make(loss)
    y = net.score_all(None, ints(WINDOWS)).asnumpy().astype(np.float64)
    expected = []
    for row, target in enumerate(TARGETS):
        others = [j for j in TARGETS if j != target]
        lead = np.array([y[row, j] - y[row, target] for j in others])
        if loss == "top1":
            squares = np.array([y[row, j] ** 2 for j in others])
            expected.append(np.mean(1 / (1 + np.exp(-lead)) + 1 / (1 + np.exp(-squares))))
        elif loss == "bpr":
            expected.append(np.mean(np.log(1 + np.exp(lead))))
        else:
            expected.append(np.log(np.exp(y[row]).sum()) - y[row, target])
    found = own_loss(net)(ints(WINDOWS), ints(TARGETS)).asnumpy()
    np.testing.assert_allclose(found, expected, rtol=2e-5)


def test_each_place_reads_the_items_before_it_and_no_later_one():
    net, sessions = make(), RNG.integers(0, ITEMS, (4, 6))
    found = net.session_vectors(ints(sessions)).asnumpy()
    assert found.shape == (4, 6, FACTORS)
    for session, of_session in zip(sessions, found):
        for at in range(6):
            window = [*[session[0]] * (L - 1 - at), *session[max(at + 1 - L, 0) : at + 1]]
            z = net.convolve(backend.mx.nd, ints([window])).asnumpy()[0]
            np.testing.assert_allclose(of_session[at], z, rtol=1e-5, atol=1e-7)


def test_no_filters_and_no_sequences_are_refused():
    with pytest.raises(SettingError, match="--d and --d-prime are both 0"):
        session_caser.SessionCaser(FACTORS, ITEMS, L, 0, 0)
    with pytest.raises(DataError, match="from the session so far: give its items"):
        make().score_all(ints([0]))


def test_a_run_leaves_its_numbers_and_goes_on_to_the_same_bits(run_here, sessions_dir, tmp_path):
    options = ["--data-dir", sessions_dir, "--batch-size", 16, "--quiet", "--out"]
    status, _, error = run_here("run", "session_caser", "--num-epochs", 2, *options, "whole")
    assert status == 0, error
    folder = tmp_path / "whole"
    numbers = json.loads((folder / "result.json").read_text())["defined"]
    split = load_sessions_ml100k(sessions_dir)
    test = NextItems(split.test, split.num_items)
    again = test.scores(net_ranks(load_model(folder).net, test, backend.mx.cpu()))
    assert {name: numbers[name] for name in again} == again
    run_here("run", "session_caser", "--num-epochs", 1, *options, "parts")
    run_here("run", "session_caser", "--num-epochs", 2, *options, "parts", "--resume")
    assert what_it_left(tmp_path / "parts") == what_it_left(folder)


def test_bad_options_are_one_line(run_here, sessions_dir):
    for options, message in [
        (["--d", 0, "--d-prime", 0], "--d and --d-prime are both 0"),
        (["--L", 0], "--L is 0; it must lie between 1 and"),
    ]:
        status, _, error = run_here("run", "session_caser", "--data-dir", sessions_dir, *options)
        assert status == 2
        assert message in error
        assert len(error.splitlines()) == 1
