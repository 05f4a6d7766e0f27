import numpy as np
import pytest
from conftest import some

from d2l_recsys.data import load_ranking_ml100k
from d2l_recsys.errors import DataError
from d2l_recsys.evaluation.click_metrics import click_scores
from d2l_recsys.loaders.batches import BatchLoader
from d2l_recsys.ranking import HeldOut
from d2l_recsys.sampling import pairwise_loader
from d2l_recsys.seeds import seed_streams
from d2l_recsys.sequences import sequence_windows

backend = pytest.importorskip("d2l_recsys.backend")
from d2l_recsys.chapters.autorec import AutoRec  # noqa: E402
from d2l_recsys.chapters.caser import Caser  # noqa: E402
from d2l_recsys.chapters.mf import MF  # noqa: E402
from d2l_recsys.chapters.neumf import NeuMF  # noqa: E402
from d2l_recsys.evaluation import evaluators  # noqa: E402
from d2l_recsys.evaluation.evaluators import (  # noqa: E402
    evaluate_clicks,
    evaluate_ranking,
    evaluate_rating,
    evaluate_reconstruction,
    score_ranking,
)
from d2l_recsys.losses import BPRLoss  # noqa: E402
from d2l_recsys.model_bases.contract import ClickModel, Recommender  # noqa: E402
from d2l_recsys.train import train_ranking  # noqa: E402

gluon, mx, nn = backend.gluon, backend.mx, backend.nn
L = 4


@pytest.fixture(autouse=True)
def np_semantics():
    backend.npx.set_np()


def test_both_rmses_equal_plain_loops_over_the_models_own_tables():
    devices = [mx.cpu(0), mx.cpu(1)]
    net = MF(3, 10, 12)
    net.initialize(ctx=devices, init=backend.init.Normal(1))
    rng = np.random.default_rng(2)
    users, items = rng.integers(0, 10, 25).astype("int32"), rng.integers(0, 12, 25).astype("int32")
    ratings = rng.integers(1, 6, 25).astype("float32")
    P, Q, b_u, b_i = (p.data(devices[0]).asnumpy() for p in net.collect_params().values())
    errors = [
        float(r) - (np.dot(P[u], Q[i]) + b_u[u, 0] + b_i[i, 0])
        for u, i, r in zip(users, items, ratings)
    ]
    # Batches of ten, split across two devices, have shares of 5 and 5, 5 and 5, 3 and 2.
    shares = [errors[0:5], errors[5:10], errors[10:15], errors[15:20], errors[20:23], errors[23:]]
    rmses = [np.sqrt(np.mean(np.square(share))) for share in shares]
    printed = np.mean([np.mean(rmses[:2]), np.mean(rmses[:4]), np.mean(rmses[:6])])

    scores = evaluate_rating(net, BatchLoader(users, items, ratings, batch_size=10), devices)
    assert scores.printed["test_rmse"] == pytest.approx(printed, abs=1e-5)
    assert scores.defined["test_rmse"] == pytest.approx(np.sqrt(np.mean(np.square(errors))))


@pytest.mark.parametrize("num_devices", [1, 2])
def test_an_autoencoders_rmse_is_the_chapters_over_the_test_ratings(num_devices):
    devices = [mx.cpu(i) for i in range(num_devices)]
    rng = np.random.default_rng(0)
    ratings = rng.integers(1, 6, (23, 9)) * (rng.random((23, 9)) < 0.4)
    in_test = rng.random((23, 9)) < 0.3
    train, test = (np.where(keep, ratings, 0).astype("float32") for keep in (~in_test, in_test))
    net = AutoRec(6, 9)
    net.initialize(ctx=devices, init=backend.init.Normal(1))
    # As in the section: predict all ratings, and select the test ratings by the sign of the matrix.
    completed = backend.np.array(
        [row for start in range(0, 23, 10)
         for row in net(backend.np.array(train[start:start + 10])).asnumpy()])  # fmt: skip
    test_data = backend.np.array(test)
    errors = backend.np.square(test_data - backend.np.sign(test_data) * completed)
    expected = (errors.sum() / backend.np.sign(test_data).sum()) ** 0.5

    scores = evaluate_reconstruction(net, BatchLoader(train, batch_size=10), test, devices)
    assert scores.printed["test_rmse"] == pytest.approx(float(expected), abs=1e-5)
    assert scores.printed == scores.defined
    with pytest.raises(DataError, match="no test ratings"):
        evaluate_reconstruction(net, BatchLoader(train, batch_size=10), test * 0, devices)


class WithoutScoreAll(gluon.Block):
    """A net that hides the ``score_all`` of another net."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, *inputs):
        return self.net(*inputs)


class LaterNeuMF(gluon.Block):
    """The net of the later editions, which returns scores as a column."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, users, items):
        return self.net(users, items).reshape(-1, 1)


def make(kind, num_users, num_items, grid, seed, devices):
    """A small net. With weights on a grid, float32 is exact and many scores tie."""
    mx.random.seed(seed)
    rng = np.random.default_rng(seed)
    name, _, option = kind.partition(" ")
    net = {
        "mf": lambda: MF(3, num_users, num_items),
        "neumf": lambda: NeuMF(4, num_users, num_items, [5, 3], head=option or "sum"),
        "caser": lambda: Caser(
            4, num_users, num_items, L, **{"": {}, "d=0": {"d": 0}, "d'=0": {"d_prime": 0}}[option]
        ),
    }[name]()
    net.initialize(ctx=devices, init=backend.init.Normal(0.5))
    if grid:
        for parameter in net.collect_params().values():
            values = rng.choice([-1, -0.5, 0, 0, 0.5, 1], parameter.shape)
            parameter.set_data(backend.np.array(values, dtype="float32"))
    return net


KINDS = ["mf", "neumf sum", "neumf linear", "neumf sigmoid", "caser", "caser d=0", "caser d'=0"]


def make_case(seed, num_users, num_items, per_user=1):
    rng = np.random.default_rng(seed)
    test_input, candidates = {}, {}
    for user in range(num_users):
        items = rng.permutation(num_items).tolist()
        test_input[user] = items[:per_user]
        candidates[user] = items[per_user : per_user + rng.integers(0, min(num_items // 2, 10))]
    return test_input, candidates, rng.integers(0, num_items, (num_users, L)).astype("int32")


SMALL = [
    (kind, grid, *case)
    for kind in KINDS
    for grid in (False, True)
    for case in (((9, 14), 1, 1), ((13, 9), 2, 2))
]
# Lists of more than fifty items, so that not every item is a hit.
LARGE = [("mf", True, (57, 66), 1, 1), ("caser", False, (57, 66), 2, 1)]


@pytest.mark.parametrize(
    ("kind", "grid", "sizes", "per_user", "num_devices"),
    some(SMALL + LARGE, [*SMALL[1::2], SMALL[0], LARGE[0]]),
)
@pytest.mark.usefixtures("quick_garbage_collection")
def test_printed_equals_d2ls_own_function(kind, grid, sizes, per_user, num_devices, monkeypatch):
    """Hits and AUC equal d2l's exactly, half of the nets with tied scores."""
    d2l = pytest.importorskip("d2l.mxnet")
    found = []

    def hit_and_auc(*arguments):
        found.append(real_hit_and_auc(*arguments))
        return found[-1]

    real_hit_and_auc = d2l.hit_and_auc
    monkeypatch.setattr(d2l, "hit_and_auc", hit_and_auc)
    devices = [mx.cpu(i) for i in range(num_devices)]
    test_input, candidates, seq = make_case(per_user, *sizes, per_user)
    seq = seq if kind.startswith("caser") else None
    net = make(kind, *sizes, grid, per_user, devices)
    their_seq = None if seq is None else backend.np.array(seq)
    theirs = d2l.evaluate_ranking(net, test_input, their_seq, candidates, *sizes, devices)
    exact = tuple(np.mean(values) for values in zip(*found))
    for evaluated in (net, WithoutScoreAll(net)):
        ours = evaluate_ranking(evaluated, test_input, seq, candidates, *sizes, devices)
        assert ours == exact
    assert exact == pytest.approx([float(value) for value in theirs], abs=1e-6)
    assert 0 < exact[1] < 1
    if sizes[0] > 50:
        missed = sum(
            hit < len([i for i in test_input[u] if i < 66]) for u, (hit, _) in enumerate(found)
        )
        assert missed > 5


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("hybridized", [False, True])
def test_score_all_gives_the_scores_of_the_pairs(kind, hybridized):
    """Scores are equal to the bit on a grid, where float32 is exact; else up to rounding."""
    users = backend.np.array([3, 0, 12], dtype="int32")
    _, _, seq = make_case(0, 13, 17)
    inputs = [users] + [backend.np.array(seq[[3, 0, 12]])] * kind.startswith("caser")
    for grid in (True, False):
        net = make(kind, 13, 17, grid, 5, [mx.cpu()])
        if hybridized:
            net.hybridize()
        at_once = net.score_all(*inputs).asnumpy()
        pairs = evaluators._PairByPair(net, 17).score_all(*inputs).asnumpy()
        assert at_once.shape == (3, 17)
        if grid:
            np.testing.assert_array_equal(at_once, pairs)
            assert len(np.unique(pairs)) < pairs.size, "no ties"
        else:
            np.testing.assert_allclose(at_once, pairs, atol=1e-5, rtol=1e-5)
        assert pairs.std() > 0.01


@pytest.mark.parametrize("kind", ["mf", "neumf linear", "caser"])
@pytest.mark.parametrize("size", [1, 40, 10**6])
def test_neither_the_block_nor_the_devices_change_the_numbers(kind, size, monkeypatch):
    test_input, candidates, seq = make_case(3, 14, 21)
    seq = seq if kind == "caser" else None
    expected = None
    for devices in ([mx.cpu()], [mx.cpu(0), mx.cpu(1), mx.cpu(2)]):
        monkeypatch.setattr(evaluators, "PAIRS_PER_BLOCK", size)
        net = make(kind, 14, 21, True, 4, devices)
        found = score_ranking(net, test_input, seq, candidates, 14, 21, devices, cutoffs=[3])
        monkeypatch.undo()
        expected = expected or score_ranking(net, test_input, seq, candidates, 14, 21, devices, [3])
        assert found == expected


def test_scores_may_come_as_a_column_and_sequences_as_mxnets_arrays():
    test_input, candidates, seq = make_case(3, 14, 21)
    net = make("neumf sigmoid", 14, 21, False, 4, [mx.cpu()])
    both = [
        score_ranking(n, test_input, None, candidates, 14, 21, [mx.cpu()])
        for n in (net, LaterNeuMF(net))
    ]
    assert both[0] == both[1]
    net = make("caser", 14, 21, False, 4, [mx.cpu()])
    both = [
        score_ranking(net, test_input, s, candidates, 14, 21, [mx.cpu()])
        for s in (seq, backend.np.array(seq, dtype="float32"))
    ]
    assert both[0] == both[1]


def test_sequences_of_the_wrong_number_are_refused():
    test_input, candidates, seq = make_case(3, 14, 21)
    net = make("caser", 14, 21, False, 4, [mx.cpu()])
    with pytest.raises(DataError, match="there are 13 sequences for 14 users"):
        score_ranking(net, test_input, seq[:13], candidates, 14, 21, [mx.cpu()])


@pytest.mark.network
@pytest.mark.parametrize(
    "kind",
    some(
        ["mf", "neumf sum", "neumf linear", "neumf sigmoid", "caser"],
        ["mf", "neumf sum", "caser"],
    ),
)
def test_trained_models_rank_alike_both_ways_on_the_whole_data_set(kind, ml100k_dir):
    """For all 1.6 million pairs, ranks differ only if scores are equal up to float32 rounding."""
    data = load_ranking_ml100k(ml100k_dir)
    sizes, devices = (data.num_users, data.num_items), [mx.cpu()]
    name, _, head = kind.partition(" ")
    windows = sequence_windows(data.users, data.items, 3, data.num_users)
    arrays, seq = [data.users, data.items], None
    if name == "caser":
        arrays, seq = windows[:3], windows.test_sequences
    mx.random.seed(0)
    net = {
        "mf": lambda: MF(30, *sizes),
        "neumf": lambda: NeuMF(10, *sizes, [10, 10, 10], head),
        "caser": lambda: Caser(10, *sizes, L=3),
    }[name]()
    net.initialize(init=backend.init.Normal(0.01))
    trainer = gluon.Trainer(net.collect_params(), "adam", {"learning_rate": 0.01})
    loader = pairwise_loader(data, arrays, 1024, seed_streams(0))
    train_ranking(
        net, loader, data.test_items, BPRLoss(), trainer, seq, *sizes, 1, devices,
        candidates=data.candidates, quiet=True,
    )  # fmt: skip
    held_out = HeldOut(data.test_items, data.candidates, *sizes)
    ranks, scores = [], []
    for evaluated in (net, WithoutScoreAll(net)):
        blocks = list(evaluators.score_blocks(evaluated, seq, *sizes, devices))
        scores.append(np.concatenate([block for _, block in blocks]))
        ranks.append(held_out.ranks(0, scores[-1]))
    rounding = 4e-6 * np.abs(scores[0]).max()
    assert np.abs(scores[0] - scores[1]).max() < rounding
    own = scores[0][np.arange(data.num_users), held_out.held_out.items][:, None]
    nearly_tied = (np.abs(scores[0] - own) < 2 * rounding).sum(axis=1) - 1
    assert (np.abs(ranks[0].rank - ranks[1].rank) <= nearly_tied).all()
    assert (ranks[0].rank == ranks[1].rank).mean() > 0.99
    both = [held_out.scores([r]) for r in ranks]
    for one, other in zip(both[0], both[1]):
        assert one == pytest.approx(other, abs=2e-3)


def test_blocks_are_bounded_and_go_to_the_devices_in_turn(monkeypatch):
    """This also holds if there are more users than items, so that the chapter's list is longer."""
    seen = []

    class Recorder(Recommender):
        def score_all(self, users):
            seen.append((users.ctx, users.asnumpy().tolist()))
            return backend.np.zeros((len(users), num_items), ctx=users.ctx)

    monkeypatch.setattr(evaluators, "PAIRS_PER_BLOCK", 100)
    devices = [mx.cpu(0), mx.cpu(1)]
    for num_users, num_items, size in ((11, 25, 4), (25, 11, 4), (7, 200, 1)):
        seen.clear()
        test_input, candidates, _ = make_case(0, num_users, num_items)
        score_ranking(Recorder(), test_input, None, candidates, num_users, num_items, devices)
        starts = range(0, num_users, size)
        assert [users for _, users in seen] == [
            list(range(start, min(start + size, num_users))) for start in starts
        ]
        assert [ctx for ctx, _ in seen] == [devices[i % 2] for i in range(len(starts))]


def test_what_does_not_fit_the_net_is_refused():
    test_input, candidates, seq = make_case(3, 14, 21)
    caser = make("caser", 14, 21, False, 4, [mx.cpu()])
    common = (candidates, 14, 21, [mx.cpu()])
    with pytest.raises(DataError, match="item 21 of a sequence is beyond the table of 21 items"):
        score_ranking(caser, test_input, np.where(seq == seq[0, 0], 21, seq), *common)
    with pytest.raises(DataError, match="the sequences have 3 items, but the net reads L = 4;"):
        score_ranking(caser, test_input, seq[:, 1:], *common)
    with pytest.raises(DataError, match="give their sequences"):
        score_ranking(caser, test_input, None, *common)
    users = backend.np.array([0, 1], dtype="int32")
    for longer in (make("caser d'=0", 14, 21, False, 4, [mx.cpu()]), caser):
        with pytest.raises(DataError, match="the sequences have 5 items, but"):
            longer(users, backend.np.zeros((2, 5), dtype="int32"), users)
    smaller = make("mf", 14, 20, False, 4, [mx.cpu()])
    with pytest.raises(DataError, match=r"scores of shape \(14, 20\), not \(14, 21\)"):
        score_ranking(smaller, test_input, None, *common)


class Bilinear(backend.nn.HybridBlock, ClickModel):
    """A click model whose log odds are half the sum of a row."""

    def logits(self, F, x):
        return F.np.sum(x, axis=1, keepdims=True) / 2

    def hybrid_forward(self, F, x):
        return F.npx.sigmoid(self.logits(F, x))


@pytest.mark.parametrize("num_devices", [1, 2, 3])
def test_clicks_are_scored_on_every_row_in_order(num_devices):
    rng = np.random.default_rng(0)
    features = rng.normal(0, 10, (50, 3)).astype("float32")
    labels = rng.integers(0, 2, (50, 1)).astype("float32")
    devices = [mx.cpu(i) for i in range(num_devices)]
    test_iter = BatchLoader(features, labels, batch_size=16)
    z = features.sum(axis=1) / 2
    expected = click_scores(labels[:, 0], 1 / (1 + np.exp(-z)), z)
    found = evaluate_clicks(Bilinear(), test_iter, devices)
    assert found.printed == expected.printed
    assert found.defined == pytest.approx(expected.defined, abs=1e-6)
    rows = np.array([3, 3, 49])
    found = evaluate_clicks(Bilinear(), test_iter, devices, rows)
    assert (
        found.printed == click_scores(labels[rows, 0], 1 / (1 + np.exp(-z[rows])), z[rows]).printed
    )
    assert found.defined == pytest.approx(expected.defined, abs=1e-6)


def test_clicks_without_rows_are_refused():
    with pytest.raises(DataError, match="no test rows"):
        evaluate_clicks(Bilinear(), [], [mx.cpu()])
