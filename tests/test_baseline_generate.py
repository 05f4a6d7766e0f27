"""The files of the baseline agree with the project's code and with the oracle."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT

from d2l_recsys.baseline import made_up_data
from d2l_recsys.baseline.compare import distance
from d2l_recsys.baseline.files import Baseline
from d2l_recsys.baseline.ladder import CHANGES, VARIANTS
from d2l_recsys.baseline.questions import ask
from d2l_recsys.errors import DataError

generate = pytest.importorskip("d2l_recsys.baseline.generate")
reference = pytest.importorskip("d2l_recsys.baseline.reference")
tolerances = pytest.importorskip("d2l_recsys.baseline.tolerances").tolerances


@pytest.fixture(scope="module")
def baseline():
    return Baseline()


# Not all models and rungs; the slow test below makes all files again.
@pytest.mark.parametrize("variant", ["mf", "fm", *CHANGES])
def test_the_projects_own_code_is_right(baseline, variant):
    """The current code gives the answers in the files."""
    for entry in baseline.entries:
        question = baseline.question(entry)
        if question.variant != variant or entry["rung"] > (3 if variant in CHANGES else 4):
            continue
        off = distance(question, baseline.expected(entry), ask(reference.Port, question))
        assert off <= entry["tolerance"], entry["name"]


def test_the_made_up_data_is_that_of_the_files(baseline):
    rng = np.random.default_rng(made_up_data.SEED)
    made_up = {"ratings": made_up_data.ratings(rng), **made_up_data.clicks(rng)}
    given = {}
    for entry in baseline.entries:
        if entry["name"] in ("mf/0-data", "fm/0-data"):
            given.update(baseline.question(entry).given)
    for name, array in made_up.items():
        np.testing.assert_array_equal(given[name], array)


def test_no_file_is_made_where_the_oracle_disagrees(baseline):
    (entry,) = [e for e in baseline.entries if e["name"] == "mf/3-gradients-first"]
    question, expected = baseline.question(entry), baseline.expected(entry)
    assert tolerances(question, expected)["tolerance"] == entry["tolerance"]
    wrong = {name: 1.001 * array for name, array in expected.items()}
    with pytest.raises(DataError, match=r"the project and the oracle differ by 0\.001"):
        tolerances(question, wrong)


def numbers(seeds):
    spread = {"values": [0.5] * seeds}
    return {
        name: {
            "seeds": list(range(seeds)),
            "settings": {
                "num_epochs": 3, "lr": 0.1, "num_devices": 1, "split": "random", "head": "linear",
            },
            "dataset": {"substitute": True},
            "printed": {"test_rmse": spread, "score_user20_item30": spread},
            "defined": {"test_rmse": spread},
        }
        for name in (*VARIANTS, "fm-defined", "deepfm-defined")
    }  # fmt: skip


def test_final_numbers_are_kept_by_training():
    found = generate.convergence(numbers(20), generate.trainings())
    assert list(found) == [
        "mf", "autorec", "autorec-user", "neumf", "neumf-linear", "neumf-sigmoid", "neumf-hinge",
        "caser", "caser-L5", "fm-printed", "fm-defined", "deepfm-printed", "deepfm-defined",
    ]  # fmt: skip
    assert found["neumf-linear"]["settings"] == {"num_epochs": 3, "lr": 0.1, "head": "linear"}
    assert found["mf"] == {
        "settings": {"num_epochs": 3, "lr": 0.1},
        "printed": {"test_rmse": [0.5] * 20},
        "defined": {"test_rmse": [0.5] * 20},
    }


def test_too_few_seeds_and_other_clicks_are_refused():
    with pytest.raises(DataError, match="mf has fewer than 20 seeds; use --seeds"):
        generate.convergence(numbers(19), ["mf"])
    of_book = numbers(20)
    of_book["fm"]["dataset"]["substitute"] = False
    with pytest.raises(DataError, match="fm-printed was trained on the book's clicks"):
        generate.convergence(of_book, generate.trainings())


MAKE = """
import json, pathlib, sys
from d2l_recsys.baseline import generate
from d2l_recsys.baseline.files import SUMS
numbers = json.loads(pathlib.Path(sys.argv[1]).read_text())
print(generate.make_baseline(numbers)[SUMS].decode(), end="")
"""


@pytest.mark.slow
@pytest.mark.network
def test_a_second_generation_has_the_same_checksums(tmp_path):
    """Makes the files in two processes with different hash seeds, and compares the checksums."""
    (tmp_path / "numbers.json").write_text(json.dumps(numbers(20)))
    sums = []
    for seed in ("0", "12345"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        command = [sys.executable, "-c", MAKE, str(tmp_path / "numbers.json")]
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True
        )
        sums.append(dict(reversed(line.split("  ")) for line in done.stdout.splitlines()))
    assert sums[0] == sums[1]
    # The committed files can come from a machine that rounds differently. So only files without
    # rounding are compared with them.
    committed = (Baseline().folder / "SHA256SUMS").read_text().splitlines()
    committed = dict(reversed(line.split("  ")) for line in committed)
    assert committed.keys() == sums[0].keys()
    for name in committed:
        if "0-" in name or "1-metrics" in name:
            assert committed[name] == sums[0][name], name


def test_the_chapters_data_still_has_the_checksums(baseline):
    """Inputs that differ from the chapter's data raise DataError."""
    from d2l_recsys.baseline.chapter_data import check_inputs, input_sums

    inputs = {"mf": {"ratings": np.arange(8).reshape(2, 4)}}
    check_inputs(inputs, input_sums(inputs))
    with pytest.raises(DataError, match="the ratings differ from MovieLens-100K"):
        check_inputs(inputs, baseline.index["chapter_data"]["inputs"])
