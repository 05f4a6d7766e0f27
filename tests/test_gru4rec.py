"""GRU4Rec against plain loops in float64, and its runs through the real command line."""

import json
import signal

import numpy as np
import pytest
from conftest import made_up_ratings, some, what_it_left, write_ratings

backend = pytest.importorskip("d2l_recsys.backend")
from d2l_recsys.backend import autograd, gluon, npx  # noqa: E402
from d2l_recsys.chapters.extras import gru4rec  # noqa: E402
from d2l_recsys.data import load_sessions_ml100k  # noqa: E402
from d2l_recsys.errors import DivergedError, Stopped  # noqa: E402
from d2l_recsys.evaluation.next_items import NextItems  # noqa: E402
from d2l_recsys.loaders.sessions import SessionLoader, Sessions  # noqa: E402
from d2l_recsys.model_bases.parameters import parameters_of  # noqa: E402
from d2l_recsys.runs import on_sessions  # noqa: E402
from d2l_recsys.runs.on_sessions import net_ranks  # noqa: E402
from d2l_recsys.saved_models import load_model  # noqa: E402
from d2l_recsys.settings import SessionLoss  # noqa: E402
from d2l_recsys.training.objectives import own_loss  # noqa: E402

ITEMS, HIDDEN = 9, 4
QUICK = ["--num-epochs", 2, "--batch-size", 3, "--num-hidden", 5, "--lr", 0.02, "--quiet"]


def make(loss="top1", dropout=0.0, seed=0):
    npx.set_np()
    backend.mx.random.seed(seed)
    net = gru4rec.GRU4Rec(HIDDEN, ITEMS, dropout, loss)
    net.initialize(init=backend.init.Normal(0.7))
    net.b.weight.set_data(backend.np.random.normal(size=(ITEMS, 1)))
    return net


def ints(values):
    return backend.np.array(values, dtype="int32")


def floats(values):
    return backend.np.array(values, dtype="float32")


def weights_of(net):
    return {name: array.astype(np.float64) for name, array in parameters_of(net).items()}


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def unit_by_hand(w, item, h):
    """Eq. 1 to 4 of the paper, for one session."""
    x = w["V.weight"][item]
    of_z, of_r, of_c = np.split(w["unit.W.weight"] @ x + w["unit.W.bias"], 3)
    U_z, U_r = np.split(w["unit.U_gates.weight"], 2)
    z, r = sigmoid(of_z + U_z @ h), sigmoid(of_r + U_r @ h)
    c = np.tanh(of_c + w["unit.U.weight"] @ (r * h))
    return (1 - z) * h + z * c


def loss_by_hand(w, loss, h, target, targets):
    y = w["V.weight"] @ h + w["b.weight"][:, 0]
    if loss == "cross_entropy":
        return -y[target] + np.log(np.exp(y).sum())
    terms = []
    for j in targets:
        if j != target:
            lead = y[j] - y[target]
            regular = sigmoid(y[j] ** 2)
            terms.append(sigmoid(lead) + regular if loss == "top1" else -np.log(sigmoid(-lead)))
    return np.mean(terms) if terms else 0.0


def step_by_hand(w, loss, items, targets, kept, states):
    """The losses and the new states of a batch."""
    new = [
        unit_by_hand(w, item, state if goes_on else 0 * state)
        for item, goes_on, state in zip(items, kept, states)
    ]
    return [loss_by_hand(w, loss, h, i, targets) for h, i in zip(new, targets)], np.array(new)


# Two rows have the same target; an item of the batch is also a target.
BATCH = [3, 0, 3, 8], [1, 5, 1, 3], [1.0, 0.0, 0.0, 1.0]
STATES = np.random.default_rng(2).normal(size=(4, HIDDEN))


@pytest.mark.parametrize("loss", SessionLoss)
def test_the_losses_of_a_batch_and_the_new_states_are_the_papers(loss):
    net = make(loss)
    expected = step_by_hand(weights_of(net), loss, *BATCH, STATES)
    arrays = [ints(BATCH[0]), ints(BATCH[1]), floats(BATCH[2]), floats(STATES)]
    for step in (own_loss(net), lambda *share: net.batch_loss(backend.mx.nd, *share)):
        losses, states = step(*arrays)
        np.testing.assert_allclose(losses.asnumpy(), expected[0], rtol=2e-5)
        np.testing.assert_allclose(states.asnumpy(), expected[1], rtol=1e-5, atol=1e-6)
    # All rows have the same target: there is no negative item.
    alone = step_by_hand(weights_of(net), loss, BATCH[0], [2] * 4, BATCH[2], STATES)[0]
    losses, _ = own_loss(net)(arrays[0], ints([2] * 4), *arrays[2:])
    np.testing.assert_allclose(losses.asnumpy(), alone, rtol=2e-5)


@pytest.mark.parametrize("loss", SessionLoss)
def test_the_gradient_is_that_of_the_loop_through_one_step(loss):
    """Every weight against finite differences of the loop, with the state before as a constant."""
    net = make(loss)
    w = weights_of(net)
    with autograd.record():
        losses, _ = own_loss(net)(ints(BATCH[0]), ints(BATCH[1]), floats(BATCH[2]), floats(STATES))
    losses.backward()
    found = {n: p.grad().asnumpy() for n, p in net._collect_params_with_prefix().items()}
    for name, array in w.items():
        expected = np.zeros_like(array)
        for place in np.ndindex(*array.shape):
            values = []
            for sign in (1, -1):
                moved = {**w, name: array.copy()}
                moved[name][place] += sign * 1e-5
                values.append(sum(step_by_hand(moved, loss, *BATCH, STATES)[0]))
            expected[place] = (values[0] - values[1]) / 2e-5
        np.testing.assert_allclose(found[name], expected, rtol=1e-3, atol=2e-5, err_msg=name)


def test_the_states_go_on_from_batch_to_batch_and_start_at_zero():
    """Two epochs of the loader through the function that training minimizes."""
    net = make("top1")
    w, step = weights_of(net), gru4rec.session_parallel_loss(net)
    lists = [[0, 3, 1], [2, 5], [7, 1, 0, 4], [8, 2, 6], [1, 2]]
    loader = SessionLoader(Sessions.of(lists), batch_size=2)
    states = np.full((2, HIDDEN), 50.0)
    for _ in range(2):
        for batch in loader:
            expected, states = step_by_hand(w, "top1", *batch, states)
            found = step(ints(batch[0]), ints(batch[1]), floats(batch[2]))
            np.testing.assert_allclose(found.asnumpy(), expected, rtol=2e-5)
    assert len(list(loader)) == 4


def scores_of(net, sessions):
    vectors = net.session_vectors(ints(sessions))
    return net.score_vectors(vectors.reshape(-1, HIDDEN)).asnumpy().reshape(*sessions.shape, ITEMS)


def test_scores_are_those_of_the_loop_and_nothing_later_changes_them():
    net, rng = make(dropout=0.5), np.random.default_rng(0)
    w, sessions = weights_of(net), rng.integers(0, ITEMS, (5, 7))
    found = scores_of(net, sessions)
    for session, of_session in zip(sessions, found):
        h = np.zeros(HIDDEN)
        for item, of_place in zip(session, of_session):
            h = unit_by_hand(w, item, h)
            expected = w["V.weight"] @ h + w["b.weight"][:, 0]
            np.testing.assert_allclose(of_place, expected, rtol=1e-4, atol=1e-5)
    changed = sessions.copy()
    changed[:, 4:] = (changed[:, 4:] + 1) % ITEMS
    again = scores_of(net, changed)
    np.testing.assert_array_equal(again[:, :4], found[:, :4])
    assert (again[:, 4:] != found[:, 4:]).any(axis=2).all()
    np.testing.assert_array_equal(net.score_all(None, ints(sessions)).asnumpy(), found[:, -1])
    assert net.item_vectors().shape == (ITEMS, HIDDEN)


def test_the_test_ranks_each_next_item_by_the_scores_of_its_session_alone(monkeypatch):
    """Sessions of many lengths, more than are read at once."""
    monkeypatch.setattr(on_sessions, "SESSIONS_AT_ONCE", 8)
    net, rng = make(), np.random.default_rng(1)
    lists = [rng.permutation(ITEMS)[: rng.integers(2, 8)] for _ in range(20)]
    test = NextItems(Sessions.of(lists), ITEMS)
    expected = []
    for session in lists:
        scores = scores_of(net, session[None])[0]
        for at in range(1, len(session)):
            others = set(range(ITEMS)) - set(session[: at + 1])
            expected.append(sum(scores[at - 1, j] > scores[at - 1, session[at]] for j in others))
    found = np.concatenate(net_ranks(net, test, backend.mx.cpu()))
    assert np.mean(found == expected) > 0.98
    np.testing.assert_allclose(found, expected, atol=1)


@pytest.mark.parametrize("loss", some(SessionLoss, [SessionLoss.cross_entropy]))
def test_it_learns_what_follows_what_and_not_from_shuffled_sessions(loss):
    """In a cycle of items the next item is certain. In shuffled sessions it cannot be learned."""
    npx.set_np()
    rng = np.random.default_rng(3)
    cycle = (rng.integers(0, 20, 60)[:, None] + np.arange(6)) % 20
    shares = []
    for sessions in (cycle, rng.permuted(cycle, axis=1)):
        backend.mx.random.seed(0)
        net = gru4rec.GRU4Rec(16, 20, 0.1, loss)
        net.initialize(init=backend.init.Normal(0.1))
        trainer = gluon.Trainer(net.collect_params(), "adam", {"learning_rate": 0.03})
        step = gru4rec.session_parallel_loss(net)
        loader = SessionLoader(Sessions.of(sessions), batch_size=16, shuffle=True, rng=0)
        for _ in range(16):
            for items, targets, kept in loader:
                with autograd.record():
                    losses = step(ints(items), ints(targets), floats(kept))
                losses.backward()
                trainer.step(len(items))
        scores = net.score_all(None, ints(cycle[:, :4])).asnumpy()
        shares.append((scores.argmax(axis=1) == cycle[:, 4]).mean())
    assert shares[0] > 0.8
    assert shares[1] < 0.5


def test_a_run_leaves_its_numbers_and_the_model_that_gave_them(run_here, sessions_dir, tmp_path):
    options = ["--data-dir", sessions_dir, "--cutoff", "3", *QUICK]
    status, _, error = run_here("run", "gru4rec", *options)
    assert status == 0, error
    (folder,) = (tmp_path / "results" / "gru4rec").glob("*/seed-0")
    result = json.loads((folder / "result.json").read_text())
    numbers = result["defined"]
    assert {**result["printed"], "train_loss": 0} == {**numbers, "train_loss": 0}
    assert set(numbers) == {
        "train_loss", "test_hit_rate", "test_mrr", "test_hit_rate_at_3", "test_ndcg_at_3",
        "test_mrr_at_3", "popularity_hit_rate", "popularity_mrr", "itemknn_hit_rate",
        "itemknn_mrr",
    }  # fmt: skip
    assert "num_devices" not in result["settings"]
    assert (result["settings"]["idle"], result["settings"]["split"]) == (30, "seq-aware")
    assert (folder / "curve.png").read_bytes().startswith(b"\x89PNG")
    split = load_sessions_ml100k(sessions_dir)
    test = NextItems(split.test, split.num_items)
    ranks = net_ranks(load_model(folder).net, test, backend.mx.cpu())
    again = test.scores(ranks, [3])
    assert {name: numbers[name] for name in again} == again
    # The same seed gives the same bits, another seed does not.
    left = what_it_left(folder)
    assert run_here("run", "gru4rec", *options, "--out", tmp_path / "same")[0] == 0
    assert run_here("run", "gru4rec", *options, "--seed", 1, "--out", tmp_path / "other")[0] == 0
    assert what_it_left(tmp_path / "same") == left
    assert what_it_left(tmp_path / "other")[2] != left[2]


@pytest.mark.parametrize("loss", some(["top1", "cross_entropy"], ["top1"]))
def test_resumed_after_a_stop_within_an_epoch_it_gives_the_same_bits(
    loss, sessions_dir, tmp_path, monkeypatch
):
    options = {
        "data_dir": sessions_dir, "num_epochs": 3, "batch_size": 4, "num_hidden": 5,
        "dropout": 0.3, "loss": loss, "quiet": True,
    }  # fmt: skip
    gru4rec.main(out=tmp_path / "whole", **options)
    make_loss, calls = gru4rec.session_parallel_loss, []

    def interrupting(net):
        step = make_loss(net)

        def losses(*share):
            calls.append(1)
            if len(calls) == 90:
                backend.npx.waitall()
                signal.raise_signal(signal.SIGINT)
            return step(*share)

        return losses

    monkeypatch.setattr(gru4rec, "session_parallel_loss", interrupting)
    with pytest.raises(Stopped, match="stopped after epoch 1"):
        gru4rec.main(out=tmp_path / "parts", **options)
    monkeypatch.undo()
    gru4rec.main(out=tmp_path / "parts", resume=True, **options)
    assert what_it_left(tmp_path / "whole") == what_it_left(tmp_path / "parts")


def test_a_learning_rate_that_diverges_is_told(sessions_dir, tmp_path):
    with pytest.raises(DivergedError, match=r"not finite .*, at learning rate 1e\+30"):
        gru4rec.main(
            data_dir=sessions_dir, out=tmp_path, lr=1e30, batch_size=4, num_epochs=2, quiet=True
        )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--idle", 0], "--idle is 0; it must lie between 1 and"),
        (["--batch-size", 1], "--batch-size is 1; the negative items come from the other"),
        (["--batch-size", 1000], "the training set does not fill one batch; choose a smaller"),
        (["--loss", "hinge"], "--loss is 'hinge'; choose one of: top1, bpr, cross_entropy"),
        (["--split", "random"], "--split is 'random'; choose one of: seq-aware, validation"),
    ],
)
def test_bad_options_are_one_line(options, message, run_here, sessions_dir):
    status, _, error = run_here("run", "gru4rec", "--data-dir", sessions_dir, "--quiet", *options)
    assert status == 2
    assert message in error
    assert len(error.splitlines()) == 1


def test_too_few_sessions_are_one_line(run_here, tmp_path):
    ratings = made_up_ratings()
    folder = tmp_path / "apart"
    folder.mkdir()
    write_ratings(folder, ratings.assign(timestamp=880000000 + 3600 * np.arange(len(ratings))))
    status, _, error = run_here("run", "gru4rec", "--data-dir", folder)
    assert status == 2
    assert "cut the ratings into 0 sessions of two or more ratings, too few to learn" in error
    assert len(error.splitlines()) == 1
