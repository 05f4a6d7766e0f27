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


MY_PORT = """

class Port(Port):
    def make_net(self, settings):
        users, items, k = settings["num_users"], settings["num_items"], settings["num_factors"]
        net = torch.nn.Module()
        net.P, net.Q = torch.nn.Embedding(users, k), torch.nn.Embedding(items, k)
        # A vector of biases instead of a table.
        net.of_users = torch.nn.Parameter(torch.zeros(users))
        net.of_items = torch.nn.Parameter(torch.zeros(items))
        self.names = {"user_bias.weight": "of_users", "item_bias.weight": "of_items"}
        return net

    def outputs(self, batch):
        net, u, i = self.net, batch["user_id"], batch["item_id"]
        return (net.P(u) * net.Q(i)).sum(dim=1) + net.of_users[u] + net.of_items[i]

    def losses(self, batch):
        return (self.outputs(batch) - batch["rating"]) ** 2 / 2
"""


@pytest.mark.slow
def test_a_new_port_to_pytorch_is_filled_in(tmp_path):
    if not COMMAND.is_file():
        pytest.skip("there is no .venv-ports; run 'make ports' to make it")

    def call(*arguments):
        command = [COMMAND, "baseline", *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)

    assert call("new", "my_port").returncode == 0
    path = tmp_path / "my_port.py"
    written = path.read_text() + MY_PORT
    chosen = ("check", "my_port.py", "--models", "mf", "--rungs", "0-5,7", "--no-chapter-data")
    for old, new, words in (
        ("", "", "if this is on purpose, accept it and go on: --accept epsilon-after-bias-correct"),
        ("self.names =", "names =", "your net has no parameter item_bias.weight; give your name"),
        ("zeros(items)", "zeros(users)", "item_bias.weight has the shape (179, 1), your parameter"),
        ("        self.names", "        net.b = torch.nn.Linear(2, 1)\n        self.names",
         "the chapter's net has no b.weight, b.bias; leave it out"),
        ("return net\n", "return net.double()\n", "--accept epsilon-after-bias-correction"),
    ):  # fmt: skip
        assert old in written
        path.write_text(written.replace(old, new))
        done = call(*chosen)
        assert words in done.stdout, done.stdout + done.stderr
    path.write_text(written)
    done = call(*chosen, "--accept", "epsilon-after-bias-correction")
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
