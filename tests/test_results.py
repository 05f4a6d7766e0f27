import json
import math
import os
import pathlib
import resource

import pytest

from d2l_recsys.errors import DataError, OutputError
from d2l_recsys.hardware.processor import processor_model
from d2l_recsys.runs.reported import reported_numbers
from d2l_recsys.runs.results import (
    device_kind,
    make_result,
    read_result,
    refuse_another_result,
    result_folders,
)
from d2l_recsys.settings import Scores
from d2l_recsys.storage.files import as_json, default_folder, prepare_folder, write_files


def result():
    return make_result(
        chapter="mf",
        protocol="printed",
        seed=0,
        scores=Scores({"test_rmse": 1.0}, {"test_rmse": 0.9}),
        reported=reported_numbers("mf"),
        dataset={"name": "ml-100k", "source": "b", "sha256": "c", "substitute": False},
        settings={"lr": 0.002},
        seconds={"load": 0.12345},
    )


def test_a_result_reads_back_as_it_was_written(tmp_path):
    folder = prepare_folder(tmp_path / "a" / "b")
    write_files(folder, {"result.json": as_json(result())})
    assert read_result(folder) == json.loads(json.dumps(result()))
    assert result()["seconds"] == {"load": 0.123}
    assert result()["reported"]["test_rmse"] == 1.055
    # The environment decides whether a finished run is repeated. The processor does not.
    assert set(result()["environment"]) == {"python", "mxnet", "numpy", "platform", "devices"}
    assert result()["processor"] == processor_model()


def test_when_the_disk_refuses_the_files_from_before_stay(tmp_path):
    write_files(tmp_path, {"a": b"old", "b": b"old"})
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OutputError, match=r"cannot write to .*--out"):
            write_files(tmp_path, {"a": b"new", "b": b"x" * 100_000})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {
        "a": b"old",
        "b": b"old",
    }
    write_files(tmp_path, {"a": b"new"})
    assert (tmp_path / "a").read_bytes() == b"new"


def test_a_folder_in_the_way_of_a_file_changes_nothing(tmp_path):
    (tmp_path / "a").write_bytes(b"old")
    (tmp_path / "result.json").mkdir()
    with pytest.raises(OutputError, match=r"result\.json is a folder"):
        write_files(tmp_path, {"a": b"new", "result.json": b"new"})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "result.json"]
    assert (tmp_path / "a").read_bytes() == b"old"


def test_numbers_that_are_not_finite_stand_as_null():
    text = as_json({"printed": {"train_loss": float("nan"), "x": float("inf")}, "seed": 1})
    assert json.loads(text) == {"printed": {"train_loss": None, "x": None}, "seed": 1}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "does not exist; run its section first"),
        (b"{", "cannot be read"),
        (b"[]", "is not a result"),
        (b"3", "is not a result"),
        (b"null", "is not a result"),
        (b'{"chapter": "mf"}', "lacks printed"),
        (b'{"chapter": "mf", "printed": null}', "lacks printed"),
        (b"\xff\xfe", "cannot be read"),
    ],
)
def test_what_is_not_a_result_is_refused(tmp_path, content, message):
    if content is not None:
        (tmp_path / "result.json").write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_result(tmp_path)


@pytest.mark.parametrize(
    ("key", "value", "wrong"),
    [
        ("processor", 3, "the processor"),
        ("ratings", {"1": "x"}, "the numbers in ratings"),
        ("fields", [1], "the numbers in fields"),
    ],
)
def test_a_key_that_only_some_results_have_is_checked(tmp_path, key, value, wrong):
    (tmp_path / "result.json").write_bytes(as_json({**result(), key: value}))
    with pytest.raises(DataError, match=f"is not a result: {wrong} cannot be right"):
        read_result(tmp_path)


def test_a_result_of_an_earlier_version_names_no_processor(tmp_path):
    without = {key: value for key, value in result().items() if key != "processor"}
    (tmp_path / "result.json").write_bytes(as_json(without))
    assert read_result(tmp_path) == json.loads(as_json(without))


def test_a_file_in_the_way_of_the_folder_is_one_clear_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"cannot write to .*file"):
        prepare_folder(tmp_path / "file" / "out")
    with pytest.raises(OutputError, match=r"cannot write to .*file: it is a file, not a folder; "):
        prepare_folder(tmp_path / "file")


def test_the_default_folder_is_named_by_section_changed_settings_and_seed():
    assert str(default_folder("caser", 3)) == "results/caser/seed-3"
    assert str(default_folder("movielens")) == "results/movielens"
    changed = {"num_factors": 50, "lr": 0.001, "mlp_dims": (30, 20)}
    assert str(default_folder("deepfm", 3, changed)) == (
        "results/deepfm/num_factors=50,lr=0.001,mlp_dims=30+20/seed-3"
    )
    long = [default_folder("als", 0, {"cutoff": [*range(200), last]}) for last in (1, 2)]
    assert long[0] != long[1]
    assert all(len(part) < 250 for path in long for part in path.parts)


def test_a_result_of_another_run_is_not_replaced(tmp_path):
    write_files(tmp_path, {"result.json": as_json(result())})
    same = {"chapter": "mf", "seed": 0, "lr": 0.002, "SHA-256 of the data": "c"}
    refuse_another_result(tmp_path, same)
    refuse_another_result(tmp_path, {**same, "protocol": "printed"})
    for change, told in (
        ({"lr": 0.1}, "lr 0.002, not 0.1"),
        ({"seed": 1, "lr": 0.1}, "seed 0, not 1, lr 0.002, not 0.1"),
        ({"chapter": "neumf"}, "chapter mf, not neumf"),
        ({"protocol": "defined"}, "protocol printed, not defined"),
        ({"SHA-256 of the data": "a"}, "SHA-256 of the data c, not a"),
        ({"wd": 0}, "wd None, not 0"),
    ):
        with pytest.raises(OutputError, match=rf"another run \({told}\); .*--out.*--force"):
            refuse_another_result(tmp_path, {**same, **change})
    # A result from before the option existed has its default.
    refuse_another_result(tmp_path, {**same, "wd": 0}, {"wd": 0, "lr": 5})
    (tmp_path / "result.json").write_text("no result")
    refuse_another_result(tmp_path, {**same, "lr": 0.1})


def test_a_number_that_is_not_finite_is_null_wherever_it_stands():
    assert json.loads(as_json({"a": [1.0, math.nan], "b": {"c": math.inf}})) == {
        "a": [1.0, None], "b": {"c": None}
    }  # fmt: skip


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"devices": ["cpu(0)"]}, "cpu"),
        ({"devices": ["gpu(1)", "gpu(2)"]}, "gpu"),
        ({"devices": []}, None),
        ({"devices": "cpu(0)"}, None),
        ({}, None),
        ("damaged", None),
    ],
)
def test_the_kind_of_device_is_read_from_the_environment(environment, expected):
    assert device_kind({"environment": environment}) == expected
    assert device_kind({}) is None


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """A folder, which is entered, with empty results; a function gives the folders of results."""
    for folder in ("mf/seed-10", "mf/seed-2", "mf/seed-2/deeper", "mf/.kept/seed-1", "a2/b", "a10"):
        path = prepare_folder(tmp_path / "all" / folder)
        (path / "result.json").touch()
    prepare_folder(tmp_path / "all" / "none" / "below")
    monkeypatch.chdir(tmp_path)
    return lambda *folders: [
        path.as_posix() for path in result_folders([pathlib.Path(name) for name in folders])
    ]


def test_a_folder_without_a_result_stands_for_all_below_it_in_natural_order(tree):
    below = ["mf/seed-2", "mf/seed-2/deeper", "mf/seed-10"]
    everything = [f"all/{name}" for name in ("a2/b", "a10", *below)]
    assert tree("all") == tree(".") == everything
    assert tree("all/mf") == everything[2:]


def test_a_folder_with_a_result_stands_for_itself(tree):
    assert tree("all/mf/seed-2") == ["all/mf/seed-2"]
    assert tree("all/mf/seed-10", "all/a2/b") == ["all/mf/seed-10", "all/a2/b"]
    # It is named, although its name begins with a dot.
    assert tree("all/mf/.kept/seed-1") == tree("all/mf/.kept") == ["all/mf/.kept/seed-1"]


def test_each_folder_is_found_once(tree, tmp_path):
    os.symlink(tmp_path / "all" / "a10", "link")
    assert tree("all/mf/seed-10", "all/mf/../mf", "all/a10/", "link") == [
        "all/mf/seed-10",
        "all/mf/../mf/seed-2",
        "all/mf/../mf/seed-2/deeper",
        "all/a10",
    ]


def test_names_that_only_resemble_numbers_can_be_sorted(tmp_path):
    names = ["5", "x", "10", "\u00b2", "\u0663"]
    for name in names:
        (prepare_folder(tmp_path / name) / "result.json").touch()
    found = [path.name for path in result_folders([tmp_path])]
    assert found == ["\u0663", "5", "10", "x", "\u00b2"]


def test_a_folder_without_any_result_is_refused(tree):
    with pytest.raises(
        DataError, match=r"^all/none has no result\.json, nor has a folder below it"
    ):
        tree("all/a10", "all/none")
    # read_result says what is wrong with a folder that does not exist.
    assert tree("nowhere", "all/a10/result.json") == ["nowhere", "all/a10"]


def test_a_folder_that_cannot_be_read_is_refused(tree, monkeypatch):
    scandir = os.scandir

    def refuse(path):
        if os.path.basename(path) == "mf":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(DataError, match=r"^all/mf cannot be read \(Permission denied\)"):
        tree("all")
