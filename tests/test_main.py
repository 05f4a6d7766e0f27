import functools
import importlib.metadata
import inspect
import json
import pathlib
import re
import signal
import subprocess
import sys
import time
import types

import pytest
from conftest import ROOT, run_script, some

import d2l_recsys
from d2l_recsys.__main__ import main
from d2l_recsys.cli.run import SectionCommand, SectionGroup
from d2l_recsys.errors import WorkerError
from d2l_recsys.leaderboard.entries import ENTRIES
from d2l_recsys.sections import command_line
from d2l_recsys.sections.registry import SECTIONS, SYSTEMS, VARIANTS

NAME = "d2l-recsys"
COMMANDS = ["run", "sweep", "rerun", "reproduce", "report", "exercise", "leaderboard", "recommend"]
COMMANDS += ["predict", "list", "doctor"]
COMMANDS += ["data", "baseline"]
NAMES = [*{**SYSTEMS, **VARIANTS, **ENTRIES}]


def call(*arguments, **options):
    return run_script("d2l_recsys/__main__.py", *arguments, **options)


def test_the_command_is_installed():
    scripts = importlib.metadata.distribution("d2l_recsys").entry_points
    assert [s.value for s in scripts if s.name == NAME] == ["d2l_recsys.__main__:main"]


@pytest.mark.parametrize("asked", ["--version", "-v"])
def test_the_version_is_told(asked):
    done = call(asked)
    assert (done.returncode, done.stdout) == (0, f"d2l-recsys {d2l_recsys.__version__}\n")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (
            [],
            COMMANDS,
        ),
        (["run"], NAMES),
        (["sweep"], NAMES),
        (["data"], ["where", "check", "fetch", "prune"]),
        (["baseline"], ["new", "check", "questions", "causes", "make"]),
    ],
)
def test_help_names_every_command(arguments, named, run_here):
    done = [run_here(*arguments, *asked) for asked in (["--help"], ["-h"], [])]
    assert done[0] == done[1] == done[2]
    code, out, err = done[0]
    assert (code, err) == (0, "")
    assert out.startswith("Usage: ")
    commands = re.findall(r"(?m)^  (\S+)  ", out.partition("Commands:")[2])
    assert sorted(commands) == sorted(named)


def test_help_needs_no_large_module():
    assert call("run").stdout.startswith("Usage: d2l-recsys run ")
    code = "import sys; from d2l_recsys.cli.commands import make_app; make_app(); "
    code += "print({'mxnet', 'matplotlib', 'pandas'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "set()\n"


@pytest.mark.parametrize("section", SYSTEMS.values(), ids=lambda section: section.name)
def test_a_section_has_the_options_of_its_script(section):
    pytest.importorskip("d2l_recsys.backend")
    options = {option.name: option.default for option in SectionCommand(section).params}
    arguments = inspect.signature(section.main()).parameters
    assert list(options) == [*arguments, "config"]
    assert options["quiet"] is False


def test_a_list_can_be_separated_by_commas(ratings_dir, run_here, tmp_path):
    options = ["--data-dir", ratings_dir, "--cutoff", "5,10", "--cutoff", 3, "--out", tmp_path]
    assert run_here("run", "POPULARITY", *options)[0] == 0
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["settings"]["cutoff"] == [5, 10, 3]


@pytest.mark.parametrize(
    ("name", "section", "settings"),
    [
        ("svd-zero", "svd", {"fill": "zero", "num_factors": 20}),
        ("SVD-ZERO", "svd", {"fill": "zero", "num_factors": 20}),
    ],
)
def test_a_name_of_the_leaderboard_runs_with_its_settings(
    name, section, settings, ratings_dir, run_here
):
    code, _, err = run_here("run", name, "--data-dir", ratings_dir)
    assert (code, err) == (0, "")
    result = json.loads(pathlib.Path("results", "svd-zero", "result.json").read_text())
    assert result["chapter"] == section
    assert settings.items() <= result["settings"].items()


def test_other_settings_get_a_folder_of_their_own_and_replace_nothing(
    ratings_dir, run_here, tmp_path
):
    def run(*options):
        return run_here("run", "ease", "--data-dir", ratings_dir, "--quiet", *options)

    def l2():
        paths = tmp_path.rglob("result.json")
        found = {p.parent: json.loads(p.read_text())["settings"]["l2"] for p in paths}
        return {path.relative_to(tmp_path).as_posix(): number for path, number in found.items()}

    for options in ([], ["--l2", 4], ["--l2", 100], []):
        assert run(*options) == (0, "", "")
    expected = {"results/ease": 100, "results/ease/l2=4.0": 4}
    assert l2() == expected
    assert run("--l2", 4, "--out", "results/ease") == (
        2,
        "",
        "d2l-recsys: error: results/ease has the result of another run (l2 100.0, not 4.0); "
        "choose another folder with --out, or replace it with --force\n",
    )
    assert l2() == expected
    assert run("--l2", 4, "--out", "results/ease", "--force")[0] == 0
    assert l2() == {**expected, "results/ease": 4}


def test_every_name_has_the_settings_of_its_variant_or_entry():
    group = SectionGroup()
    for name in NAMES:
        if name not in SYSTEMS:
            named = VARIANTS.get(name) or ENTRIES[name]
            command = group.get_command(None, name)
            assert command.section == named.section
            defaults = {option.name: option.default for option in command.params}
            for option, value in named.options.items():
                assert str(defaults[option]) == str(value)


def test_the_list_has_every_name_once_and_no_word_is_cut():
    done = call("list")
    assert (done.returncode, done.stderr) == (0, "")
    rows = [re.split(" {2,}", line.strip()) for line in done.stdout.splitlines()[2:]]
    assert sorted(row[1] for row in rows) == sorted(NAMES)
    kinds = {"section", "companion", "tutorial", "variant", "leaderboard"}
    assert {row[0] for row in rows} == kinds
    assert ["companion", "svd", "Cremonesi et al. 2010", "SVD of the ratings"] in rows
    words = " ".join(call("run", "--help").stdout.split())
    assert "SVD of the ratings (Cremonesi et al. 2010)." in words


def test_a_sections_help_is_that_of_its_script(capsys):
    pytest.importorskip("d2l_recsys.backend")
    texts = []
    for run, arguments in (
        (main, ["run", "caser", "--help"]),
        (functools.partial(command_line.run, SECTIONS["caser"].main()), ["--help"]),
    ):
        with pytest.raises(SystemExit) as left:
            run(arguments)
        assert left.value.code == 0
        texts.append(capsys.readouterr().out.partition("Options:")[2])
    assert texts[0] == texts[1] != ""


def test_ctrl_c_while_the_commands_are_imported_is_quiet(monkeypatch, capsys):
    class Interrupted(types.ModuleType):
        @property
        def start(self):
            raise KeyboardInterrupt

    monkeypatch.setitem(sys.modules, "d2l_recsys.cli.commands", Interrupted("commands"))
    with pytest.raises(SystemExit) as left:
        main([])
    assert left.value.code == 130
    assert capsys.readouterr() == ("", "")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")
@pytest.mark.parametrize(
    "command",
    some([("d2l_recsys/__main__.py run mf",), ("chapters/mf.py",)], [("chapters/mf.py",)]),
)
def test_ctrl_c_while_mxnet_is_imported_is_quiet(command, ratings_dir, tmp_path):
    """A script imports MXNet before its command line starts."""
    pytest.importorskip("d2l_recsys.backend")
    script, *options = command.split()
    options += ["--data-dir", ratings_dir, "--out", tmp_path / "out"]
    line = [sys.executable, ROOT / script, *options]
    process = subprocess.Popen(list(map(str, line)), stderr=subprocess.PIPE, text=True)
    loaded, deadline = pathlib.Path("/proc", str(process.pid), "maps"), time.monotonic() + 60
    while "libmxnet" not in loaded.read_text() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    errors = process.communicate(timeout=60)[1]
    assert process.returncode in (130, -signal.SIGINT)
    assert errors == ""


def test_a_section_runs_as_its_script_does(ratings_dir, run_here, tmp_path):
    pytest.importorskip("d2l_recsys.backend")
    options = ["--data-dir", ratings_dir, "--num-epochs", 1, "--batch-size", 16, "--seed", 4]
    code, out, _ = run_here("run", "mf", *options, "--out", tmp_path / "ours")
    assert code == 0
    script = run_script("chapters/mf.py", *options, "--out", tmp_path / "script")
    lines = [text.splitlines() for text in (out, script.stdout)]
    # The second line has the speed, and the last line has the folder, so both may differ.
    assert [lines[0][0], *lines[0][2:-1]] == [lines[1][0], *lines[1][2:-1]]
    code, out, _ = run_here("report", tmp_path / "ours")
    assert code == 0
    files = "checkpoint.safetensors, curve.png, history.csv, model.safetensors, result.json"
    assert f"{tmp_path / 'ours'}: {files}" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "nuemf"], r"there is no command 'nuemf'; did you mean 'neumf'\? choose from: "),
        (["runn"], r"there is no command 'runn'; did you mean 'run'\? choose from: "),
        (["run", "mf", "--lr", "1", "--lr", "2"], r"--lr is given 2 times; give it once"),
        (["run", "mf", "--lr", "1,2"], r"'--lr': .*; for several values, use `sweep mf`$"),
        (["run", "mf", "--lr=1,2"], r"'--lr': .*; for several values, use `sweep mf`$"),
        (
            ["run", "neumf", "--cutoff", "5,10", "--lr", "x"],
            r"Invalid value for '--lr': [^;]*$",
        ),
        (["report", "--results", "a", "--results", "b"], r"--results is given 2 times"),
        (["run", "ease", "--out", ""], r"--out is ''; give it a value, or leave it out"),
        (["leaderboard", "--only", ""], r"--only is ''; give it a value, or leave it out"),
        (["data", "where", "--data-dir="], r"--data-dir is ''; give it a value"),
        (["run", "ease", "--cutoff", "5,ten"], r"--cutoff has 'ten'; give whole numbers"),
        (["run", "ease", "--cutoff", "5,"], r"--cutoff has ''; give whole numbers, separated by"),
        (["run", "movielens", "--epochs", "3"], r"[Nn]o such option:? .*--epochs"),
        (["reproduce", "--seeds", "0"], r"--seeds is 0; it must lie between 1 and"),
        (["reproduce", "--jobs", "0"], r"--jobs is 0; it must lie between 1 and"),
        (["reproduce", "--num-devices", "0"], r"--num-devices is 0; it must lie between 1 and"),
        (["reproduce", "--only", "mf,cazer"], r"--only has 'cazer'; did you mean 'caser'\?"),
        (["leaderboard", "--seeds", "0"], r"--seeds is 0; it must lie between 1 and"),
        (["leaderboard", "--only", "eaze"], r"--only has 'eaze'; did you mean 'ease'\?"),
        (["leaderboard", "--jobs", "0"], r"--jobs is 0; it must lie between 1 and"),
        (["leaderboard", "--data-dir", "nowhere"], r"--data-dir: the folder nowhere does not"),
        (["reproduce", "--seeds", "ten"], r"Invalid value for '--seeds'"),
        (["reproduce", "--data-dir", "nowhere"], r"--data-dir: the folder nowhere does not exist"),
        (["report", "nowhere"], r"nowhere/result\.json does not exist; run its section first"),
        (["report", "--results", "nowhere"], r"nowhere/devices-2 has no finished run; run"),
        (["data", "check", "--data-dir", "nowhere"], r"--data-dir: the folder nowhere does not"),
    ],
)
def test_bad_input_gets_one_line_and_2(arguments, message, run_here, tmp_path):
    code, out, err = run_here(*arguments)
    assert (code, out) == (2, "")
    (line,) = err.splitlines()
    assert re.match(f"{NAME}: error: .*{message}", line)
    assert not list(tmp_path.rglob("*.json"))


def test_in_a_process_of_its_own_too(tmp_path):
    done = call("run", "nuemf", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"{NAME}: error: there is no command 'nuemf'; did you mean 'neu")
    assert len(done.stderr.splitlines()) == 1


def test_an_ended_process_is_no_fault_of_the_input(capsys):
    def main():
        raise WorkerError("it was ended")

    with pytest.raises(SystemExit) as left:
        command_line.run(main, [])
    assert left.value.code == 1
    assert capsys.readouterr().err.endswith("error: it was ended\n")


def test_without_mxnet_a_section_says_what_installs_it(ratings_dir, tmp_path):
    (tmp_path / "mxnet.py").write_text("raise ModuleNotFoundError(\"none\", name='mxnet')\n")
    done = call("run", "mf", PYTHONPATH=str(tmp_path))
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"{NAME}: error: MXNet is not installed")
    done = call("data", "where", "--data-dir", ratings_dir, PYTHONPATH=str(tmp_path))
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("words", "count", "expected"),
    [
        ("d2l-recsys r", 1, {"run", "rerun", "reproduce", "report", "recommend"}),
        ("d2l-recsys run ", 2, set(NAMES)),
        ("d2l-recsys run movielens --qu", 3, {"--quiet"}),
    ],
)
def test_the_shell_completes(words, count, expected):
    done = call(_D2L_RECSYS_COMPLETE="complete_bash", COMP_WORDS=words, COMP_CWORD=str(count))
    assert set(done.stdout.split()) == expected
