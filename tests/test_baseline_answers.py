"""Answers of ports: each way to name a port, ports that fail, and folders of answers."""

import importlib
import sys
import textwrap

import numpy as np
import pytest

from d2l_recsys.baseline import oracle
from d2l_recsys.baseline.answers import FolderAnswers, NoAnswer, PortFailed, answers_of
from d2l_recsys.baseline.ladder import PROTOCOLS
from d2l_recsys.baseline.npz import npz_bytes
from d2l_recsys.baseline.questions import KINDS, Question, ask
from d2l_recsys.errors import DataError, RecsysError, SettingError

ORACLE = "d2l_recsys.baseline.oracle"
PORT = """
class Port:
    def __init__(self, model, protocol):
        self.made = model, protocol
"""
# Metrics that depend on the seed, on the given ratings and on the settings.
TRAINS = """
    def train(self, given, settings, seed):
        of_seed = 10 * len(given["ratings"]) + settings["lr"] + seed
        return {"printed": {"test_rmse": of_seed}, "defined": {"test_rmse": -of_seed, "b": 1}}
"""
PARAMETERS = {"parameters/P.weight": np.ones((2, 3)), "parameters/Q.weight": np.ones((2, 3))}
MOMENTS = {
    f"{moment}/{name}.weight": np.ones((2, 3)) for moment in ("means", "variances") for name in "PQ"
}
PAIR = {"user_id": np.array([0, 1]), "item_id": np.array([1, 1])}
BATCH = {f"batch/{name}": array for name, array in PAIR.items()}
BATCHES = {f"batches/{name}": np.stack([array] * 3) for name, array in PAIR.items()}
GIVEN = {
    "data": {"ratings": np.ones((2, 4), int)},
    "batches": {"orders": np.arange(4).reshape(2, 2), "batch_size": np.array(2)},
    "metrics": {"labels": np.ones(2)},
    "forward": {**PARAMETERS, **BATCH},
    "gradients": {**PARAMETERS, **BATCH},
    "step": {**PARAMETERS, **MOMENTS, **BATCH, "steps": np.array(7)},
    "trajectory": {**PARAMETERS, **BATCHES},
    "dropout": {**PARAMETERS, **BATCH, "seed": np.array(3)},
    "first": {"seed": np.array(3)},
    "negatives": {"seed": np.array(3), "users": np.arange(4)},
}


def question(kind):
    return Question(f"mf/{kind}", 0, kind, "mf", PROTOCOLS, {"lr": 0.1}, GIVEN[kind])


@pytest.fixture(autouse=True)
def _imports_undone(monkeypatch):
    """Undo the imports and the changes of ``sys.path`` after each test."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    importlib.invalidate_caches()
    yield
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty folder, which is the current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def port_file(folder, *methods, name="made_up_port.py", before=""):
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(before + PORT + "".join(map(textwrap.indent, methods, ["    "] * 9)))
    return path


def method(line, name="forward", arguments="batch"):
    return f"def {name}(self, {arguments}):\n    {line}\n"


STATE = method("pass", "set_state", "*state")


def refusal(port):
    """The message of the SettingError; it is one line and names the port."""
    with pytest.raises(SettingError) as refused:
        answers_of(str(port))
    (line,) = str(refused.value).splitlines()
    assert line.startswith(f"{port} ") or f" {port};" in line
    return line


# Naming a port


def test_a_module_is_named():
    found = answers_of(ORACLE)
    assert found.make is oracle.Port
    answer = found.answer(question("batches"))
    np.testing.assert_array_equal(answer["batches"], [[0, 1], [2, 3]])


def test_a_module_of_the_current_folder_is_named(here):
    port_file(here)
    assert answers_of("made_up_port").make("mf", "printed").made == ("mf", "printed")


def test_a_file_is_named_from_anywhere(tmp_path, monkeypatch):
    path = port_file(tmp_path / "of ports", before="from beside_it import number\n")
    (path.parent / "beside_it.py").write_text("number = 5\n")
    for folder, port in (
        (tmp_path, path),
        (path.parent, path.name),
        (tmp_path, "of ports/" + path.name),
    ):
        monkeypatch.chdir(folder)
        found = answers_of(str(port))
        assert found.make("fm", "defined").made == ("fm", "defined")
        assert found.make.__init__.__globals__["number"] == 5


@pytest.mark.parametrize("name", ["json.py", "numpy.py", "commands.py", "made_up.port.py"])
def test_a_file_may_have_any_name(name, tmp_path):
    assert answers_of(str(port_file(tmp_path, name=name))).make("mf", "printed").made
    (tmp_path / "other").mkdir()
    other = port_file(tmp_path / "other", method("pass", "other", "*none"), name=name)
    assert hasattr(answers_of(str(other)).make, "other")


def test_a_folder_with_an_init_is_a_package(here):
    package = here / "made_up" / "package"
    package.mkdir(parents=True)
    port_file(package, name="of_mf.py")
    (package / "__init__.py").write_text("from .of_mf import Port\n")
    # A package is a port even if it contains a file of answers.
    (package / "forward.npz").write_bytes(npz_bytes({}))
    for port in ("made_up/package", "made_up/package/", str(package), "made_up.package"):
        found = answers_of(port)
        assert found.make.__module__ == "made_up.package.of_mf"


def test_a_folder_of_answers_is_named(tmp_path):
    (tmp_path / "mf").mkdir()
    (tmp_path / "mf" / "forward.npz").write_bytes(npz_bytes({"output": np.ones(2)}))
    found = answers_of(str(tmp_path))
    assert isinstance(found, FolderAnswers)
    assert found.answer(question("forward"))["output"].tolist() == [1, 1]


def test_a_function_makes_ports_as_well(tmp_path):
    path = tmp_path / "made_up_port.py"
    path.write_text(f"import {ORACLE} as oracle\ndef Port(*made):\n    return oracle.Port(*made)\n")
    assert list(answers_of(str(path)).answer(question("batches"))) == ["batches"]


# Names that are not a port


def test_what_is_not_there_is_named(here):
    missing = ("no_such_port", "no_such_port.mf", "no_such_port.py", "no/such/port.py", "no/such")
    for port in (*missing, here / "none", here / "none.py"):
        assert refusal(port) == f"there is no {port}; name a file, a module or a folder of answers"
    line = refusal("d2l_recsys.no_such_port")
    assert "cannot be imported: ModuleNotFoundError: No module named" in line
    assert "cannot be imported" in refusal("..relative")


def test_a_module_without_a_class_is_named(here):
    (here / "no_port.py").write_text("number = 5\n")
    (here / "a_number.py").write_text("Port = 5\n")
    for port in ("no_port.py", "no_port", "a_number.py", "d2l_recsys.errors"):
        assert f"{port} has no class Port; see docs/porting.md" in refusal(port)


FAILS = {
    "raises": ("\n1 / 0\n", "ZeroDivisionError: division by zero (fails.py, line 2)"),
    "lacks": ("import no_such_one\n", "No module named 'no_such_one' (fails.py, line 1)"),
    "syntax": ("def f(:\n    pass\n", "SyntaxError: "),
    "indent": ("  number = 5\n", "IndentationError: "),
    "bytes": (b"number = 5\x00", "null bytes"),
    "lines": ("raise ValueError('one\\ntwo\\n')\n", "ValueError: one two (fails.py, line 1)"),
    "leaves": ("import sys\nsys.exit(0)\n", "SystemExit"),
}  # fmt: skip


@pytest.mark.parametrize("name", FAILS)
def test_what_cannot_be_imported_is_named_with_the_reason(name, here):
    text, reason = FAILS[name]
    (here / "fails.py").write_bytes(text.encode() if isinstance(text, str) else text)
    for port in ("fails.py", "fails"):
        line = refusal(port)
        assert line.startswith(f"{port} cannot be imported: ")
        assert reason in line


def test_an_error_of_ours_while_importing_is_told_as_it_is(here):
    raises = "from d2l_recsys.errors import NoBackendError\nraise NoBackendError('none here')\n"
    (here / "fails.py").write_text(raises)
    with pytest.raises(RecsysError, match=r"^none here$"):
        answers_of("fails.py")


def test_a_folder_without_answers_is_named(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mf.json").write_text("{}")
    for name in ("empty", "other"):
        line = refusal(tmp_path / name)
        assert "holds neither a port (__init__.py) nor an answer (.npz)" in line


def test_a_package_elsewhere_is_named(tmp_path, monkeypatch):
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").write_text(PORT)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert "is not below the current folder; run the command in a parent folder" in refusal(package)


# Ports that have no answer, and ports that fail


@pytest.mark.parametrize("kind", KINDS)
def test_a_method_that_is_not_there_is_no_answer(kind, tmp_path):
    found = answers_of(str(port_file(tmp_path)))
    with pytest.raises(NoAnswer, match="the port has no method ") as none:
        found.answer(question(kind))
    assert len(str(none.value).splitlines()) == 1


LOSS, STEP = method("return 0", "loss"), method("pass", "step")
WEIGHTS = method("return {}", "parameters", "*none")
CALLED = {
    "data": [method("return {}", "data")],
    "batches": [method("return 0", "batches")],
    "metrics": [method("return {}", "metrics")],
    "forward": [STATE, method("return 0")],
    "gradients": [STATE, LOSS, method("return {}", "gradients")],
    "step": [STATE, STEP, WEIGHTS],
    "trajectory": [STATE, LOSS, STEP, WEIGHTS],
    "dropout": [STATE, method("return 0", "training_outputs", "batch, seed"), method("return 0")],
    "first": [method("return {}", "first_parameters", "settings, seed")],
    "negatives": [method("return 0", "negatives", "given, seed")],
}


@pytest.mark.parametrize("kind", KINDS)
def test_just_the_methods_of_a_question_are_needed(kind, tmp_path):
    path = port_file(tmp_path, *CALLED[kind])
    assert answers_of(str(path)).answer(question(kind)) is not None
    for missing in CALLED[kind]:
        path = port_file(tmp_path, *(one for one in CALLED[kind] if one is not missing))
        name = missing.partition("(")[0].rpartition(" ")[2]
        with pytest.raises(NoAnswer, match=f"the port has no method {name}$"):
            answers_of(str(path)).answer(question(kind))


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("raise NotImplementedError('not yet')", "not yet"),
        ("raise NotImplementedError", "not implemented"),
    ],
    ids=["told", "untold"],
)
def test_not_implemented_is_no_answer(line, told, tmp_path):
    found = answers_of(str(port_file(tmp_path, STATE, method(line))))
    with pytest.raises(NoAnswer, match=f"^{told}$"):
        found.answer(question("forward"))


ERRORS = {
    "attribute of another": (
        "return batch.shape",
        "AttributeError: 'dict' object has no attribute",
    ),
    "own attribute": ("return self.weights", "AttributeError: 'Port' object has no attribute"),
    "value": ("raise ValueError('one\\ntwo')", "ValueError: one two"),
    "key": ("return batch['none']", "KeyError: 'none'"),
    "assertion": ("assert False", "AssertionError: "),
    "type": ("return len(5)", "TypeError: object of type 'int' has no len()"),
    "leaves": ("raise SystemExit(0)", "SystemExit: 0"),
}


@pytest.mark.parametrize(("line", "told"), ERRORS.values(), ids=ERRORS)
def test_an_error_inside_a_port_is_named_with_its_place(line, told, tmp_path):
    path = port_file(tmp_path, STATE, method(line))
    number = path.read_text().splitlines().index(f"        {line}") + 1
    found = answers_of(str(path))
    with pytest.raises(PortFailed) as failed:
        found.answer(question("forward"))
    (words,) = str(failed.value).splitlines()
    assert words.startswith(told)
    assert words.endswith(f" (made_up_port.py, line {number})")


def test_an_error_in_what_a_port_uses_is_no_missing_method(tmp_path):
    uses = method("return help_with(batch)")
    path = port_file(tmp_path, STATE, uses, before="from helps import help_with\n")
    (tmp_path / "helps.py").write_text("def help_with(batch):\n    return batch.forward()\n")
    with pytest.raises(PortFailed, match=r"^AttributeError: .*'forward' \(helps\.py, line 2\)$"):
        answers_of(str(path)).answer(question("forward"))


def test_long_errors_are_cut(tmp_path):
    path = port_file(tmp_path, STATE, method("raise ValueError('x' * 10**6)"))
    with pytest.raises(PortFailed) as failed:
        answers_of(str(path)).answer(question("forward"))
    assert len(str(failed.value)) < 400


def test_a_port_that_cannot_be_made_fails(tmp_path):
    path = tmp_path / "made_up_port.py"
    path.write_text("class Port:\n    def __init__(self, model):\n        pass\n")
    found = answers_of(str(path))
    with pytest.raises(PortFailed, match="TypeError"):
        found.answer(question("data"))


@pytest.mark.parametrize("kind", ["data", "metrics", "gradients", "step", "first"])
def test_nothing_in_place_of_names_and_numbers_is_a_failure(kind, tmp_path):
    """A method that returns None exists, so the port is wrong and does not lack an answer."""
    methods = {
        "data": [method("pass", "data")],
        "metrics": [method("pass", "metrics")],
        "gradients": [STATE, method("return 0", "loss"), method("pass", "gradients")],
        "step": [STATE, method("pass", "step"), method("pass", "parameters", "*none")],
        "first": [method("pass", "first_parameters", "settings, seed")],
    }[kind]
    found = answers_of(str(port_file(tmp_path, *methods)))
    with pytest.raises(PortFailed):
        found.answer(question(kind))


@pytest.mark.parametrize("value", ["None", "'high'", "['a', 'b']", "[None, 1.0]", "[1, 2j]", "{}"])
def test_what_is_no_array_of_numbers_is_a_failure(value, tmp_path):
    found = answers_of(str(port_file(tmp_path, STATE, method(f"return {value}"))))
    with pytest.raises(PortFailed) as failed:
        found.answer(question("forward"))
    assert "output has the type " in str(failed.value)
    assert len(str(failed.value).splitlines()) == 1


def test_interrupts_are_not_held_up(tmp_path):
    found = answers_of(str(port_file(tmp_path, STATE, method("raise KeyboardInterrupt"))))
    with pytest.raises(KeyboardInterrupt):
        found.answer(question("forward"))


# The arguments that a port gets


class Notes:
    """A port that records its calls."""

    made = []  # noqa: RUF012

    def __init__(self, model, protocol):
        self.calls = [(model, protocol)]
        self.made.append(self)

    def set_state(self, settings, parameters, means=None, variances=None, steps=0):
        self.calls.append((settings, set(parameters), means and set(means), variances, steps))

    def loss(self, batch):
        self.calls.append(("loss", {name: array.tolist() for name, array in batch.items()}))
        return float(len(self.calls))

    def step(self, batch):
        self.calls.append(("step", {name: array.tolist() for name, array in batch.items()}))

    def parameters(self):
        return {"P.weight": np.array(1)}


def test_a_step_is_asked_with_and_without_moments():
    names = {"P.weight", "Q.weight"}
    for kind, moments, steps in (("step", names, 7), ("trajectory", None, 0)):
        Notes.made.clear()
        answer = ask(Notes, question(kind))
        (port,) = Notes.made
        assert port.calls[0] == ("mf", "printed")
        settings, parameters, means, variances, found = port.calls[1]
        assert (settings, parameters, means, found) == ({"lr": 0.1}, names, moments, steps)
        assert (variances is None) is (moments is None)
        assert answer["parameters/P.weight"] == 1
    # For each batch, first the loss, then the step.
    batch = {name: array.tolist() for name, array in PAIR.items()}
    assert port.calls[2:] == [("loss", batch), ("step", batch)] * 3
    assert answer["losses"].tolist() == [3, 5, 7]


CHANGES = """
    def set_state(self, settings, parameters, *moments):
        settings["lr"] = 5
        for name in parameters:
            parameters[name] *= 2

    def forward(self, batch):
        batch["user_id"][:] = 5
        return batch["user_id"]

    def train(self, given, settings, seed):
        given["ratings"] += 1
        settings["lr"] += 1
        return {"printed": {"test_rmse": given["ratings"][0, 0] + settings["lr"]}}
"""


def test_what_a_port_changes_is_its_own(tmp_path):
    path = port_file(tmp_path)
    path.write_text(path.read_text() + CHANGES)
    found, asked = answers_of(str(path)), question("forward")
    given = {name: array.copy() for name, array in asked.given.items()}
    assert found.answer(asked)["output"].tolist() == [5, 5]
    assert asked.settings == {"lr": 0.1}
    for name, array in given.items():
        np.testing.assert_array_equal(asked.given[name], array)
    assert numbers(found) == {"printed": {"test_rmse": [3.5, 3.5, 3.5]}}


# Final metrics


def numbers(found, seeds=(0, 1, 2), note=lambda line: None):
    given = {"ratings": np.ones((2, 4))}
    asked = Question("mf/6-numbers", 6, "train", "mf", ("defined",), {"lr": 0.5}, given)
    return found.numbers(asked, seeds, note)


def test_numbers_are_gathered_over_seeds(tmp_path):
    path, noted = port_file(tmp_path, before="import numpy as np\n"), []
    path.write_text(path.read_text() + TRAINS)
    found = numbers(answers_of(str(path)), (4, 0, 7), noted.append)
    assert found == {
        "printed": {"test_rmse": [24.5, 20.5, 27.5]},
        "defined": {"test_rmse": [-24.5, -20.5, -27.5], "b": [1, 1, 1]},
    }
    assert all(type(value) is float for value in found["defined"]["b"])
    assert [str(seed) in line for seed, line in zip((4, 0, 7), noted)] == [True] * 3
    assert all(line.startswith("mf: ") for line in noted)


def test_a_port_that_does_not_train_has_no_numbers(tmp_path):
    with pytest.raises(NoAnswer, match="the port has no method train"):
        numbers(answers_of(str(port_file(tmp_path))))


NO_TRAINING = {
    "an error": "return 1 / 0",
    "nothing": "return None",
    "one number": "return 0.9",
    "a number by protocol": "return {'printed': 0.9}",
    "nothing by protocol": "return {'printed': None}",
    "no number": "return {'printed': {'test_rmse': None}}",
    "text": "return {'printed': {'test_rmse': 'low'}}",
    "several numbers": "return {'printed': {'test_rmse': [1, 2]}}",
}


@pytest.mark.parametrize("line", NO_TRAINING.values(), ids=NO_TRAINING)
def test_a_training_that_gives_no_numbers_has_failed(line, tmp_path):
    path = port_file(tmp_path, method(line, "train", "given, settings, seed"))
    with pytest.raises(PortFailed):
        numbers(answers_of(str(path)))


# Folders of answers


@pytest.fixture
def answered(tmp_path):
    """A folder with an answer, final metrics, and a damaged file."""
    files = {
        "mf/forward": npz_bytes({"output": np.array([1.5, 2.5])}),
        "mf/6-numbers": npz_bytes(
            {
                "printed/test_rmse": np.array([1, 2, 3]),
                "defined/test_rmse": np.array([0.5, 0.25, 0.125], np.float32),
                "defined/one": np.array(4.0),
                "other/test_rmse": np.zeros(3),
            }
        ),
        "mf/data": b"damaged",
    }
    (tmp_path / "mf").mkdir()
    for name, content in files.items():
        (tmp_path / f"{name}.npz").write_bytes(content)
    return FolderAnswers(tmp_path)


def test_a_folder_answers_by_the_names_of_questions(answered):
    assert answered.answer(question("forward"))["output"].tolist() == [1.5, 2.5]
    with pytest.raises(NoAnswer, match=r"there is no file .*mf/step\.npz$"):
        answered.answer(question("step"))
    with pytest.raises(DataError, match=r"mf/data\.npz is not a \.npz file"):
        answered.answer(question("data"))


def test_a_folder_has_final_numbers(answered):
    found = numbers(answered)
    assert found == {
        "printed": {"test_rmse": [1.0, 2.0, 3.0]},
        "defined": {"test_rmse": [0.5, 0.25, 0.125], "one": [4.0]},
    }
    (answered.folder / "mf" / "6-numbers.npz").unlink()
    with pytest.raises(NoAnswer, match=r"there is no file .*mf/6-numbers\.npz"):
        numbers(answered)


def test_what_is_left_out_is_told_of_the_chapters_data(answered):
    asked = question("data")._replace(name="mf/0-data-ml100k")
    with pytest.raises(NoAnswer, match=r"0-data-ml100k\.npz; .*--no-chapter-data leaves it out$"):
        answered.answer(asked)


def test_batches_of_different_lengths_are_filled_up_with_minus_1(tmp_path):
    path = port_file(tmp_path, method("return [[0, 1], [2]]", "batches"))
    found = answers_of(str(path)).answer(question("batches"))["batches"]
    assert found.tolist() == [[0, 1], [2, -1]]
    path = port_file(tmp_path, method("return []", "batches"))
    assert answers_of(str(path)).answer(question("batches"))["batches"].size == 0
