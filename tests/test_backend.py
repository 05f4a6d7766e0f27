import os
import pathlib
import subprocess
import sys

import pytest
from conftest import ROOT

from d2l_recsys.hardware import cuda

# What an installed d2l-recsys runs.
COMMAND = "import sys; from d2l_recsys.__main__ import main; sys.argv[0] = 'd2l-recsys'; main()"
SECTION = ["-c", COMMAND, "run", "mf"]
SCRIPT = ["chapters/mf.py"]
SAID = {
    "driver": "the CUDA build of MXNet does not start without an NVIDIA driver (",
    "mxnet": "MXNet cannot be loaded (libquadmath.so.0: ",
    "no mxnet": "MXNet is not installed, and training needs it: ",
}


@pytest.fixture(params=SAID)
def broken(request, tmp_path):
    """A function that runs Python without a working MXNet, and the start of the error."""
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    if request.param == "driver":
        wheel = tmp_path / "mxnet_cu112-1.9.1.dist-info"
        wheel.mkdir()
        (wheel / "METADATA").write_text("Name: mxnet-cu112\nVersion: 1.9.1\n")
        # This empty file is found before a real driver, and cannot be loaded.
        (tmp_path / "libcuda.so.1").touch()
        environment["LD_LIBRARY_PATH"] = str(tmp_path)
    else:
        raised = {
            "mxnet": "OSError('libquadmath.so.0: cannot open shared object file')",
            "no mxnet": "ModuleNotFoundError('none', name='mxnet')",
        }
        (tmp_path / "mxnet.py").write_text(f"raise {raised[request.param]}\n")

    def run(*arguments):
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
        )

    return run, SAID[request.param]


@pytest.mark.parametrize(("command", "name"), [(SECTION, "d2l-recsys"), (SCRIPT, "mf.py")])
def test_a_command_says_in_one_line_what_is_wrong(broken, command, name):
    run, said = broken
    done = run(*command)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"{name}: error: {said}")


@pytest.mark.parametrize("before", ["", "from d2l_recsys.sections import command_line; "])
def test_an_import_raises_an_error_to_catch(broken, before):
    run, said = broken
    code = (
        "from d2l_recsys.errors import RecsysError\n"
        "try: import d2l_recsys.backend\n"
        "except ImportError as error: print(isinstance(error, RecsysError), error)\n"
        "raise KeyError('another')"
    )
    done = run("-c", before + code)
    assert done.stdout.startswith(f"True {said}")
    assert done.stderr.endswith("KeyError: 'another'\n")
    assert done.returncode == 1


@pytest.mark.parametrize("before", ["", "import d2l_recsys.sections.command_line; "])
def test_an_import_that_is_not_caught_has_its_traceback(broken, before):
    run, said = broken
    done = run("-c", f"{before}import d2l_recsys.backend")
    assert done.returncode == 1
    assert f"Error: {said}" in done.stderr.splitlines()[-1]
    assert done.stderr.startswith("Traceback")


def test_with_the_cpu_wheel_no_cuda_library_is_loaded():
    backend = pytest.importorskip("d2l_recsys.backend")
    maps = pathlib.Path("/proc/self/maps")
    if backend.mx.runtime.Features().is_enabled("CUDA") or not maps.exists():
        pytest.skip("needs the CPU build of MXNet, and Linux")
    loaded = {os.path.basename(line.split()[-1]) for line in maps.read_text().splitlines()}
    assert "libmxnet.so" in loaded
    assert not loaded & {cuda.DRIVER, *map(os.path.basename, cuda.CUDA_LIBRARIES)}
