import numpy as np
import pytest

from d2l_recsys.errors import DataError
from d2l_recsys.loaders.batches import LoaderState
from d2l_recsys.storage.archive import pack, unpack
from d2l_recsys.training.checkpoint import (
    CHECKPOINT,
    KIND,
    VERSION,
    Checkpoint,
    checkpoint_bytes,
    is_unfinished,
    read_checkpoint,
)

RUN = {"section": "mf", "seed": 3, "lr": 0.002, "nums_hiddens": [10, 10]}
SAVED = Checkpoint(
    history=[
        {
            "epoch": 1,
            "examples": 10,
            "seconds_train": 0.5,
            "seconds_evaluate": 0.25,
            "curve_train_loss": 2.0,
            "defined_train_loss": 0.1 + 0.2,
        }
    ],
    batches=7,
    seconds=1.25,
    measured=[3, 0.1],
    loaders=[
        LoaderState([np.random.default_rng(5).bit_generator.state], [np.array([4, 2])]),
        LoaderState([], [np.zeros((2, 3), np.int32), np.ones((2, 1), np.float32)]),
    ],
    parameters={"P.weight": np.float32([[1, 2]]), "mlp.0/bias": np.float32([3])},
    kept={
        "means": {"P.weight": np.float32([[4, 5]])},
        "variances": {"P.weight": np.float32([[6, 7]])},
    },
    updates={"P.weight": 12},
)


@pytest.fixture
def path(tmp_path):
    (tmp_path / CHECKPOINT).write_bytes(checkpoint_bytes(RUN, SAVED, 3))
    return tmp_path / CHECKPOINT


def plain(checkpoint):
    """The checkpoint with lists in place of arrays, so that ``==`` compares it."""

    def of(value):
        if isinstance(value, np.ndarray):
            return value.dtype.str, value.tolist()
        if isinstance(value, dict):
            return {name: of(part) for name, part in value.items()}
        return [of(part) for part in value] if isinstance(value, (list, tuple)) else value

    return of(list(checkpoint))


def test_what_is_saved_is_read(path):
    found = read_checkpoint(path, RUN)
    assert plain(found) == plain(SAVED)
    assert isinstance(found.loaders[0], LoaderState)


def test_before_the_first_step_there_are_no_moments(path):
    at_start = SAVED._replace(history=[], batches=0, kept={}, updates={})
    path.write_bytes(checkpoint_bytes(RUN, at_start, 3))
    assert plain(read_checkpoint(path, RUN)) == plain(at_start)


def test_it_says_how_far_it_has_come():
    assert str(SAVED) == "batch 7 of epoch 2"
    assert str(SAVED._replace(batches=0)) == "epoch 1"
    assert str(SAVED._replace(history=[], batches=0)) == "the beginning"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"section": "fm"}, "section is mf in the checkpoint and fm in this run"),
        ({"seed": 4}, "seed is 3 in the checkpoint and 4 in this run"),
        ({"lr": 0.01}, r"lr is 0\.002 in the checkpoint and 0\.01 in this run"),
        (
            {"nums_hiddens": [10]},
            r"nums_hiddens is \[10, 10\] in the checkpoint and \[10\] in this run",
        ),
        ({"split": "random"}, "split is not set in the checkpoint and random in this run"),
    ],
)
def test_the_checkpoint_of_another_run_is_refused_with_the_difference(path, change, message):
    with pytest.raises(DataError, match=f"{CHECKPOINT} belongs to another run: {message}; use"):
        read_checkpoint(path, {**RUN, **change})


def test_a_setting_that_this_run_has_not_is_a_difference(path):
    without = {name: value for name, value in RUN.items() if name != "lr"}
    with pytest.raises(DataError, match=r"lr is 0\.002 in the checkpoint and not set in this run"):
        read_checkpoint(path, without)


def test_what_an_older_checkpoint_lacks_counts_as_the_default(path):
    """A checkpoint from before there was a choice of optimizers."""
    run, defaults = {**RUN, "optimizer": "adam"}, {"optimizer": "adam", "lr": 0.5, "new": 1}
    assert plain(read_checkpoint(path, run, defaults)) == plain(SAVED)
    with pytest.raises(DataError, match="optimizer is adam in the checkpoint and sgd in this run"):
        read_checkpoint(path, {**run, "optimizer": "sgd"}, defaults)


def test_another_version_of_the_format_is_refused_by_its_number(path):
    content, arrays = unpack(path, KIND, VERSION, "")
    path.write_bytes(pack(KIND, VERSION + 1, content, arrays))
    with pytest.raises(DataError, match=rf"has version {VERSION + 1} .* reads version {VERSION};"):
        read_checkpoint(path, RUN)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("run", []), ("history", None), ("history", [["epoch"]]), ("history", [{"epoch": "one"}]),
        ("history", [{"epoch": 1}]), ("history", SAVED.history * 2),
        ("batches", "x"), ("batches", -1), ("batches", 0.5), ("seconds", None), ("seconds", "nan"),
        ("measured", {"a": 1}), ("measured", ["1"]), ("loaders", [{}]),
        ("updates", {"P.weight": None}),
        ("updates", {"P.weight": -1}), ("updates", {"P.weight": 10**400}),
        ("loaders", [{"generators": [1], "rolled_over": []}]),
        ("loaders", [{"generators": [], "rolled_over": ["absent"]}]),
    ],
)  # fmt: skip
def test_content_that_is_no_checkpoint_is_one_error(path, name, value):
    content, arrays = unpack(path, KIND, VERSION, "")
    path.write_bytes(pack(KIND, VERSION, {**content, name: value}, arrays))
    with pytest.raises(
        DataError, match=f"{CHECKPOINT} .*; leave out --resume to start from scratch"
    ):
        read_checkpoint(path, RUN)


def test_a_run_is_unfinished_while_it_has_epochs_to_go(path):
    assert is_unfinished(path)
    path.write_bytes(checkpoint_bytes(RUN, SAVED, 1))
    assert not is_unfinished(path)
    path.write_bytes(b"damaged")
    assert not is_unfinished(path)
    path.unlink()
    assert not is_unfinished(path)
