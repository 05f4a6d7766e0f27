"""Check the ports of this project, in the environment that ``make ports`` makes."""

import shutil
import subprocess

import pytest
from conftest import ROOT

COMMAND = ROOT / ".venv-ports" / "bin" / "d2l-recsys"


@pytest.mark.slow
@pytest.mark.parametrize("port", ["pytorch", "jax"])
def test_a_port_is_right(port):
    if not COMMAND.is_file():
        pytest.skip("there is no .venv-ports; run 'make ports' to make it")
    command = [COMMAND, "baseline", "check", f"ports.{port}", "--no-chapter-data"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout


def test_a_port_in_another_language_answers_by_files(tmp_path):
    if shutil.which("node") is None:
        pytest.skip("node is not installed")
    questions, answers = tmp_path / "questions", tmp_path / "answers"
    from d2l_recsys.__main__ import main

    def call(*arguments):
        with pytest.raises(SystemExit) as left:
            main(["baseline", *map(str, arguments)])
        return left.value.code

    chosen = ("--models", "mf", "--rungs", "0-5", "--no-chapter-data")
    assert call("questions", questions, *chosen) == 0
    script = ROOT / "ports" / "javascript" / "mf.mjs"
    subprocess.run(["node", script, questions, answers], check=True, capture_output=True)
    assert call("check", answers, *chosen) == 0
