import json

import numpy as np
import pytest
from test_attention import block_by_block, float64, normalised

backend = pytest.importorskip("d2l_recsys.backend")
from d2l_recsys.chapters.extras import sasrec  # noqa: E402
from d2l_recsys.data import load_ranking_ml100k  # noqa: E402
from d2l_recsys.errors import DataError, SettingError  # noqa: E402
from d2l_recsys.loaders.batches import BatchLoader  # noqa: E402
from d2l_recsys.runs.run import CompanionRun  # noqa: E402
from d2l_recsys.sequences import ChunkLoader, history_chunks, last_items  # noqa: E402
from d2l_recsys.training.objectives import own_loss  # noqa: E402

autograd, mx, npx = backend.autograd, backend.np, backend.npx
ITEMS, WIDTH, LENGTH = 11, 8, 5
NOTHING = ITEMS
SEQUENCES = np.array([[NOTHING, NOTHING, 3, 0, 7], [2, 9, 10, 4, 3], [NOTHING] * 4 + [6]])
TARGETS = np.array([[NOTHING, NOTHING, 0, 7, 1], [9, 10, 4, 3, 8], [NOTHING] * 4 + [0]])
NEGATIVES = np.random.default_rng(7).integers(0, ITEMS, SEQUENCES.shape)


def make(max_length=LENGTH, num_heads=2, dropout=0.5, seed=0):
    npx.set_np()
    net = sasrec.SASRec(WIDTH, ITEMS, max_length, 2, num_heads, dropout)
    net.initialize()
    rng = np.random.default_rng(seed)
    for parameter in net.collect_params().values():
        parameter.set_data(mx.array(rng.normal(scale=0.6, size=parameter.shape)))
    return net


def ids(array):
    return mx.array(array, dtype="int32")


def by_plain_loop(net, num_heads=2):
    """Compute the model in float64, one sequence at a time; NaN at padding."""
    Q, P = float64(net.Q.weight), float64(net.P.weight)
    found = []
    for sequence in SEQUENCES:
        x = np.array([Q[item] + P[t] for t, item in enumerate(sequence)])
        for block in net.blocks:
            x = block_by_block(block, num_heads, x, sequence == NOTHING)
        found.append([normalised(net.norm, row) for row in x])
    return np.array(found)


def scores(net, sequences):
    users = mx.zeros(len(sequences), dtype="int32")
    return net.score_all(users, ids(sequences)).asnumpy()


@pytest.mark.parametrize("hybridized", [False, True])
@pytest.mark.parametrize("num_heads", [1, 2])
def test_the_model_is_the_papers_equations(num_heads, hybridized):
    net = make(num_heads=num_heads)
    if hybridized:
        net.hybridize(static_alloc=True, static_shape=True)
    expected = by_plain_loop(net, num_heads)
    found, real = net(ids(SEQUENCES)).asnumpy(), SEQUENCES != NOTHING
    np.testing.assert_allclose(found[real], expected[real], atol=2e-4)
    products = expected[:, -1] @ float64(net.Q.weight)[:ITEMS].T
    np.testing.assert_allclose(scores(net, SEQUENCES), products, atol=5e-4)
    np.testing.assert_array_equal(net.item_vectors(), net.Q.weight.data().asnumpy()[:ITEMS])


@pytest.mark.parametrize("negatives", [None, NEGATIVES])
def test_the_losses_are_a_plain_loop(negatives):
    """Section III.E and the softmax loss: a sum over the targets, divided by the length."""
    net = make(dropout=0)
    x, Q = by_plain_loop(net), float64(net.Q.weight)
    expected = np.zeros(len(SEQUENCES))
    for n, row in enumerate(TARGETS):
        for t, target in enumerate(row):
            if target == NOTHING:
                continue
            if negatives is None:
                every = [x[n, t] @ Q[i] for i in range(ITEMS)]
                expected[n] += np.log(np.exp(every).sum()) - every[target]
            else:
                seen, unseen = x[n, t] @ Q[target], x[n, t] @ Q[negatives[n, t]]
                expected[n] -= np.log(1 / (1 + np.exp(-seen)))
                expected[n] -= np.log(1 - 1 / (1 + np.exp(-unseen)))
    arrays = [ids(a) for a in (SEQUENCES, TARGETS, negatives) if a is not None]
    loss = own_loss(net)
    assert isinstance(loss, backend.gluon.HybridBlock)
    for _ in range(2):
        with autograd.record():
            losses = loss(*arrays)
        np.testing.assert_allclose(losses.asnumpy(), expected / TARGETS.shape[1], rtol=2e-4)


@pytest.mark.parametrize("negatives", [None, NEGATIVES])
def test_padding_has_no_gradient_and_each_target_has_one(negatives):
    net = make(dropout=0)
    negatives = negatives if negatives is None else np.full_like(SEQUENCES, 5)
    arrays = [ids(a) for a in (SEQUENCES, TARGETS, negatives) if a is not None]
    with autograd.record():
        losses = own_loss(net)(*arrays)
    losses.backward()
    gradient = net.Q.weight.grad().asnumpy()
    assert (gradient[NOTHING] == 0).all()
    used = set(SEQUENCES.ravel()) | set(TARGETS.ravel()) - {NOTHING}
    used |= set(range(ITEMS)) if negatives is None else {5}
    assert {i for i in range(ITEMS) if gradient[i].any()} == used - {NOTHING}
    assert net.P.weight.grad().asnumpy().any(axis=1).all()


def test_later_items_change_no_bit():
    net = make()
    before = net(ids(SEQUENCES)).asnumpy()
    for t in range(LENGTH - 1):
        changed = SEQUENCES.copy()
        changed[:, t + 1 :] = np.where(changed[:, t + 1 :] == NOTHING, NOTHING, 1)
        after, real = net(ids(changed)).asnumpy(), SEQUENCES[:, t] != NOTHING
        np.testing.assert_array_equal(after[real, t], before[real, t])
        assert (after[1, t + 1 :] != before[1, t + 1 :]).any()


def test_padding_at_the_head_changes_nothing():
    """A longer net, with the shorter net's vectors at its last positions, gives the same scores."""
    short, long = make(), make(LENGTH + 4, seed=1)
    for name, parameter in long._collect_params_with_prefix().items():
        data = short._collect_params_with_prefix()[name].data()
        if name == "P.weight":
            data = mx.concatenate([parameter.data()[:4], data])
        parameter.set_data(data)
    padded = np.pad(SEQUENCES, [(0, 0), (4, 0)], constant_values=NOTHING)
    np.testing.assert_allclose(scores(long, padded), scores(short, SEQUENCES), atol=1e-4)


def test_users_do_not_matter_and_the_last_items_do(ratings_dir):
    data = load_ranking_ml100k(ratings_dir)
    npx.set_np()
    net = sasrec.SASRec(WIDTH, data.num_items, LENGTH)
    net.initialize(init=backend.init.Normal(0.5))
    read = net.user_inputs(data)
    assert read.dtype == np.int32
    for user, row in enumerate(read):
        np.testing.assert_array_equal(row, data.candidates[user][-LENGTH:])
    first = net.score_all(ids([0, 1]), ids(read[[4, 4]])).asnumpy()
    np.testing.assert_array_equal(first[0], first[1])
    assert (scores(net, read[[4]]) != scores(net, read[[5]])).any()
    # A shorter history starts with padding.
    longer = sasrec.SASRec(WIDTH, data.num_items, 50).user_inputs(data)
    assert (longer[:, 0] == data.num_items).all()
    expected = last_items(data.users, data.items, 50, data.num_users, data.num_items)
    np.testing.assert_array_equal(longer, expected)


def test_scores_without_sequences_or_of_other_lengths_are_refused():
    net = make()
    with pytest.raises(DataError, match="give their sequences"):
        net.score_all(ids([0]))
    with pytest.raises(DataError, match="sequences have 4 items, but the net reads max_length = 5"):
        net.score_all(ids([0]), ids(SEQUENCES[:1, 1:]))


@pytest.mark.parametrize("loss", ["bce", "softmax"])
def test_it_learns_what_follows_what(loss):
    """In a cycle the next item is certain. In shuffled histories it cannot be learned."""
    npx.set_np()
    rng = np.random.default_rng(3)
    num_users, per_user = 40, 10
    starts = rng.integers(0, ITEMS, num_users)
    cycle = (starts[:, None] + np.arange(per_user + 1)) % ITEMS
    shuffled = rng.permuted(cycle, axis=1)
    shares = []
    for histories in (cycle, shuffled):
        users = np.repeat(np.arange(num_users), per_user)
        chunks = history_chunks(users, histories[:, :-1].ravel(), LENGTH, num_users, NOTHING)
        backend.mx.random.seed(0)
        net = sasrec.SASRec(16, ITEMS, LENGTH, 1, 1, 0.1)
        net.initialize(init=backend.init.Normal(0.01))
        step = own_loss(net)
        trainer = backend.gluon.Trainer(net.collect_params(), "adam", {"learning_rate": 0.01})
        for _ in range(60):
            arrays = [chunks.inputs, chunks.targets]
            if loss == "bce":
                arrays.append(rng.integers(0, ITEMS, chunks.targets.shape))
            with autograd.record():
                losses = step(*map(ids, arrays))
            losses.backward()
            trainer.step(len(chunks.users))
        # The test item comes after the training history and is in no chunk.
        read = last_items(users, histories[:, :-1].ravel(), LENGTH, num_users, NOTHING)
        shares.append((scores(net, read).argmax(axis=1) == histories[:, -1]).mean())
    assert shares[0] > 0.95
    assert shares[1] < 0.4


@pytest.mark.parametrize("loss", ["bce", "softmax"])
def test_batches_and_settings_are_the_options(loss, ratings_dir, tmp_path, monkeypatch):
    seen, train = {}, CompanionRun.train

    def noting(self, model, *arguments, loss, train_iter, **options):
        seen.update(arguments=arguments, loss=loss, iter=train_iter, **options)
        return train(self, model, *arguments, loss=loss, train_iter=train_iter, **options)

    monkeypatch.setattr(CompanionRun, "train", noting)
    result = sasrec.main(
        num_epochs=1, loss=loss, num_factors=6, max_length=4, num_blocks=1, num_heads=3,
        dropout=0.3, lr=0.01, wd=0.001, batch_size=8, data_dir=ratings_dir, out=tmp_path,
        quiet=True,
    )  # fmt: skip
    data = load_ranking_ml100k(ratings_dir)
    assert seen["arguments"] == (6, 40, 4, 1, 3, 0.3)
    json.dumps(seen["arguments"])
    assert (seen["loss"], seen["lr"], seen["wd"]) == (own_loss, 0.01, 0.001)
    assert result["settings"]["loss"] == loss
    assert 0 < result["defined"]["train_loss"] < 2 * np.log(40)
    chunks, loader = history_chunks(data.users, data.items, 4, 30, 40), seen["iter"]
    expected = chunks if loss == "bce" else chunks[1:]
    assert type(loader) is (ChunkLoader if loss == "bce" else BatchLoader)
    assert (loader.batch_size, loader.shuffle, loader.last_batch) == (8, True, "rollover")
    for given, wanted in zip(loader.arrays, expected):
        np.testing.assert_array_equal(given, wanted)


def test_heads_that_do_not_divide_are_refused_before_anything_is_made(ratings_dir, tmp_path):
    for num_heads, message in [(5, "does not divide 64, "), (0, "must lie between 1 and")]:
        with pytest.raises(SettingError, match=f"--num-heads is {num_heads}.*{message}"):
            sasrec.main(num_heads=num_heads, data_dir=ratings_dir, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_is_dropped_is_the_papers():
    """Dropout acts on the input of the first block and on the output of both parts of a block."""
    net = make(dropout=0.3)
    rates = [net.dropout._rate, *(block.dropout._rate for block in net.blocks)]
    assert rates == [0.3] * 3
    seen = {}
    net.dropout.register_forward_hook(lambda block, given, out: seen.update(given=given[0]))
    net.blocks[0].register_forward_pre_hook(lambda block, given: seen.update(read=given[0]))
    with autograd.record():
        net(ids(SEQUENCES))
    share = (seen["read"] == 0).mean()
    assert 0.1 < share < 0.5
    kept = seen["read"].asnumpy() != 0
    np.testing.assert_allclose(
        seen["read"].asnumpy()[kept], seen["given"].asnumpy()[kept] / 0.7, rtol=1e-5
    )
