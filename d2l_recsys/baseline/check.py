"""Check a port: ask it the questions of each rung, from rung 0 up to the first wrong rung."""

from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from d2l_recsys.baseline.answers import NUMBERS, Answers, NoAnswer, PortFailed
from d2l_recsys.baseline.chapter_data import chapter_questions
from d2l_recsys.baseline.compare import compare, digest
from d2l_recsys.baseline.convergence import THRESHOLD, Test, law_tests, number_tests
from d2l_recsys.baseline.files import Baseline
from d2l_recsys.baseline.ladder import CONVERGENCE, RUNGS, tracks
from d2l_recsys.baseline.mistakes import Mistake, diagnose, usual_causes
from d2l_recsys.baseline.port import Arrays
from d2l_recsys.baseline.questions import Question

# A finding names the worst array of an answer, and at most this many further wrong arrays.
TOLD = 4


class Status:
    """The status of a rung.

    ``open`` means: not asked, because a lower rung is not right. ``left_out`` means: not among the
    rungs that the caller chose.
    """

    right, wrong, no_answer, open, left_out = "right", "wrong", "no answer", "open", "left out"


class Finding(NamedTuple):
    """The result for one question: its distance in tolerances, and a description in ``words``.

    A ``ratio`` above 1 is wrong. ``causes`` are the known mistakes that give the same answer. If
    there is none, ``usual`` has the known mistakes that first show at this rung.
    """

    question: str
    ratio: float
    words: str
    causes: Tuple[Mistake, ...] = ()
    usual: Tuple[Mistake, ...] = ()


class Cell(NamedTuple):
    """One rung of a row: its status and its findings, the worst finding first."""

    status: str
    findings: Tuple[Finding, ...] = ()


class Row(NamedTuple):
    """The results of one model under one protocol: one cell for each rung."""

    model: str
    protocol: str
    cells: Tuple[Cell, ...]

    @property
    def first_wrong(self) -> Optional[int]:
        """The number of the first rung that is wrong or has no answer; None if all are right."""
        for rung, cell in enumerate(self.cells):
            if cell.status in (Status.wrong, Status.no_answer):
                return rung
        return None


def check(
    baseline: Baseline,
    answers: Answers,
    models: Sequence[str],
    protocols: Sequence[str],
    rungs: Sequence[int],
    inputs: Mapping[str, Arrays],
    seeds: Sequence[int],
    note: Callable[[str], None] = lambda line: None,
) -> List[Row]:
    """Ask the questions of ``rungs`` about ``models``; returns a row for each model and protocol.

    ``inputs`` is the chapter's data from ``chapter_data.read_inputs``, for rungs 0 and 6; if it is
    empty, the questions about this data are left out. Rung 6 trains each model once with each of
    ``seeds``. ``note`` is called with a line of text before each question and each training.

    Raises DataError if a file of the baseline or of an answer cannot be read.
    """
    climb = _Climb(baseline, answers, inputs, seeds, note)
    return [
        Row(model, protocol, climb.cells(model, protocol, rungs))
        for model in models
        for protocol in protocols
    ]


class _Climb:
    """Asks the questions, and remembers the results that several rows share."""

    def __init__(
        self,
        baseline: Baseline,
        answers: Answers,
        inputs: Mapping[str, Arrays],
        seeds: Sequence[int],
        note: Callable[[str], None],
    ) -> None:
        self.baseline, self.answers, self.inputs = baseline, answers, inputs
        self.seeds, self.note = seeds, note
        self._cells: Dict[str, Cell] = {}
        self._numbers: Dict[str, Any] = {}

    def cells(self, model: str, protocol: str, rungs: Sequence[int]) -> Tuple[Cell, ...]:
        """The cells of a row. If a rung is not right, the higher rungs are not asked."""
        cells: List[Cell] = []
        for rung in range(len(RUNGS)):
            if rung not in rungs:
                cells.append(Cell(Status.left_out))
            elif any(cell.status not in (Status.right, Status.left_out) for cell in cells):
                cells.append(Cell(Status.open))
            else:
                cells.append(self._cell(model, protocol, rung))
        return tuple(cells)

    def _cell(self, model: str, protocol: str, rung: int) -> Cell:
        asked = [
            self._once(entry["name"], lambda entry=entry: self._asked(entry, protocol))
            for entry in self.baseline.entries
            if entry["model"] == model and entry["rung"] == rung and protocol in entry["protocols"]
        ]
        if model in self.inputs:
            if rung == 0:
                (question,) = chapter_questions({model: self.inputs[model]})
                question = question._replace(protocols=(protocol,))
                asked.append(self._once(question.name, lambda: self._on_chapter_data(question)))
            elif rung == CONVERGENCE and all(cell.status == Status.right for cell in asked):
                asked.append(self._converged(model, protocol))
        return _together(asked)

    def _once(self, name: str, find: Callable[[], Cell]) -> Cell:
        if name not in self._cells:
            self.note(name)
            self._cells[name] = find()
        return self._cells[name]

    def _asked(self, entry: Mapping[str, Any], protocol: str) -> Cell:
        """The cell of one question from the files of the baseline.

        A question that both protocols share is asked once, under the first of these protocols.
        """
        question = self.baseline.question(entry)._replace(protocols=(protocol,))
        answer, failed = _tried(question.name, lambda: self.answers.answer(question))
        if failed:
            return failed
        if question.rung == CONVERGENCE:
            return _tested(question.name, law_tests(question, answer), ())
        tolerance = entry["tolerance"]
        found = compare(question.rung, self.baseline.expected(entry), answer, question.given)
        worst = max(found, key=lambda difference: difference.distance)
        ratio = _ratio(worst.distance, tolerance)
        if ratio <= 1:
            return Cell(Status.right, (Finding(question.name, ratio, worst.words),))
        wrong = [difference for difference in found if not difference.distance <= tolerance]
        words = worst.words
        if len(wrong) > 1:
            others = [difference.array for difference in wrong if difference is not worst]
            more = ["..."] if others[TOLD:] else []
            words += f"; also wrong: {', '.join([*others[:TOLD], *more])}"
        if np.isinf(worst.distance):
            # An array is missing, has another shape or is not finite: no mistake explains this.
            return Cell(Status.wrong, (Finding(question.name, ratio, words),))
        if question.rung:
            words += f" (distance {worst.distance:.2g}, tolerance {tolerance:.2g})"
        causes = tuple(diagnose(question, answer, tolerance))
        return Cell(
            Status.wrong,
            (Finding(question.name, ratio, words, causes, () if causes else _usual(question)),),
        )

    def _on_chapter_data(self, question: Question) -> Cell:
        """Rung 0 on MovieLens-100K: compares the answer with the checksums in the baseline."""
        answer, failed = _tried(question.name, lambda: self.answers.answer(question))
        if failed:
            return failed
        kept = self.baseline.index["chapter_data"]["answers"][question.model]
        for name, expected in kept.items():
            words = _digest_differs(name, expected, answer)
            if words:
                found = Finding(question.name, np.inf, words, usual=_usual(question))
                return Cell(Status.wrong, (found,))
        return Cell(Status.right, (Finding(question.name, 0.0, "all checksums agree"),))

    def _converged(self, model: str, protocol: str) -> Cell:
        """Rung 6: the final metrics of one protocol, compared with those of the reference."""
        (track,) = (name for name, of_track in tracks(model) if protocol in of_track)
        name, reference = f"{track}/{NUMBERS}", self.baseline.index["convergence"][track]
        given, settings = self.inputs[model], reference["settings"]
        question = Question(name, CONVERGENCE, "train", model, (protocol,), settings, given)
        if name not in self._numbers:
            self._numbers[name] = _tried(
                name, lambda: self.answers.numbers(question, self.seeds, self.note)
            )
        numbers, failed = self._numbers[name]
        if failed:
            return failed
        tests = number_tests(reference[protocol], numbers.get(protocol, {}), len(self.seeds))
        return _tested(name, tests, _usual(question))


def _tried(name: str, ask: Callable[[], Dict[str, Any]]) -> Tuple[Dict[str, Any], Optional[Cell]]:
    """Return (the answer, None), or ({}, a cell that says why the port gave no answer)."""
    try:
        return ask(), None
    except NoAnswer as error:
        return {}, Cell(Status.no_answer, (Finding(name, np.inf, str(error)),))
    except PortFailed as error:
        return {}, Cell(Status.wrong, (Finding(name, np.inf, f"the port raises {error}"),))


def _usual(question: Question) -> Tuple[Mistake, ...]:
    return tuple(usual_causes(question.rung, question.model, question.protocols[0]))


def _tested(name: str, tests: Sequence[Test], usual: Tuple[Mistake, ...]) -> Cell:
    """The cell of statistical tests. The ratio of a test is the threshold over its p-value."""
    findings = []
    for test in sorted(tests, key=lambda test: test.p):
        ratio = _ratio(THRESHOLD, test.p)
        words = f"{test.words} (p-value {test.p:.2g})"
        findings.append(Finding(name, ratio, words, usual=() if ratio <= 1 else usual))
    wrong = not findings[0].ratio <= 1
    return Cell(Status.wrong if wrong else Status.right, tuple(findings))


def _ratio(distance: float, allowed: float) -> float:
    return distance / allowed if allowed else (np.inf if distance else 0.0)


def _digest_differs(name: str, expected: Mapping[str, Any], answer: Arrays) -> str:
    if name not in answer:
        return f"{name} is missing"
    found = digest(name, answer[name])
    if found["shape"] != expected["shape"]:
        return f"{name} has the shape {tuple(found['shape'])}, not {tuple(expected['shape'])}"
    if found["sha256"] != expected["sha256"]:
        return (
            f"{name} does not match its checksum: it begins with {found['sample'][:2]}, expected "
            f"{expected['sample'][:2]}"
        )
    return ""


def _together(asked: Sequence[Cell]) -> Cell:
    """One cell for several questions: wrong if one is wrong, else no answer if one has none."""
    statuses = [cell.status for cell in asked]
    failed = (status for status in (Status.wrong, Status.no_answer) if status in statuses)
    status = next(failed, Status.right)
    kept = [finding for cell in asked if cell.status == status for finding in cell.findings]
    return Cell(status, tuple(sorted(kept, key=lambda found: -found.ratio)))
