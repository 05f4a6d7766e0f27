"""The baseline of the package is complete; a damaged folder gives a DataError in one line."""

import hashlib
import json
import math
import re

import numpy as np
import pytest

from d2l_recsys.baseline.files import FILES, INDEX, SUMS, VERSION, Baseline, as_index, checksums
from d2l_recsys.baseline.ladder import (
    CHANGES,
    CONVERGENCE,
    DRAWN,
    MODELS,
    PROTOCOLS,
    VARIANTS,
    base,
    tracks,
)
from d2l_recsys.baseline.npz import npz_bytes
from d2l_recsys.baseline.oracle import initial
from d2l_recsys.baseline.questions import KINDS, Question
from d2l_recsys.errors import DataError
from d2l_recsys.sections.registry import VARIANTS as VARIANTS_OF_THE_CHAPTER

MOST_BYTES = 25e6
FEWEST_SEEDS = 20
# The kinds of questions of each rung, for every model.
ASKED = (
    {"data", "batches"}, {"metrics"}, {"forward"}, {"gradients"}, {"step"}, {"trajectory"},
    {"first"}, {"dropout"},
)  # fmt: skip


def no_constant(name):
    raise AssertionError(f"{name} is not JSON")


@pytest.fixture(scope="module")
def files():
    """The content of each file by its path in the folder, with slashes."""
    return {
        path.relative_to(FILES).as_posix(): path.read_bytes()
        for path in FILES.rglob("*")
        if path.is_file()
    }


@pytest.fixture(scope="module")
def index(files):
    return json.loads(files[INDEX].decode("utf-8"), parse_constant=no_constant)


@pytest.fixture(scope="module")
def arrays(files):
    """The arrays of each .npz file, read by numpy without pickle."""
    found = {}
    for name in files:
        if name.endswith(".npz"):
            with np.load(FILES / name, allow_pickle=False) as archive:
                found[name] = {of_file: archive[of_file] for of_file in archive.files}
    return found


# The baseline that comes with the package


def test_the_sums_name_every_file_and_no_other(files):
    lines = files[SUMS].decode("ascii").splitlines()
    pairs = [re.fullmatch(r"([0-9a-f]{64})  ([\w./-]+)", line).groups() for line in lines]
    names = [name for _, name in pairs]
    assert names == sorted(set(files) - {SUMS})
    for digest, name in pairs:
        assert hashlib.sha256(files[name]).hexdigest() == digest


def test_it_is_small_and_no_deeper_than_it_is_packed(files):
    assert sum(map(len, files.values())) < MOST_BYTES
    # setup.py packs two levels of folders.
    assert all(name.count("/") <= 1 for name in files)
    assert {name.rpartition(".")[2] for name in files} == {"npz", "json", SUMS}


def test_all_arrays_are_finite_numbers(arrays):
    for name, of_file in arrays.items():
        assert of_file, name
        for array in of_file.values():
            assert array.dtype.str[0] in "<|", name
            assert array.dtype.kind in "iuf", name
            assert np.isfinite(array).all(), name


def test_the_index_says_what_made_it(index, files):
    assert index["version"] == VERSION
    assert re.fullmatch(r"d2l_recsys \d+\.\d+\.\d+", index["made_by"])
    assert {"python", "mxnet", "numpy", "platform"} <= set(index["environment"])
    assert Baseline().index == index
    assert Baseline().entries == index["questions"]
    assert Baseline().sha256 == hashlib.sha256(files[SUMS]).hexdigest()


def test_every_model_and_protocol_is_asked_on_every_rung(index):
    baseline = Baseline()
    for variant in VARIANTS:
        drawn = {"negatives"} if base(variant) in ("neumf", "caser") else set()
        for protocol in PROTOCOLS:
            for rung, kinds in enumerate(ASKED):
                entries = baseline.asked(variant, protocol, rung)
                found = {entry["kind"] for entry in entries}
                assert found == kinds | (drawn if rung == CONVERGENCE else set())


def test_a_variant_asks_anew_what_it_changes(index):
    for variant, change in CHANGES.items():
        own = [e for e in index["questions"] if e["name"].startswith(f"{variant}/")]
        assert {entry["kind"] for entry in own} == set(change.kinds), variant
        for entry in own:
            if entry["settings"]:
                assert change.settings.items() <= entry["settings"].items(), entry["name"]


def test_a_variant_changes_what_the_chapters_options_change():
    assert {name: change.settings for name, change in CHANGES.items()} == {
        name: VARIANTS_OF_THE_CHAPTER[name].options for name in CHANGES
    }


def test_every_question_is_described_and_has_its_files(index, arrays):
    names = [entry["name"] for entry in index["questions"]]
    assert len(names) == len(set(names))
    expected = {f"{name}.given.npz" for name in names}
    expected |= {f"{e['name']}.expected.npz" for e in index["questions"] if e["rung"] not in DRAWN}
    assert set(arrays) == expected
    for entry in index["questions"]:
        folder, _, name = entry["name"].partition("/")
        protocols = entry["protocols"]
        variants = [v for v in VARIANTS if base(v) == entry["model"]]
        parted = variants if len(protocols) == 2 else [f"{v}-{protocols[0]}" for v in variants]
        assert folder in parted
        assert name.startswith(f"{entry['rung']}-")
        assert set(protocols) <= set(PROTOCOLS)
        assert entry["kind"] in KINDS


def test_tolerances_are_more_than_what_was_measured(index):
    factor, least = index["tolerance"]["factor"], index["tolerance"]["least_spread"]
    for entry in index["questions"]:
        if entry["rung"] == 0:
            assert (entry["tolerance"], entry["spread"]) == (0, 0), entry["name"]
        elif entry["rung"] not in DRAWN:
            assert entry["tolerance"] >= factor * least, entry["name"]
            # The spread is stored with two digits.
            assert entry["tolerance"] >= factor * entry["spread"] * 0.95, entry["name"]
            assert entry["tolerance"] < 0.1, entry["name"]
        else:
            assert "tolerance" not in entry, entry["name"]


def test_parameters_are_answered_by_the_names_they_are_given_by(index, arrays):
    for entry in index["questions"]:
        given = arrays[f"{entry['name']}.given.npz"]
        answer = arrays.get(f"{entry['name']}.expected.npz", {})
        weights = {name: array for name, array in given.items() if name.startswith("parameters/")}
        if entry["kind"] in ("step", "trajectory"):
            of_answer = {name: answer[name].shape for name in answer if name != "losses"}
            assert of_answer == {name: array.shape for name, array in weights.items()}
            # A weight that does not move would not test the step.
            assert all((answer[name] != weights[name]).any() for name in weights)
        elif entry["kind"] == "gradients":
            of_answer = {name.partition("/")[2] for name in answer if name != "loss"}
            assert of_answer == {name.partition("/")[2] for name in weights}
            assert answer["loss"].shape == ()
        if entry["kind"] == "trajectory":
            assert answer["losses"].shape == (50,)
            assert int(given["steps"]) >= 100


def test_parameters_have_the_shapes_of_the_oracle(index, arrays):
    for entry in index["questions"]:
        shapes = {
            name.partition("/")[2]: array.shape
            for name, array in arrays[f"{entry['name']}.given.npz"].items()
            if name.startswith("parameters/")
        }
        if shapes:
            assert shapes == initial.shapes(entry["model"], entry["settings"]), entry["name"]


def test_every_final_number_has_enough_seeds(index):
    expected = {name for variant in VARIANTS for name, _ in tracks(variant)}
    assert set(index["convergence"]) == expected
    for track in expected:
        of_track = index["convergence"][track]
        assert {"num_epochs", "batch_size", "lr"} <= set(of_track["settings"])
        seeds = {len(values) for p in PROTOCOLS for values in of_track[p].values()}
        assert len(seeds) == 1
        assert min(seeds) >= FEWEST_SEEDS
        for protocol in PROTOCOLS:
            assert of_track[protocol]
            assert all(math.isfinite(x) for values in of_track[protocol].values() for x in values)


def test_the_chapters_data_is_there_as_checksums_alone(index):
    kept = index["chapter_data"]
    assert set(kept["inputs"]) == {"ratings", "train_tsv", "test_tsv"}
    assert set(kept["answers"]) == {*MODELS, "autorec-user", "caser-L5"}
    digests = [digest for answer in kept["answers"].values() for digest in answer.values()]
    sums = [*kept["inputs"].values(), *(digest["sha256"] for digest in digests)]
    assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in sums)
    assert max(len(digest["sample"]) for digest in digests) <= 3


# Small baselines that the tests make

QUESTION = Question(
    "mf/2-forward",
    2,
    "forward",
    "mf",
    PROTOCOLS,
    {"lr": 0.1},
    {"parameters/P": np.arange(6.0).reshape(2, 3), "steps": np.array(3)},
)
DRAW = Question("mf/6-first", 6, "first", "mf", PROTOCOLS, {}, {"seed": np.array(7)})
EXPECTED = {"output": np.array([1.5, 2.5])}


def make(folder, version=VERSION, sums=checksums):
    """A small baseline of two questions."""
    entries = [as_index(QUESTION, tolerance=1e-5), as_index(DRAW)]
    files = {
        "mf/2-forward.given.npz": npz_bytes(QUESTION.given),
        "mf/2-forward.expected.npz": npz_bytes(EXPECTED),
        "mf/6-first.given.npz": npz_bytes(DRAW.given),
        INDEX: json.dumps({"version": version, "questions": entries}).encode(),
    }
    files[SUMS] = sums(files).encode()
    (folder / "mf").mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return files


@pytest.fixture
def folder(tmp_path):
    make(tmp_path / "small")
    return tmp_path / "small"


def read_all(folder):
    baseline = Baseline(folder)
    return [
        (baseline.question(entry), baseline.expected(entry) if entry["rung"] not in DRAWN else None)
        for entry in baseline.entries
    ]


def refusal(folder):
    """The message of the DataError: one line that names the folder and says what to do."""
    with pytest.raises(DataError) as refused:
        read_all(folder)
    (line,) = str(refused.value).splitlines()
    assert str(folder) in line
    assert line.endswith("get a new copy of the baseline folder")
    return line


def test_what_is_written_is_read(folder):
    (question, expected), (draw, _) = read_all(folder)
    for found, written in ((question, QUESTION), (draw, DRAW)):
        assert found._replace(given={}) == written._replace(given={})
        assert set(found.given) == set(written.given)
        for name, array in written.given.items():
            np.testing.assert_array_equal(found.given[name], array)
    assert list(expected) == ["output"]
    assert expected["output"].tolist() == [1.5, 2.5]


def test_an_entry_is_json_and_all_of_a_question_but_its_arrays():
    entry = as_index(QUESTION, tolerance=1e-5, spread=1e-7)
    assert json.loads(json.dumps(entry)) == entry
    assert entry == {
        "name": "mf/2-forward",
        "rung": 2,
        "kind": "forward",
        "model": "mf",
        "protocols": ["printed", "defined"],
        "settings": {"lr": 0.1},
        "tolerance": 1e-5,
        "spread": 1e-7,
    }


def test_checksums_are_those_of_sha256sum():
    # As coreutils prints them.
    assert checksums({"b/c.npz": b"abc", "a": b""}) == (
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855  a\n"
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad  b/c.npz\n"
    )


def test_the_checksum_of_a_baseline_changes_with_any_file(folder, tmp_path):
    make(tmp_path / "same")
    make(tmp_path / "other", sums=lambda files: checksums({**files, "more": b""}))
    assert Baseline(folder).sha256 == Baseline(tmp_path / "same").sha256
    assert Baseline(folder).sha256 != Baseline(tmp_path / "other").sha256


NAMES = ["mf/2-forward.given.npz", "mf/2-forward.expected.npz", "mf/6-first.given.npz", INDEX]


@pytest.mark.parametrize("name", NAMES)
def test_a_changed_byte_is_found(name, folder):
    whole = (folder / name).read_bytes()
    for place in [*range(0, len(whole), 97), len(whole) - 1]:
        changed = whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :]
        (folder / name).write_bytes(changed)
        assert f"{name} does not match its checksum in {SUMS}" in refusal(folder)
    for changed in (b"", whole[:-1], whole + b"\n"):
        (folder / name).write_bytes(changed)
        assert f"{name} does not match its checksum in {SUMS}" in refusal(folder)


def test_a_changed_sum_is_found(folder):
    text = (folder / SUMS).read_text()
    for name in NAMES:
        place = text.index(f"  {name}") - 1
        other = "0" if text[place] != "0" else "1"
        (folder / SUMS).write_text(text[:place] + other + text[place + 1 :])
        assert f"{name} does not match its checksum in {SUMS}" in refusal(folder)


@pytest.mark.parametrize("name", NAMES)
def test_a_file_without_a_sum_is_not_trusted(name, folder):
    lines = (folder / SUMS).read_text().splitlines(keepends=True)
    (folder / SUMS).write_text("".join(line for line in lines if not line.endswith(f" {name}\n")))
    assert f"{name} does not match its checksum in {SUMS}" in refusal(folder)


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_file_is_named(name, folder):
    (folder / name).unlink()
    assert f"{name} cannot be read: No such file" in refusal(folder)


def test_a_missing_folder_and_one_without_sums_are_named(folder, tmp_path):
    assert "there is no baseline in " in refusal(tmp_path / "nowhere")
    assert "there is no baseline in " in refusal(folder / INDEX)
    (folder / SUMS).write_bytes(b"\xff\xfe")
    assert "there is no baseline in " in refusal(folder)
    (folder / SUMS).unlink()
    assert "there is no baseline in " in refusal(folder)
    (folder / SUMS).mkdir()
    assert "there is no baseline in " in refusal(folder)


@pytest.mark.parametrize("version", [0, VERSION + 1, "1", None])
def test_another_version_is_named(version, tmp_path):
    make(tmp_path / "other", version=version)
    line = refusal(tmp_path / "other")
    assert f"{INDEX} has version {version}, this program reads version {VERSION}" in line
