import os
import pathlib
import subprocess
import sys

import pytest
from conftest import ROOT

WITHOUT_MXNET = """
import sys
sys.modules["mxnet"] = None
sys.modules["matplotlib"] = None
import d2l_recsys
from d2l_recsys import ctr, data, ranking, sampling, seeds, sequences, settings
from d2l_recsys.datasets import download
from d2l_recsys.evaluation import click_metrics, rating_metrics, scoring
from d2l_recsys.loaders import batches, interactions
from d2l_recsys.runs import results
from d2l_recsys.training import history
frame, num_users, num_items = data.read_data_ml100k(sys.argv[1])
print(len(frame), num_users, num_items)
try:
    import d2l_recsys.train
except ModuleNotFoundError as error:
    print(error)
"""


def test_the_data_layer_works_without_mxnet(ratings_dir):
    command = [sys.executable, "-c", WITHOUT_MXNET, str(ratings_dir)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    counts, message = done.stdout.splitlines()
    assert counts == "360 30 40"
    assert message.startswith("MXNet is not installed, and training needs it")


def test_importing_the_package_loads_nothing_else():
    code = "import sys, d2l_recsys; print({'numpy', 'pandas', 'mxnet'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "set()"


# A fake Python interpreter. It logs its arguments; as "-m venv" it copies itself into the venv.
PYTHON = """#!/bin/sh
echo "$@" >> "$LOG"
case "$1" in
    -c) exit ${FITS:-0} ;;
    --version) echo Python 3.11.0 ;;
    -m) [ "$2" = venv ] && mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
esac
exit 0
"""


@pytest.fixture
def machine(tmp_path):
    """A function that runs make-venv.sh with fake programs on the PATH.

    It returns the finished process and the log of the fake Python.
    """

    def run(*arguments, nvidia_smi=None, **environment):
        folder = tmp_path / "bin"
        folder.mkdir(exist_ok=True)
        programs = {"python3.11": PYTHON}
        if nvidia_smi is not None:
            programs["nvidia-smi"] = f"#!/bin/sh\n{nvidia_smi}\n"
        for name, text in programs.items():
            (folder / name).write_text(text)
            (folder / name).chmod(0o755)
        for name in ("sh", "cp", "mkdir", "rm", "sort", "tail", "env"):
            if not (folder / name).exists():
                (folder / name).symlink_to(pathlib.Path("/usr/bin", name).resolve())
        log = tmp_path / "log"
        log.write_text("")
        done = subprocess.run(
            ["sh", str(ROOT / "make-venv.sh"), str(tmp_path / "venv"), *arguments],
            env={"PATH": str(folder), "LOG": str(log), **environment},
            capture_output=True,
            text=True,
        )
        return done, log.read_text()

    return run


@pytest.mark.parametrize(
    ("nvidia_smi", "extra"),
    [
        (None, "cpu"),
        ("exit 9", "cpu"),
        ("echo 'NVIDIA-SMI has failed'; exit 9", "cpu"),
        ("echo 8.6", "cu112"),
        ("echo 7.5", "cu112"),
        ("echo 7.5; echo 8.0", "cu112"),
        ("echo 8.9", "cu112"),
        ("echo 9.0", "cpu"),
        ("echo 10.0", "cpu"),
        ("echo 8.0; echo 12.0", "cpu"),
    ],
)
def test_the_extra_follows_the_gpu(machine, nvidia_smi, extra):
    done, log = machine(nvidia_smi=nvidia_smi)
    assert done.returncode == 0, done.stderr
    assert f".[{extra},test]" in log


def test_a_python_that_does_not_fit_is_refused(machine):
    done, _ = machine(FITS="1")
    assert done.returncode == 2
    assert "needs a Python 3.8-3.11 and none is on the PATH" in done.stderr
    done, _ = machine("python3.11", FITS="1")
    assert done.returncode == 2
    assert "PYTHON=python3.11 is not a Python 3.8-3.11" in done.stderr


def test_nothing_licensed_is_tracked_and_the_packages_own_files_are():
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True).stdout
    names = {os.path.basename(path) for path in tracked.split()}
    if not names:
        pytest.skip("not a git checkout")
    assert not names & {"u.data", "u.item", "u.user", "ml-100k.inter", "ml-100k.item"}
    assert {"py.typed", "reported.json"} <= names
