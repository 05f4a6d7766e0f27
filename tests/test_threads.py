import os
import re
import subprocess
import sys

import pytest
from conftest import ROOT, run_script

from d2l_recsys.errors import SettingError
from d2l_recsys.hardware import threads

SHOW = "print(num_threads())"


def told(code, **environment):
    """Returns the output and the standard error of a process with this environment."""
    inherited = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "from d2l_recsys.hardware.threads import *; " + code + SHOW,
        ],
        cwd=str(ROOT),
        env={**inherited, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip(), done.stderr


def test_one_thread_unless_others_are_asked_for():
    assert told("fix_num_threads(); ") == ("1", "")
    assert told("fix_num_threads(); ", OMP_NUM_THREADS="") == ("1", "")
    assert told("fix_num_threads(); ", OMP_NUM_THREADS="3") == ("3", "")


@pytest.mark.parametrize("number", ["4", " 4", "4,2", "4, 2,1"])
def test_of_a_list_the_first_number_counts(number):
    """MXNet aborts the process if the variable has a list."""
    assert told("fix_num_threads(); ", OMP_NUM_THREADS=number) == ("4", "")


@pytest.mark.parametrize("number", ["0", "-1", "many", "1025", "9" * 30, ",2", "\u0664"])
def test_what_is_no_number_of_threads_is_refused(number, monkeypatch):
    monkeypatch.setenv(threads.VARIABLE, number)
    for function in (threads.fix_num_threads, threads.fixed_num_threads):
        with pytest.raises(
            SettingError, match=r"^OMP_NUM_THREADS is .*; set it to .* or unset it$"
        ):
            function()


def test_a_command_refuses_it_in_one_line(tmp_path):
    pytest.importorskip("d2l_recsys.backend")
    for command in ("chapters/mf.py", "chapters/extras/ease.py"):
        done = run_script(command, "--out", tmp_path / "out", OMP_NUM_THREADS="many")
        assert (done.returncode, done.stdout) == (2, "")
        assert re.fullmatch(r"\w+\.py: error: OMP_NUM_THREADS is 'many'; .*\n", done.stderr)


def test_where_mxnet_was_first_it_says_so():
    code = "import sys; sys.modules['mxnet'] = None; fix_num_threads(); "
    number, errors = told(code)
    assert number == "not fixed"
    assert errors.startswith("MXNet was imported before d2l_recsys could set its number of threads")
    assert len(errors.splitlines()) == 1
    assert told(code, OMP_NUM_THREADS="2") == ("2", "")


def test_the_backend_fixes_it():
    pytest.importorskip("d2l_recsys.backend")
    assert told("import d2l_recsys.backend; ") == ("1", "")


def test_numpys_products_take_as_many_threads_as_are_asked_for():
    code = "import numpy, threadpoolctl\nwith fixed_num_threads(): "
    code += "print({pool['num_threads'] for pool in threadpoolctl.threadpool_info()})\n"
    code += "print({pool['num_threads'] for pool in threadpoolctl.threadpool_info()} != {1})\n"
    alone = {"OPENBLAS_NUM_THREADS": "2"}
    assert told(code, **alone)[0].splitlines()[:2] == ["{1}", "True"]
    assert told(code, OMP_NUM_THREADS="2", **alone)[0].splitlines()[0] == "{2}"
    assert told(code, OMP_NUM_THREADS="1,2", **alone)[0].splitlines()[0] == "{1}"
