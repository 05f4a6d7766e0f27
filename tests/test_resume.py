"""Runs that are stopped, killed or refused: each section resumes to the same bits."""

import contextlib
import json
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from conftest import ROOT, run_script, some, what_it_left

pytest.importorskip("d2l_recsys.backend")
from d2l_recsys.errors import DataError, DivergedError, OutputError, SettingError, Stopped
from d2l_recsys.saved_models import MODEL
from d2l_recsys.sections.registry import SECTIONS
from d2l_recsys.settings import Optimizer
from d2l_recsys.storage.archive import pack, unpack
from d2l_recsys.training import loop
from d2l_recsys.training.checkpoint import BEFORE, CHECKPOINT, KIND, VERSION

TRAINED = [name for name, section in SECTIONS.items() if section.trains]
# Run all sections in one process, each into its own folder, on made-up data.
ALL_SECTIONS = """
import pathlib, sys
from d2l_recsys.sections.registry import SECTIONS
ratings, clicks, out = map(pathlib.Path, sys.argv[1:4])
for name, section in SECTIONS.items():
    if section.trains:
        print(name, flush=True)
        section.main()(
            num_epochs=2, batch_size=16, quiet=True, force=True, resume=True, out=out / name,
            data_dir=clicks if section.on_clicks else ratings)
"""


@pytest.fixture
def run(ratings_dir, clicks_dir, tmp_path):
    """A function that runs a section on made-up data into ``tmp_path/NAME``.

    It returns what the run has computed.
    """

    def run_section(section, name="out", **options):
        data_dir = clicks_dir if SECTIONS[section].on_clicks else ratings_dir
        common = {
            "num_epochs": 3,
            "batch_size": 16,
            "data_dir": data_dir,
            "quiet": True,
            "force": True,
        }
        SECTIONS[section].main()(out=tmp_path / name, **{**common, **options})
        return what_it_left(tmp_path / name)

    return run_section


@pytest.mark.parametrize(
    ("section", "num_devices"),
    some(
        [*((section, 1) for section in TRAINED), ("mf", 2), ("caser", 2), ("deepfm", 2)],
        [("autorec", 1), ("fm", 1), ("mf", 2), ("caser", 2)],
    ),
)
def test_stopped_anywhere_a_run_goes_on_to_the_same_bits(section, num_devices, run, stop_after):
    options = {"num_devices": num_devices, "num_epochs": 2}
    options["batch_size"] = 3 if section == "autorec" else 16
    whole = run(section, "whole", **options)
    stops = []
    # Sections have from seven to about forty batches per epoch: stop about twice in each epoch.
    for count in (3, 13, 22, 30, 50, 1000):
        stop_after(count)
        try:
            assert run(section, resume=True, **options) == whole
        except Stopped as stopped:
            stops.append(str(stopped))
    assert {stop[-1] for stop in (s.partition(";")[0] for s in stops)} == {"1", "2"}
    # Some stops are within an epoch, not only between two epochs.
    assert any("stopped after batch" in stop for stop in stops)
    assert all("to resume it, run the same command with --resume" in stop for stop in stops)


@pytest.mark.parametrize(
    ("optimizer", "num_devices"),
    some(
        [(optimizer, n) for optimizer in Optimizer if optimizer != "adam" for n in (1, 2)],
        [(Optimizer.sgd, 1), (Optimizer.nag, 2)],
    ),
)
def test_with_every_optimizer_a_run_goes_on_to_the_same_bits(
    optimizer, num_devices, run, stop_after
):
    options = {"num_devices": num_devices, "num_epochs": 2, "optimizer": optimizer, "lr": 0.05}
    whole = run("mf", "whole", **options)
    assert whole != run("mf", "adam", **{**options, "optimizer": "adam"})
    for count in (3, 30, 1000):
        stop_after(count)
        with contextlib.suppress(Stopped):
            assert run("mf", resume=True, **options) == whole
            assert count == 1000


@pytest.mark.parametrize("section", ["mf", "autorec"])
def test_stopped_once_more_while_it_catches_up_nothing_is_lost(section, run, stop_after):
    """The first stop is after batch 4; the second, while the resumed run repeats these batches."""
    whole = run(section, "whole", batch_size=6)
    for count in (3, 1):
        stop_after(count)
        with pytest.raises(Stopped, match="stopped after batch 4 of epoch 1;"):
            run(section, resume=True, batch_size=6)
    stop_after(1000)
    assert run(section, resume=True, batch_size=6) == whole


def test_what_an_unfinished_run_had_saved_is_kept_when_another_begins(
    run, stop_after, tmp_path, capsys
):
    stop_after(5)
    with pytest.raises(Stopped):
        run("mf", seed=8)
    before = (tmp_path / "out" / CHECKPOINT).read_bytes()
    stop_after(1000)
    capsys.readouterr()
    run("mf")
    assert (tmp_path / "out" / BEFORE).read_bytes() == before
    assert re.fullmatch(
        rf".*{CHECKPOINT} is of an unfinished run: stop here and use --resume to continue it; "
        rf"otherwise the file is renamed to .*{BEFORE} at the first new checkpoint\n",
        capsys.readouterr().err,
    )
    # The checkpoint of a finished run is replaced, as its result is.
    run("mf", num_epochs=1)
    assert (tmp_path / "out" / BEFORE).read_bytes() == before
    assert capsys.readouterr().err == ""


def test_ctrl_c_while_the_files_are_written_says_how_to_have_them(run, tmp_path, monkeypatch):
    from d2l_recsys.runs import run as run_module

    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(run_module, "draw_curves", interrupted)
        with pytest.raises(Stopped, match=r"stopped after epoch 3; the run is saved in .*--resume"):
            run("mf")
    assert run("mf", resume=True) == run("mf", "whole")


def test_times_add_up_over_processes(run, tmp_path):
    run("mf", num_epochs=2)
    run("mf", num_epochs=3, resume=True)
    seconds = json.loads((tmp_path / "out" / "result.json").read_text())["seconds"]
    assert seconds["total"] > seconds["train"] + seconds["evaluate"]


def test_more_epochs_go_on_from_fewer_and_fewer_are_refused(run):
    whole = run("autorec", "whole", num_epochs=4)
    run("autorec", num_epochs=2)
    with pytest.raises(
        SettingError, match=r"has reached epoch 2, but --num-epochs is 1; give a larger --num"
    ):
        run("autorec", num_epochs=1, resume=True)
    assert run("autorec", num_epochs=4, resume=True) == whole
    assert run("autorec", num_epochs=4, resume=True) == whole


def test_without_resume_a_run_begins_anew(run, stop_after):
    whole = run("mf", "whole")
    stop_after(30)
    with pytest.raises(Stopped):
        run("mf", seed=8)
    stop_after(1000)
    assert run("mf") == whole


def test_the_files_of_a_run_from_before_an_option_existed_are_read(run, tmp_path):
    """Its result and its checkpoint do not name the optimizer, which was Adam."""
    whole = run("mf", "whole")
    run("mf", num_epochs=2)
    path = tmp_path / "out" / CHECKPOINT
    content, arrays = unpack(path, KIND, VERSION, "")
    del content["run"]["optimizer"]
    path.write_bytes(pack(KIND, VERSION, content, arrays))
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    del result["settings"]["optimizer"]
    (tmp_path / "out" / "result.json").write_text(json.dumps(result))
    assert run("mf", resume=True, force=False) == whole


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 1}, "seed is 0 in the checkpoint and 1 in this run"),
        ({"lr": 0.5}, r"lr is 0\.002 in the checkpoint and 0\.5 in this run"),
        ({"optimizer": "sgd"}, "optimizer is adam in the checkpoint and sgd in this run"),
        ({"split": "random"}, "split is seq-aware in the checkpoint and random in this run"),
        ({"num_devices": 2}, "num_devices is 1 in the checkpoint and 2 in this run"),
    ],
)
def test_the_checkpoint_of_another_run_is_refused_and_stays(run, tmp_path, change, message):
    run("mf", num_epochs=1)
    before = (tmp_path / "out" / CHECKPOINT).read_bytes()
    with pytest.raises(DataError, match=message):
        run("mf", resume=True, **change)
    assert (tmp_path / "out" / CHECKPOINT).read_bytes() == before


def test_other_data_another_section_and_other_threads_are_named(run, ratings_dir, monkeypatch):
    run("mf", num_epochs=1)
    with pytest.raises(DataError, match="section is mf in the checkpoint and neumf in this run"):
        run("neumf", resume=True)
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    with pytest.raises(
        DataError, match=r"number of threads is \d+ in the checkpoint and 7 in this run"
    ):
        run("mf", resume=True)
    monkeypatch.undo()
    lines = (ratings_dir / "u.data").read_text().splitlines()
    (ratings_dir / "u.data").write_text("\n".join(lines[1:] + lines[:1]))
    with pytest.raises(
        DataError, match=r"SHA-256 of the data is \w+ in the checkpoint and \w+ in this run"
    ):
        run("mf", resume=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda arrays: arrays.pop("parameters/P.weight"),
            r"parameters .* only one of the two has P\.weight",
        ),
        (
            lambda arrays: arrays.update({"means/x": np.zeros(1)}),
            "means .*: only one of the two has x",
        ),
        (
            lambda arrays: arrays.update({"parameters/P.weight": np.zeros((2, 2), "float32")}),
            r"parameters .* P\.weight is float32 \(2, 2\), but this net needs float32 \(30, 30\)",
        ),
    ],
)
def test_arrays_of_another_net_are_refused(run, tmp_path, change, message):
    run("mf", num_epochs=1)
    path = tmp_path / "out" / CHECKPOINT
    content, arrays = unpack(path, KIND, VERSION, "")
    change(arrays)
    path.write_bytes(pack(KIND, VERSION, content, arrays))
    with pytest.raises(DataError, match=f"{CHECKPOINT}: its {message}.*; leave out --resume"):
        run("mf", resume=True)


@pytest.mark.parametrize("section", TRAINED)
def test_a_loss_that_is_not_finite_ends_the_run_with_where_and_why(section, run, tmp_path):
    with pytest.raises(DivergedError) as caught:
        run(section, lr=1e25)
    message = str(caught.value)
    assert "the loss is not finite in epoch 1, batch 2, at learning rate 1e+25: " in message
    # After one step of Adam, the weights are as large as the learning rate.
    assert "the largest weight, in " in message
    assert message.endswith(" is 1e+25; start from scratch with a smaller --lr")
    assert not (tmp_path / "out" / CHECKPOINT).exists()


def test_another_runs_checkpoint_is_not_said_to_be_kept(run):
    run("mf", num_epochs=1)
    with pytest.raises(DivergedError, match=r"start from scratch with a smaller --lr$"):
        run("mf", lr=1e25)


def test_the_last_good_checkpoint_stays_and_names_the_epoch(run, tmp_path, monkeypatch):
    """The learning rate becomes enormous in epoch 2."""
    begin_epoch = loop.Saver.begin_epoch

    def begin(saver, epoch):
        saver._trainer.set_learning_rate(0.002 if epoch < 2 else 1e18)
        begin_epoch(saver, epoch)

    monkeypatch.setattr(loop.Saver, "begin_epoch", begin)
    run("mf", "good", num_epochs=1)
    with pytest.raises(
        DivergedError,
        match=r"in epoch 2, batch \d+, .*; the checkpoint after epoch 1 is kept in .*",
    ):
        run("mf")
    good, left = ((tmp_path / name / CHECKPOINT) for name in ("good", "out"))
    first, last = (unpack(path, KIND, VERSION, "")[1] for path in (good, left))
    np.testing.assert_array_equal(first["parameters/P.weight"], last["parameters/P.weight"])


def test_a_disk_that_is_full_leaves_the_checkpoint_before(run, tmp_path):
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("only root can mount a small file system")
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(disk)])
    if mounted.returncode:
        pytest.skip("a small file system cannot be mounted here")
    try:
        run("mf", "disk/run", num_epochs=1)
        before = (disk / "run" / CHECKPOINT).read_bytes()
        free = shutil.disk_usage(disk).free
        (disk / "filler").write_bytes(bytes(max(0, free - 8192)))
        with pytest.raises(OutputError, match="No space left on device; free some disk space or"):
            run("mf", "disk/run", resume=True)
        assert (disk / "run" / CHECKPOINT).read_bytes() == before
        assert sorted(path.name for path in (disk / "run").iterdir()) == [
            CHECKPOINT, "curve.png", "history.csv", MODEL, "result.json"]  # fmt: skip
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_in_the_default_folder_a_finished_run_goes_on_with_more_epochs(
    run, ratings_dir, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    options = {"batch_size": 300, "data_dir": ratings_dir, "quiet": True}
    main = SECTIONS["mf"].main()
    main(**options, seed=1)
    main(**options, seed=1, num_epochs=22, resume=True)
    (folder,) = (path.parent for path in tmp_path.rglob("result.json"))
    assert folder == tmp_path / "results" / "mf" / "batch_size=300" / "seed-1"
    gone_on = what_it_left(folder)
    main(**options, seed=1, num_epochs=22)
    assert what_it_left(folder.parent.parent / "num_epochs=22,batch_size=300/seed-1") == gone_on


def test_what_a_killed_process_was_writing_is_removed(run, tmp_path):
    (tmp_path / "out").mkdir()
    for name in (CHECKPOINT, "curve.png"):
        (tmp_path / "out" / f".{name}.abc.partial").write_bytes(b"half")
    run("mf", num_epochs=1)
    assert not list((tmp_path / "out").glob(".*"))


# Real processes


def start_all(ratings_dir, clicks_dir, out, **environment):
    """A process that runs, or resumes, every section."""
    return subprocess.Popen(
        [sys.executable, "-c", ALL_SECTIONS, str(ratings_dir), str(clicks_dir), str(out)],
        cwd=str(ROOT),
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def finish(process, timeout=240):
    """Wait for ``process`` and return its standard error; kill it after ``timeout`` seconds."""
    try:
        return process.communicate(timeout=timeout)[1]
    finally:
        process.kill()


@pytest.mark.slow
def test_killed_and_resumed_processes_leave_the_bits_of_an_undisturbed_one(
    ratings_dir, clicks_dir, tmp_path
):
    """Each process has another order of hashes."""
    data = ratings_dir, clicks_dir
    whole = start_all(*data, tmp_path / "whole", PYTHONHASHSEED="1")
    killed_in = []
    for hash_seed in ("2", "3"):
        process = start_all(*data, tmp_path / "out", PYTHONHASHSEED=hash_seed)
        sections = [process.stdout.readline() for _ in range(len(killed_in) * 2 + 2)]
        time.sleep(random.uniform(0, 0.4))
        process.kill()
        killed_in.append(sections[-1].strip())
        process.communicate()
    finish(start_all(*data, tmp_path / "out", PYTHONHASHSEED="random"))
    finish(whole)
    for section in TRAINED:
        expected = what_it_left(tmp_path / "whole" / section)
        assert what_it_left(tmp_path / "out" / section) == expected, (section, killed_in)


@pytest.mark.parametrize(
    ("name", "code"), some([("SIGINT", 130), ("SIGTERM", 143)], [("SIGTERM", 143)])
)
def test_a_signal_ends_the_batch_saves_and_says_how_to_go_on(name, code, ratings_dir, tmp_path):
    """A real process gets the signal, after its first checkpoint shows that it is training."""
    out = tmp_path / "out"
    options = ["--num-epochs", "3000", "--batch-size", "64", "--data-dir", ratings_dir]
    command = [sys.executable, ROOT / "chapters" / "mf.py", *options, "--out", out]
    process = subprocess.Popen(list(map(str, command)), stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not (out / CHECKPOINT).exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(getattr(signal, name))
    errors = finish(process, 30)
    assert process.returncode == code
    assert errors.startswith("mf.py: stopped after ")
    assert errors.endswith(
        f"; the run is saved in {out / CHECKPOINT}; to resume it, run the same command with "
        "--resume\n"
    )
    assert [path.name for path in out.iterdir()] == [CHECKPOINT]
    done = run_script("chapters/mf.py", *options[2:], "--out", out, "--resume", "--num-epochs", 1)
    assert done.returncode == 2
    assert done.stderr.startswith(f"mf.py: error: {out / CHECKPOINT} has reached ")


# The number of epochs of each section in the slow test, which uses the chapter's settings and data.
EPOCHS = {"mf": 5, "autorec": 6, "neumf": 5, "caser": 5, "fm": 10, "deepfm": 10}
KILLS = 20


@pytest.mark.slow
@pytest.mark.network
@pytest.mark.parametrize(
    ("section", "optimizer"),
    [(section, "adam") for section in TRAINED] + [("mf", o) for o in Optimizer if o != "adam"],
)
def test_killed_at_any_moment_a_process_goes_on_to_the_same_bits(
    section, optimizer, ml100k_dir, tmp_path
):
    options = ["--num-epochs", EPOCHS[section], "--data-dir", ml100k_dir, "--quiet"]
    options += ["--optimizer", optimizer]
    if SECTIONS[section].on_clicks:
        options += ["--dataset", "movielens"]
    command = [sys.executable, ROOT / "chapters" / f"{section}.py", *options]

    def start(out, *more):
        line = list(map(str, [*command, "--out", out, *more]))
        return subprocess.Popen(line, stderr=subprocess.DEVNULL)

    started = time.monotonic()
    finish(start(tmp_path / "whole"))
    seconds = time.monotonic() - started
    whole, moments = what_it_left(tmp_path / "whole"), []
    for kill in range(KILLS):
        out = tmp_path / f"killed-{kill}"
        process = start(out)
        # A kill before the first checkpoint tests little, so kill in the last part of the run.
        time.sleep(random.uniform(0.4, 1) * seconds)
        process.kill()
        process.wait()
        reached = len(list(out.glob("*")))
        moments.append("finished" if (out / "result.json").exists() else reached)
        finish(start(out, "--resume"))
        assert what_it_left(out) == whole, (section, optimizer, kill, moments)
        shutil.rmtree(str(out))
    print(f"{section}, {optimizer}: {KILLS} of {KILLS}; files at the kill: {moments}")
    assert set(moments) != {"finished"}
    assert pathlib.Path(tmp_path / "whole").is_dir()
