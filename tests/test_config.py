"""``--config``: options from a TOML file."""

import json
import re

import pytest
from conftest import run_script

FILE = """
# All of these are options of ease.
l2 = 3
cutoff = [5, 7]
split = "validation"
quiet = true
"""


def run(config, *options, cwd):
    (cwd / "run.toml").write_text(config)
    return run_script(
        "d2l_recsys/__main__.py", "run", "ease", "--config", "run.toml", *options, cwd=cwd
    )


def test_a_file_sets_options_and_the_command_line_wins(ratings_dir, tmp_path):
    done = run(FILE, "--data-dir", ratings_dir, "--l2", 4, "--out", "out", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    settings = json.loads((tmp_path / "out" / "result.json").read_text())["settings"]
    assert (settings["l2"], settings["cutoff"], settings["split"]) == (4, [5, 7], "validation")
    assert (tmp_path / "run.toml").read_text() == FILE


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("num_epochs = 3", r"--config run.toml has 'num_epochs'; choose from: data_dir, out, "),
        ("splitt = 3", r"--config run.toml has 'splitt'; did you mean 'split'\?"),
        ("config = 'a'", r"--config run.toml has 'config'; "),
        ("[ease]\nl2 = 3", r"--config run.toml has 'ease'; "),
        ("l2 = {a = 3}", r"--config run.toml: l2 is a table; give it one value or a list"),
        ("l2 = three", r"--config run.toml is not a TOML file: .*; correct it"),
        ("l2 = 'three'", r"Invalid value for '--l2'"),
        ("l2 = -1", r"--l2 is -1.0; it must lie between"),
        ("split = 'last'", r"--split is 'last'; choose one of"),
        ("cutoff = ['a']", r"--cutoff has 'a'; give whole numbers"),
    ],
)
def test_what_is_no_option_or_value_gets_one_line(config, message, tmp_path):
    done = run(config, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert re.match(f"d2l-recsys: error: {message}", line)


def test_a_file_that_cannot_be_read_gets_one_line(tmp_path):
    for name, why in (("nowhere.toml", "No such file"), (".", "Is a directory")):
        done = run_script("chapters/extras/ease.py", "--config", name, cwd=tmp_path)
        assert done.returncode == 2
        assert f"ease.py: error: --config {name} cannot be read: {why}" in done.stderr
