"""The command ``d2l-recsys baseline``: right ports, wrong ports, folders and wrong input."""

import json
import re
import subprocess
import sys
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from conftest import ROOT, run_script

from d2l_recsys.baseline import oracle
from d2l_recsys.baseline.files import Baseline
from d2l_recsys.baseline.ladder import MODELS, RUNGS, VARIANTS
from d2l_recsys.baseline.npz import npz_bytes, read_npz
from d2l_recsys.baseline.questions import Question, ask

NAME = "d2l-recsys"
ORACLE = "d2l_recsys.baseline.oracle"
MF = ("--models", "mf", "--rungs", "0-5")

NO_BIAS = """
from d2l_recsys.baseline.oracle import Port as Oracle


class Port(Oracle):
    def net(self, batch):
        self.p["item_bias.weight"] = 0 * self.p["item_bias.weight"]
        return super().net(batch)
"""
NO_HALF = """
from d2l_recsys.baseline.oracle import Port as Oracle


class Port(Oracle):
    def losses(self, batch):
        losses, pull = super().losses(batch)
        return 2 * losses, lambda: {name: 2 * gradient for name, gradient in pull().items()}
"""
HALF_DONE = """
from d2l_recsys.baseline.oracle import Port as Oracle


class Port(Oracle):
    def metrics(self, given):
        if self.protocol == "defined":
            raise NotImplementedError("the defined numbers are not there yet")
        return super().metrics(given)

    def step(self, batch):
        raise ValueError("no such \\x1b[31moptimizer\\x1b[0m, \\N{BETA} is not set")
""".replace("\\N{BETA}", "\N{GREEK SMALL LETTER BETA}")


def call(command, *arguments, **options):
    return run_script("d2l_recsys/__main__.py", "baseline", command, *arguments, **options)


def check(*arguments, **options):
    return call("check", *arguments, "--no-chapter-data", **options)


class Checked:
    """The result of a check: its output and its two reports."""

    def __init__(self, folder, port, *arguments, **environment):
        files = folder / "report.json", folder / "report.xml"
        written = ("--json", files[0], "--junit", files[1])
        self.done = check(port, *MF, *arguments, *written, cwd=folder, **environment)
        assert self.done.stderr == ""
        self.lines = self.done.stdout.splitlines()
        self.json = json.loads(files[0].read_bytes().decode("utf-8"), parse_constant=no_constant)
        self.suites = list(ET.fromstring(files[1].read_bytes()))

    def cells(self, protocol):
        """The cells of the table, one for each rung."""
        (line,) = (line for line in self.lines if re.match(f"mf +{protocol} ", line))
        return re.split("  +", line)[2:]

    def statuses(self, protocol):
        (row,) = (row for row in self.json["rows"] if row["protocol"] == protocol)
        return [rung["status"] for rung in row["rungs"]]


def no_constant(name):
    raise AssertionError(f"{name} is not JSON")


def checked(tmp_path_factory, text, *arguments, **environment):
    folder = tmp_path_factory.mktemp("port")
    (folder / "my_port.py").write_text(text, encoding="utf-8")
    return Checked(folder, "my_port.py", *arguments, **environment)


@pytest.fixture(scope="module")
def right(tmp_path_factory):
    return Checked(tmp_path_factory.mktemp("right"), ORACLE)


@pytest.fixture(scope="module")
def no_bias(tmp_path_factory):
    return checked(tmp_path_factory, NO_BIAS)


@pytest.fixture(scope="module")
def no_half(tmp_path_factory):
    return checked(tmp_path_factory, NO_HALF, "--protocol", "printed")


@pytest.fixture(scope="module")
def half_done(tmp_path_factory):
    return checked(tmp_path_factory, HALF_DONE)


@pytest.fixture
def run(run_here):
    """Run ``d2l-recsys baseline`` in this process; returns exit code, output and error."""
    return lambda *arguments: run_here("baseline", *arguments)


# A right port


def test_a_right_port_is_right(right):
    assert right.done.returncode == 0
    header, rule, *rows = right.lines[:4]
    assert re.split("  +", header) == ["model", "protocol"] + [
        f"{rung} {name}" for rung, name in enumerate(RUNGS[:6])
    ]
    assert set(rule) == {"-", " "}
    assert [re.split("  +", row)[:2] for row in rows] == [["mf", "printed"], ["mf", "defined"]]
    for protocol in ("printed", "defined"):
        data, *others = right.cells(protocol)
        assert data == "exact"
        assert all(cell == "exact" or float(cell) < 1 for cell in others)
        assert len(others) == 5
    digest = Baseline().sha256[:12]
    assert right.lines[-1] == f"right: all rungs that were asked (baseline {digest})"
    assert any("need MovieLens-100K were left out" in line for line in right.lines)
    assert "first wrong" not in right.done.stdout


def test_its_json_says_so_and_with_what(right):
    found = right.json
    assert found["right"] is True
    assert found["port"] == ORACLE
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))
    assert found["numpy"] == np.__version__
    assert found["baseline"] == {
        "version": 1,
        "made_by": Baseline().index["made_by"],
        "sha256": Baseline().sha256,
    }
    assert [(row["model"], row["protocol"]) for row in found["rows"]] == [
        ("mf", "printed"),
        ("mf", "defined"),
    ]
    for row in found["rows"]:
        assert row["first_wrong"] is None
        assert [(rung["rung"], rung["name"]) for rung in row["rungs"]] == list(enumerate(RUNGS[:6]))
        for rung in row["rungs"]:
            assert rung["status"] == "right"
            assert rung["findings"]
            for finding in rung["findings"]:
                assert finding["question"].startswith("mf")
                assert 0 <= finding["tolerances"] <= 1
            assert rung["causes"] == rung["possible_causes"] == []


def test_its_junit_has_no_failure(right):
    for suite, protocol in zip(right.suites, ("printed", "defined")):
        assert suite.attrib == {
            "name": f"mf {protocol}",
            "tests": "6",
            "failures": "0",
            "errors": "0",
            "skipped": "0",
        }
        names = [f"{rung} {name}" for rung, name in enumerate(RUNGS[:6])]
        assert [case.get("name") for case in suite] == names
        assert {case.get("classname") for case in suite} == {f"baseline.mf.{protocol}"}
        assert not any(len(case) for case in suite)


def test_what_was_not_asked_is_not_shown(run):
    options = ("--rungs", "2,6", "--protocol", "defined", "--no-chapter-data", "--quiet")
    code, out, err = run("check", ORACLE, "--models", "mf", *options)
    assert (code, err) == (0, "")
    header, _, row, end, *_ = out.splitlines()
    assert re.split("  +", header) == ["model", "protocol", "2 forward", "6 convergence"]
    assert re.split("  +", row)[:2] == ["mf", "defined"]
    assert end == ""


# Wrong ports


def test_the_first_wrong_rung_is_named(no_bias):
    assert no_bias.done.returncode == 1
    for protocol in ("printed", "defined"):
        data, metrics, forward, *above = no_bias.cells(protocol)
        assert data == metrics == "exact"
        assert re.match("WRONG [0-9]", forward)
        assert above == ["-", "-", "-"]
    text = no_bias.done.stdout
    # Both protocols share the question, so the report has it once.
    assert text.count("first wrong here") == 1
    assert "mf (printed and defined), rung 2, forward: first wrong here\n" in text
    assert re.search(r"\n  mf/2-forward-\S+: output\[\d+\] is \S+, expected \S+ \(distance", text)
    assert (
        "  this mistake gives the same answers:\n"
        "    no-item-bias: The score must include the item bias." in text
    )
    assert no_bias.lines[-1].startswith("not right: 2 of 2 rows, see the first wrong rungs above")


def test_the_parameter_and_the_cause_are_named(no_half):
    assert no_half.done.returncode == 1
    text = no_half.done.stdout
    assert "mf (printed), rung 3, gradients: first wrong here\n" in text
    for state in ("first", "under-way"):
        (line,) = (line for line in no_half.lines if f"mf/3-gradients-{state}: " in line)
        assert re.search(r": (loss|gradients/\w+\.weight\[\d+, \d+\]) is ", line)
        named = re.findall(r"loss|gradients/\w+\.weight", line)
        assert len(set(named)) >= 4
        assert " (distance 1, tolerance " in line
    assert "  this mistake gives the same answers:\n    " in text
    assert "  this mistake gives the same answers:\n    squared-error-not-halved: " in text
    assert no_half.lines[-1].startswith("not right: 1 of 1 rows")


def test_json_has_what_is_wrong(no_bias, no_half):
    for found, rung, cause in (
        (no_bias, 2, "no-item-bias"),
        (no_half, 3, "squared-error-not-halved"),
    ):
        assert found.json["right"] is False
        assert found.json["port"] == "my_port.py"
        for row in found.json["rows"]:
            assert row["first_wrong"] == rung
            statuses = [of_rung["status"] for of_rung in row["rungs"]]
            assert statuses == ["right"] * rung + ["wrong"] + ["open"] * (5 - rung)
            findings = row["rungs"][rung]["findings"]
            assert findings[0]["tolerances"] == max(f["tolerances"] for f in findings) > 1
            causes = row["rungs"][rung]["causes"]
            assert [cause] in [found["mistakes"] for found in causes]
            assert all(found["complete"] for found in causes)
            assert row["rungs"][rung]["possible_causes"] == []
            assert all(not of_rung["findings"] for of_rung in row["rungs"][rung + 1 :])


def test_junit_counts_what_is_wrong_and_skips_what_is_above(no_bias, no_half):
    for found, rung, suites in ((no_bias, 2, 2), (no_half, 3, 1)):
        assert len(found.suites) == suites
        for suite in found.suites:
            counts = [suite.get(name) for name in ("tests", "failures", "errors", "skipped")]
            assert counts == ["6", "1", "0", str(5 - rung)]
            parts = [[part.tag for part in case] for case in suite]
            assert parts == [[]] * rung + [["failure"]] + [["skipped"]] * (5 - rung)
            failure = suite[rung][0]
            assert f"rung {rung}, {RUNGS[rung]}: first wrong here" in failure.get("message")
            assert "this mistake gives the same answers:" in failure.text
            assert f"mf/{rung}-" in failure.text


def test_no_answer_is_no_pass_and_an_error_is_told(half_done):
    assert half_done.done.returncode == 1
    assert half_done.statuses("defined") == ["right", "no answer"] + ["open"] * 4
    assert half_done.statuses("printed") == ["right"] * 4 + ["wrong", "open"]
    assert half_done.cells("defined")[1:3] == ["no answer", "-"]
    assert half_done.cells("printed")[4:] == ["WRONG", "-"]
    text = half_done.done.stdout
    assert "mf (defined), rung 1, metrics: no answer\n" in text
    assert "mf-defined/1-metrics: the defined numbers are not there yet\n" in text
    assert "mf (printed), rung 4, step: first wrong here\n" in text
    assert re.search(r"the port raises ValueError: no such .* \(my_port\.py, line 12\)\n", text)
    (finding,) = half_done.json["rows"][1]["rungs"][1]["findings"]
    assert finding["tolerances"] is None


def test_what_a_port_says_does_not_break_the_reports(half_done):
    printed, defined = half_done.suites
    assert [printed.get("failures"), defined.get("failures")] == ["1", "1"]
    assert "no such " in printed[4][0].text
    assert "\N{GREEK SMALL LETTER BETA} is not set" in printed[4][0].text
    assert "no answer" in defined[1][0].get("message")
    findings = half_done.json["rows"][0]["rungs"][4]["findings"]
    assert "\N{GREEK SMALL LETTER BETA} is not set" in findings[0]["words"]


# A folder of answers


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    """A folder of questions, and a folder with the answers of the oracle."""
    folder = tmp_path_factory.mktemp("folders")
    done = call("questions", folder / "new" / "questions", "--models", "mf", "--no-chapter-data")
    assert (done.returncode, done.stderr) == (0, "")
    questions, answers = folder / "new" / "questions", folder / "answers"
    index = json.loads((questions / "questions.json").read_text())
    for entry in index["questions"]:
        given = read_npz(questions / f"{entry['name']}.npz")
        of_name = {name: entry[name] for name in Question._fields if name in entry}
        answer = ask(oracle.Port, Question(**of_name, given=given))
        path = answers / f"{entry['name']}.npz"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(npz_bytes(answer))
        assert {name: list(np.shape(answer[name])) for name in answer} == entry["answer"]
    return questions, answers, index, done.stdout


def test_questions_are_those_of_the_baseline_without_answers(asked):
    questions, _, index, said = asked
    entries = {e["name"]: e for e in Baseline().entries if e["model"] == "mf"}
    assert {question["name"] for question in index["questions"]} == set(entries)
    assert index["baseline"]["sha256"] == Baseline().sha256
    assert said.startswith(f"{len(entries)} questions in {questions}")
    files = {path.relative_to(questions).as_posix() for path in questions.rglob("*.*")}
    assert files == {"questions.json", *(f"{name}.npz" for name in entries)}
    for question in index["questions"]:
        entry = entries[question["name"]]
        assert {name: question[name] for name in ("rung", "kind", "model", "settings")} == {
            name: entry[name] for name in ("rung", "kind", "model", "settings")
        }
        given = Baseline().question(entry).given
        assert (questions / f"{question['name']}.npz").read_bytes() == npz_bytes(given)


def test_a_folder_is_checked_as_a_port_is(asked):
    done = check(asked[1], "--models", "mf")
    assert (done.returncode, done.stderr) == (0, "")
    assert "6 convergence" in done.stdout.splitlines()[0]
    assert done.stdout.splitlines()[-1].startswith("right: ")


def test_a_missing_answer_is_no_pass_and_a_damaged_one_is_bad_input(asked, run, tmp_path):
    answers = asked[1]
    for name in ("mf/0-data", "mf/0-batches"):
        path = tmp_path / f"{name}.npz"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes((answers / f"{name}.npz").read_bytes())
    path.unlink()
    code, out, err = run("check", tmp_path, *MF, "--no-chapter-data")
    assert (code, err) == (1, "")
    assert "mf (printed and defined), rung 0, data: no answer\n" in out
    assert f"  mf/0-batches: there is no file {path}\n" in out
    path.write_bytes((answers / "mf/0-batches.npz").read_bytes()[:-30])
    done = check(tmp_path, *MF)
    message = f"{re.escape(str(path))} is not a \\.npz file"
    one_line_and_2((done.returncode, done.stdout, done.stderr), message)


# Wrong input


def one_line_and_2(done, message):
    code, out, err = done
    assert (code, out) == (2, "")
    (line,) = err.splitlines()
    assert re.match(f"{NAME}: error: .*{message}", line)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([ORACLE, "--models", "mff"], r"--models is 'mff'; choose from: mf, autorec, autorec-user"),
        ([ORACLE, "--rungs", "8"], r"--rungs is '8'; the rungs are 0 to 7"),
        ([ORACLE, "--rungs", "x"], r"--rungs is 'x'; give numbers like 0-5 or 2,3"),
        ([ORACLE, "--protocol", "both", "printed"], r"[Gg]ot unexpected extra argument"),
        ([ORACLE, "--seeds", "1"], r"--seeds is 1; the tests of rung 6 need \d+ to \d+ trainings"),
        ([ORACLE, "--json", "nowhere/r.json"], r"there is no folder nowhere for r\.json; make the"),
        (["no_such_port", *MF], r"there is no no_such_port; name a file, a module or a folder"),
    ],
    ids=["models", "rungs", "no rungs", "protocol", "seeds", "json", "port"],
)
def test_bad_input_gets_one_line_and_2(arguments, message, run, tmp_path):
    one_line_and_2(run("check", *arguments), message)
    assert not list(tmp_path.rglob("*"))


def test_options_out_of_range_are_named(run, tmp_path):
    for option, value, message in [
        ("--models", "mf,", r"--models is ''; choose from: mf"),
        ("--models", "MF", r"--models is 'MF'; choose from: mf"),
        ("--rungs", "", r"--rungs is ''"),
        ("--rungs", "3-2", r"--rungs is '3-2'; the rungs are 0 to 7"),
        ("--rungs", "0-8", r"--rungs is '0-8'; the rungs are 0 to 7"),
        ("--accept", "epsilon", r"--accept has 'epsilon'; did you mean epsilon-too-large or "),
        ("--accept", "no-waight-decay", r"did you mean no-weight-decay\? 'd2l-recsys baseline c"),
        ("--accept", "half-the-epochs", r"--accept has 'half-the-epochs'; "),
        ("--precision", "float8", r"--precision is 'float8'; choose from: float32, tf32, bfl"),
        ("--rungs", "-1", r"--rungs is '-1'; give numbers like"),
        ("--rungs", "1--2", r"--rungs is '1--2'; give numbers like"),
        ("--rungs", "1,,2", r"--rungs is '1,,2'; give numbers like"),
        ("--protocol", "both printed", r"--protocol is 'both printed'; choose from: printed, def"),
        ("--protocol", "Printed", r"--protocol is 'Printed'; choose from: printed, def"),
        ("--seeds", "0", r"--seeds is 0; it must lie between 1 and"),
        ("--seeds", "ten", r"Invalid value for '--seeds'"),
        ("--junit", "nowhere/r.xml", r"there is no folder nowhere for r\.xml; make the folder"),
        ("--data-dir", "nowhere", r"--data-dir: the folder nowhere does not exist"),
    ]:
        one_line_and_2(run("check", ORACLE, option, value), message)
    for options, message in (
        (["--rungs", "8"], r"--rungs is '8'"),
        (["--seeds", "4"], r"--seeds is 4; "),
        (["--models", "mff"], r"--models is 'mff'"),
    ):
        one_line_and_2(run("questions", "folder", *options), message)
    assert not list(tmp_path.iterdir())


def test_digits_of_other_scripts_are_no_rungs(run):
    for text in ("\N{SUPERSCRIPT TWO}", "0-\N{CIRCLED DIGIT THREE}"):
        one_line_and_2(run("check", ORACLE, "--rungs", text), "--rungs is ")


def test_what_is_no_port_is_named(run, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "fails.py").write_text("def f(:\n")
    (tmp_path / "no_port.py").write_text("")
    for port, message in {
        "none.py": r"there is no none\.py; name a file, a module or a folder",
        "empty": r"empty holds neither a port \(__init__\.py\) nor an answer \(\.npz\)",
        "fails.py": r"fails\.py cannot be imported: SyntaxError: ",
        "no_port.py": r"no_port\.py has no class Port",
    }.items():
        one_line_and_2(run("check", port, *MF, "--no-chapter-data"), message)


def test_where_nothing_can_be_written_is_named(run, tmp_path):
    (tmp_path / "file").write_text("kept")
    questions = ("questions", "file/questions", "--models", "mf", "--no-chapter-data")
    one_line_and_2(run(*questions), "file")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("file")
    # The error comes before the work begins, so standard output is empty.
    asked = ("check", ORACLE, "--models", "mf", "--rungs", "2")
    for option in ("--json", "--junit"):
        one_line_and_2(run(*asked, option, "folder"), "folder is not a file")
        one_line_and_2(run(*asked, option, "link"), "link is not a file")
    one_line_and_2(run(*asked, "--json", "both", "--junit", "both"), "the same file")
    assert (tmp_path / "file").read_text() == "kept"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder", "link"]


def test_a_report_takes_the_place_of_an_older_one(run, tmp_path):
    (tmp_path / "report.json").write_text("old")
    options = ("--models", "mf", "--rungs", "2", "--json", "report.json", "--quiet")
    assert run("check", ORACLE, *options)[0] == 0
    assert json.loads((tmp_path / "report.json").read_text())["right"] is True
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]


def test_json_can_go_to_standard_output(run, tmp_path):
    code, out, error = run("check", ORACLE, "--models", "mf", "--rungs", "2", "--json", "-")
    assert (code, error) == (0, "")
    assert json.loads(out)["right"] is True
    assert list(tmp_path.iterdir()) == []


# The modules that the command needs


# ``d2l-recsys`` imports all its commands, so the module of a command has to load quickly.
LIGHT = "import sys, d2l_recsys.cli.baseline; print('numpy' in sys.modules)"


def test_the_command_line_loads_no_numpy():
    done = subprocess.run([sys.executable, "-c", LIGHT], capture_output=True, text=True, cwd=ROOT)
    assert (done.stdout, done.stderr) == ("False\n", "")


FEW = """
import sys

for name in (
    "mxnet pandas sklearn matplotlib pooch requests tqdm tabulate safetensors filelock markdown_it "
    "torch jax d2l hypothesis"
).split():
    sys.modules[name] = None
from d2l_recsys.__main__ import main

main(["baseline", "check", *sys.argv[1:], "--no-chapter-data"])
"""


def test_a_check_needs_no_more_than_numpy_scipy_and_typer():
    command = [sys.executable, "-c", FEW, ORACLE, "--models", "mf"]
    done = subprocess.run(command, cwd=str(ROOT), capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1].startswith("right: ")


# A new port


@pytest.mark.parametrize("framework", ["jax", "numpy", "pytorch"])
def test_a_new_port_is_written_once(framework, run, tmp_path):
    code, out, err = run("new", "my_port", "--framework", framework)
    assert (code, err) == (0, "")
    (line,) = out.splitlines()
    assert line.startswith("written: my_port.py; next: d2l-recsys baseline check my_port.py --mod")
    text = (tmp_path / "my_port.py").read_text()
    compile(text, "my_port.py", "exec")
    assert "baseline check my_port.py --models mf" in text
    assert "MY_PORT" not in text
    one_line_and_2(run("new", "my_port.py"), r"my_port\.py exists; choose another name")
    assert (tmp_path / "my_port.py").read_text() == text


def test_a_new_port_runs_at_once_and_says_what_is_missing(run, tmp_path):
    run("new", "my_port", "--framework", "numpy")
    code, out, _ = run("check", "my_port.py", "--models", "mf", "--rungs", "0-5,7",
                       "--no-chapter-data", "--quiet")  # fmt: skip
    assert code == 1
    assert "mf (printed and defined), rung 2, forward: no answer\n" in out
    assert "mf/2-forward-first: write forward, which returns the outputs of the net\n" in out
    # A right forward pass goes on to the next rung.
    path = tmp_path / "my_port.py"
    right = """
from d2l_recsys.baseline.oracle.models import MODELS, keep


class Port(Port):
    def forward(self, batch):
        return MODELS[self.model](self.p, batch, keep)[0]
"""
    path.write_text(path.read_text() + right)
    code, out, _ = run("check", "my_port.py", "--models", "mf", "--rungs", "0-5,7",
                       "--no-chapter-data", "--quiet")  # fmt: skip
    assert "mf (printed and defined), rung 3, gradients: no answer\n" in out
    assert "write loss, which returns the sum of the losses of a batch\n" in out


def test_what_is_no_name_of_a_port_is_refused(run, tmp_path):
    one_line_and_2(run("new", "my port"), r"my port\.py is no name of a module; use letters")
    one_line_and_2(run("new", "p", "--framework", "keras"), r"--framework is 'keras'; choose from")
    one_line_and_2(run("new", "nowhere/x/port", "--framework", "keras"), r"--framework is 'keras'")
    assert not list(tmp_path.iterdir())


# Variants


def test_all_stands_for_the_models_and_their_variants(run):
    options = ("--rungs", "1", "--protocol", "printed", "--no-chapter-data", "--quiet")
    for models, rows in ((("--models", "all"), VARIANTS), ((), MODELS)):
        code, out, _ = run("check", ORACLE, *models, *options)
        assert code == 0
        table = out.partition("\n\n")[0].splitlines()[2:]
        assert [line.split()[0] for line in table] == list(rows)


# Accepted mistakes


def test_the_option_that_the_check_proposes_makes_the_port_right(run, tmp_path):
    (tmp_path / "my_port.py").write_text(NO_HALF)
    options = ["check", "my_port.py", "--models", "mf", "--rungs", "2,3", "--quiet"]
    code, out, _ = run(*options)
    assert code == 1
    (line,) = (line for line in out.splitlines() if "--accept" in line)
    assert line.startswith("  if this is on purpose, accept it and go on: --accept squared-error-")
    code, out, _ = run(*options, "--accept", line.split()[-1], "--json", "-")
    assert code == 0
    found = json.loads(out)
    assert (found["right"], found["accepted"]) == (True, ["squared-error-not-halved"])
