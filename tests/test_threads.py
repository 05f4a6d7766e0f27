import os
import subprocess
import sys

import pytest
from conftest import ROOT

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
    assert told(code, OMP_NUM_THREADS="1,2", **alone)[0].splitlines()[0] == "{2}"
