import itertools
import json
import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
from conftest import ROOT, made_up_ratings, some

pytest.importorskip("d2l_recsys.backend")
from d2l_recsys.errors import DataError
from d2l_recsys.leaderboard import runs as leaderboard_runs
from d2l_recsys.reproduction import planned as planned_runs
from d2l_recsys.reproduction.planned import code_digest, finish_runs
from d2l_recsys.reproduction.runs import (
    DescribedData,
    describe_data,
    do,
    gather,
    plan,
    read_run,
    runs_folder,
)
from d2l_recsys.sections.registry import CHAPTERS, VARIANTS

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
    assert planned[3].folder == tmp_path / "results" / "devices-2" / "mf-random" / "seed-1"


def test_a_run_is_that_of_the_sections_main(planned, tmp_path):
    job = planned[1]
    do(job)
    run = read_run(job.folder)
    expected = VARIANTS["mf-random"].section.main()(
        seed=0, num_devices=2, split="random", data_dir=job.data_dir, quiet=True,
        out=tmp_path / "direct",
    )  # fmt: skip
    for name in ("printed", "defined", "settings", "dataset"):
        assert run.result[name] == expected[name]
    assert run.stamp == job.stamp
    assert len(run.history) == 20
    assert job.is_finished(read_run)


def _finished(capsys):
    """The names of the runs in the lines of progress, sorted; the lines count them."""
    lines = capsys.readouterr().err.splitlines()
    count = [line.partition(" finished: ")[0] for line in lines]
    assert count == [f"{i} of {len(lines)}" for i in range(1, len(lines) + 1)]
    return sorted(line.partition(" finished: ")[2] for line in lines)


def test_finished_runs_are_not_repeated_and_others_are(planned, tmp_path, capsys, monkeypatch):
    results = tmp_path / "results"
    done = finish_runs(planned, do, read_run, 2, quiet=False)
    assert [run.stamp for run in done] == [job.stamp for job in planned]
    assert _finished(capsys) == sorted(map(str, planned))
    before = stamps_of(results)
    assert len(before) == 4

    # One run is damaged, one has no stamp, and one was made with other code.
    folders = [job.folder for job in planned]
    (folders[0] / "result.json").write_text("{")
    (folders[1] / "run.json").unlink()
    other = dict(planned[2].stamp, code="0" * 64)
    (folders[2] / "run.json").write_text(json.dumps(other))
    # The runs above were in other processes. These are in this process, which is faster.
    monkeypatch.setattr(
        planned_runs, "work_off", lambda todo, work, _: ((job, work(job)) for job in todo)
    )
    finish_runs(planned, do, read_run, 1, quiet=False)
    assert capsys.readouterr().err.splitlines() == [
        "1 of 4 already finished: mf-random, seed 1",
        "2 of 4 finished: mf, seed 0",
        "3 of 4 finished: mf-random, seed 0",
        "4 of 4 finished: mf, seed 1",
    ]
    after = stamps_of(results)
    assert [after[folder / "run.json"] == before[folder / "run.json"] for folder in folders] == [
        False, False, False, True
    ]  # fmt: skip


def test_what_else_a_run_depends_on_makes_it_another(planned):
    do(planned[0])
    job = planned[0]
    assert job.is_finished(read_run)
    for change in ({"seed": 5}, {"num_devices": 1}, {"data": "0"}, {"options": {"lr": 1}}):
        assert not job._replace(stamp={**job.stamp, **change}).is_finished(read_run)
    assert job._replace(stamp={**job.stamp, "jobs": 7}).is_finished(read_run)


def test_clicks_depend_on_the_data_that_was_found(clicks_dir, small_dir, tmp_path):
    shutil.copy(small_dir / "u.data", clicks_dir)
    variants = [VARIANTS["mf"], VARIANTS["fm-defined"]]
    # The longer run comes first.
    fm, mf = plan_in(tmp_path / "results", clicks_dir, variants, seeds=[0])
    assert fm.stamp["options"] == {"protocol": "defined", "dataset": "book"}
    assert fm.stamp["data"] != mf.stamp["data"]


def test_what_a_run_had_left_before_is_gone(planned):
    folder = planned[0].folder
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


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A copy of the code. ``code_digest`` reads this copy instead of the real code."""
    checkout = tmp_path / "checkout"
    ignored = shutil.ignore_patterns("__pycache__", "files")
    for package in ("d2l_recsys", "chapters"):
        shutil.copytree(ROOT / package, checkout / package, ignore=ignored)
    places = {"d2l_recsys": checkout / "d2l_recsys", CHAPTERS: checkout / "chapters"}
    found = {name: SimpleNamespace(submodule_search_locations=[str(path)])
             for name, path in places.items()}  # fmt: skip
    monkeypatch.setattr(planned_runs, "find_spec", found.__getitem__)
    return checkout


def add_a_line(path):
    path.write_bytes(path.read_bytes() + b"\n")


def test_a_changed_line_makes_a_run_another_where_the_run_executes_it(
    checkout, small_dir, tmp_path
):
    def is_finished():
        (job,) = plan_in(tmp_path / "results", small_dir, MF[:1], seeds=[0])
        return job.is_finished(read_run)

    (job,) = plan_in(tmp_path / "results", small_dir, MF[:1], seeds=[0])
    do(job)
    assert is_finished()
    add_a_line(checkout / "d2l_recsys" / "cli" / "reproduce.py")
    assert is_finished()
    add_a_line(checkout / "d2l_recsys" / "training" / "loop.py")
    assert not is_finished()


def test_all_code_counts_but_that_of_rooms_which_no_run_enters(checkout):
    files = [p for p in checkout.rglob("*") if p.suffix in (".py", ".json")]
    digests, without_effect = [code_digest()], set()
    for path in files:
        add_a_line(path)
        digests.append(code_digest())
        if digests[-1] == digests[-2]:
            without_effect.add(path)
    without = ("baseline", "cli", "exercises", "leaderboard", "recommend", "sweeps")
    rooms = {checkout / "d2l_recsys" / name for name in without}
    assert without_effect == {path for path in files if rooms & set(path.parents)}
    assert len(set(digests)) == 1 + len(files) - len(without_effect)
    for name in ("chapters/mf.py", "chapters/extras/ease.py", "d2l_recsys/runs/reported.json",
                 "d2l_recsys/data.py", "d2l_recsys/training/loop.py"):  # fmt: skip
        assert checkout / name in files


def test_where_code_stands_counts_and_what_is_no_code_does_not(checkout):
    digest = code_digest()
    for name in ("chapters/notes.txt", "chapters/results/mf/seed-0/result.json",
                 "chapters/extras/__pycache__/ease.py",
                 "d2l_recsys/training/.ipynb_checkpoints/loop-checkpoint.py"):  # fmt: skip
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        (checkout / name).write_text("{}")
    assert code_digest() == digest
    (checkout / "chapters" / "extras" / "ease.py").rename(checkout / "chapters" / "ease.py")
    assert code_digest() != digest


def test_the_code_is_the_same_once_it_is_installed(checkout, monkeypatch):
    """An installed package has the folder ``chapters`` inside the package."""
    digest = code_digest()
    package = checkout / "d2l_recsys"
    (checkout / "chapters").rename(package / "chapters")
    places = {"d2l_recsys": package, CHAPTERS: package / "chapters"}
    monkeypatch.setattr(
        planned_runs,
        "find_spec",
        lambda name: SimpleNamespace(submodule_search_locations=[str(places[name])]),
    )
    assert code_digest() == digest


def test_a_planned_run_and_its_work_can_be_sent_to_another_process(planned):
    for job, work in zip(planned, (do, leaderboard_runs.do)):
        there = pickle.loads(pickle.dumps((job, work)))
        assert there == (job, work)
        assert str(there[0]) == str(job)


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
        with pytest.raises(DataError, match="does not describe a run; run it again"):
            gather(results, 2)
    (other / "run.json").write_text(json.dumps(planned[0].stamp))
    with pytest.raises(
        DataError, match=r"seed-7 has the run\.json of another run; delete the folder"
    ):
        gather(results, 2)
    (other / "run.json").write_text(json.dumps(stamp))
    history = (other / "history.csv").read_text().splitlines()
    (other / "history.csv").write_text("\n".join(history[:-1]))
    with pytest.raises(DataError, match=r"history\.csv lacks epochs; run it again"):
        gather(results, 2)
    # A folder whose name is not seed-S is not read as a run.
    other.rename(other.parent / "seed-7-old")
    assert len(gather(results, 2)[1]) == 1


def reproduce(results, data_dir, **options):
    command = [sys.executable, "-m", "d2l_recsys", "reproduce", "--only", "mf", "--seeds", "2"]
    command += ["--data-dir", str(data_dir), "--results", str(results), "--jobs", "2"]
    return subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )


def without_times(report):
    return re.sub(r'(?s)(## |<h2 id="time">)Time.*', "", report)


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
    assert errors.count("already finished") == len(finished)
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


def has_a_process(group):
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize(
    ("number", "delay"),
    some(
        itertools.product([signal.SIGINT, signal.SIGTERM], [1.5, 4]),
        [(signal.SIGTERM, 4)],
    ),
)
def test_a_signal_says_how_to_go_on_and_no_process_is_left(number, delay, small_dir, tmp_path):
    # The command gets its own process group, as on a terminal: Ctrl-C reaches every process.
    process = reproduce(tmp_path, small_dir, start_new_session=True)
    deadline = time.monotonic() + 60
    while not (tmp_path / "devices-2").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(delay)
    os.killpg(process.pid, number)
    # Some programs send the signal twice, such as timeout.
    time.sleep(0.1)
    os.killpg(process.pid, number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    # Python's own process that cleans up after the others takes a moment to end.
    while has_a_process(process.pid) and time.monotonic() < deadline + 60:
        time.sleep(0.05)
    assert not has_a_process(process.pid)
    assert (
        errors.splitlines()[-1] == "d2l-recsys: stopped; repeat the command to continue from here"
    )
    assert "Traceback" not in errors
