"""Get the answers of a port: from its class ``Port``, or from a folder of answer files."""

import copy
import importlib
import importlib.util
import pathlib
import sys
import traceback
from types import ModuleType
from typing import Any, Callable, Dict, List, Mapping, Protocol, Sequence

import numpy as np

from d2l_recsys.baseline.chapter_data import CHAPTER_QUESTIONS
from d2l_recsys.baseline.ladder import PROTOCOLS
from d2l_recsys.baseline.npz import read_npz
from d2l_recsys.baseline.port import Arrays
from d2l_recsys.baseline.questions import Question, ask, cut
from d2l_recsys.errors import RecsysError, SettingError

Numbers = Dict[str, Dict[str, List[float]]]
NUMBERS = "6-numbers"


class NoAnswer(Exception):  # noqa: N818
    """The port has no answer to this question: a method or a file is missing."""


class PortFailed(Exception):  # noqa: N818
    """The port raised an error; the message has the error and the line of code."""


class Answers(Protocol):
    """The answers of one port."""

    def answer(self, question: Question) -> Arrays:
        """The arrays of the answer by name. Raises NoAnswer and PortFailed."""

    def numbers(
        self, question: Question, seeds: Sequence[int], note: Callable[[str], None]
    ) -> Numbers:
        """The final metrics by protocol and name: a list with one value for each seed.

        ``note`` is called with a line of text before each training. Raises NoAnswer and PortFailed.
        """


class ModuleAnswers:
    """The answers of a port in Python: the class ``Port`` of a module."""

    def __init__(self, name: str, module: ModuleType) -> None:
        if not callable(getattr(module, "Port", None)):
            raise SettingError(f"{name} has no class Port; see docs/porting.md for what it needs")
        self.make = module.Port

    def answer(self, question: Question) -> Arrays:
        """See ``Answers``."""
        # A port may change the arrays that it is given, so it gets a copy.
        own = copy.deepcopy(question)
        return _guarded(lambda: _as_arrays(ask(self.make, own)))

    def numbers(
        self, question: Question, seeds: Sequence[int], note: Callable[[str], None]
    ) -> Numbers:
        """See ``Answers``."""
        track, found = question.name.partition("/")[0], {}
        for seed in seeds:
            note(f"{track}: training with seed {seed}")
            own = copy.deepcopy(question)
            trained = _guarded(lambda own=own, seed=seed: self._train(own, seed))
            for of_protocol, numbers in trained.items():
                for name, value in numbers.items():
                    found.setdefault(of_protocol, {}).setdefault(name, []).append(value)
        return found

    def _train(self, question: Question, seed: int) -> Dict[str, Dict[str, float]]:
        port = self.make(question.model, question.protocols[0])
        if not hasattr(port, "train"):
            raise NotImplementedError("the port has no method train")
        trained = port.train(question.given, question.settings, seed)
        return {
            protocol: {name: float(value) for name, value in numbers.items()}
            for protocol, numbers in trained.items()
        }


def _as_arrays(answer: Mapping[str, Any]) -> Arrays:
    """Convert an answer to arrays. Raises ValueError if an array does not hold numbers."""
    arrays = {name: np.asarray(array) for name, array in answer.items()}
    for name, array in arrays.items():
        if array.dtype.kind not in "biuf":
            raise ValueError(f"{name} has the type {array.dtype}, not numbers")
    return arrays


class FolderAnswers:
    """The answers in a folder: a ``.npz`` file for each question, with the name of the question."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder

    def answer(self, question: Question) -> Arrays:
        """See ``Answers``. Raises DataError if the file cannot be read."""
        return self._read(question.name)

    def numbers(
        self, question: Question, seeds: Sequence[int], note: Callable[[str], None]
    ) -> Numbers:
        """See ``Answers``. The file has an array ``protocol/name`` with a value for each seed."""
        arrays = self._read(question.name)
        return {
            of_protocol: {
                name: np.ravel(values).astype(float).tolist()
                for name, values in cut(arrays, of_protocol).items()
            }
            for of_protocol in PROTOCOLS
        }

    def _read(self, name: str) -> Arrays:
        path = self.folder / f"{name}.npz"
        if not path.is_file():
            hint = ""
            if name.endswith(CHAPTER_QUESTIONS):
                hint = "; the question is about MovieLens-100K, --no-chapter-data leaves it out"
            raise NoAnswer(f"there is no file {path}{hint}")
        return read_npz(path)


def answers_of(port: str) -> Answers:
    """The answers of the port named on the command line: a folder of answers, a file or a module.

    A folder with an ``__init__.py`` is a module. A ``.py`` file can import modules from its own
    folder, and a module can import modules from the current folder.

    Raises SettingError if there is no such port, or if it cannot be imported.
    """
    path = pathlib.Path(port)
    nothing = SettingError(
        f"there is no {port or 'port'}; name a file, a module or a folder of answers"
    )
    if not port:
        raise nothing
    if path.is_dir() and not (path / "__init__.py").is_file():
        if not any(path.rglob("*.npz")):
            raise SettingError(
                f"{port} holds neither a port (__init__.py) nor an answer (.npz); see "
                "docs/porting.md"
            )
        return FolderAnswers(path)
    if path.suffix == ".py":
        if not path.is_file():
            raise nothing
        sys.path.insert(0, str(path.resolve().parent))
        return ModuleAnswers(port, _imported(port, lambda: _load(path)))
    module = port
    if path.is_dir():
        try:
            module = ".".join(path.resolve().relative_to(pathlib.Path.cwd()).parts)
        except ValueError:
            raise SettingError(
                f"{port} is not below the current folder; run the command in a parent folder of it"
            ) from None
    elif len(path.parts) > 1:
        raise nothing
    sys.path.insert(0, str(pathlib.Path.cwd()))
    try:
        return ModuleAnswers(port, _imported(port, lambda: importlib.import_module(module)))
    except SettingError as error:
        cause = error.__cause__
        if isinstance(cause, ModuleNotFoundError) and cause.name == module.partition(".")[0]:
            raise nothing from None
        raise


def _load(path: pathlib.Path) -> ModuleType:
    """Import a file under a name that no other module has."""
    spec = importlib.util.spec_from_file_location(f"port_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[module.__name__] = module
    spec.loader.exec_module(module)
    return module


def _imported(port: str, load: Callable[[], ModuleType]) -> ModuleType:
    try:
        return load()
    except RecsysError:
        raise
    except (Exception, SystemExit) as error:
        raise SettingError(f"{port} cannot be imported: {_told(error)}") from error


def _guarded(call: Callable[[], Any]) -> Any:
    """Call ``call``; its errors, and SystemExit, become NoAnswer or PortFailed."""
    try:
        return call()
    except NotImplementedError as error:
        raise NoAnswer(_printable(error) or "not implemented") from error
    except (Exception, SystemExit) as error:
        raise PortFailed(_told(error)) from error


def _told(error: BaseException) -> str:
    """An error in one line, with the file and line that raised it."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{pathlib.Path(last.filename).name}, line {last.lineno}"
    return f"{type(error).__name__}: {_printable(error)[:300]} ({place})"


def _printable(error: BaseException) -> str:
    """The message of an error, without characters that terminals or XML do not accept."""
    return "".join(c if c.isprintable() else " " for c in " ".join(str(error).split()))
