import itertools

import numpy as np
import pytest
from conftest import made_up_clicks, some

from d2l_recsys.ctr import CTRDataset
from d2l_recsys.errors import DataError, DivergedError, SettingError
from d2l_recsys.loaders.batches import BatchLoader
from d2l_recsys.sampling import NegativeSampler, PairwiseLoader
from d2l_recsys.sequences import sequence_windows
from d2l_recsys.training.history import RANKING_CURVE, RATING_CURVE

backend = pytest.importorskip("d2l_recsys.backend")
from d2l_recsys.chapters import deepfm, fm  # noqa: E402
from d2l_recsys.chapters.autorec import AutoRec  # noqa: E402
from d2l_recsys.chapters.caser import Caser  # noqa: E402
from d2l_recsys.chapters.mf import MF  # noqa: E402
from d2l_recsys.chapters.neumf import NeuMF  # noqa: E402
from d2l_recsys.evaluation.evaluators import evaluate_ranking, score_ranking  # noqa: E402
from d2l_recsys.losses import BPRLoss, HingeLossbRec  # noqa: E402
from d2l_recsys.settings import Scores  # noqa: E402
from d2l_recsys.train import train_ctr, train_ranking, train_recommender, train_recsys_rating  # noqa: E402
from d2l_recsys.training.objectives import own_loss, ranking_loss  # noqa: E402

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
    """Users, items and ratings that a factor model can learn: 410 for training, 75 for testing."""
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
    """The same batches in the same order from Gluon's loader, which the chapter uses."""
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
    """The evaluator in the chapter's section on matrix factorization."""
    metric, values = mx.metric.RMSE(), []
    for batch in test_iter:
        users, items, ratings = (
            gluon.utils.split_and_load(part, devices, even_split=False) for part in batch
        )
        metric.update(labels=ratings, preds=[net(u, i) for u, i in zip(users, items)])
        values.append(float(metric.get()[1]))
    return float(np.mean(values))


def record_d2l(d2l, monkeypatch):
    """Record what d2l's loops draw: return a list, and a function that gives the final loss."""
    drawn, accumulators = [], []

    class Animator:
        def __init__(self, **kwargs):
            pass

        def add(self, epoch, values):
            drawn.append((epoch, *map(float, values)))

    class Accumulator(d2l.Accumulator):
        def __init__(self, n):
            super().__init__(n)
            accumulators.append(self)

    monkeypatch.setattr(d2l, "Animator", Animator)
    monkeypatch.setattr(d2l, "Accumulator", Accumulator)
    return drawn, lambda: accumulators[-1][0] / accumulators[-1][1]


@pytest.mark.parametrize(
    ("last_batch", "num_devices"),
    some(
        itertools.product(["rollover", "keep", "discard"], [1, 2]),
        [("rollover", 2), ("keep", 1), ("discard", 2)],
    ),
)
def test_printed_loss_and_rmse_equal_d2ls_own_loop(
    arrays, num_devices, last_batch, monkeypatch, capsys
):
    d2l = pytest.importorskip("d2l.mxnet")
    devices = [mx.cpu(i) for i in range(num_devices)]
    theirs = make_net(devices)
    drawn, train_loss = record_d2l(d2l, monkeypatch)
    d2l.train_recsys_rating(
        theirs, *gluon_loaders(arrays, last_batch), gluon.loss.L2Loss(), make_trainer(theirs), 4,
        devices, chapter_evaluator,
    )  # fmt: skip
    their_lines = capsys.readouterr().out.splitlines()
    ours = make_net(devices)
    history = train_recsys_rating(
        ours, *loaders(arrays, last_batch), gluon.loss.L2Loss(), make_trainer(ours), 4, devices
    )
    our_lines = capsys.readouterr().out.splitlines()

    curve = history.curve("printed", RATING_CURVE.metrics)
    np.testing.assert_allclose(curve, [values for _, *values in drawn], atol=1e-5)
    assert history.final.printed["train_loss"] == pytest.approx(train_loss(), abs=1e-5)
    for ours_param, theirs_param in zip(parameters(ours), parameters(theirs)):
        np.testing.assert_allclose(ours_param, theirs_param, atol=1e-5)
    assert our_lines[0] == their_lines[0]
    assert our_lines[1].split()[1:] == their_lines[1].split()[1:]
    assert drawn[0][1] > 1.5 * drawn[-1][1], "nothing was learned, so this proves nothing"


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
        history.curve("printed", RATING_CURVE.metrics),
        expected.curve("printed", RATING_CURVE.metrics),
        atol=1e-6,
    )
    assert "test_rmse" not in history.final.defined


@pytest.mark.parametrize("num_devices", [2, 3, 5])
def test_any_number_of_devices_gives_the_parameters_of_one(arrays, num_devices):
    """Five epochs of ten batches of 40 are fifty steps. 40 is not divisible by 3 devices."""
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
    """MXNet's Adam adds wd * w to the gradient of the mean of (r - r_hat)^2 / 2.

    The learning rate has the bias correction.
    """
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
    # 410 rows in batches of 16, with the rest rolled over, give 25, 26 and 25 batches.
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


def test_the_batch_whose_loss_is_not_finite_is_named_and_the_weights_as_they_are(arrays):
    """The loop reads losses many batches late, but it must name the first bad one."""
    net = make_net([mx.cpu()])
    train, test = arrays
    train[2][18 * 20 + 3] = np.inf
    iters = (BatchLoader(*part, batch_size=20) for part in (train, test))
    trainer, loss = make_trainer(net), gluon.loss.L2Loss()
    message = (
        r"the loss is not finite in epoch 1, batch 19, at learning rate 0\.02: P\.weight is not"
    )
    with pytest.raises(
        DivergedError, match=message + " finite; start from scratch with a smaller --lr$"
    ):
        train_recsys_rating(net, *iters, loss, trainer, 1, [mx.cpu()], quiet=True)


def test_weights_that_the_last_step_ruins_are_named(arrays):
    net = make_net([mx.cpu()])
    trainer = gluon.Trainer(net.collect_params(), "adam", {"learning_rate": 1e39})
    iters = loaders(arrays, batch_size=410)
    message = "weights are not finite in epoch 1, after batch 1, at learning rate 1e.39: P.weight"
    with pytest.raises(DivergedError, match=message):
        train_recsys_rating(net, *iters, gluon.loss.L2Loss(), trainer, 1, [mx.cpu()], quiet=True)


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


def test_an_autoencoders_batches_train_alike_on_any_number_of_devices():
    """Seven epochs of eight batches are more than fifty steps. There is no dropout."""
    rng = np.random.default_rng(0)
    rows = (rng.integers(1, 6, (40, 11)) * (rng.random((40, 11)) < 0.4)).astype("float32")
    nets = []
    for count in (1, 2, 3):
        devices = [mx.cpu(i) for i in range(count)]
        mx.random.seed(0)
        net = AutoRec(5, 11, dropout=0)
        net.initialize(ctx=devices, init=init.Normal(0.5))
        train_recsys_rating(
            net, BatchLoader(rows, batch_size=5, shuffle=True, rng=1), None, gluon.loss.L2Loss(),
            make_trainer(net), 7, devices, lambda *arguments: 0.0, quiet=True,
        )  # fmt: skip
        nets.append(parameters(net))
    for others in nets[1:]:
        for one, many in zip(nets[0], others):
            np.testing.assert_allclose(many, one, atol=1e-5)


# Ranking


class RankingCase:
    """Implicit feedback with a pattern to learn: user u likes the items u to u + 11, modulo 30."""

    def __init__(self, kind, L=3):
        self.kind, self.num_users, self.num_items = kind, 24, 30
        rng = np.random.default_rng(0)
        histories = {
            user: ((user + rng.permutation(12)) % self.num_items).tolist()
            for user in range(self.num_users)
        }
        self.test_input = {user: history[-1:] for user, history in histories.items()}
        self.candidates = {user: history[:-1] for user, history in histories.items()}
        pairs = [(user, i) for user, items in self.candidates.items() for i in items]
        users, items = np.array(pairs, dtype="int32").T
        self.arrays, self.seq = [users, items], None
        if kind == "caser":
            windows = sequence_windows(users, items, L, self.num_users)
            self.arrays, self.seq = list(windows[:3]), windows.test_sequences

    def net(self, devices):
        mx.random.seed(7)
        net = (
            Caser(5, self.num_users, self.num_items, 3, drop_ratio=0)
            if self.kind == "caser"
            else NeuMF(5, self.num_users, self.num_items, [5, 4])
        )
        net.initialize(ctx=devices, init=init.Normal(0.3))
        return net

    def loader(self, batch_size=16):
        sampler = NegativeSampler(self.candidates, self.num_users, self.num_items, 3)
        return PairwiseLoader(
            *self.arrays, sampler=sampler, batch_size=batch_size, shuffle=True,
            last_batch="rollover", rng=4,
        )  # fmt: skip

    def train(self, net, devices, num_epochs=3, loss=None, batch_size=16, **options):
        options = {"quiet": True, **options}
        return train_ranking(
            net, self.loader(batch_size), self.test_input, loss or BPRLoss(), make_trainer(net),
            self.seq, self.num_users, self.num_items, num_epochs, devices,
            candidates=self.candidates, **options,
        )  # fmt: skip


class AsMXNet:
    """A loader's batches as arrays of MXNet, which is what Gluon's loader yields."""

    def __init__(self, loader):
        self.loader = loader

    def __iter__(self):
        return ([mx.np.array(part, dtype=part.dtype) for part in batch] for batch in self.loader)


@pytest.mark.parametrize(
    ("kind", "num_devices", "loss"),
    some(
        [
            ("neumf", 1, BPRLoss),
            ("neumf", 2, HingeLossbRec),
            ("caser", 1, HingeLossbRec),
            ("caser", 2, BPRLoss),
        ],
        [("neumf", 1, BPRLoss), ("caser", 2, BPRLoss)],
    ),
)
@pytest.mark.usefixtures("quick_garbage_collection")
def test_ranking_equals_d2ls_own_loop(kind, num_devices, loss, monkeypatch, capsys):
    """Compares the losses, hit rates and AUCs of all epochs, the lines and the parameters."""
    d2l = pytest.importorskip("d2l.mxnet")
    case, devices = RankingCase(kind), [mx.cpu(i) for i in range(num_devices)]
    drawn, train_loss = record_d2l(d2l, monkeypatch)
    theirs, ours = case.net(devices), case.net(devices)
    seq = None if case.seq is None else mx.np.array(case.seq)
    d2l.train_ranking(
        theirs, AsMXNet(case.loader()), case.test_input, getattr(d2l, loss.__name__)(),
        make_trainer(theirs), seq, case.num_users, case.num_items, 3, devices,
        d2l.evaluate_ranking, case.candidates,
    )  # fmt: skip
    their_lines = capsys.readouterr().out.splitlines()
    history = case.train(ours, devices, loss=loss(), quiet=False)
    our_lines = capsys.readouterr().out.splitlines()

    curve = history.curve("printed", RANKING_CURVE.metrics)
    np.testing.assert_allclose(curve, [values for _, *values in drawn], atol=1e-5)
    assert history.final.printed["train_loss"] == pytest.approx(train_loss(), rel=1e-5)
    for ours_param, theirs_param in zip(parameters(ours), parameters(theirs)):
        np.testing.assert_allclose(ours_param, theirs_param, atol=1e-5)
    assert our_lines[0] == their_lines[0]
    assert our_lines[1].split()[1:] == their_lines[1].split()[1:]
    assert drawn[-1][2] > drawn[0][2] + 0.02, "nothing was learned, so this proves nothing"


def test_the_defined_loss_is_the_mean_over_pairs():
    """With learning rate 0, the net does not change, so its scores of all pairs give the loss."""
    case = RankingCase("neumf")
    for devices in ([mx.cpu()], [mx.cpu(0), mx.cpu(1)]):
        net = case.net(devices)
        pairs = [np.concatenate(part) for part in zip(*case.loader())]
        users, items, negatives = (mx.np.array(part, dtype="int32") for part in pairs)
        distance = (net(users, items) - net(users, negatives)).asnumpy().astype(np.float64)
        trainer = gluon.Trainer(net.collect_params(), "sgd", {"learning_rate": 0})
        history = train_ranking(
            net, case.loader(), case.test_input, BPRLoss(), trainer, None, case.num_users,
            case.num_items, 1, devices, candidates=case.candidates, quiet=True,
        )  # fmt: skip
        expected = np.logaddexp(0, -distance).mean()
        assert history.final.defined["train_loss"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("kind", [pytest.param("neumf", marks=pytest.mark.slow), "caser"])
def test_ranking_on_any_number_of_devices_gives_the_parameters_of_one(kind):
    """Two epochs of 264 or 192 pairs in batches of 4 are more than fifty steps.

    With 5 devices, one device has no share of a batch.
    """
    case, nets = RankingCase(kind), []
    for count in (1, 2, 3, 5):
        devices = [mx.cpu(i) for i in range(count)]
        net = case.net(devices)
        case.train(net, devices, num_epochs=2, batch_size=4)
        nets.append(parameters(net, devices[-1]))
    for others in nets[1:]:
        for one, many in zip(nets[0], others):
            np.testing.assert_allclose(many, one, atol=1e-5)


def test_evaluation_every_other_epoch(capsys):
    case = RankingCase("neumf")
    net = case.net([mx.cpu()])
    history = case.train(net, [mx.cpu()], num_epochs=5, eval_step=2, quiet=False)
    curve = np.array(history.curve("printed", RANKING_CURVE.metrics))
    assert np.isnan(curve).all(axis=1).tolist() == [True, False, True, False, True]
    final = history.final.printed
    assert (final["test_hit_rate"], final["test_auc"]) == tuple(curve[3])
    assert final["train_loss"] == history.rows[4]["printed_train_loss"]
    assert capsys.readouterr().out.splitlines()[0].endswith(f"test AUC {curve[3][1]:.3f}")
    with pytest.raises(SettingError, match="--eval-step is 0"):
        case.train(net, [mx.cpu()], eval_step=0)
    with pytest.raises(SettingError, match="--eval-step is 4, more than the 3 epochs"):
        case.train(net, [mx.cpu()], num_epochs=3, eval_step=4)


def test_the_chapters_evaluator_or_ones_own_can_be_passed(capsys):
    """A pair of numbers is taken as printed, and cutoffs reach the default evaluator."""
    case, seen = RankingCase("neumf"), []

    def evaluator(*arguments):
        seen.append(arguments[1:])
        return evaluate_ranking(*arguments)

    net = case.net([mx.cpu()])
    history = case.train(net, [mx.cpu()], 1, evaluator=evaluator)
    expected = score_ranking(net, *seen[0], cutoffs=[2])
    assert seen[0][:2] == (case.test_input, None)
    assert seen[0][2:] == (case.candidates, case.num_users, case.num_items, [mx.cpu()])
    assert history.rows[0]["printed_test_auc"] == expected.printed["test_auc"]
    assert set(history.final.defined) == {"train_loss"}
    history = case.train(case.net([mx.cpu()]), [mx.cpu()], 1, cutoffs=[2], protocol="defined",
                         quiet=False)  # fmt: skip
    for name, value in expected.defined.items():
        assert history.final.defined[name] == pytest.approx(value)
    assert f"test hit rate {expected.defined['test_hit_rate']:.3f}" in capsys.readouterr().out


def test_candidates_that_lack_a_user_are_refused_before_the_first_epoch():
    case = RankingCase("neumf")
    net, loader = case.net([mx.cpu()]), case.loader()
    before = parameters(net)

    def train(candidates):
        train_ranking(
            net, loader, case.test_input, BPRLoss(), make_trainer(net), None, case.num_users,
            case.num_items, 1, [mx.cpu()], candidates=candidates, quiet=True,
        )  # fmt: skip

    with pytest.raises(SettingError, match="needs the candidates"):
        train(None)
    del case.candidates[3]
    with pytest.raises(DataError, match=r"user 4 .* is missing from the training items"):
        train(case.candidates)
    for one, other in zip(before, parameters(net)):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", ["BPRLoss", "HingeLossbRec"])
def test_d2ls_losses_and_nets_with_a_forward_of_their_own_train_alike(name):
    d2l = pytest.importorskip("d2l.mxnet")

    class Plain(gluon.HybridBlock):
        def __init__(self, net):
            super().__init__()
            self.net = net

        def forward(self, *inputs):
            return mx.np.multiply(self.net(*inputs), 1)

    case, nets = RankingCase("neumf"), []
    ours = {"BPRLoss": BPRLoss, "HingeLossbRec": HingeLossbRec}[name]
    for loss, wrap in ((ours(), None), (getattr(d2l, name)(), None), (ours(), Plain)):
        net = case.net([mx.cpu()])
        trainer = make_trainer(net)
        train_ranking(
            wrap(net) if wrap else net, case.loader(), case.test_input, loss, trainer, None,
            case.num_users, case.num_items, 1, [mx.cpu()], candidates=case.candidates, quiet=True,
        )  # fmt: skip
        nets.append(parameters(net))
        if name == "HingeLossbRec":
            pair = mx.np.array([1.0]), mx.np.array([0.5])
            assert float(loss(*pair, 2)) == 1.5, "after training, the loss still takes a margin"
    for others in nets[1:]:
        for one, other in zip(nets[0], others):
            np.testing.assert_allclose(one, other, atol=1e-5)


# Clicks


class ChaptersDeepFM(gluon.nn.Block):
    """The nets of sections 15.9 and 15.10 in the book; without ``mlp_dims``, only the FM."""

    def __init__(self, field_dims, num_factors, mlp_dims=()):
        super().__init__()
        num_inputs = int(sum(field_dims))
        self.embedding = gluon.nn.Embedding(num_inputs, num_factors)
        self.fc = gluon.nn.Embedding(num_inputs, 1)
        self.linear_layer = gluon.nn.Dense(1, use_bias=True)
        if mlp_dims:
            self.mlp = gluon.nn.Sequential()
            for dim in mlp_dims:
                self.mlp.add(gluon.nn.Dense(dim, "relu"), gluon.nn.Dropout(0))
            self.mlp.add(gluon.nn.Dense(1))

    def forward(self, x):
        embed_x = self.embedding(x)
        square_of_sum = backend.np.sum(embed_x, axis=1) ** 2
        sum_of_square = backend.np.sum(embed_x**2, axis=1)
        x = self.linear_layer(self.fc(x).sum(1)) + 0.5 * (square_of_sum - sum_of_square).sum(
            1, keepdims=True
        )
        if hasattr(self, "mlp"):
            x = x + self.mlp(embed_x.reshape(len(embed_x), -1))
        return backend.npx.sigmoid(x)


class Clicks:
    """Made-up clicks for ``train_ctr``: nets with equal parameters, loaders with equal batches."""

    def __init__(self, kind, tmp_path, batch_size=24):
        self.kind, self.batch_size = kind, batch_size
        lines = made_up_clicks(260, 6)
        for name, part in (("train", lines[:200]), ("test", lines[200:])):
            (tmp_path / name).write_text("".join(part))
        self.train = CTRDataset(tmp_path / "train", num_feat=6)
        self.test = CTRDataset(
            tmp_path / "test", self.train.feat_mapper, self.train.defaults, num_feat=6
        )

    def loaders(self):
        return (
            BatchLoader(
                *self.train[:], batch_size=self.batch_size, shuffle=True, last_batch="rollover",
                rng=3,
            ),
            BatchLoader(*self.test[:], batch_size=self.batch_size),
        )  # fmt: skip

    def gluon_loaders(self):
        train, _ = gluon_loaders((self.train[:], self.test[:]))
        sampler = train._batch_sampler._sampler
        return (
            gluon.data.DataLoader(
                self.train,
                sampler=sampler,
                batch_size=self.batch_size,
                last_batch="rollover",
            ),
            gluon.data.DataLoader(self.test, batch_size=self.batch_size, last_batch="rollover"),
        )

    def net(self, devices, chapters=False, scale=0.7):
        mlp_dims = [5, 4] if self.kind == "deepfm" else []
        if chapters:
            net = ChaptersDeepFM(self.train.field_dims, 4, mlp_dims)
        elif mlp_dims:
            net = deepfm.DeepFM(self.train.field_dims, 4, mlp_dims, 0.0)
        else:
            net = fm.FM(self.train.field_dims, 4)
        net.initialize(ctx=devices)
        net(backend.np.array(self.train.features[:1], ctx=devices[0]))
        rng = np.random.default_rng(7)
        for parameter in net.collect_params().values():
            parameter.set_data(backend.np.array(rng.normal(0, scale, parameter.shape)))
        return net

    @staticmethod
    def trainer(net, lr=0.2):
        return gluon.Trainer(net.collect_params(), "adam", {"learning_rate": lr})


def int_accuracy(y_hat, y):
    """The function ``accuracy`` of the chapter's edition."""
    return float((y_hat.astype("int32") == y.astype("int32")).sum())


@pytest.mark.parametrize(
    ("kind", "num_devices", "edition"),
    some(
        itertools.product(["fm", "deepfm"], [1, 2], ["chapters", "1.0.3"]),
        [
            ("fm", 1, "1.0.3"),
            ("fm", 2, "chapters"),
            ("deepfm", 1, "chapters"),
            ("deepfm", 2, "1.0.3"),
        ],
    ),
)
def test_clicks_equal_d2ls_own_loop(kind, num_devices, edition, tmp_path, monkeypatch, capsys):
    d2l = pytest.importorskip("d2l.mxnet")
    case, devices = Clicks(kind, tmp_path), [mx.cpu(i) for i in range(num_devices)]
    theirs = case.net(devices, chapters=True, scale=1.5)
    if edition == "chapters":
        monkeypatch.setattr(d2l, "accuracy", int_accuracy)
    drawn = []

    class Animator:
        """Records, for each epoch, the last training loss and accuracy, and the test accuracy."""

        def __init__(self, **kwargs):
            pass

        def add(self, epoch, values):
            *self.train, test_acc = values if values[2] is None else (*self.train, values[2])
            if test_acc is not None:
                drawn.append((*self.train, test_acc))

    monkeypatch.setattr(d2l, "Animator", Animator)
    loss = gluon.loss.SigmoidBinaryCrossEntropyLoss
    d2l.train_ch13(theirs, *case.gluon_loaders(), loss(), case.trainer(theirs, 0.05), 7, devices)
    their_lines = capsys.readouterr().out.splitlines()

    ours = case.net(devices, scale=1.5)
    history = train_ctr(ours, *case.loaders(), loss(), case.trainer(ours, 0.05), 7, devices)
    our_lines = capsys.readouterr().out.splitlines()
    suffix = "" if edition == "chapters" else "_exact"
    names = ["train_loss", f"train_acc{suffix}", f"test_acc{suffix}"]
    found = [tuple(row[f"printed_{name}"] for name in names) for row in history.rows]
    np.testing.assert_allclose(found, drawn, atol=1e-5)
    # The case is meaningful: some scores are exactly 0 or 1, most are not, and the net learns.
    assert len({acc for _, acc, _ in found}) > 2
    assert 0.05 < found[-1][1] < 0.99
    assert found[-1][0] < found[0][0] - 0.05
    for ours_param, theirs_param in zip(parameters(ours), parameters(theirs)):
        # The sigmoids are saturated and the gradients nearly 0, but Adam makes full steps of them.
        np.testing.assert_allclose(ours_param, theirs_param, atol=5e-5)
    if edition == "chapters":
        assert our_lines[0] == their_lines[0]
    assert our_lines[1].split()[1:] == their_lines[1].split()[1:]


@pytest.mark.parametrize("kind", ["fm", "deepfm"])
def test_the_chapters_own_net_trains_alike_as_printed_only(kind, tmp_path, capsys):
    case, devices = Clicks(kind, tmp_path), [mx.cpu()]
    histories = []
    for chapters in (False, True):
        net = case.net(devices, chapters)
        loss = gluon.loss.SigmoidBinaryCrossEntropyLoss()
        histories.append(train_ctr(net, *case.loaders(), loss, case.trainer(net), 3, quiet=True))
    first, second = (history.final for history in histories)
    assert first.printed == pytest.approx(second.printed, abs=1e-5)
    assert first.defined["test_acc"] == second.defined["test_acc"]
    with pytest.raises(SettingError, match=r"--protocol is defined, but the net has no logits"):
        train_ctr(net, *case.loaders(), loss, case.trainer(net), 3, protocol="defined")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("protocol", ["printed", "defined"])
def test_the_protocol_says_what_the_loss_sees_and_the_lines_show(protocol, tmp_path, capsys):
    """The losses and the accuracy of an epoch of one batch equal those computed in float64."""
    case = Clicks("fm", tmp_path, batch_size=200)
    net = case.net([mx.cpu()], scale=0.1)
    z = net.logits(mx.nd, backend.np.array(case.train.features)).asnumpy().astype(np.float64)
    y = case.train.labels.astype(np.float64)
    seen = z if protocol == "defined" else 1 / (1 + np.exp(-z))
    expected = np.mean(np.log1p(np.exp(seen)) - y * seen)
    log_loss = np.mean(np.log1p(np.exp(z)) - y * z)
    history = train_ctr(
        net, *case.loaders(), gluon.loss.SigmoidBinaryCrossEntropyLoss(), case.trainer(net), 1,
        protocol=protocol,
    )  # fmt: skip
    final = history.final
    assert final.printed["train_loss"] == pytest.approx(expected, abs=1e-6)
    assert final.defined["train_loss"] == pytest.approx(log_loss, abs=1e-6)
    assert final.defined["train_acc"] == np.mean((z > 0) == (y > 0))
    shown = getattr(final, protocol)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == (
        f"loss {shown['train_loss']:.3f}, train acc {shown['train_acc']:.3f}, "
        f"test acc {shown.get('test_acc', np.nan):.3f}"
    )
    assert lines[1].endswith("examples/sec on [cpu(0)]")
    assert lines[2] == (
        f"test log loss {final.defined['test_log_loss']:.3f}, "
        f"test AUC {final.defined['test_auc']:.3f}"
    )


@pytest.mark.parametrize(
    ("kind", "protocol"),
    some(
        itertools.product(["fm", "deepfm"], ["printed", "defined"]),
        [("fm", "defined"), ("deepfm", "printed")],
    ),
)
def test_clicks_on_any_number_of_devices_give_the_parameters_of_one(kind, protocol, tmp_path):
    # Batches of 23 give shares of unequal size.
    case, found = Clicks(kind, tmp_path, batch_size=23), []
    for num_devices in (1, 2, 3):
        devices = [mx.cpu(i) for i in range(num_devices)]
        net = case.net(devices, scale=0.1)
        loss = gluon.loss.SigmoidBinaryCrossEntropyLoss()
        # Plain gradient descent. If a gradient is nearly 0, Adam would turn its rounding error
        # into a full step.
        trainer = gluon.Trainer(net.collect_params(), "sgd", {"learning_rate": 0.1})
        history = train_ctr(
            net, *case.loaders(), loss, trainer, 6, devices, protocol=protocol, quiet=True
        )
        found.append((history.final, parameters(net, devices[-1])))
    (first, expected), *others = found
    for final, params in others:
        for array, other in zip(params, expected):
            np.testing.assert_allclose(array, other, atol=1e-5)
        assert final.printed == pytest.approx(first.printed, abs=1e-5)
        assert final.defined == pytest.approx(first.defined, abs=1e-5)


def test_a_test_set_smaller_than_a_batch_has_defined_numbers_only(tmp_path, capsys):
    case = Clicks("fm", tmp_path, batch_size=100)
    net = case.net([mx.cpu()])
    loss = gluon.loss.SigmoidBinaryCrossEntropyLoss()
    train_ctr(net, *case.loaders(), loss, case.trainer(net), 1)
    assert "no printed test accuracy: the chapter's loader" in capsys.readouterr().out
    history = train_ctr(net, *case.loaders(), loss, case.trainer(net), 2)
    assert "no printed test accuracy" not in capsys.readouterr().out
    # Of 60 test rows, the chapter's loader yields none in the first epoch and 100 in the second.
    assert "printed_test_acc" not in history.rows[0]
    assert "printed_test_acc" in history.rows[1]
    assert all("defined_test_auc" in row for row in history.rows)
    large = Clicks("fm", tmp_path, batch_size=201)
    with pytest.raises(SettingError, match="does not fill one batch; choose a smaller"):
        train_ctr(net, *large.loaders(), loss, case.trainer(net), 1, quiet=True)


def test_any_loader_may_feed_the_click_loop(tmp_path):
    case = Clicks("fm", tmp_path)
    loss = gluon.loss.SigmoidBinaryCrossEntropyLoss()
    net = case.net([mx.cpu()])
    ours = train_ctr(net, *case.loaders(), loss, case.trainer(net), 1, quiet=True).final
    net = case.net([mx.cpu()])
    train_iter, _ = case.gluon_loaders()
    test_iter = gluon.data.DataLoader(case.test, batch_size=7)
    other = train_ctr(net, train_iter, test_iter, loss, case.trainer(net), 1, quiet=True).final
    assert other.defined == pytest.approx(ours.defined, abs=1e-6)


def test_test_rows_that_shuffle_or_are_not_all_there_are_refused(tmp_path):
    case = Clicks("fm", tmp_path)
    net, loss = case.net([mx.cpu()]), gluon.loss.SigmoidBinaryCrossEntropyLoss()
    train_iter, _ = case.loaders()
    for options in ({"last_batch": "rollover"}, {"last_batch": "discard"}, {"shuffle": True}):
        test_iter = BatchLoader(*case.test[:], batch_size=8, **options)
        with pytest.raises(SettingError, match="the test loader must keep all rows in order: "):
            train_ctr(net, train_iter, test_iter, loss, case.trainer(net), 1, quiet=True)


def test_a_recommender_trains_as_the_ranking_loop_does(capsys):
    case = RankingCase("neumf")
    nets, histories = [], []
    for _ in range(2):
        net = case.net([mx.cpu()])
        trainer = gluon.Trainer(net.collect_params(), "adam", {"learning_rate": 0.02})
        nets.append((net, trainer))
    net, trainer = nets[0]
    histories.append(
        train_ranking(
            net,
            case.loader(),
            case.test_input,
            BPRLoss(),
            trainer,
            None,
            case.num_users,
            case.num_items,
            2,
            [mx.cpu()],
            candidates=case.candidates,
            protocol="defined",
        )
    )
    net, trainer = nets[1]

    def evaluate():
        sizes = case.num_users, case.num_items
        return score_ranking(net, case.test_input, None, case.candidates, *sizes, [mx.cpu()])

    loss = ranking_loss(net, BPRLoss())
    histories.append(train_recommender(net, loss, case.loader(), evaluate, trainer, 2, [mx.cpu()]))
    assert histories[0].final == histories[1].final
    for one, other in zip(*(parameters(net) for net, _ in nets)):
        np.testing.assert_array_equal(one, other)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == lines[2]


class Weighted(gluon.nn.HybridBlock):
    """A net with one weight, whose loss is multiplied by the batch's second array."""

    def __init__(self):
        super().__init__()
        self.layer = gluon.nn.Dense(1, use_bias=False, in_units=1)

    def batch_loss(self, F, rows, weights):
        return (self.layer(rows) * weights).sum(axis=1)


def test_an_epoch_is_announced_before_its_first_batch():
    net = Weighted()
    net.initialize(init=init.Constant(1))
    weights = np.zeros((6, 1), dtype="float32")
    loader = BatchLoader(np.ones((6, 1), "float32"), weights, batch_size=3)
    trainer = gluon.Trainer(net.collect_params(), "adam", {"learning_rate": 0.0})
    announced = []

    def begin_epoch(epoch):
        announced.append(epoch)
        weights[:] = epoch

    history = train_recommender(
        net, own_loss(net), loader, lambda: Scores({}, {}), trainer, 3, [mx.cpu()], quiet=True,
        begin_epoch=begin_epoch,
    )  # fmt: skip
    assert announced == [1, 2, 3]
    # The loss of each epoch has the weights that ``begin_epoch`` set for this epoch.
    assert [row["defined_train_loss"] for row in history.rows] == [1, 2, 3]
