"""Check a port: ask it the questions of each rung, from rung 0 up to the first wrong rung."""

import itertools
from typing import (
    Any,
    Callable,
    Dict,
    Iterator,
    List,
    Mapping,
    NamedTuple,
    Optional,
    Sequence,
    Set,
    Tuple,
)

import numpy as np

from d2l_recsys.baseline.answers import NUMBERS, Answers, NoAnswer, PortFailed
from d2l_recsys.baseline.chapter_data import chapter_questions
from d2l_recsys.baseline.compare import compare, digest, distance
from d2l_recsys.baseline.convergence import THRESHOLD, Test, law_tests, number_tests
from d2l_recsys.baseline.dropout import dropout_tests
from d2l_recsys.baseline.files import Baseline
from d2l_recsys.baseline.ladder import (
    CONVERGENCE,
    DRAWN,
    DROPOUT,
    ORDER,
    PRECISIONS,
    RUNGS,
    base,
    tracks,
)
from d2l_recsys.baseline.mistakes import (
    Answered,
    Explanation,
    Mistake,
    diagnose,
    possible,
    possible_in,
    together,
)
from d2l_recsys.baseline.port import Arrays
from d2l_recsys.baseline.questions import Question, ask
from d2l_recsys.baseline.spread import (
    COARSEST,
    FACTOR,
    from_other_weights,
    in_float32,
    in_one_call,
    undecided_arrays,
)

# A finding names the worst array of an answer, and at most this many further wrong arrays.
TOLD = 4


class Status:
    """The status of a rung.

    ``open`` means: not asked, because a lower rung is not right. ``left_out`` means: not among the
    rungs that the caller chose. ``undecided`` means: not asked, or not compared, because right
    answers in the chosen precision, or with the accepted mistakes, lie too far apart.
    """

    right, wrong, no_answer, open, left_out = "right", "wrong", "no answer", "open", "left out"
    undecided = "undecided"


class Finding(NamedTuple):
    """The result for one question: its distance in tolerances, and a description in ``words``.

    A ``ratio`` above 1 is wrong.
    """

    question: str
    ratio: float
    words: str


class Cell(NamedTuple):
    """One rung of a row: its status and its findings, the worst finding first.

    ``causes`` are the known mistakes that give the same wrong answers. Where no cause can be
    computed, ``usual`` has the mistakes that the check cannot rule out. ``accepted`` has those of
    the accepted mistakes that the port makes. ``precision`` is the highest precision in which
    right answers lie as far apart as the wrong ones, if there is one. ``sought`` tells whether
    causes were looked for. (Where the port raises an error, there is no answer to look at.)
    """

    status: str
    findings: Tuple[Finding, ...] = ()
    causes: Tuple[Explanation, ...] = ()
    usual: Tuple[Mistake, ...] = ()
    accepted: Tuple[Mistake, ...] = ()
    precision: str = ""
    sought: bool = False


class Row(NamedTuple):
    """The results of one model, or variant of a model, under one protocol: a cell for each rung."""

    model: str
    protocol: str
    cells: Tuple[Cell, ...]

    @property
    def first_wrong(self) -> Optional[int]:
        """The first rung that is wrong or has no answer, in ``ORDER``; None if all are right."""
        wrong = (Status.wrong, Status.no_answer)
        return next((rung for rung in ORDER if self.cells[rung].status in wrong), None)

    def in_order(self) -> Iterator[Tuple[int, Cell]]:
        """Each rung and its cell, in the order in which the check asks."""
        return ((rung, self.cells[rung]) for rung in ORDER)

    @property
    def accepted(self) -> Tuple[Mistake, ...]:
        """Those of the accepted mistakes that the port makes."""
        return tuple(dict.fromkeys(m for cell in self.cells for m in cell.accepted))


def check(
    baseline: Baseline,
    answers: Answers,
    models: Sequence[str],
    protocols: Sequence[str],
    rungs: Sequence[int],
    inputs: Mapping[str, Arrays],
    seeds: Sequence[int],
    note: Callable[[str], None] = lambda line: None,
    accepted: Sequence[Mistake] = (),
    precision: str = PRECISIONS[0],
) -> List[Row]:
    """Ask the questions of ``rungs`` about ``models``; returns a row for each model and protocol.

    A variant in ``models`` is asked as a model of its own.
    ``inputs`` is the chapter's data from ``chapter_data.read_inputs``, for rungs 0 and 6; if it is
    empty, the questions about this data are left out. Rung 6 trains each model once with each of
    ``seeds``. ``note`` is called with a line of text before each question and each training. An
    answer with mistakes in ``accepted`` is right. ``precision`` is that of the port's net.

    Raises DataError if a file of the baseline or of an answer cannot be read.
    """
    climb = _Climb(baseline, answers, inputs, seeds, note, accepted, precision)
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
        accepted: Sequence[Mistake],
        precision: str,
    ) -> None:
        self.baseline, self.answers, self.inputs = baseline, answers, inputs
        self.seeds, self.note, self.accepted = seeds, note, accepted
        self.precision = precision
        self._answered: Dict[str, Answered] = {}
        self._cells: Dict[str, Cell] = {}
        self._numbers: Dict[str, Any] = {}

    def cells(self, model: str, protocol: str, rungs: Sequence[int]) -> Tuple[Cell, ...]:
        """The cells of a row. If a rung is not right, the higher rungs are not asked."""
        cells = [Cell(Status.left_out)] * len(RUNGS)
        for rung in ORDER:
            if rung in rungs:
                passed = (Status.right, Status.left_out, Status.undecided)
                may_go_on = all(cell.status in passed for cell in cells)
                cells[rung] = self._cell(model, protocol, rung) if may_go_on else Cell(Status.open)
        return tuple(cells)

    def _cell(self, model: str, protocol: str, rung: int) -> Cell:
        entries = self.baseline.asked(model, protocol, rung)
        asked = [
            self._once(entry["name"], lambda entry=entry: self._asked(entry, protocol))
            for entry in entries
        ]
        if model in self.inputs:
            if rung == 0:
                (question,) = chapter_questions({model: self.inputs[model]}).values()
                question = question._replace(protocols=(protocol,))
                asked.append(self._once(question.name, lambda: self._on_chapter_data(question)))
            elif rung == CONVERGENCE and all(cell.status == Status.right for cell in asked):
                asked.append(self._converged(model, protocol))
        cell = _together(asked)
        if cell.status == Status.wrong and rung not in DRAWN:
            names = [e["name"] for e, c in zip(entries, asked) if c.status != Status.undecided]
            answered = [self._answered.get(name) for name in names]
            if all(answered):
                causes = diagnose(answered, self._accepted_in(answered[0].question))
                cell = cell._replace(causes=tuple(causes), sought=True)
            if not cell.causes and self.precision == PRECISIONS[0]:
                cell = cell._replace(precision=_precision(entries, asked))
        return cell

    def _accepted_in(self, question: Question) -> Tuple[Mistake, ...]:
        return tuple(
            mistake
            for mistake in self.accepted
            if question.variant in mistake.variants and question.protocols[0] in mistake.protocols
        )

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
        tolerance = entry.get("tolerance")
        if self.precision != PRECISIONS[0] and "lower_precision" in entry:
            tolerance = entry["lower_precision"].get(self.precision)
            if tolerance is None:
                return Cell(Status.undecided)
        answer, failed = _tried(question.name, lambda: self.answers.answer(question))
        if failed:
            return failed
        if question.rung == DROPOUT:
            tests = dropout_tests(question, answer, precision=self.precision)
            failed = _failed(tests)
            causes = _dropping(question, answer, self.precision) if failed else ()
            usual = _unrecognised(question, failed) if failed and not causes else ()
            return _tested(question, tests, causes, usual)
        if question.rung == CONVERGENCE:
            tests = law_tests(question, answer)
            return _tested(question, tests, usual=_drawing(question, _failed(tests)))
        self._answered[question.name] = Answered(question, answer, tolerance)
        right = self.baseline.expected(entry)
        nearest: Optional[Cell] = None
        made: Dict[Tuple[Mistake, ...], Arrays] = {}
        for accepted in _subsets(self._accepted_in(question)):
            expected = _with(accepted, question, right)
            cell = _compared(question, expected, answer, tolerance)
            if cell.status == Status.right:
                return cell._replace(accepted=accepted)
            if nearest is None or cell.findings[0].ratio < nearest.findings[0].ratio:
                nearest = cell
            if question.rung > 1 and distance(question, right, expected) > tolerance:
                made[accepted] = expected
        for accepted, expected in made.items():
            cell = _with_spread(accepted, question, expected, answer, tolerance)
            if cell.status != Status.wrong:
                return cell._replace(accepted=accepted)
        return nearest

    def _on_chapter_data(self, question: Question) -> Cell:
        """Rung 0 on MovieLens-100K: compares the answer with the checksums in the baseline.

        If mistakes are accepted, the oracle makes them on this data.
        """
        answer, failed = _tried(question.name, lambda: self.answers.answer(question))
        if failed:
            return failed
        kept = self.baseline.index["chapter_data"]["answers"][question.variant]
        found = ""
        for accepted in _subsets(self._accepted_in(question)):
            if accepted:
                mistaken = ask(together(accepted), question)
                kept = {name: digest(name, array) for name, array in mistaken.items()}
            words = next(filter(None, (_digest_differs(n, k, answer) for n, k in kept.items())), "")
            if not words:
                exact = Finding(question.name, 0.0, "all checksums agree")
                return Cell(Status.right, (exact,), accepted=accepted)
            found = found or words
        return Cell(Status.wrong, (Finding(question.name, np.inf, found),))

    def _converged(self, model: str, protocol: str) -> Cell:
        """Rung 6: the final metrics of one protocol, compared with those of the reference."""
        (track,) = (name for name, of_track in tracks(model) if protocol in of_track)
        name, reference = f"{track}/{NUMBERS}", self.baseline.index["convergence"][track]
        given, settings = self.inputs[model], reference["settings"]
        question = Question(name, CONVERGENCE, "train", base(model), (protocol,), settings, given)
        if name not in self._numbers:
            self._numbers[name] = _tried(
                name, lambda: self.answers.numbers(question, self.seeds, self.note)
            )
        numbers, failed = self._numbers[name]
        if failed:
            return failed
        tests = number_tests(reference[protocol], numbers.get(protocol, {}), len(self.seeds))
        return _tested(question, tests, usual=tuple(possible_in(question)))


def _precision(entries: Sequence[Mapping[str, Any]], asked: Sequence[Cell]) -> str:
    """The highest lower precision that makes all wrong cells right; "" if there is none."""
    wrong = [(e, c) for e, c in zip(entries, asked) if c.status == Status.wrong]
    for precision in PRECISIONS[1:] if len(entries) == len(asked) else ():
        if all(
            cell.findings[0].ratio * entry["tolerance"]
            <= entry.get("lower_precision", {}).get(precision, 0)
            for entry, cell in wrong
        ):
            return precision
    return ""


def _tried(name: str, ask: Callable[[], Dict[str, Any]]) -> Tuple[Dict[str, Any], Optional[Cell]]:
    """Return (the answer, None), or ({}, a cell that says why the port gave no answer)."""
    try:
        return ask(), None
    except NoAnswer as error:
        return {}, Cell(Status.no_answer, (Finding(name, np.inf, str(error)),))
    except PortFailed as error:
        return {}, Cell(Status.wrong, (Finding(name, np.inf, f"the port raises {error}"),))


def _subsets(mistakes: Tuple[Mistake, ...]) -> Iterator[Tuple[Mistake, ...]]:
    """All subsets of ``mistakes``, the smallest first."""
    for count in range(len(mistakes) + 1):
        yield from itertools.combinations(mistakes, count)


def _with(accepted: Tuple[Mistake, ...], question: Question, expected: Arrays) -> Arrays:
    """The expected answer of a port that makes the mistakes in ``accepted``.

    It is ``expected`` and what the mistakes change in the answer of the oracle.
    """
    if not accepted:
        return expected
    right, mistaken = ask(together(()), question), ask(together(accepted), question)
    found = {}
    for name, array in mistaken.items():
        adds = question.rung and name in expected and array.shape == expected[name].shape
        found[name] = expected[name] + (array - right[name]) if adds else array
    return found


def _with_spread(
    made: Tuple[Mistake, ...],
    question: Question,
    expected: Arrays,
    answer: Arrays,
    tolerance: float,
) -> Cell:
    """As ``_compared``, but with the tolerance of a port that makes the mistakes in ``made``.

    The tolerance of the baseline is that of right ports. With a mistake, float32 answers can lie
    further apart.
    """
    port = together(made)
    with np.errstate(all="ignore"):
        others = [
            *in_float32(question, port),
            *in_one_call(question, port),
            *from_other_weights(question, port),
        ]
        undecided = undecided_arrays(question, expected, others)
        question = question._replace(undecided=(*question.undecided, *undecided))
        if set(question.undecided) >= set(expected):
            return Cell(Status.undecided)
        furthest = max(distance(question, expected, other) for other in others)
    if not FACTOR * furthest <= COARSEST:
        return Cell(Status.undecided)
    return _compared(question, expected, answer, max(tolerance, FACTOR * furthest))


def _compared(question: Question, expected: Arrays, answer: Arrays, tolerance: float) -> Cell:
    """The cell of an answer that should be ``expected``, up to the ``tolerance``."""
    found = compare(question.rung, expected, answer, question.given, question.undecided)
    worst = max(found, key=lambda difference: difference.distance)
    ratio = _ratio(worst.distance, tolerance)
    if ratio <= 1:
        return Cell(Status.right, (Finding(question.name, ratio, worst.words),))
    wrong = [difference for difference in found if not difference.distance <= tolerance]
    words = worst.words
    if len(wrong) > 1:
        others = [difference.array for difference in wrong if difference is not worst]
        others.sort(key=lambda name: name != "loss")
        more = ["..."] if others[TOLD:] else []
        words += f"; also wrong: {', '.join([*others[:TOLD], *more])}"
        if "loss" in expected and "loss" not in (worst.array, *others):
            words += "; the loss is right"
    if question.rung and np.isfinite(worst.distance):
        words += f" (distance {worst.distance:.2g}, tolerance {tolerance:.2g})"
    return Cell(Status.wrong, (Finding(question.name, ratio, words),))


def _dropping(question: Question, answer: Arrays, precision: str) -> Tuple[Explanation, ...]:
    """The mistakes whose outputs have the distribution of the answer; only for rung 7."""
    return tuple(
        Explanation((mistake,), (question.name,), True)
        for mistake in possible(DROPOUT, question.variant, question.protocols[0])
        if not _failed(dropout_tests(question, answer, mistake.port, precision))
    )


def _unrecognised(question: Question, failed: Set[str]) -> Tuple[Mistake, ...]:
    """The mistakes of rung 7 that fail just the tests ``failed`` and cannot be recognised.

    Each output of such a port is right; only together the outputs are wrong.
    """
    return tuple(
        mistake
        for mistake in possible(DROPOUT, question.variant, question.protocols[0])
        for answer in [ask(mistake.port, question)]
        if _failed(dropout_tests(question, answer)) == failed
        and _failed(dropout_tests(question, answer, mistake.port))
    )


def _drawing(question: Question, failed: Set[str]) -> Tuple[Mistake, ...]:
    """The mistakes that fail just the tests ``failed`` of first weights or negative items."""
    return tuple(
        mistake
        for mistake in (possible_in(question) if failed else ())
        if _failed(law_tests(question, ask(mistake.port, question))) == failed
    )


def _failed(tests: Sequence[Test]) -> Set[str]:
    return {test.what for test in tests if test.p <= THRESHOLD}


def _tested(
    question: Question,
    tests: Sequence[Test],
    causes: Tuple[Explanation, ...] = (),
    usual: Tuple[Mistake, ...] = (),
) -> Cell:
    """The cell of statistical tests. The ratio of a test is the threshold over its p-value.

    ``causes`` are the mistakes that explain the answer if it is wrong, ``usual`` are those that
    cannot be ruled out.
    """
    findings = tuple(
        Finding(question.name, _ratio(THRESHOLD, test.p), f"{test.words} (p-value {test.p:.2g})")
        for test in sorted(tests, key=lambda test: test.p)
    )
    if findings[0].ratio <= 1:
        return Cell(Status.right, findings)
    return Cell(Status.wrong, findings, causes, usual)


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
    """One cell for several questions.

    It is wrong if one is wrong, else no answer if one has none, else right if one is decided.
    """
    statuses = [cell.status for cell in asked]
    order = (Status.wrong, Status.no_answer, Status.right, Status.undecided)
    status = next((status for status in order if status in statuses), Status.right)
    kept = [cell for cell in asked if cell.status == status]
    findings = [finding for cell in kept for finding in cell.findings]
    return Cell(
        status,
        tuple(sorted(findings, key=lambda found: -found.ratio)),
        causes=tuple(cause for cell in kept for cause in cell.causes),
        usual=tuple(dict.fromkeys(mistake for cell in kept for mistake in cell.usual)),
        accepted=tuple(dict.fromkeys(mistake for cell in asked for mistake in cell.accepted)),
    )
