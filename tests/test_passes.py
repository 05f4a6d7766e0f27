"""The oracle of the bound passes are the recorded passes: every bit must be the same."""

import numpy as np
import pytest

backend = pytest.importorskip("d2l_recsys.backend")

from d2l_recsys.chapters.caser import Caser  # noqa: E402
from d2l_recsys.chapters.deepfm import DeepFM  # noqa: E402
from d2l_recsys.chapters.mf import MF  # noqa: E402
from d2l_recsys.chapters.neumf import NeuMF  # noqa: E402
from d2l_recsys.devices import share_bounds  # noqa: E402
from d2l_recsys.losses import BPRLoss, HingeLossbRec  # noqa: E402
from d2l_recsys.settings import Protocol  # noqa: E402
from d2l_recsys.training import passes  # noqa: E402
from d2l_recsys.training.objectives import click_loss, own_loss, ranking_loss, rating_loss  # noqa: E402
from d2l_recsys.training.passes import BoundPasses, RecordedPasses, losses_of  # noqa: E402

gluon, mx, nn, npx = backend.gluon, backend.mx, backend.nn, backend.npx
npx.set_np()
DEVICES = [mx.cpu(0), mx.cpu(1)]
USERS, ITEMS, FIELDS = 7, 9, [4, 5, 6]


def ids(rng, limit, *shape):
    return rng.integers(limit, size=shape).astype("int32")


def ratings_of_mf(rng, rows):
    return ids(rng, USERS, rows), ids(rng, ITEMS, rows), rng.uniform(1, 5, rows).astype("float32")


def pairs(rng, rows):
    return ids(rng, USERS, rows), ids(rng, ITEMS, rows), ids(rng, ITEMS, rows)


def sequences(rng, rows):
    return ids(rng, USERS, rows), ids(rng, ITEMS, rows, 3), *pairs(rng, rows)[1:]


def clicks(rng, rows):
    starts = np.cumsum([0, *FIELDS[:-1]])
    features = np.stack([ids(rng, n, rows) for n in FIELDS], axis=1) + starts
    return features.astype("int32"), rng.integers(2, size=(rows, 1)).astype("float32")


def log_loss():
    return gluon.loss.SigmoidBinaryCrossEntropyLoss()


# For each net: how to build it, its loss, and its batches.
NETS = {
    "mf": (
        lambda: MF(3, USERS, ITEMS),
        lambda n: rating_loss(n, gluon.loss.L2Loss()),
        ratings_of_mf,
    ),
    "neumf": (lambda: NeuMF(3, USERS, ITEMS, [4]), lambda n: ranking_loss(n, BPRLoss()), pairs),
    "hinge": (lambda: MF(3, USERS, ITEMS), lambda n: ranking_loss(n, HingeLossbRec()), pairs),
    "caser": (
        lambda: Caser(3, USERS, ITEMS, L=3, d=2, d_prime=2, drop_ratio=0.3),
        lambda n: ranking_loss(n, BPRLoss()),
        sequences,
    ),
    "deepfm": (
        lambda: DeepFM(FIELDS, 3, [4, 3], 0.4),
        lambda n: click_loss(n, log_loss(), Protocol.printed),
        clicks,
    ),
    "deepfm, defined": (
        lambda: DeepFM(FIELDS, 3, [4, 3], 0.4),
        lambda n: click_loss(n, log_loss(), Protocol.defined),
        clicks,
    ),
}


def initialized(build, devices):
    net = build()
    net.initialize(ctx=devices)
    rng = np.random.default_rng(0)
    for parameter in net.collect_params().values():
        parameter.set_data(mx.np.array(rng.normal(size=parameter.shape), dtype="float32"))
    return net


def shares_of(arrays, devices):
    """The shares of a batch, one for each device that gets a row."""
    bounds = share_bounds(0, len(arrays[0]), len(devices))
    return [
        [mx.np.array(a[start:stop], dtype=a.dtype, ctx=device) for a in arrays]
        for device, (start, stop) in zip(devices, bounds)
    ]


def trained(net):
    return [p for p in net.collect_params().values() if p.grad_req != "null"]


def bound(loss, net, devices, checked=None):
    checked = [] if checked is None else checked
    return BoundPasses(loss, devices, trained(net), lambda: checked.append(1))


def everything(passes, net, batches, devices):
    """All outputs and gradients of the passes over ``batches``, as bytes."""
    found = []
    mx.random.seed(3)
    for arrays in batches:
        outputs = passes.forward(shares_of(arrays, devices))
        passes.backward()
        for output in outputs:
            parts = output if isinstance(output, (list, tuple)) else [output]
            found += [part.asnumpy() for part in parts]
        found += [g.asnumpy() for p in trained(net) for g in p.list_grad()]
    return [(a.shape, a.dtype, a.tobytes()) for a in found]


def bound_as_recorded(name, sizes, devices):
    """Check that bound and recorded passes over batches of ``sizes`` have the same bits.

    Returns the bound passes, and how often they recorded a batch.
    """
    build, loss_of, batch = NETS[name]
    rng = np.random.default_rng(1)
    batches = [batch(rng, rows) for rows in sizes]
    checked = []
    nets = [initialized(build, devices) for _ in range(2)]
    losses = [loss_of(net) for net in nets]
    ways = RecordedPasses(losses[0], devices), bound(losses[1], nets[1], devices, checked)
    found = [everything(way, net, batches, devices) for way, net in zip(ways, nets)]
    assert found[0] == found[1]
    return ways[1], len(checked)


@pytest.mark.parametrize("num_devices", [1, 2])
@pytest.mark.parametrize("name", NETS)
def test_bound_passes_have_the_bits_of_recorded_passes(name, num_devices):
    done, recorded = bound_as_recorded(name, (8, 8, 5, 8), DEVICES[:num_devices])
    assert not recorded
    assert done._last


def test_outputs_of_earlier_batches_stay():
    build, loss_of, batch = NETS["mf"]
    net = initialized(build, DEVICES)
    done, rng = bound(loss_of(net), net, DEVICES), np.random.default_rng(1)
    first, second = (shares_of(batch(rng, 6), DEVICES) for _ in range(2))
    outputs = done.forward(first)
    before = [output.asnumpy() for output in outputs]
    done.forward(second)
    assert [output.asnumpy().tolist() for output in outputs] == [b.tolist() for b in before]


def test_a_device_without_a_share_gets_a_gradient_of_zero():
    """Such a batch is recorded, with the bits of the recorded passes, draws of dropout included."""
    _, recorded = bound_as_recorded("caser", (4, 1, 4), DEVICES)
    assert recorded == 1


def test_few_sizes_of_shares_are_bound(monkeypatch):
    monkeypatch.setattr(passes, "MAX_GRAPHS", 2)
    done, recorded = bound_as_recorded("mf", (4, 6, 8, 10, 4), DEVICES)
    assert recorded == 2
    assert len(done._graphs) == 2 * len(DEVICES)


class Plain(gluon.Block):
    """A net that is no graph."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Dense(3, in_units=3)

    def forward(self, rows):
        return self.layer(rows)


class Normed(nn.HybridBlock):
    """A net with auxiliary states."""

    def __init__(self):
        super().__init__()
        self.layers = nn.HybridSequential()
        self.layers.add(nn.Dense(3, in_units=3), nn.BatchNorm(in_channels=3))

    def batch_loss(self, F, rows):
        return F.np.square(self.layers(rows)).sum(axis=1)


class Unreached(nn.HybridBlock):
    """A net with a parameter that its loss does not use."""

    def __init__(self):
        super().__init__()
        self.used, self.unused = nn.Dense(3, in_units=3), nn.Dense(3, in_units=3)

    def batch_loss(self, F, rows):
        return F.np.square(self.used(rows)).sum(axis=1)


@pytest.mark.filterwarnings("ignore:.*is not used by any computation")
@pytest.mark.parametrize("build", [Plain, Normed, Unreached])
def test_other_nets_are_recorded(build):
    net = initialized(build, DEVICES)
    loss = rating_loss(net, gluon.loss.L2Loss()) if build is Plain else own_loss(net)
    checked = []
    done = bound(loss, net, DEVICES, checked)
    rows = np.random.default_rng(1).normal(size=(6, 3)).astype("float32")
    outputs = done.forward(shares_of([rows], DEVICES))
    done.backward()
    assert len(checked) == 1
    assert not done._graphs
    assert all(np.isfinite(losses_of(output).asnumpy()).all() for output in outputs)


def test_a_parameter_that_is_not_trained_gets_no_gradient():
    net = initialized(NETS["mf"][0], DEVICES[:1])
    loss = NETS["mf"][1](net)
    done = BoundPasses(loss, DEVICES[:1], [net.P.weight], lambda: None)
    done.forward(shares_of(ratings_of_mf(np.random.default_rng(1), 6), DEVICES[:1]))
    done.backward()
    assert done._last
    assert net.P.weight.grad().asnumpy().any()
    assert not net.Q.weight.grad().asnumpy().any()


def test_binding_prints_nothing(capfd):
    build, loss_of, batch = NETS["mf"]
    net = initialized(build, DEVICES)
    bound(loss_of(net), net, DEVICES).forward(
        shares_of(batch(np.random.default_rng(1), 6), DEVICES)
    )
    assert capfd.readouterr() == ("", "")
