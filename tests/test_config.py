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


COMMAND = ["run", "ease", "--config", "run.toml"]


def test_a_file_sets_options_and_the_command_line_wins(ratings_dir, tmp_path):
    (tmp_path / "run.toml").write_text(FILE)
    options = ["--data-dir", ratings_dir, "--l2", 4, "--out", "out"]
    done = run_script("d2l_recsys/__main__.py", *COMMAND, *options, cwd=tmp_path)
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
        ("l2 = {a = 3}", r"--config run.toml: l2 is .*; give a text or a number"),
        ("l2 = true", r"--config run.toml: l2 is True; give a text or a number"),
        ("l2 = [3]", r"--config run.toml: l2 is \[3\]; give a text or a number"),
        ("l2 = 2020-01-01", r"--config run.toml: l2 is 2020-01-01; give a text or a number"),
        ("quiet = 1", r"--config run.toml: quiet is 1; give true or false"),
        ("cutoff = [true]", r"--config run.toml: cutoff is \[True\]; give one value or a list"),
        ("data_dir = 'a'\ndata-dir = 'b'", r"--config run.toml has data_dir twice; give it once"),
        ("l2 = three", r"--config run.toml is not a TOML file: .*; correct it"),
        ("l2 = 'three'", r"Invalid value for '--l2': .*\(see also --config run\.toml\)"),
        ("l2 = -1", r"--l2 is -1.0; it must lie between"),
        ("split = 'last'", r"--split is 'last'; choose one of"),
        ("cutoff = ['a']", r"--cutoff has 'a'; give whole numbers"),
    ],
)
def test_what_is_no_option_or_value_gets_one_line(config, message, run_here, tmp_path):
    (tmp_path / "run.toml").write_text(config)
    code, out, err = run_here(*COMMAND)
    assert (code, out) == (2, "")
    (line,) = err.splitlines()
    assert re.match(f"d2l-recsys: error: {message}", line)


def test_a_file_that_cannot_be_read_gets_one_line(run_here):
    for name, why in (("nowhere.toml", "No such file"), (".", "Is a directory")):
        code, _, err = run_here("run", "ease", "--config", name)
        assert code == 2
        assert f"d2l-recsys: error: --config {name} cannot be read: {why}" in err


def test_an_empty_list_and_a_byte_order_mark_are_taken(ratings_dir, run_here, tmp_path):
    (tmp_path / "run.toml").write_bytes(b"\xef\xbb\xbfcutoff = []\nl2 = 3\nquiet = true\n")
    assert run_here(*COMMAND, "--data-dir", ratings_dir) == (0, "", "")
    (path,) = tmp_path.rglob("result.json")
    assert path.parent == tmp_path / "results" / "ease" / "l2=3.0"
