import fcntl
import os
import pty
import struct
import sys
import termios

import pytest
from conftest import ROOT, made_up_ratings

from d2l_recsys.training.progress import in_notebook

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")

pytest.importorskip("d2l_recsys.backend")


def test_this_is_no_notebook():
    assert not in_notebook()


def test_a_notebook_shows_the_live_figure(ratings_dir, tmp_path):
    """In a real kernel, the output of the cell has the figure of the Animator and the two lines."""
    code = (
        "from d2l_recsys.chapters import mf\n"
        f"result = mf.main(num_epochs=2, batch_size=64, data_dir={str(ratings_dir)!r}, "
        f"out={str(tmp_path)!r})"
    )
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    nbclient.NotebookClient(
        notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(ROOT)}}
    ).execute()
    outputs = notebook.cells[0].outputs
    figures = [out for out in outputs if "image/svg+xml" in out.get("data", {})]
    printed = "".join(out.get("text", "") for out in outputs if out.get("name") == "stdout")
    assert figures, outputs
    assert "train loss" in printed
    assert "examples/sec on [cpu(0)]" in printed


def test_a_terminal_shows_a_bar(ratings_dir, tmp_path):
    """On a real pseudo-terminal, the process writes tqdm's bar and the numbers."""
    options = ["--num-epochs", "3", "--batch-size", "64", "--data-dir", str(ratings_dir)]
    command = [sys.executable, str(ROOT / "chapters" / "mf.py"), *options, "--out", str(tmp_path)]
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(sys.executable, command)
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    written = b""
    while True:
        try:
            chunk = os.read(terminal, 4096)
        except OSError:
            break
        if not chunk:
            break
        written += chunk
    _, status = os.waitpid(pid, 0)
    assert status == 0
    assert b"3/3" in written
    assert b"test RMSE=" in written


def test_made_up_ratings_have_no_gaps():
    ratings = made_up_ratings()
    assert set(ratings["user_id"]) == set(range(1, 31))
    assert set(ratings["item_id"]) == set(range(1, 41))
