"""Where answers come from: a port's class, or a folder of files that any program has written."""

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
    """The port has no answer to this question, and says so."""


class PortFailed(Exception):  # noqa: N818
    """The port raised an error: what, and where."""


class Answers(Protocol):
    """What a port answers."""

    def answer(self, question: Question) -> Arrays:
        """The arrays of an answer. Raises NoAnswer and PortFailed."""

    def numbers(
        self, question: Question, seeds: Sequence[int], note: Callable[[str], None]
    ) -> Numbers:
        """Final numbers by protocol and name, a value a seed. Raises NoAnswer and PortFailed.

        ``note`` is told of each training.
        """


class ModuleAnswers:
    """The answers of the class ``Port`` of a module."""

    def __init__(self, name: str, module: ModuleType) -> None:
        if not callable(getattr(module, "Port", None)):
            raise SettingError(f"{name} has no class Port; see docs/porting.md for what it needs")
        self.make = module.Port

    def answer(self, question: Question) -> Arrays:
        """As in ``Answers``."""
        # A copy: a port may change what it is given.
        own = copy.deepcopy(question)
        return _guarded(lambda: _as_arrays(ask(self.make, own)))

    def numbers(
        self, question: Question, seeds: Sequence[int], note: Callable[[str], None]
    ) -> Numbers:
        """As in ``Answers``."""
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
    """An answer as arrays of numbers. Raises ValueError for what is none."""
    arrays = {name: np.asarray(array) for name, array in answer.items()}
    for name, array in arrays.items():
        if array.dtype.kind not in "biuf":
            raise ValueError(f"{name} is of {array.dtype}, not an array of numbers")
    return arrays


class FolderAnswers:
    """The answers in a folder: for each question a ``.npz`` of its name."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder

    def answer(self, question: Question) -> Arrays:
        """As in ``Answers``. Raises DataError for a file that cannot be read."""
        return self._read(question.name)

    def numbers(
        self, question: Question, seeds: Sequence[int], note: Callable[[str], None]
    ) -> Numbers:
        """As in ``Answers``; the file has an array over seeds for each ``protocol/name``."""
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
                hint = "; it is about MovieLens-100K, which --no-chapter-data leaves out"
            raise NoAnswer(f"there is no {path}{hint}")
        return read_npz(path)


def answers_of(port: str) -> Answers:
    """The port named on the command line: a folder of answers, a ``.py`` file, or a module.

    A folder with an ``__init__.py`` is a module. What the port imports from its own folder, or from
    the current one, is found there.

    Raises SettingError for what is neither, or cannot be imported.
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
            raise SettingError(f"{port} is not below the current folder; go there first") from None
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
    """A file as a module of its own, whatever else has its name."""
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
    """What ``call`` returns. A port that ends the program has failed, as one that raises has."""
    try:
        return call()
    except NotImplementedError as error:
        raise NoAnswer(_printable(error) or "not implemented") from error
    except (Exception, SystemExit) as error:
        raise PortFailed(_told(error)) from error


def _told(error: BaseException) -> str:
    """An error in one line, with the place where it was raised."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{pathlib.Path(last.filename).name}, line {last.lineno}"
    return f"{type(error).__name__}: {_printable(error)[:300]} ({place})"


def _printable(error: BaseException) -> str:
    """Its message, without what terminals and XML cannot take."""
    return "".join(c if c.isprintable() else " " for c in " ".join(str(error).split()))
