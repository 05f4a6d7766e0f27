import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

backend = pytest.importorskip("d2l_recsys.backend")
from d2l_recsys.losses import (  # noqa: E402
    BPRLoss,
    HardestNegativeLoss,
    HingeLossbRec,
    LogLoss,
    SampledSoftmaxLoss,
    make_ranking_loss,
)
from d2l_recsys.settings import ONLY_WITH, RankingLoss  # noqa: E402

autograd, nn, mnp = backend.autograd, backend.nn, backend.np
DISTANCES = np.arange(-200, 200.25, 0.25, dtype="float32")


@pytest.fixture(autouse=True)
def np_semantics():
    backend.npx.set_np()


class Graph(nn.HybridBlock):
    """A loss as a part of a hybridized graph, as in training."""

    def __init__(self, loss):
        super().__init__()
        self.loss = loss

    def hybrid_forward(self, F, positive, negative):
        return self.loss(positive, negative)


def value_and_gradients(loss, positive, negative, *margin):
    scores = [mnp.array(part, dtype="float32") for part in (positive, negative)]
    for part in scores:
        part.attach_grad()
    with autograd.record():
        value = loss(*scores, *margin)
    value.backward()
    return value.asnumpy(), scores[0].grad.asnumpy(), scores[1].grad.asnumpy()


def bpr_reference(positive, negative):
    """Value and gradients in float64; the derivative of ln(1 + exp(-d)) is -1 / (1 + exp(d))."""
    d = np.asarray(positive, np.float64) - np.asarray(negative, np.float64)
    slope = -np.exp(-np.logaddexp(0, d))
    return np.logaddexp(0, -d).sum(axis=0, keepdims=True), slope, -slope


def hinge_reference(positive, negative, margin=1):
    total, slope = 0.0, []
    for p, n in zip(np.asarray(positive, np.float64), np.asarray(negative, np.float64)):
        total += max(margin - (p - n), 0)
        slope.append(-1.0 if margin - (p - n) >= 0 else 0.0)
    return total, np.array(slope), -np.array(slope)


def hybridized(loss):
    graph = Graph(loss)
    graph.hybridize(static_alloc=True, static_shape=True)
    return graph


@pytest.mark.parametrize("wrap", [lambda loss: loss, hybridized])
def test_bpr_is_right_at_every_distance(wrap):
    """Scores from -100 to 100, as one row: a sum over the first axis keeps each pair's value."""
    positive, negative = DISTANCES[None] / 2, -DISTANCES[None] / 2
    expected = bpr_reference(positive, negative)
    found = value_and_gradients(wrap(BPRLoss()), positive, negative)
    for ours, theirs in zip(found, expected):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-7)
    assert (found[0] >= 0).all()
    # Small values are not lost either.
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-5, atol=1e-30)


@pytest.mark.parametrize("wrap", [lambda loss: loss, hybridized])
def test_hinge_is_right_at_every_distance(wrap):
    positive, negative = DISTANCES / 2, -DISTANCES / 2
    expected = hinge_reference(positive, negative)
    for ours, theirs in zip(
        value_and_gradients(wrap(HingeLossbRec()), positive, negative), expected
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)


@pytest.mark.parametrize("scale", [1e4, 1e30])
def test_bpr_stays_finite_for_any_input(scale):
    value, gradient, _ = value_and_gradients(BPRLoss(), [-scale, scale], [scale, -scale])
    np.testing.assert_allclose(value, [2 * scale], rtol=1e-6)
    assert gradient.tolist() == [-1, 0]


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 999),
    rows=st.integers(1, 9),
    shape=st.sampled_from([(), (1,)]),
    scale=st.sampled_from([0.01, 1.0, 8.0]),
)
def test_both_equal_d2ls_where_d2ls_are_finite(seed, rows, shape, scale):
    d2l = pytest.importorskip("d2l.mxnet")
    rng = np.random.default_rng(seed)
    scores = [rng.normal(0, scale, (rows, *shape)).astype("float32") for _ in range(2)]
    for ours, theirs in ((BPRLoss(), d2l.BPRLoss()), (HingeLossbRec(), d2l.HingeLossbRec())):
        found = value_and_gradients(ours, *scores)
        for mine, chapters in zip(found, value_and_gradients(theirs, *scores)):
            assert mine.shape == chapters.shape
            assert np.isfinite(chapters).all()
            np.testing.assert_allclose(mine, chapters, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("margin", [0, 0.5, 2])
def test_the_margin_is_what_a_seen_item_has_to_lead_by(margin):
    d2l = pytest.importorskip("d2l.mxnet")
    scores = [3.0, 0.25, -1.0], [1.0, 0.0, 1.0]
    value, *gradients = value_and_gradients(HingeLossbRec(), *scores, margin)
    expected, *slopes = hinge_reference(*scores, margin)
    assert value == pytest.approx(expected)
    np.testing.assert_array_equal(gradients, slopes)
    assert value == value_and_gradients(d2l.HingeLossbRec(), *scores, margin)[0]


@pytest.mark.parametrize("wrap", [lambda loss: loss, hybridized])
def test_the_log_loss_is_that_of_each_item_by_itself(wrap):
    positive, negative = DISTANCES / 2, DISTANCES[::-1] / 3
    value, *gradients = value_and_gradients(wrap(LogLoss()), positive, negative)
    p, n = positive.astype(np.float64), negative.astype(np.float64)
    expected = np.logaddexp(0, -p).sum() + np.logaddexp(0, n).sum()
    assert value.shape == (1,)
    np.testing.assert_allclose(value, [expected], rtol=1e-5)
    # The derivative of -ln sigmoid(p) is sigmoid(p) - 1. The derivative of -ln(1 - sigmoid(n)) is
    # sigmoid(n).
    np.testing.assert_allclose(gradients[0], -np.exp(-np.logaddexp(0, p)), rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(gradients[1], np.exp(-np.logaddexp(0, -n)), rtol=1e-5, atol=1e-7)


def test_the_log_loss_is_scikit_learns():
    from sklearn.metrics import log_loss

    rng = np.random.default_rng(0)
    positive, negative = rng.normal(size=(2, 50)).astype("float32")
    value = LogLoss()(mnp.array(positive), mnp.array(negative)).asnumpy()
    probabilities = 1 / (1 + np.exp(-np.concatenate([positive, negative]).astype(np.float64)))
    expected = log_loss([1] * 50 + [0] * 50, probabilities, normalize=False)
    np.testing.assert_allclose(value, [expected], rtol=1e-6)


def softmax_reference(positive, negatives):
    """Value and gradients in float64, one example after the other."""
    total, slopes, others = 0.0, [], []
    for p, row in zip(np.asarray(positive, np.float64), np.asarray(negatives, np.float64)):
        scores = np.array([p, *row])
        shares = np.exp(scores - scores.max()) / np.exp(scores - scores.max()).sum()
        total += scores.max() + np.log(np.exp(scores - scores.max()).sum()) - p
        slopes.append(shares[0] - 1)
        others.append(shares[1:])
    return [total], np.array(slopes), np.array(others)


def hardest_reference(positive, negatives, margin):
    total, slopes, others = 0.0, [], []
    for p, row in zip(np.asarray(positive, np.float64), np.asarray(negatives, np.float64)):
        hardest, slope = int(np.argmax(row)), float(margin - (p - max(row)) > 0)
        total += max(margin - (p - max(row)), 0)
        slopes.append(-slope)
        others.append([slope * (j == hardest) for j in range(len(row))])
    return total, np.array(slopes), np.array(others)


def drawn_scores(num_negatives, rows=40, scale=5.0):
    rng = np.random.default_rng(num_negatives)
    return (
        rng.normal(0, scale, rows).astype("float32"),
        rng.normal(0, scale, (rows, num_negatives)).astype("float32"),
    )


@pytest.mark.parametrize("wrap", [lambda loss: loss, hybridized])
@pytest.mark.parametrize("num_negatives", [1, 4])
def test_the_sampled_softmax_is_right(num_negatives, wrap):
    scores = drawn_scores(num_negatives)
    found = value_and_gradients(wrap(SampledSoftmaxLoss(num_negatives)), *scores)
    for ours, theirs in zip(found, softmax_reference(*scores)):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)


def test_the_sampled_softmax_of_one_negative_is_bpr():
    positive, negatives = DISTANCES / 2, -DISTANCES[:, None] / 2
    softmax = value_and_gradients(SampledSoftmaxLoss(1), positive, negatives)
    bpr = value_and_gradients(BPRLoss(), positive, negatives[:, 0])
    np.testing.assert_allclose(softmax[0], bpr[0], rtol=1e-6)
    np.testing.assert_allclose(softmax[1], bpr[1], rtol=1e-5)
    np.testing.assert_allclose(softmax[2][:, 0], bpr[2], rtol=1e-5)


def test_the_sampled_softmax_stays_finite():
    found = value_and_gradients(SampledSoftmaxLoss(2), [-1e4, 1e4], [[1e4, 0], [0, -1e4]])
    np.testing.assert_allclose(found[0], [2e4])
    np.testing.assert_allclose(found[2], [[1, 0], [0, 0]], rtol=1e-5)


@pytest.mark.parametrize("wrap", [lambda loss: loss, hybridized])
@pytest.mark.parametrize("margin", [0.25, 1, 3])
def test_the_loss_of_the_hardest_is_the_hinge_of_the_highest(margin, wrap):
    scores = drawn_scores(4, scale=1.0)
    found = value_and_gradients(wrap(HardestNegativeLoss(4, margin)), *scores)
    for ours, theirs in zip(found, hardest_reference(*scores, margin)):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5)
    hinge = value_and_gradients(HingeLossbRec(margin=margin), scores[0], scores[1].max(axis=1))
    np.testing.assert_allclose(found[0], hinge[0], rtol=1e-6)


def test_an_item_that_is_drawn_twice_counts_once():
    _, _, others = value_and_gradients(HardestNegativeLoss(3), [0.0], [[2.0, 1.0, 2.0]])
    assert others.sum() == 1


@pytest.mark.parametrize("name", RankingLoss)
def test_a_loss_takes_the_options_that_it_has(name):
    loss = make_ranking_loss(name, margin=0.5, num_negatives=7)
    if name in ONLY_WITH["margin"][1]:
        assert loss.margin == 0.5
    several = name in ONLY_WITH["num_negatives"][1]
    assert getattr(loss, "num_negatives", None) == (7 if several else None)
    assert make_ranking_loss(RankingLoss.hinge, margin=0.5).margin == 0.5
