"""The oracle is ``gluon.Trainer`` itself: every bit of weights and moments must be the same."""

import numpy as np
import pytest

backend = pytest.importorskip("d2l_recsys.backend")

from d2l_recsys.training.flat_update import FlatUpdate, is_flat, updaters  # noqa: E402
from d2l_recsys.training.optimizers import arrays_of  # noqa: E402

autograd, gluon, mx, npx = backend.autograd, backend.gluon, backend.mx, backend.npx
npx.set_np()
DEVICES = [mx.cpu(0), mx.cpu(1)]
SETTINGS = {"learning_rate": 0.05, "wd": 0.01, "beta1": 0.8, "beta2": 0.99, "epsilon": 1e-6}


def some_net(devices, seed=0):
    """A small net whose parameters have 1, 2 and 3 axes, with the same first weights each time."""
    net = gluon.nn.HybridSequential()
    net.add(gluon.nn.Conv1D(3, 2, in_channels=2), gluon.nn.Dense(4, in_units=9))
    net.initialize(ctx=devices)
    rng = np.random.default_rng(seed)
    for parameter in net.collect_params().values():
        parameter.set_data(mx.np.array(rng.normal(size=parameter.shape), dtype="float32"))
    return net


OTHERS = [("sgd", {}), ("sgd", {"momentum": 0.9}), ("nag", {"momentum": 0.9}), ("adagrad", {}),
          ("rmsprop", {})]  # fmt: skip


def adam(net, **settings):
    return gluon.Trainer(net.collect_params(), "adam", {**SETTINGS, **settings})


def other(net, name, settings):
    settings = {"learning_rate": 0.05, "wd": 0.01, **settings}
    return gluon.Trainer(net.collect_params(), name, settings)


def learn(net, step, devices, seed, rows=6):
    """Do one ``step`` with rows that depend only on ``seed``."""
    inputs = np.random.default_rng(seed).normal(size=(rows, 2, 4)).astype("float32")
    shares = gluon.utils.split_and_load(mx.np.array(inputs), devices, even_split=False)
    with autograd.record():
        losses = [mx.np.square(net(share)).sum() for share in shares]
    autograd.backward(losses)
    step(rows)


def state(net, trainer):
    """Every number that a step depends on: weights on each device, moments, counts."""
    weights = [d.asnumpy() for p in net.collect_params().values() for d in p.list_data()]
    states = updaters(trainer)[0].states
    moments = [part.asnumpy() for index in sorted(states) for part in arrays_of(states[index])]
    counts = [max(c.get(i, 0) for c in trainer.optimizer._all_index_update_counts.values())
              for i in sorted(states)]  # fmt: skip
    return [*weights, *moments, np.array([*counts, trainer.optimizer.num_update])]


def assert_same_bits(ours, theirs):
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs):
        assert (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())


@pytest.mark.parametrize("num_devices", [1, 2])
@pytest.mark.parametrize("settings", [{}, {"wd": 0.0}, {"clip_gradient": 0.1}])
def test_the_steps_have_the_bits_of_the_trainer(num_devices, settings):
    devices = DEVICES[:num_devices]
    theirs, ours = some_net(devices), some_net(devices)
    their_trainer, trainer = adam(theirs, **settings), adam(ours, **settings)
    assert is_flat(trainer, devices)
    flat = FlatUpdate(trainer)
    for number in range(5):
        if number == 3:
            trainer.set_learning_rate(0.2)
            their_trainer.set_learning_rate(0.2)
        learn(theirs, their_trainer.step, devices, number)
        learn(ours, flat.step, devices, number)
        assert_same_bits(state(ours, trainer), state(theirs, their_trainer))


@pytest.mark.parametrize("num_devices", [1, 2])
@pytest.mark.parametrize(("name", "settings"), OTHERS)
def test_every_optimizer_has_the_bits_of_the_trainer(name, settings, num_devices):
    devices = DEVICES[:num_devices]
    theirs, ours = some_net(devices), some_net(devices)
    their_trainer, trainer = other(theirs, name, settings), other(ours, name, settings)
    learn(ours, trainer.step, devices, 0)
    assert is_flat(trainer, devices)
    flat = FlatUpdate(trainer)
    for number in range(1, 4):
        learn(ours, flat.step, devices, number)
    flat.give_back()
    learn(ours, trainer.step, devices, 4)
    for number in range(5):
        learn(theirs, their_trainer.step, devices, number)
    assert_same_bits(state(ours, trainer), state(theirs, their_trainer))


@pytest.mark.parametrize("num_devices", [1, 2])
def test_a_schedule_of_learning_rates_is_followed(num_devices):
    devices, nets, states = DEVICES[:num_devices], [], []
    for quick in (False, True):
        net = some_net(devices)
        nets.append(net)
        trainer = adam(net, lr_scheduler=mx.lr_scheduler.FactorScheduler(2, 0.5, base_lr=0.05))
        step = FlatUpdate(trainer).step if quick else trainer.step
        for number in range(6):
            learn(net, step, devices, number)
        states.append(state(net, trainer))
    assert_same_bits(*states)


@pytest.mark.parametrize("num_devices", [1, 2])
def test_the_trainer_goes_on_from_what_it_gets_back(num_devices):
    """Steps of the trainer, of FlatUpdate, and of the trainer again, are steps of the trainer."""
    devices = DEVICES[:num_devices]
    theirs, ours = some_net(devices), some_net(devices)
    their_trainer, trainer = adam(theirs), adam(ours)
    learn(ours, trainer.step, devices, 0)
    flat = FlatUpdate(trainer)
    learn(ours, flat.step, devices, 1)
    learn(ours, flat.step, devices, 2)
    flat.give_back()
    learn(ours, trainer.step, devices, 3)
    for number in range(4):
        learn(theirs, their_trainer.step, devices, number)
    assert_same_bits(state(ours, trainer), state(theirs, their_trainer))


@pytest.mark.parametrize("num_devices", [1, 2])
def test_weights_and_moments_that_are_set_in_between_count(num_devices):
    devices, states = DEVICES[:num_devices], []
    for quick in (False, True):
        net = some_net(devices)
        trainer = adam(net)
        step = FlatUpdate(trainer).step if quick else trainer.step
        learn(net, step, devices, 0)
        for parameter in net.collect_params().values():
            parameter.set_data(parameter.list_data()[0] * 0.5)
        (updater, *_) = updaters(trainer)
        for each in updaters(trainer):
            each.states = {}
        learn(net, step, devices, 1)
        states.append(state(net, trainer))
        assert updater.states
    assert_same_bits(*states)


@pytest.mark.parametrize("quick", [False, True])
def test_a_parameter_without_gradient_is_told_as_by_the_trainer(quick):
    net = some_net(DEVICES[:1])
    trainer = adam(net)
    flat = FlatUpdate(trainer) if quick else None
    with autograd.record():
        loss = net[1](mx.np.ones((2, 9))).sum()
    loss.backward()
    with pytest.raises(UserWarning, match=r"conv\d+_\w+` on context .* has not been updated"):
        flat.check_gradients() if quick else trainer.step(2)


def test_each_new_gradient_is_used_once():
    net = some_net(DEVICES[:1])
    trainer = adam(net)
    flat = FlatUpdate(trainer)

    def step(rows):
        flat.check_gradients()
        flat.step(rows)

    learn(net, step, DEVICES[:1], 0)
    with pytest.raises(UserWarning, match="has not been updated"):
        flat.check_gradients()
    learn(net, step, DEVICES[:1], 1)


def frozen(net):
    net[0].collect_params().setattr("grad_req", "null")


def test_a_frozen_parameter_stays():
    net = some_net(DEVICES)
    frozen(net)
    before = net[0].weight.data().asnumpy()
    trainer = adam(net)
    assert is_flat(trainer, DEVICES)
    learn(net, FlatUpdate(trainer).step, DEVICES, 0)
    assert net[0].weight.data().asnumpy().tobytes() == before.tobytes()
    assert (net[1].weight.data().asnumpy() != some_net(DEVICES)[1].weight.data().asnumpy()).all()


def other_rate(net):
    net[0].weight.lr_mult = 0.5


def other_decay(net):
    net[0].bias.wd_mult = 0.0


def adding(net):
    net.collect_params().setattr("grad_req", "add")


def doubles(net):
    net.cast("float64")


@pytest.mark.parametrize("change", [other_rate, other_decay, adding, doubles])
def test_a_trainer_that_treats_parameters_differently_does_its_own_steps(change):
    net = some_net(DEVICES)
    change(net)
    assert not is_flat(adam(net), DEVICES)


def test_a_trainer_that_has_updated_some_parameters_only_does_its_own_steps():
    net = some_net(DEVICES[:1])
    trainer = adam(net)
    with autograd.record():
        loss = net[1](mx.np.ones((2, 9))).sum()
    loss.backward()
    trainer.step(2, ignore_stale_grad=True)
    assert not is_flat(trainer, DEVICES[:1])


def test_other_trainers_do_their_own_steps():
    net = some_net(DEVICES)
    assert not is_flat(gluon.Trainer(net.collect_params(), "ftrl"), DEVICES)
    assert not is_flat(gluon.Trainer(net.collect_params(), "adamax"), DEVICES)
    assert not is_flat(adam(net), DEVICES[:1])
    on_devices = gluon.Trainer(net.collect_params(), "adam", SETTINGS, update_on_kvstore=False)
    assert not is_flat(on_devices, DEVICES)
    three = [mx.cpu(i) for i in range(3)]
    assert not is_flat(adam(some_net(three)), three)
    unfinished = gluon.nn.Dense(2)
    unfinished.initialize()
    assert not is_flat(gluon.Trainer(unfinished.collect_params(), "adam"), DEVICES[:1])
