import subprocess
import sys

import pytest
from conftest import ROOT, run_script

from d2l_recsys.errors import OutputError
from d2l_recsys.runs.section_run import SectionRun
from d2l_recsys.storage.in_use import alone_in

# Holds the folder until it is killed.
HOLD = """
import pathlib, sys, time
from d2l_recsys.storage.in_use import alone_in
with alone_in(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(100)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process, which writes to the folder ``out``."""
    command = [sys.executable, "-c", HOLD, str(tmp_path / "out")]
    process = subprocess.Popen(command, cwd=str(ROOT), stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()


def test_the_second_is_refused_and_told_which_process_is_the_first(holder, ratings_dir, tmp_path):
    out = tmp_path / "out"
    # A file that the first process is writing.
    (out / ".result.json.abc.partial").touch()
    done = run_script(
        "d2l_recsys/__main__.py", "run", "popularity", "--data-dir", ratings_dir, "--out", out
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"d2l-recsys: error: process {holder.pid} is writing to {out}; wait until it ends, or "
        "choose another folder with --out\n"
    )
    assert sorted(path.name for path in out.iterdir()) == [".lock", ".result.json.abc.partial"]


def test_what_a_killed_process_leaves_is_in_nobodys_way(holder, tmp_path):
    out = tmp_path / "out"
    (out / ".result.json.abc.partial").touch()
    holder.kill()
    holder.wait()
    with alone_in(out):
        assert [path.name for path in out.iterdir()] == [".lock"]
    assert list(out.iterdir()) == []


def test_in_one_process_too_there_is_one_at_a_time(tmp_path):
    with alone_in(tmp_path), pytest.raises(
        OutputError, match=r"^process \d+ is writing to .*; .* another folder with --results$"
    ), alone_in(tmp_path, "--results"):
        pass
    with pytest.raises(ZeroDivisionError), alone_in(tmp_path):
        raise ZeroDivisionError
    with alone_in(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_run_asks_before_it_loads_its_data(tmp_path):
    options = {"data_dir": None, "out": tmp_path / "out", "quiet": True}
    SectionRun("ease", {}, **options)
    assert not (tmp_path / "out").exists()
    with alone_in(tmp_path / "out"), pytest.raises(OutputError, match="is writing to"):
        SectionRun("ease", {}, **options)
