import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest
from conftest import ROOT
from tqdm import tqdm

from d2l_recsys.errors import DataError, WorkerError
from d2l_recsys.reproduction.workers import work_off


def square(number):
    return number**2, os.getpid()


def fail(number):
    if number == 2:
        raise DataError("mend this")
    if number == 3:
        raise ZeroDivisionError("a bug")
    if number == 4:
        os.kill(os.getpid(), signal.SIGKILL)
    if number == 5:
        raise PermissionError(13, "Permission denied", "the file")
    return number


def show_a_bar(number):
    with tqdm([number], disable=True):
        fail(number)


def threads(number):
    return os.environ["OMP_NUM_THREADS"]


def test_every_job_is_done_once_and_processes_do_several():
    done = dict(work_off(range(7), square, 2))
    assert {job: result for job, (result, _) in done.items()} == {n: n**2 for n in range(7)}
    processes = {process for _, process in done.values()}
    assert len(processes) <= 2
    assert os.getpid() not in processes
    for process in processes:
        with pytest.raises(ProcessLookupError):
            os.kill(process, 0)


def test_jobs_are_begun_in_order():
    assert [job for job, _ in work_off([3, 1, 2], square, 1)] == [3, 1, 2]


def test_no_more_processes_than_jobs_and_none_without():
    assert len({process for _, (_, process) in work_off([1], square, 5)}) == 1
    assert list(work_off([], square, 5)) == []


@pytest.mark.parametrize("num_processes", [1, 2])
def test_however_many_processes_there_are_each_has_one_thread(num_processes, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    assert dict(work_off(range(2), threads, num_processes)) == {0: "1", 1: "1"}


@pytest.mark.parametrize(
    ("job", "error", "message"),
    [
        (2, DataError, "^mend this$"),
        (3, RuntimeError, "error in 3:\nTraceback (.|\n)*ZeroDivisionError: a bug"),
        (5, PermissionError, "the file"),
        (4, WorkerError, r"that ran 4 was killed \(exit code -9; .*repeat the command to continue"),
    ],
)
def test_what_a_job_raises_is_raised(job, error, message):
    with pytest.raises(error, match=message):
        list(work_off([1, job, 1, 1], fail, 1))


WAIT = """
import os, pathlib, sys, time
from d2l_recsys.reproduction.workers import work_off

def wait(folder):
    (pathlib.Path(folder) / f"pid-{os.getpid()}").touch()
    time.sleep(60)

if __name__ == "__main__":
    list(work_off([sys.argv[1]] * 2, wait, 2))
"""


def test_the_processes_end_with_the_one_that_started_them(tmp_path):
    script = tmp_path / "wait.py"
    script.write_text(WAIT)
    parent = subprocess.Popen(
        [sys.executable, str(script), str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    found = until(lambda: len(list(tmp_path.glob("pid-*"))) == 2)
    parent.kill()
    parent.wait()
    assert found
    workers = [int(path.name[4:]) for path in tmp_path.glob("pid-*")]
    assert until(lambda: not any(is_alive(worker) for worker in workers))


def until(holds, seconds=30):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if holds():
            return True
        time.sleep(0.05)
    return False


def is_alive(process):
    """Whether the process runs. A zombie, which has ended, does not."""
    try:
        return (
            pathlib.Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
        )
    except FileNotFoundError:
        return False


def test_a_process_that_is_killed_leaves_no_semaphore():
    """Python would print a warning about a semaphore when the parent process ends."""
    script = (
        "from test_reproduction_workers import show_a_bar, work_off\n"
        "list(work_off([4], show_a_bar, 1))"
    )
    folder = pathlib.Path(__file__).parent
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=folder, capture_output=True, text=True, check=False
    )
    assert "was killed (exit code -9" in done.stderr
    assert "leaked" not in done.stderr
