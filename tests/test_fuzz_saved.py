"""The law of ``test_fuzz`` for the files that runs save: checkpoints and models."""

import functools

import numpy
import pytest

pytest.importorskip("d2l_recsys.backend")
from test_fuzz import Reader, check_extremes, check_law, outcome

from d2l_recsys import saved_models
from d2l_recsys.backend import autograd, gluon, mx, nn, np, npx
from d2l_recsys.chapters.caser import Caser
from d2l_recsys.chapters.fm import FM
from d2l_recsys.loaders.batches import BatchLoader
from d2l_recsys.model_bases.parameters import parameters_of
from d2l_recsys.saved_models import MODEL, TrainedModel, arguments_of, load_model
from d2l_recsys.saved_models.ids import ClickIds, RatingIds
from d2l_recsys.training import checkpoint
from d2l_recsys.training.checkpoint import CHECKPOINT
from d2l_recsys.training.history import EVERY_ROW, History
from d2l_recsys.training.resume import Saver, optimizer_state
from d2l_recsys.training.train_loss import TrainLoss

RUN = {"section": "mf", "seed": 3, "lr": 0.1, "nums_hiddens": [3]}
ROWS = numpy.arange(14, dtype="float32").reshape(7, 2)
FEATURES = {1: {"a": 0, "b": 1}, 2: {"c": 0}}, {1: 2, 2: 1}


def made():
    """Returns a net, its trainer and its loader; only the weights differ each time."""
    npx.set_np()
    net = nn.HybridSequential()
    net.add(nn.Dense(3, in_units=2), nn.Dense(1, in_units=3))
    net.initialize()
    trainer = gluon.Trainer(net.collect_params(), "adam", {"learning_rate": 0.1})
    loader = BatchLoader(ROWS, batch_size=3, shuffle=True, last_batch="rollover", rng=0)
    return net, trainer, loader


def step(net, trainer, batch):
    with autograd.record():
        loss = (net(np.array(batch)) ** 2).sum()
    loss.backward()
    trainer.step(len(batch))


@functools.lru_cache(maxsize=None)
def checkpoint_files():
    """The checkpoint of a run that was stopped in its third epoch."""
    net, trainer, loader = made()
    for _ in range(2):
        for batch in loader:
            step(net, trainer, batch)
    measured = TrainLoss()
    measured.add([numpy.ones(3)], 3)
    rows = [{**dict.fromkeys(EVERY_ROW, 0.5), "epoch": i, "examples": 6} for i in (1, 2)]
    saved = checkpoint.Checkpoint(
        rows,
        1,
        0.5,
        measured.state,
        [loader.state],
        parameters_of(net),
        *optimizer_state(net, trainer),
    )
    return {CHECKPOINT: checkpoint.checkpoint_bytes(RUN, saved, 9)}


def sane_checkpoint(folder):
    net, trainer, loader = made()
    saver = Saver(folder, RUN, 0, resume=True)
    if saver._found is None:
        return
    start = saver.attach(net, trainer, [loader], 10**6)
    history = History()
    history.rows = start.history
    assert [row["epoch"] for row in history.rows] == list(range(1, len(history) + 1))
    history.final, history.csv(), saver.seconds_before
    for batch in loader:
        assert batch.shape == (3, 2)
        step(net, trainer, batch)
    parameters_of(net)


@functools.lru_cache(maxsize=None)
def model_files(section):
    npx.set_np()
    if section == "fm":
        model, arguments, ids = FM, (numpy.array([3, 2]), 2), ClickIds(*FEATURES)
    else:
        model, arguments, ids = Caser, (2, 3, 4, 2, 1, 1, 0.0), RatingIds.consecutive(3, 4)
    net = model(*arguments)
    net.initialize()
    trained = TrainedModel(section, net, arguments_of(model, *arguments), ids)
    return {MODEL: saved_models.model_bytes(trained)}


def sane_model(folder):
    model = load_model(folder)
    if model.section == "fm":
        features = model.ids.features([["a", "c"], ["x", "y"]])
        assert features.dtype == numpy.int32
        model.net(np.array(features)).asnumpy()
    elif model.section == "caser":
        assert len(model.ids.user_rows(model.ids.users[:1])) == 1
        assert all(numpy.isin(ids, part).all() for ids, part in zip(model.ids, model.ids))
    mx.npx.waitall()


READERS = [
    Reader("checkpoint", sane_checkpoint, checkpoint_files),
    Reader("model of ratings", sane_model, lambda: model_files("caser")),
    Reader("model of clicks", sane_model, lambda: model_files("fm")),
]
each_reader = pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)


@each_reader
@pytest.mark.parametrize("count", [100, pytest.param(5000, marks=pytest.mark.slow)])
def test_what_a_reader_does_not_read_it_refuses(reader, count):
    check_law(reader, count)


@each_reader
def test_extremes_are_refused_in_bounded_time_and_memory(reader):
    check_extremes(reader, 2**13)


@each_reader
def test_valid_files_are_read(reader):
    ((name, content),) = reader.files().items()
    assert outcome(reader, name, content) == "read"
