"""``d2l-recsys sweep``, on made-up data; ALS is quick, and it has seeds."""

import csv
import io
import json
import os
import pickle
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from d2l_recsys.errors import SettingError
from d2l_recsys.reproduction import planned
from d2l_recsys.sections.registry import SYSTEMS
from d2l_recsys.storage.in_use import alone_in

OPTIONS = ["--num-epochs", "2", "--jobs", "1"]


@pytest.fixture
def in_this_process(monkeypatch):
    """Let runs run here: a worker process takes a while to start."""
    monkeypatch.setattr(planned, "work_off", lambda jobs, do, _: ((job, do(job)) for job in jobs))


@pytest.fixture
def sweep(run_here, ratings_dir):
    """Call ``d2l-recsys sweep`` on made-up ratings; return exit code, output and error."""
    return lambda *arguments: run_here("sweep", *arguments, "--data-dir", ratings_dir)


def test_a_sweep_leaves_what_the_single_runs_give(sweep, ratings_dir, tmp_path):
    status, text, error = sweep("als", "--num-factors", "2,3", "--seeds", "2", "--out", "s",
                                "--reg", "0.5", *OPTIONS)  # fmt: skip
    assert status == 0, error
    assert len(error.splitlines()) == 4
    results = {
        (k, seed): SYSTEMS["als"].main()(
            num_factors=k, seed=seed, reg=0.5, num_epochs=2, data_dir=ratings_dir, quiet=True
        )
        for k in (2, 3)
        for seed in (0, 1)
    }
    for k in (2, 3):
        values = [results[k, seed]["defined"]["test_auc"] for seed in (0, 1)]
        mean, sd = np.mean(values), np.std(values, ddof=1)
        assert f"{mean:.4f} ± {sd:.4f}" in next(x for x in text.splitlines() if x[:2] == f"{k} ")
    assert "mean ± standard deviation over the seeds 0,1" in text
    assert "written to s: sweep.csv, sweep.json, sweep.md, sweep.png" in text
    lines = list(csv.DictReader(io.StringIO((tmp_path / "s" / "sweep.csv").read_text())))
    for line in lines:
        result = results[int(line["num_factors"]), int(line["seed"])]
        for protocol in ("printed", "defined"):
            for name, value in result[protocol].items():
                assert float(line[f"{protocol}_{name}"]) == value
    document = json.loads((tmp_path / "s" / "sweep.json").read_text())
    assert [point["labels"] for point in document["points"]] == [
        {"num_factors": 2}, {"num_factors": 3}]  # fmt: skip
    assert document["points"][0]["numbers"]["test_ndcg"]["values"] == [
        results[2, seed]["defined"]["test_ndcg"] for seed in (0, 1)
    ]
    assert "| num factors " in (tmp_path / "s" / "sweep.md").read_text()
    assert (tmp_path / "s" / "sweep.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.usefixtures("in_this_process")
def test_finished_runs_are_used_again_and_a_damaged_one_is_repeated(sweep, tmp_path):
    first = sweep("als", "--num-factors", "2,3", "--seeds", "1", *OPTIONS)
    folder = tmp_path / "results" / "sweeps" / "als"
    (stamp,) = folder.glob("num_epochs=2/num_factors/runs/als/*num_factors=3*/seed-0/run.json")
    stamp.write_text("damaged")
    second = sweep("als", "--num-factors", "2,3,4", "--seeds", "1", *OPTIONS)
    assert first[0] == second[0] == 0
    finished = [line for line in second[2].splitlines() if "already finished" in line]
    assert finished == ["1 of 3 already finished: als, num_epochs 2, num_factors 2, seed 0"]
    # The first column is the setting, the next the mean of one run: no ± with one seed.
    assert [line.split()[1] for line in first[1].splitlines()[4:6]] == [
        line.split()[1] for line in second[1].splitlines()[4:6]
    ]


@pytest.mark.usefixtures("in_this_process")
def test_a_run_with_the_defaults_keeps_the_runs_below_its_folder(sweep):
    """A run of a system without seeds has results/NAME, and with options a folder below."""
    status, text, error = sweep("itemknn", "--num-neighbors", "3,100", "--json")
    assert status == 0, error
    assert len(json.loads(text)["points"]) == 2
    assert "1 of 2 finished: itemknn, num_neighbors 3" in error


@pytest.mark.usefixtures("in_this_process")
def test_a_system_without_seeds_runs_once(sweep):
    options = ["--num-neighbors", "3,5", "--split", "validation"]
    status, text, error = sweep("itemknn", *options, "--json")
    assert status == 0, error
    points = json.loads(text)["points"]
    assert [point["seeds"] for point in points] == [[None], [None]]
    text = sweep("itemknn", *options)[1]
    assert 'split validation: "test" stands for what is held out to choose settings' in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["mf", "--num-factors", "5,x"], "--num-factors has 'x'; give whole numbers"),
        (["mf", "--num-factors", "5,0"], "--num-factors is 0; it must lie between"),
        (["neumf", "--loss", "bpr,foo"], "--loss is 'foo'; choose one of: bpr"),
        (["neumf", "--loss", "bpr,hinge", "--margin", "2"], "no effect with --loss bpr"),
        (["mf", "--lr", ""], "--lr is ''; give it a value"),
        (["mf", "--seeds", "0"], "--seeds is 0"),
        (["mf", "--jobs", "0"], "--jobs is 0"),
        (["mf", "--seed", "3,4"], "No such option: --seed"),
        (["nothing", "--lr", "1"], "there is no command 'nothing'"),
    ],
)
def test_a_bad_grid_is_refused_in_one_line_before_any_run(sweep, arguments, message, tmp_path):
    status, text, error = sweep(*arguments)
    assert (status, text) == (2, "")
    assert message in error
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "results").exists()


def test_only_one_sweep_at_a_time_writes_to_a_folder(sweep, tmp_path):
    with alone_in(tmp_path / "s"):
        status, _, error = sweep("als", "--num-factors", "2,3", "--out", "s", *OPTIONS)
    assert status == 2
    assert "is writing to s; wait until it ends, or choose another folder with --out" in error


@pytest.mark.usefixtures("in_this_process")
def test_the_files_of_another_sweep_are_not_replaced(sweep):
    first = ["als", "--num-factors", "2,3", "--seeds", "1", "--out", "s", *OPTIONS]
    assert sweep(*first)[0] == 0
    status, _, error = sweep("itemknn", "--shrink", "0,10", "--out", "s")
    assert status == 2
    assert "s has another sweep (als by num_factors, with num_epochs 2*, not itemknn by" in error
    assert sweep(*first)[0] == 0


@pytest.mark.usefixtures("in_this_process")
def test_a_run_that_diverges_is_a_row_and_the_others_go_on(sweep, tmp_path):
    pytest.importorskip("d2l_recsys.backend")
    status, text, error = sweep("mf", "--lr", "0.01,1e30", "--seeds", "1", "--num-epochs", "1",
                                "--batch-size", "16", "--jobs", "1")  # fmt: skip
    assert status == 0, error
    *_, good, gone = (line.split() for line in text.split("\n\n")[1].splitlines())
    assert good[0] == "0.01"
    assert float(good[1]) > 0
    assert gone[:4] == ["1e+30", "-", "1", "1"]
    assert re.search("^failed: mf, num_epochs 1, lr 1e.30, batch_size 16, seed 0: .* not finite",
                     text, re.M)  # fmt: skip
    # The model stays for predictions; a finished run needs no checkpoint.
    assert len(list(tmp_path.rglob("model.safetensors"))) == 1
    assert not list(tmp_path.rglob("checkpoint.safetensors"))
    sweep("mf", "--lr", "1e30,1e31", "--seeds", "1", "--num-epochs", "1", "--batch-size", "16",
          "--jobs", "1", "--out", "results/sweeps/mf/num_epochs=1,batch_size=16/lr")  # fmt: skip
    left = tmp_path / "results" / "sweeps" / "mf" / "num_epochs=1,batch_size=16" / "lr"
    assert not (left / "sweep.png").exists()
    assert "0.01" not in (left / "sweep.md").read_text()


@pytest.mark.usefixtures("in_this_process")
def test_settings_that_do_not_fit_together_are_a_row_unless_none_fits(sweep):
    status, text, error = sweep("svd", "--num-factors", "3,10000", "--fill", "zero")
    assert status == 0, error
    assert re.search("^failed: svd, num_factors 10000, fill zero: --num-factors", text, re.M)
    status, text, error = sweep("svd", "--num-factors", "10000,20000", "--fill", "zero")
    assert (status, text) == (2, "")
    assert "--num-factors is 10000" in error


@pytest.mark.usefixtures("in_this_process")
def test_a_swept_option_of_a_variant_is_not_in_its_title(sweep):
    status, text, _ = sweep("svd-zero", "--num-factors", "2,3")
    assert status == 0
    assert text.startswith("svd-zero by num_factors, with fill zero*\n")
    assert "written to results/sweeps/svd-zero/fill=zero/num_factors: sweep.csv" in text


@pytest.mark.parametrize("name", ["neumf-linear", "autorec-user", "caser-L5", "fm_ranking"])
def test_every_choice_reaches_a_worker_process(sweep, monkeypatch, name):
    """A section defines some choices itself; their classes are unknown in another process."""
    from d2l_recsys.sweeps import runs

    sent = []

    def send(planned, *_):
        sent.extend(pickle.loads(pickle.dumps(planned)))
        raise SettingError("sent")

    monkeypatch.setattr(runs, "finish_runs", send)
    chosen = ["--model", "fm,deepfm"] if name == "fm_ranking" else ["--lr", "0.1,0.2"]
    assert "sent" in sweep(name, *chosen)[2]
    assert len(sent) == 6


@pytest.mark.usefixtures("in_this_process")
def test_the_books_clicks_and_their_substitute_are_not_two_settings(sweep, monkeypatch):
    from d2l_recsys.sweeps import runs

    monkeypatch.setattr(
        runs, "find_data", lambda *_: dict.fromkeys(("book", "movielens"), ("movielens", "abc"))
    )
    status, _, error = sweep("fm", "--dataset", "book,movielens")
    assert status == 2
    assert "two of the settings are the same: fm, dataset movielens; leave one out" in error


def test_the_help_has_the_options_of_the_section_and_of_the_sweep(run_here):
    status, text, _ = run_here("sweep", "caser", "--help")
    assert status == 0
    for word in ("--L VALUE,...", "[default: 3]", "--seeds", "--first-seed", "--loss VALUE,..."):
        assert word in text
    assert "--resume" not in text
    assert "--seeds" not in run_here("sweep", "ease", "--help")[1]


@pytest.mark.slow
def test_a_sweep_that_is_killed_goes_on_to_the_same_numbers(ratings_dir, tmp_path):
    command = [sys.executable, "-m", "d2l_recsys", "sweep", "als", "--num-factors", "2,3,4,5",
               "--seeds", "6", "--num-epochs", "60", "--jobs", "2", "--data-dir", str(ratings_dir),
               "--out"]  # fmt: skip

    def numbers(folder):
        points = json.loads((tmp_path / folder / "sweep.json").read_text())["points"]
        return [point["numbers"] for point in points]

    subprocess.run([*command, "whole"], cwd=tmp_path, check=True, capture_output=True)
    for stop in (signal.SIGKILL, signal.SIGINT):
        process = subprocess.Popen(
            [*command, "killed"], cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.PIPE
        )
        for _ in range(3):
            process.stderr.readline()
        os.kill(process.pid, stop)
        process.wait()
        time.sleep(1)
    done = subprocess.run(
        [*command, "killed"], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    assert "already finished" in done.stderr
    assert numbers("killed") == numbers("whole")
