"""The same seed gives the same bits, and the number of devices hardly changes the weights."""

import itertools
import os
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT, some, what_it_left

pytest.importorskip("d2l_recsys.backend")
from d2l_recsys.model_bases.parameters import parameters_of
from d2l_recsys.sections.registry import SECTIONS
from d2l_recsys.storage.archive import pack, unpack
from d2l_recsys.training.checkpoint import CHECKPOINT, KIND, VERSION
from d2l_recsys.training.loop import Steps

TRAINED = [name for name, section in SECTIONS.items() if section.trains]
WITH_DROPOUT = ("autorec", "caser", "deepfm")
STEPS = 50


class SomeSteps:
    """The first 50 batches of a loader, from as many epochs as needed, as one epoch."""

    def __init__(self, loader):
        self.loader = loader

    def __iter__(self):
        epochs = itertools.chain.from_iterable(self.loader for _ in range(STEPS))
        return itertools.islice(epochs, STEPS)


def agree(section, data_dir, folder, monkeypatch, epochs, **options):
    """The largest difference of weights after 50 steps on one, two and three devices.

    All three start from the same weights and moments, saved after ``epochs`` epochs. They do not
    start from the first weights, because NeuMF is chaotic there: its gradients are as small as the
    constant that Adam adds to its divisor. The last bit of a sum then decides the direction of a
    step, and that bit depends on how the batch is split.
    """
    if section in WITH_DROPOUT:
        options["dropout"] = 0.0
    options.update(data_dir=data_dir, out=folder, quiet=True, force=True)
    path, run_steps = folder / CHECKPOINT, Steps.run
    main = SECTIONS[section].main()
    main(num_epochs=epochs, **options)
    content, arrays = unpack(path, KIND, VERSION, "")
    weights = []

    def run(steps, *arguments):
        done = run_steps(steps._replace(train_iter=SomeSteps(steps.train_iter)), *arguments)
        assert done == STEPS
        weights.append(parameters_of(steps.net))
        return done

    monkeypatch.setattr(Steps, "run", run)
    for num_devices in (1, 2, 3):
        devices = [f"cpu({i})" for i in range(num_devices)]
        content["run"].update(num_devices=num_devices, devices=devices)
        path.write_bytes(pack(KIND, VERSION, content, arrays))
        main(num_epochs=epochs + 1, num_devices=num_devices, resume=True, **options)
    one, *others = weights
    moved = max(np.abs(one[name] - arrays[f"parameters/{name}"]).max() for name in one)
    far = max(np.abs(one[name] - other[name]).max() for other in others for name in one)
    print(f"{section}: {STEPS} steps move weights by up to {moved:.2g}, devices by {far:.2g}")
    assert moved > 0.01
    return far


@pytest.mark.parametrize("section", some(TRAINED, ("mf", "caser")))
def test_one_two_and_three_devices_agree_after_fifty_steps(
    section, ratings_dir, clicks_dir, tmp_path, monkeypatch
):
    data_dir = clicks_dir if SECTIONS[section].on_clicks else ratings_dir
    options = {"batch_size": 16, "protocol": "defined"}
    assert agree(section, data_dir, tmp_path, monkeypatch, 5, **options) < 1e-5


@pytest.mark.slow
@pytest.mark.network
@pytest.mark.parametrize("section", TRAINED)
def test_they_agree_with_the_chapters_settings_on_the_real_data(
    section, ml100k_dir, tmp_path, monkeypatch
):
    options = {"dataset": "movielens"} if SECTIONS[section].on_clicks else {}
    options["protocol"] = "defined"
    # After two epochs, DeepFM is still so sensitive to last bits that weights differ by 5e-4.
    epochs = 4 if section == "deepfm" else 2
    assert agree(section, ml100k_dir, tmp_path, monkeypatch, epochs, **options) < 1e-5


# Run all sections in one process, each into its own folder.
ALL_SECTIONS = """
import pathlib, sys
from d2l_recsys.sections.registry import SECTIONS
out, num_devices, num_epochs, batch_size = pathlib.Path(sys.argv[3]), *map(int, sys.argv[4:7])
options = {"batch_size": batch_size} if batch_size else {}
for name, section in SECTIONS.items():
    if section.trains:
        clicks = section.on_clicks
        if clicks and sys.argv[1] == sys.argv[2]:
            options["dataset"] = "movielens"
        section.main()(
            num_epochs=num_epochs, num_devices=num_devices, quiet=True, force=True, out=out / name,
            data_dir=pathlib.Path(sys.argv[2 if clicks else 1]), **options)
"""


def bits(data, out, num_devices, num_epochs, batch_size, **environment):
    """What a process with ``environment`` computes, by section."""
    numbers = map(str, (num_devices, num_epochs, batch_size))
    subprocess.run(
        [sys.executable, "-c", ALL_SECTIONS, *map(str, data), str(out), *numbers],
        cwd=str(ROOT),
        env={**os.environ, **environment},
        check=True,
    )
    return {section: what_it_left(out / section) for section in TRAINED}


@pytest.mark.slow
def test_two_processes_give_the_same_bits_whatever_their_hashes(ratings_dir, clicks_dir, tmp_path):
    """This test uses two devices; ``test_resume.py`` compares killed processes on one device."""
    first, second = (
        bits((ratings_dir, clicks_dir), tmp_path / seed, 2, 1, 16, PYTHONHASHSEED=seed)
        for seed in ("1", "2")
    )
    assert first == second


@pytest.mark.slow
@pytest.mark.network
@pytest.mark.parametrize("num_devices", [1, 2])
def test_processes_give_the_same_bits_on_the_real_data(num_devices, ml100k_dir, tmp_path):
    """The chapter's settings give the same bits; without OMP_NUM_THREADS, MXNet uses one thread."""
    environments = [
        {"PYTHONHASHSEED": "0"},
        {"PYTHONHASHSEED": "1234567"},
        {"PYTHONHASHSEED": "random"},
        {"OMP_NUM_THREADS": "1"},
        {"OPENBLAS_NUM_THREADS": "4", "MKL_NUM_THREADS": "4"},
    ]
    data = ml100k_dir, ml100k_dir
    first, *others = (
        bits(data, tmp_path / str(i), num_devices, 2, 0, **environment)
        for i, environment in enumerate(environments)
    )
    for environment, other in zip(environments[1:], others):
        assert other == first, environment
    threads = bits(data, tmp_path / "threads", num_devices, 2, 0, OMP_NUM_THREADS="2")
    moved = [section for section in TRAINED if threads[section] != first[section]]
    print(f"on {num_devices} devices, two threads give other bits in: {moved or 'none'}")
