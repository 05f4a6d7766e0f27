import numpy as np
import pytest

from d2l_recsys.batches import BatchLoader
from d2l_recsys.errors import SettingError

backend = pytest.importorskip("d2l_recsys.backend")
from chapters.mf import MF  # noqa: E402
from d2l_recsys.train import train_recsys_rating  # noqa: E402

autograd, gluon, init, mx, npx = (
    backend.autograd,
    backend.gluon,
    backend.init,
    backend.mx,
    backend.npx,
)
NUM_USERS, NUM_ITEMS, BATCH = 25, 35, 16


@pytest.fixture(autouse=True)
def np_semantics():
    npx.set_np()


@pytest.fixture
def arrays():
    """Users, items and ratings that a factor model can learn: 410 to train on, 75 to test."""
    rng = np.random.default_rng(0)
    users, items = rng.integers(0, NUM_USERS, 485), rng.integers(0, NUM_ITEMS, 485)
    P, Q = rng.normal(size=(NUM_USERS, 3)), rng.normal(size=(NUM_ITEMS, 3))
    ratings = np.clip(np.round(3 + (P[users] * Q[items]).sum(1)), 1, 5)
    parts = users.astype("int32"), items.astype("int32"), ratings.astype("float32")
    return [part[:410] for part in parts], [part[410:] for part in parts]


def make_net(devices, seed=7):
    mx.random.seed(seed)
    net = MF(4, NUM_USERS, NUM_ITEMS)
    net.initialize(ctx=devices, init=init.Normal(0.1))
    return net


def make_trainer(net):
    return gluon.Trainer(net.collect_params(), "adam", {"learning_rate": 0.02, "wd": 1e-3})


def parameters(net, device=None):
    return [p.data(device or p.list_ctx()[0]).asnumpy() for p in net.collect_params().values()]


def loaders(arrays, last_batch="rollover", batch_size=BATCH):
    train, test = arrays
    return (
        BatchLoader(*train, batch_size=batch_size, shuffle=True, last_batch=last_batch, rng=3),
        BatchLoader(*test, batch_size=BATCH),
    )


def gluon_loaders(arrays, last_batch="rollover"):
    """The same batches in the same order from Gluon's loader, as the chapter feeds them."""
    train, test = arrays
    rng = np.random.default_rng(3)

    class Replay(gluon.data.Sampler):
        def __iter__(self):
            return iter(rng.permutation(len(train[0])).tolist())

        def __len__(self):
            return len(train[0])

    return (
        gluon.data.DataLoader(
            gluon.data.ArrayDataset(*train),
            batch_size=BATCH,
            sampler=Replay(),
            last_batch=last_batch,
        ),
        gluon.data.DataLoader(gluon.data.ArrayDataset(*test), batch_size=BATCH),
    )


def chapter_evaluator(net, test_iter, devices):
    """The evaluator of the chapter's section on matrix factorization."""
    metric, values = mx.metric.RMSE(), []
    for batch in test_iter:
        users, items, ratings = (
            gluon.utils.split_and_load(part, devices, even_split=False) for part in batch
        )
        metric.update(labels=ratings, preds=[net(u, i) for u, i in zip(users, items)])
        values.append(float(metric.get()[1]))
    return float(np.mean(values))


def train_with_d2l(d2l, monkeypatch, net, iters, devices, num_epochs):
    """Run d2l's own loop; returns what it drew and its unrounded final training loss."""
    drawn, accumulators = [], []

    class Animator:
        def __init__(self, **kwargs):
            pass

        def add(self, epoch, values):
            drawn.append(tuple(map(float, values)))

    class Accumulator(d2l.Accumulator):
        def __init__(self, n):
            super().__init__(n)
            accumulators.append(self)

    monkeypatch.setattr(d2l, "Animator", Animator)
    monkeypatch.setattr(d2l, "Accumulator", Accumulator)
    d2l.train_recsys_rating(
        net, *iters, gluon.loss.L2Loss(), make_trainer(net), num_epochs, devices, chapter_evaluator
    )
    return drawn, accumulators[-1][0] / accumulators[-1][1]


@pytest.mark.parametrize("last_batch", ["rollover", "keep", "discard"])
@pytest.mark.parametrize("num_devices", [1, 2])
def test_printed_loss_and_rmse_equal_d2ls_own_loop(
    arrays, num_devices, last_batch, monkeypatch, capsys
):
    d2l = pytest.importorskip("d2l.mxnet")
    devices = [mx.cpu(i) for i in range(num_devices)]
    theirs = make_net(devices)
    drawn, train_loss = train_with_d2l(
        d2l, monkeypatch, theirs, gluon_loaders(arrays, last_batch), devices, num_epochs=4
    )
    their_lines = capsys.readouterr().out.splitlines()
    ours = make_net(devices)
    history = train_recsys_rating(
        ours, *loaders(arrays, last_batch), gluon.loss.L2Loss(), make_trainer(ours), 4, devices
    )
    our_lines = capsys.readouterr().out.splitlines()

    np.testing.assert_allclose(history.curve("printed", "test_rmse"), drawn, atol=1e-5)
    assert history.final.printed["train_loss"] == pytest.approx(train_loss, abs=1e-5)
    for ours_param, theirs_param in zip(parameters(ours), parameters(theirs)):
        np.testing.assert_allclose(ours_param, theirs_param, atol=1e-5)
    assert our_lines[0] == their_lines[0]
    assert our_lines[1].split()[1:] == their_lines[1].split()[1:]
    assert drawn[0][0] > 1.5 * drawn[-1][0], "nothing was learned: the comparison is idle"


def test_the_chapters_evaluator_and_gluons_loader_can_be_passed(arrays, capsys):
    net = make_net([mx.cpu()])
    history = train_recsys_rating(
        net, *gluon_loaders(arrays), gluon.loss.L2Loss(), make_trainer(net), 2, [mx.cpu()],
        chapter_evaluator, protocol="defined",
    )  # fmt: skip
    assert capsys.readouterr().out.splitlines()[0].endswith("test RMSE nan")
    other = make_net([mx.cpu()])
    expected = train_recsys_rating(
        other, *loaders(arrays), gluon.loss.L2Loss(), make_trainer(other), 2, quiet=True
    )
    np.testing.assert_allclose(
        history.curve("printed", "test_rmse"), expected.curve("printed", "test_rmse"), atol=1e-6
    )
    assert "test_rmse" not in history.final.defined


@pytest.mark.parametrize("num_devices", [2, 3, 5])
def test_any_number_of_devices_gives_the_parameters_of_one(arrays, num_devices):
    """Five epochs of ten batches of 40: fifty steps; 3 does not divide the batch."""
    nets = []
    for count in (1, num_devices):
        devices = [mx.cpu(i) for i in range(count)]
        net = make_net(devices)
        iters = loaders(arrays, last_batch="discard", batch_size=40)
        train_recsys_rating(
            net, *iters, gluon.loss.L2Loss(), make_trainer(net), 5, devices, quiet=True
        )
        nets.append(net)
    for device in range(num_devices):
        for one, many in zip(parameters(nets[0]), parameters(nets[1], mx.cpu(device))):
            np.testing.assert_allclose(many, one, atol=1e-5)


def test_a_batch_smaller_than_the_number_of_devices_trains_alike(arrays):
    train, test = arrays
    nets = []
    for count in (1, 3):
        devices = [mx.cpu(i) for i in range(count)]
        net = make_net(devices)
        few = BatchLoader(*(part[:9] for part in train), batch_size=4)  # 4, 4, 1
        iters = few, BatchLoader(*test, batch_size=37)  # 37, 37, 1
        history = train_recsys_rating(
            net, *iters, gluon.loss.L2Loss(), make_trainer(net), 3, devices, quiet=True
        )
        nets.append((net, history.final.defined))
    for one, many in zip(parameters(nets[0][0]), parameters(nets[1][0], mx.cpu(2))):
        np.testing.assert_allclose(many, one, atol=1e-5)
    assert nets[1][1] == pytest.approx(nets[0][1], abs=1e-5)


def test_one_adam_step_equals_a_float64_reference(arrays):
    """MXNet's Adam: gradient of the mean of 1/2 (r - r_hat)^2, plus wd * w, bias-corrected rate."""
    train, test = arrays
    net = make_net([mx.cpu()])
    P, Q, b_u, b_i = (p.astype(np.float64) for p in parameters(net))
    iters = BatchLoader(*(p[:40] for p in train), batch_size=40), BatchLoader(*test, batch_size=40)
    users, items, ratings = (part[:40] for part in train)
    train_recsys_rating(
        net, *iters, gluon.loss.L2Loss(), make_trainer(net), 1, [mx.cpu()], quiet=True
    )
    gradients = [np.zeros_like(part) for part in (P, Q, b_u, b_i)]
    for u, i, r in zip(users, items, ratings):
        error = (P[u] @ Q[i] + b_u[u, 0] + b_i[i, 0] - r) / 40
        gradients[0][u] += error * Q[i]
        gradients[1][i] += error * P[u]
        gradients[2][u] += error
        gradients[3][i] += error
    for before, gradient, after in zip((P, Q, b_u, b_i), gradients, parameters(net)):
        gradient = gradient + 1e-3 * before
        rate = 0.02 * np.sqrt(1 - 0.999) / (1 - 0.9)
        step = rate * 0.1 * gradient / (np.sqrt(0.001 * gradient**2) + 1e-8)
        np.testing.assert_allclose(after, before - step, atol=2e-5)


def test_history_has_a_row_an_epoch_and_counts_what_was_trained_on(arrays):
    net = make_net([mx.cpu()])
    history = train_recsys_rating(
        net, *loaders(arrays), gluon.loss.L2Loss(), make_trainer(net), 3, [mx.cpu()], quiet=True
    )
    # 410 rows in batches of 16, the rest rolled over: 25, 26 and 25 batches.
    assert [row["examples"] for row in history.rows] == [400, 416, 400]
    assert history.frame["epoch"].tolist() == [1, 2, 3]
    assert (history.frame[["seconds_train", "seconds_evaluate"]] > 0).all().all()


def test_quiet_prints_nothing_and_the_protocol_chooses_the_line(arrays, capsys):
    for protocol, quiet in (("defined", False), ("printed", True)):
        net = make_net([mx.cpu()])
        history = train_recsys_rating(
            net, *loaders(arrays), gluon.loss.L2Loss(), make_trainer(net), 1, [mx.cpu()],
            protocol=protocol, quiet=quiet,
        )  # fmt: skip
        printed = capsys.readouterr().out
        if quiet:
            assert printed == ""
        else:
            final = history.final.defined
            expected = f"train loss {final['train_loss']:.3f}, test RMSE {final['test_rmse']:.3f}"
            assert printed.splitlines()[0] == expected


def test_an_array_that_is_both_input_and_label_trains_an_autoencoder():
    rows = np.random.default_rng(0).uniform(size=(40, 6)).astype("float32")
    net = backend.nn.Dense(6)
    net.initialize()
    seen = []

    def evaluator(net, test_iter, inter_mat, devices):
        seen.append(inter_mat)
        return float(((net(mx.np.array(rows)).asnumpy() - rows) ** 2).mean() ** 0.5)

    history = train_recsys_rating(
        net, BatchLoader(rows, batch_size=8), None, gluon.loss.L2Loss(), make_trainer(net), 9,
        [mx.cpu()], evaluator, quiet=True, inter_mat="the matrix",
    )  # fmt: skip
    assert seen == ["the matrix"] * 9
    assert history.rows[-1]["printed_test_rmse"] < 0.8 * history.rows[0]["printed_test_rmse"]


def test_a_batch_larger_than_the_training_set_is_refused(arrays):
    net = make_net([mx.cpu()])
    iters = loaders(arrays, batch_size=411)
    with pytest.raises(SettingError, match="does not fill one batch"):
        train_recsys_rating(
            net, *iters, gluon.loss.L2Loss(), make_trainer(net), 1, [mx.cpu()], quiet=True
        )


def test_a_plain_block_trains_like_a_hybrid_one(arrays):
    class Plain(gluon.Block):
        def __init__(self, net):
            super().__init__()
            self.net = net

        def forward(self, users, items):
            return self.net(users, items)

    nets = [make_net([mx.cpu()]), make_net([mx.cpu()])]
    for net, trained in zip(nets, (nets[0], Plain(nets[1]))):
        train_recsys_rating(
            trained, *loaders(arrays), gluon.loss.L2Loss(), make_trainer(net), 2, quiet=True
        )
    for hybrid, plain in zip(*map(parameters, nets)):
        np.testing.assert_allclose(hybrid, plain, atol=1e-6)
