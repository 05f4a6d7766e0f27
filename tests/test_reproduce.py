import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
from conftest import ROOT, made_up_ratings

pytest.importorskip("d2l_recsys.backend")
from d2l_recsys.errors import DataError, OutputError
from d2l_recsys.registry import CHAPTERS, VARIANTS
from d2l_recsys.reproduce import (
    DescribedData,
    alone_in,
    code_digest,
    describe_data,
    do,
    do_runs,
    gather,
    plan,
    read_run,
    runs_folder,
)

MF = [VARIANTS["mf"], VARIANTS["mf-random"]]


@pytest.fixture(scope="module")
def small_dir(tmp_path_factory):
    """A folder with enough made-up ratings for a batch of the chapter's size."""
    folder = tmp_path_factory.mktemp("small")
    made_up_ratings(60, 60, 15).to_csv(folder / "u.data", sep="\t", header=False, index=False)
    return folder


@pytest.fixture
def planned(small_dir, tmp_path):
    results = tmp_path / "results"
    return plan_in(results, small_dir)


def plan_in(results, data_dir, variants=MF, seeds=(0, 1), num_devices=2):
    folder = runs_folder(results, num_devices)
    data = describe_data(variants, data_dir, folder)
    return plan(variants, seeds, num_devices, data, data_dir, folder, jobs=1)


def stamps_of(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("run.json")}


def test_the_plan_names_all_that_a_run_depends_on(planned, tmp_path):
    assert [str(job) for job in planned] == [
        "mf, seed 0", "mf-random, seed 0", "mf, seed 1", "mf-random, seed 1"
    ]  # fmt: skip
    stamp = planned[3].stamp
    assert stamp["options"] == {"split": "random"}
    assert (stamp["seed"], stamp["num_devices"]) == (1, 2)
    assert re.fullmatch("[0-9a-f]{64}", stamp["code"])
    assert re.fullmatch("[0-9a-f]{64}", stamp["data"])
    assert stamp["environment"]["mxnet"] == "1.9.1"
    folder = tmp_path / "results" / "devices-2" / "mf-random" / "seed-1"
    assert planned[3].folder == str(folder)


def test_a_run_is_that_of_the_sections_main(planned, tmp_path):
    job = planned[1]
    do(job)
    run = read_run(pathlib.Path(job.folder))
    expected = VARIANTS["mf-random"].section.main()(
        seed=0, num_devices=2, split="random", data_dir=pathlib.Path(job.data_dir), quiet=True,
        out=tmp_path / "direct",
    )  # fmt: skip
    for name in ("printed", "defined", "settings", "dataset"):
        assert run.result[name] == expected[name]
    assert run.stamp == job.stamp
    assert len(run.history) == 20
    assert job.is_finished()


def test_finished_runs_are_not_repeated_and_others_are(planned, tmp_path):
    noted = []

    def note(job, anew):
        noted.append((str(job), anew))

    results = tmp_path / "results"
    do_runs(planned, 2, note, do)
    assert sorted(noted) == sorted((str(job), True) for job in planned)
    before = stamps_of(results)
    assert len(before) == 4

    # One run is damaged, one lacks its stamp, one is of other code.
    folders = [pathlib.Path(job.folder) for job in planned]
    (folders[0] / "result.json").write_text("{")
    (folders[1] / "run.json").unlink()
    other = dict(planned[2].stamp, code="0" * 64)
    (folders[2] / "run.json").write_text(json.dumps(other))
    noted.clear()
    do_runs(planned, 1, note, do)
    assert sorted(noted) == [(str(j), j is not planned[3]) for j in sorted(planned, key=str)]
    after = stamps_of(results)
    assert [after[folder / "run.json"] == before[folder / "run.json"] for folder in folders] == [
        False, False, False, True
    ]  # fmt: skip


def test_what_else_a_run_depends_on_makes_it_another(planned):
    do(planned[0])
    job = planned[0]
    assert job.is_finished()
    for change in ({"seed": 5}, {"num_devices": 1}, {"data": "0"}, {"options": {"lr": 1}}):
        assert not job._replace(stamp={**job.stamp, **change}).is_finished()
    assert job._replace(stamp={**job.stamp, "jobs": 7}).is_finished()


def test_clicks_depend_on_the_data_that_was_found(clicks_dir, small_dir, tmp_path):
    shutil.copy(small_dir / "u.data", clicks_dir)
    variants = [VARIANTS["mf"], VARIANTS["fm-defined"]]
    mf, fm = plan_in(tmp_path / "results", clicks_dir, variants, seeds=[0])
    assert fm.stamp["options"] == {"protocol": "defined", "dataset": "book"}
    assert fm.stamp["data"] != mf.stamp["data"]


def test_two_at_once_are_refused_at_once(small_dir, tmp_path):
    import filelock

    results = tmp_path / "results"
    results.mkdir()
    started = time.monotonic()
    message = r"another process is at work in .*--results"
    with filelock.FileLock(str(results / ".reproduce.lock")), pytest.raises(
        OutputError, match=message
    ), alone_in(results):
        pass
    assert time.monotonic() - started < 3
    with alone_in(results), pytest.raises(OutputError, match=message), alone_in(results):
        pass
    with alone_in(results):
        pass


def test_what_a_run_had_left_before_is_gone(planned):
    folder = pathlib.Path(planned[0].folder)
    folder.mkdir(parents=True)
    (folder / "tmp-of-a-killed-run").touch()
    do(planned[0])
    assert sorted(path.name for path in folder.iterdir()) == [
        "curve.png", "history.csv", "model.safetensors", "result.json", "run.json"
    ]  # fmt: skip


def test_clicks_that_stand_in_are_asked_for_by_name(small_dir, tmp_path):
    variants = [VARIANTS["fm"]]
    described = {"name": "MovieLens-100K as clicks", "sha256": "3" * 64, "substitute": True}
    data = {"ctr": DescribedData({"dataset": described}, b"")}
    (job,) = plan(variants, [0], 1, data, small_dir, tmp_path, jobs=1)
    assert job.stamp["options"] == {"dataset": "movielens"}
    assert job.stamp["data"] == "3" * 64


def test_any_change_of_the_code_is_another_code(tmp_path, monkeypatch):
    for package in ("d2l_recsys", "chapters"):
        shutil.copytree(ROOT / package, tmp_path / package)
    places = {"d2l_recsys": tmp_path / "d2l_recsys", CHAPTERS: tmp_path / "chapters"}
    found = {name: SimpleNamespace(submodule_search_locations=[str(path)])
             for name, path in places.items()}  # fmt: skip
    monkeypatch.setattr("importlib.util.find_spec", found.__getitem__)
    digests = [code_digest()]
    for path in ("chapters/mf.py", "d2l_recsys/train.py", "d2l_recsys/reported.json"):
        with (tmp_path / path).open("a") as file:
            file.write(" ")
        digests.append(code_digest())
    assert len(set(digests)) == 4
    (tmp_path / "chapters" / "notes.txt").touch()
    assert code_digest() == digests[-1]


def test_runs_are_gathered_by_variant_and_seed(small_dir, tmp_path):
    results = tmp_path / "results"
    for job in plan_in(results, small_dir, MF[:1], seeds=(10, 0, 2)):
        do(job)
    data, runs = gather(results, 2)
    assert [(run.stamp["variant"], run.stamp["seed"]) for run in runs] == [
        ("mf", 0), ("mf", 2), ("mf", 10)
    ]  # fmt: skip
    assert data["movielens"].result["chapter"] == "movielens"
    assert data["movielens"].figure.startswith(b"\x89PNG")


def test_runs_that_were_not_made_alike_are_refused(planned, tmp_path):
    results = tmp_path / "results"
    with pytest.raises(DataError, match="has no finished run; run 'd2l-recsys reproduce'"):
        gather(results, 2)
    do(planned[0])
    other = runs_folder(results, 2) / "mf" / "seed-7"
    shutil.copytree(planned[0].folder, other)
    stamp = dict(planned[0].stamp, seed=7)
    for name in ("code", "environment", "data"):
        (other / "run.json").write_text(json.dumps({**stamp, name: "0" * 64}))
        with pytest.raises(DataError, match=f"differ in their {name}; run 'd2l-recsys reproduce'"):
            gather(results, 2)
    (other / "run.json").write_text(json.dumps(stamp))
    assert len(gather(results, 2)[1]) == 2
    for content in ("[]", "{}"):
        (other / "run.json").write_text(content)
        with pytest.raises(DataError, match="is not a run's; run it again"):
            gather(results, 2)
    (other / "run.json").write_text(json.dumps(planned[0].stamp))
    with pytest.raises(DataError, match=r"seed-7 has another run's run\.json; delete the folder"):
        gather(results, 2)
    (other / "run.json").write_text(json.dumps(stamp))
    history = (other / "history.csv").read_text().splitlines()
    (other / "history.csv").write_text("\n".join(history[:-1]))
    with pytest.raises(DataError, match=r"history\.csv lacks epochs; run it again"):
        gather(results, 2)
    # A folder that is not named by a seed is nobody's run.
    other.rename(other.parent / "seed-7-old")
    assert len(gather(results, 2)[1]) == 1


def reproduce(results, data_dir, **options):
    command = [sys.executable, "-m", "d2l_recsys", "reproduce", "--only", "mf", "--seeds", "2"]
    command += ["--data-dir", str(data_dir), "--results", str(results), "--jobs", "2"]
    return subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )


def without_times(report):
    return re.sub(r"(?s)(## |<h2>)Time.*", "", report)


@pytest.mark.slow
def test_a_killed_reproduction_goes_on_and_reports_the_same(small_dir, tmp_path):
    undisturbed = reproduce(tmp_path / "whole", small_dir)
    results = tmp_path / "killed"
    killed = reproduce(results, small_dir)
    deadline = time.monotonic() + 120
    while not list(results.rglob("run.json")) and time.monotonic() < deadline:
        time.sleep(0.01)
    killed.kill()
    killed.communicate()
    finished = stamps_of(results)
    assert 1 <= len(finished) < 4
    assert not (results / "report.md").exists()

    resumed = reproduce(results, small_dir)
    printed, errors = resumed.communicate(timeout=120)
    assert resumed.returncode == 0, errors
    assert errors.count("done before") == len(finished)
    assert "Warning" not in errors
    assert {path: stamps_of(results)[path] for path in finished} == finished
    undisturbed.communicate(timeout=120)
    for name in ("report.md", "report.html", "numbers.json"):
        one, other = ((folder / name).read_text() for folder in (results, tmp_path / "whole"))
        assert without_times(one) == without_times(other)
    assert "1.0" in printed
    assert "report.html" in printed
    figures = [{p.name: p.read_bytes() for p in folder.glob("figures/*")} for folder in
               (results, tmp_path / "whole")]  # fmt: skip
    assert figures[0] == figures[1]
    assert set(figures[0]) == {"mf.png", "mf-random.png", "movielens.png"}


@pytest.mark.parametrize("delay", [1.5, 4])
def test_ctrl_c_says_how_to_go_on(delay, small_dir, tmp_path):
    # A group of its own, as on a terminal, where Ctrl-C reaches every process.
    process = reproduce(tmp_path, small_dir, start_new_session=True)
    deadline = time.monotonic() + 60
    while not (tmp_path / "devices-2").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(delay)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors.splitlines()[-1] == "d2l-recsys: stopped; the same command goes on from here"
    assert "Traceback" not in errors
