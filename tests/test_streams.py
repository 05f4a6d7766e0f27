"""Standard output that cannot be written: a closed pipe, a full device, another encoding."""

import os
import subprocess
import sys

import pytest
from conftest import ROOT, some

TITLES = "Misérables, Les (1995)"
FILES = ["hits.png", "model.safetensors", "result.json"]


def start(*arguments, stdout, **environment):
    return subprocess.run(
        [sys.executable, str(ROOT / "d2l_recsys/__main__.py"), *map(str, arguments)],
        env={**os.environ, **environment},
        stdout=stdout,
        stderr=subprocess.PIPE,
        timeout=120,
    )


def closed_pipe():
    reading, writing = os.pipe()
    os.close(reading)
    return writing


@pytest.mark.parametrize("unbuffered", some(["", "1"], [""]))
def test_a_closed_pipe_is_quiet_and_the_files_are_written(unbuffered, ratings_dir, tmp_path):
    command = ["run", "popularity", "--data-dir", ratings_dir, "--out", tmp_path / "out"]
    done = start(*command, stdout=closed_pipe(), PYTHONUNBUFFERED=unbuffered)
    assert (done.returncode, done.stderr) == (0, b"")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == FILES


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
@pytest.mark.parametrize("unbuffered", some(["", "1"], ["1"]))
def test_a_full_device_is_one_line_and_the_files_are_written(unbuffered, ratings_dir, tmp_path):
    command = ["run", "popularity", "--data-dir", ratings_dir, "--out", tmp_path / "out"]
    with open("/dev/full", "wb") as full:
        done = start(*command, stdout=full, PYTHONUNBUFFERED=unbuffered)
    assert done.returncode == 2
    (line,) = done.stderr.decode().splitlines()
    assert line.startswith(
        "d2l-recsys: error: standard output cannot be written: No space left on device; "
    )
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == FILES


@pytest.mark.parametrize("command", [["data", "where"], ["--help"], ["run", "mf", "--help"]])
def test_other_commands_are_quiet_too(command):
    done = start(*command, stdout=closed_pipe())
    assert (done.returncode, done.stderr) == (0, b"")


def test_an_error_of_the_user_is_told_although_the_pipe_is_closed(tmp_path):
    done = start("report", tmp_path, stdout=closed_pipe())
    assert done.returncode == 2
    assert b"has no result.json" in done.stderr


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [("ascii", "Mis?rables"), ("cp932", "Mis?rables"), ("utf-8", "Misérables")],
)
def test_a_character_that_the_encoding_lacks_is_a_question_mark(encoding, shown):
    code = (
        "from d2l_recsys.sections import command_line\n"
        f"command_line.run(lambda: print({TITLES!r}), [])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=str(ROOT),
        env={**os.environ, "PYTHONIOENCODING": encoding},
        capture_output=True,
        check=True,
    )
    assert done.stdout.decode(encoding).strip() == f"{shown}, Les (1995)"
    assert done.stderr == b""
