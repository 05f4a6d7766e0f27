import numpy
import pytest

backend = pytest.importorskip("d2l_recsys.backend")
from d2l_recsys.backend import autograd, gluon, init, mx, nn, np, npx  # noqa: E402
from d2l_recsys.errors import DataError, SettingError  # noqa: E402
from d2l_recsys.loaders.batches import BatchLoader  # noqa: E402
from d2l_recsys.model_bases.parameters import parameters_of, set_parameters  # noqa: E402
from d2l_recsys.settings import Optimizer  # noqa: E402
from d2l_recsys.training.checkpoint import CHECKPOINT  # noqa: E402
from d2l_recsys.training.history import EVERY_ROW  # noqa: E402
from d2l_recsys.training.optimizers import OPTIMIZERS  # noqa: E402
from d2l_recsys.training.resume import Saver  # noqa: E402

ROWS = numpy.arange(12, dtype="float32").reshape(6, 2)
ROWS_OF_HISTORY = [{**dict.fromkeys(EVERY_ROW, 0.5), "epoch": 1}]


@pytest.fixture(autouse=True)
def _numpy_semantics():
    npx.set_np()


def made(num_devices, seed=0, units=3, optimizer=Optimizer.adam):
    """A net, its trainer, its devices."""
    devices = [mx.cpu(i) for i in range(num_devices)]
    mx.random.seed(seed)
    net = nn.HybridSequential()
    net.add(nn.Dense(units, in_units=2), nn.Dense(1, in_units=units))
    net.initialize(ctx=devices, init=init.Normal(0.1))
    chosen = OPTIMIZERS[optimizer](learning_rate=0.1)
    return net, gluon.Trainer(net.collect_params(), chosen), devices


def step(net, trainer, devices):
    with autograd.record():
        losses = [(net(np.array(ROWS, ctx=device)) ** 2).sum() for device in devices]
    autograd.backward(losses)
    trainer.step(6 * len(devices))


def weights(net):
    """The weights on all devices, so that a test compares every device."""
    return [
        array.asnumpy().tolist() for p in net.collect_params().values() for array in p.list_data()
    ]


def attached(folder, net, trainer, resume=False):
    saver = Saver(folder, {"lr": 0.1}, seed=5, resume=resume)
    saver.attach(net, trainer, [BatchLoader(ROWS, batch_size=2, shuffle=True, rng=0)], 99)
    return saver


@pytest.mark.parametrize("on_store", ["1", "0"])
@pytest.mark.parametrize("num_devices", [1, 2, 3])
@pytest.mark.parametrize("optimizer", Optimizer)
def test_an_optimizer_goes_on_as_if_nothing_had_happened(
    optimizer, num_devices, on_store, tmp_path, monkeypatch
):
    """With one optimizer for all devices, and with one optimizer for each device."""
    monkeypatch.setenv("MXNET_UPDATE_ON_KVSTORE", on_store)
    first = made(num_devices, optimizer=optimizer)
    saver = attached(tmp_path, *first[:2])
    for _ in range(3):
        step(*first)
    saver.save(ROWS_OF_HISTORY)
    for _ in range(3):
        step(*first)

    second = made(num_devices, seed=1, optimizer=optimizer)
    step(*second)  # resuming replaces the state after this step
    attached(tmp_path, *second[:2], resume=True)
    assert weights(second[0]) != weights(first[0])
    assert second[1].optimizer.num_update == 3
    for _ in range(3):
        step(*second)
    assert weights(second[0]) == weights(first[0])


def test_parameters_that_are_not_trained_are_saved_too(tmp_path):
    def with_frozen_parts(seed):
        mx.random.seed(seed)
        net = nn.HybridSequential()
        net.add(nn.Dense(3, in_units=2), nn.BatchNorm(in_channels=3), nn.Dense(1, in_units=3))
        net.initialize(init=init.Normal(0.1))
        net[0].weight.grad_req = "null"
        params = {p.name: p for p in net.collect_params(".*(gamma|bias|weight)").values()}
        return net, gluon.Trainer(params, "adam"), [mx.cpu()]

    first, second = with_frozen_parts(0), with_frozen_parts(1)
    saver = attached(tmp_path, *first[:2])
    step(*first)
    saver.save([])
    step(*first)
    attached(tmp_path, *second[:2], resume=True)
    step(*second)
    assert weights(second[0]) == weights(first[0])


@pytest.mark.parametrize("num_devices", [1, 2])
def test_going_back_to_the_beginning_forgets_the_moments(num_devices, tmp_path):
    net, trainer, devices = made(num_devices)
    saver = attached(tmp_path, net, trainer)
    after = []
    for _ in range(2):
        for _ in range(2):
            step(net, trainer, devices)
        after.append(weights(net))
        saver.go_back()
    assert after[0] == after[1]


def test_an_epochs_draws_depend_on_the_seed_and_the_epoch_alone(tmp_path):
    net, trainer, _ = made(1)
    saver, other = attached(tmp_path, net, trainer), Saver(tmp_path, {}, seed=6)
    other.attach(net, trainer, [], 9)

    def drawn(saver, epoch):
        saver.begin_epoch(epoch)
        return np.random.uniform(size=(4,)).tolist()

    mx.random.seed(1)
    expected = drawn(saver, 2)
    mx.random.seed(77)
    assert drawn(saver, 2) == expected != drawn(saver, 3)
    assert drawn(other, 2) != expected


def test_what_cannot_be_saved_is_refused_before_it_runs(tmp_path):
    net, trainer, _ = made(1)
    with pytest.raises(SettingError, match="come from a BatchLoader"):
        Saver(tmp_path, {}, 0).attach(net, trainer, [gluon.data.DataLoader(ROWS, 2)], 1)
    ftrl = gluon.Trainer(net.collect_params(), "ftrl")
    with pytest.raises(SettingError, match="optimizer Ftrl cannot be saved; use adam, sgd, nag"):
        Saver(tmp_path, {}, 0).attach(net, ftrl, [], 1)


def test_the_state_of_another_optimizer_is_refused(tmp_path):
    net, trainer, devices = made(1, optimizer=Optimizer.nag)
    saver = attached(tmp_path, net, trainer)
    step(net, trainer, devices)
    saver.save([])
    with pytest.raises(DataError, match=r"means .*leave out --resume"):
        attached(tmp_path, *made(1)[:2], resume=True)


def test_a_checkpoint_with_other_loaders_is_refused(tmp_path):
    net, trainer, _ = made(1)
    attached(tmp_path, net, trainer).save(ROWS_OF_HISTORY)
    with pytest.raises(DataError, match="other loaders"):
        Saver(tmp_path, {"lr": 0.1}, 5, resume=True).attach(net, trainer, [], 9)


def test_where_nothing_was_saved_yet_a_line_says_so(tmp_path, capsys):
    net, trainer, _ = made(1)
    before = weights(net)
    attached(tmp_path, net, trainer, resume=True)
    assert capsys.readouterr().err == (
        f"{tmp_path / CHECKPOINT} does not exist yet: starting from scratch\n"
    )
    assert weights(net) == before


def test_parameters_are_given_to_every_device_and_named_where_they_do_not_fit():
    net, other = made(1)[0], made(2, seed=1)[0]
    set_parameters(other, parameters_of(net))
    for parameter, array in zip(other.collect_params().values(), parameters_of(net).values()):
        assert [a.asnumpy().tolist() for a in parameter.list_data()] == [array.tolist()] * 2
    assert list(parameters_of(net)) == ["0.weight", "0.bias", "1.weight", "1.bias"]
    with pytest.raises(DataError, match=r"0\.weight is float32 \(4, 2\), but .* \(3, 2\)"):
        set_parameters(net, parameters_of(made(1, units=4)[0]))
