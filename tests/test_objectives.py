import numpy as np
import pytest

backend = pytest.importorskip("d2l_recsys.backend")

from d2l_recsys.chapters.fm import FM  # noqa: E402
from d2l_recsys.chapters.mf import MF  # noqa: E402
from d2l_recsys.losses import BPRLoss, SampledSoftmaxLoss  # noqa: E402
from d2l_recsys.settings import Protocol  # noqa: E402
from d2l_recsys.training.objectives import click_loss, own_loss, ranking_loss, rating_loss  # noqa: E402

gluon, mx, npx = backend.gluon, backend.mx, backend.npx
npx.set_np()
USERS, ITEMS, OTHERS = ([2, 0, 1, 2], [3, 1, 0, 0], [1, 2, 3, 4])


def ids(values):
    return mx.np.array(values, dtype="int32")


@pytest.fixture
def mf():
    net = MF(3, 4, 5)
    net.initialize(init=backend.init.Normal(0.5))
    return net


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def test_the_loss_of_ratings_is_half_the_squared_error(mf):
    ratings = mx.np.array([3.0, 5.0, 1.0, 2.0])
    losses = rating_loss(mf, gluon.loss.L2Loss())(ids(USERS), ids(ITEMS), ratings).asnumpy()
    errors = mf(ids(USERS), ids(ITEMS)).asnumpy() - ratings.asnumpy()
    np.testing.assert_allclose(losses, errors**2 / 2, rtol=1e-6)


def test_one_array_is_both_input_and_label():
    net = gluon.nn.Dense(4, in_units=4)
    net.initialize(init=backend.init.Normal(0.5))
    rows = mx.np.array(np.eye(4)[:3], dtype="float32")
    losses = rating_loss(net, gluon.loss.L2Loss())(rows).asnumpy()
    np.testing.assert_allclose(losses, ((net(rows) - rows).asnumpy() ** 2).mean(axis=1) / 2, 1e-6)


def test_the_loss_of_pairs_compares_an_item_with_a_negative(mf):
    loss = ranking_loss(mf, BPRLoss())(ids(USERS), ids(ITEMS), ids(OTHERS)).asnumpy()
    lead = mf(ids(USERS), ids(ITEMS)).asnumpy() - mf(ids(USERS), ids(OTHERS)).asnumpy()
    np.testing.assert_allclose(loss, [-np.log(sigmoid(lead)).sum()], rtol=1e-6)


def test_the_loss_of_several_negatives_compares_an_item_with_each(mf):
    negatives = [[1, 2], [0, 0], [3, 4], [2, 1]]
    loss = ranking_loss(mf, SampledSoftmaxLoss(2))(ids(USERS), ids(ITEMS), ids(negatives))
    seen = mf(ids(USERS), ids(ITEMS)).asnumpy()
    unseen = [mf(ids(USERS), ids(column)).asnumpy() for column in zip(*negatives)]
    expected = np.log(1 + sum(np.exp(scores - seen) for scores in unseen)).sum()
    np.testing.assert_allclose(loss.asnumpy(), [expected], rtol=1e-5)


@pytest.mark.parametrize("protocol", Protocol)
def test_the_loss_of_clicks_is_on_scores_or_on_logits(protocol):
    net = FM([3, 4], 2)
    net.initialize(init=backend.init.Normal(0.5))
    features, labels = ids([[0, 3], [2, 6], [1, 4]]), mx.np.array([[1.0], [0.0], [1.0]])
    loss = gluon.loss.SigmoidBinaryCrossEntropyLoss()
    losses, scores, logits = click_loss(net, loss, protocol)(features, labels)
    z = net.logits(mx.nd, features).asnumpy()
    np.testing.assert_allclose(logits.asnumpy(), z, rtol=1e-6)
    np.testing.assert_allclose(scores.asnumpy(), sigmoid(z), rtol=1e-6)
    x = sigmoid(z) if protocol is Protocol.printed else z
    y = labels.asnumpy()
    expected = -(y * np.log(sigmoid(x)) + (1 - y) * np.log(1 - sigmoid(x)))
    np.testing.assert_allclose(losses.asnumpy().ravel(), expected.ravel(), rtol=1e-5)


class WithLoss(gluon.nn.HybridBlock):
    """A layer with its own loss: the squared length of its output, times a weight."""

    def __init__(self):
        super().__init__()
        self.layer = gluon.nn.Dense(2, in_units=3)
        self.seen = []

    def batch_loss(self, F, rows, weights):
        self.seen.append(F)
        return F.np.square(self.layer(rows)).sum(axis=1) * weights


class WithForward(WithLoss):
    def forward(self, rows):
        return self.layer(rows)


@pytest.mark.parametrize("kind", [WithLoss, WithForward])
def test_a_nets_own_loss_is_what_it_says_with_its_gradient(kind):
    net = kind()
    net.initialize(init=backend.init.Normal(0.5))
    rows, weights = mx.np.array(np.eye(3)[:2] + 1, dtype="float32"), mx.np.array([2.0, 3.0])
    loss = own_loss(net)
    for _ in range(2):
        with backend.autograd.record():
            losses = loss(rows, weights)
        losses.backward()
    W, b = net.layer.weight.data().asnumpy(), net.layer.bias.data().asnumpy()
    made = rows.asnumpy() @ W.T + b
    np.testing.assert_allclose(losses.asnumpy(), (made**2).sum(axis=1) * [2, 3], rtol=1e-5)
    slope = 2 * made * np.array([[2], [3]])
    np.testing.assert_allclose(net.layer.bias.grad().asnumpy(), slope.sum(axis=0), rtol=1e-5)
    # A hybridized net is called once, with symbols. A net with its own forward is called each time.
    assert net.seen == ([mx.sym] if kind is WithLoss else [mx.nd] * 2)
