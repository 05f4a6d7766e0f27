"""Measure how far correct float32 answers lie apart, and derive the tolerances from it.

Some arrays have no tolerance that decides anything. A gradient can be a sum that cancels, so that
only its rounding error remains. The first step of Adam makes a whole step of that error. These
arrays are undecided.
"""

import math
from typing import Any, Dict, List, Sequence, Tuple

import numpy as np

from d2l_recsys.baseline import oracle, reference
from d2l_recsys.baseline.compare import compare, distance
from d2l_recsys.baseline.ladder import PAIRS, PRECISIONS
from d2l_recsys.baseline.made_up_data import SEED
from d2l_recsys.baseline.oracle.rounding import InOneCall, in_precision
from d2l_recsys.baseline.port import Arrays
from d2l_recsys.baseline.questions import Question, ask
from d2l_recsys.errors import DataError

# A port adds numbers in another order than the implementations that we measure. This factor is
# the margin for that.
FACTOR = 10
# The least spread that we trust: sixteen rounding units of float32. A smaller spread is luck.
LEAST = 16 * 2.0**-24
# The margin for lower precisions.
FACTOR_OF_LOWER = 4
# The largest tolerance that still decides something.
COARSEST = 0.1
# How often the oracle answers in float32: once as asked, then with other orders of the examples.
ROUNDED = 4
# The rungs whose answers are weights after steps of the optimizer.
STEPS = (4, 5)


class _OnTwoDevices(reference.Port):
    num_devices = 2


class _InFloat32(oracle.Port):
    dtype = np.float32


class _InOneCall(InOneCall):
    dtype = np.float32


def tolerances(question: Question, expected: Arrays) -> Dict[str, Any]:
    """The ``spread`` of float32 answers around ``expected``, and the ``tolerance`` of a question.

    ``lower_precision`` has the tolerance for each lower precision that can be decided. All are
    distances as ``compare`` measures them. If there are undecided arrays, ``undecided`` names them.

    Raises DataError if the answer of the oracle in float64 is further from ``expected`` than
    rounding explains.
    """
    exact, others = ask(oracle.Port, question), in_float32(question)
    answers = [exact, *others, *in_one_call(question)]
    found: Dict[str, Any] = {}
    undecided = undecided_arrays(question, expected, answers)
    if undecided:
        found["undecided"] = list(undecided)
        question = question._replace(undecided=undecided)
    spread = max(distance(question, expected, answer) for answer in answers)
    tolerance = _rounded_up(FACTOR * max(spread, LEAST)) if question.rung else 0.0
    if not agree(question, expected, exact, others):
        off = distance(question, expected, exact)
        raise DataError(f"{question.name}: the project and the oracle differ by {off:.2g}")
    found.update(tolerance=tolerance, spread=float(f"{spread:.2g}"))
    if question.rung > 1:
        found["lower_precision"] = lower_precision(question, expected, tolerance)
    return found


def agree(
    question: Question, expected: Arrays, exact: Arrays, in_float32: Sequence[Arrays]
) -> bool:
    """Whether rounding explains how far the oracle's ``exact`` answer is from ``expected``.

    The limit is ten times the distance between the exact answer and the oracle's answers, the first
    ones of ``in_float32``. It is at least ten times ``LEAST``, and 0 on rung 0.
    """
    allowed = 0.0
    if question.rung:
        rounding = max(distance(question, exact, answer) for answer in in_float32[:ROUNDED])
        allowed = FACTOR * max(rounding, LEAST)
    return distance(question, expected, exact) <= allowed


def undecided_arrays(
    question: Question, expected: Arrays, answers: Sequence[Arrays]
) -> Tuple[str, ...]:
    """The arrays of a step in which right ``answers`` lie too far apart for a tolerance."""
    if question.rung not in STEPS:
        return ()
    apart = [
        one.array
        for answer in answers
        for one in compare(question.rung, expected, answer, question.given)
        if FACTOR * one.distance > COARSEST
    ]
    return tuple(name for name in expected if name in apart)


def lower_precision(question: Question, expected: Arrays, least: float) -> Dict[str, float]:
    """The tolerance of a question on rungs 2 to 5 for each lower precision.

    It comes from the oracle with the rounding of this precision, and is at least ``least``, the
    tolerance of float32. If the tolerance would be above ``COARSEST``, it would decide too little,
    and the precision is left out.
    """
    found = {}
    asked = [question, *_in_other_orders(question)]
    for precision in PRECISIONS[1:]:
        make = in_precision(precision)
        with np.errstate(all="ignore"):
            answers = [ask(make, of_order) for of_order in asked]
        spread = max(distance(question, expected, answer) for answer in answers)
        tolerance = max(least, FACTOR_OF_LOWER * spread)
        if tolerance <= COARSEST:
            found[precision] = _rounded_up(tolerance)
    return found


def in_float32(question: Question) -> List[Arrays]:
    """The answers of several float32 implementations; none on rung 0, where nothing is rounded.

    The first ``ROUNDED`` answers are from the oracle. The last is from this project on two devices.
    """
    if not question.rung:
        return []
    asked = [question, *_in_other_orders(question)]
    answers = [ask(_InFloat32, of_order) for of_order in asked]
    return [*answers, ask(_OnTwoDevices, question)]


def in_one_call(question: Question) -> List[Arrays]:
    """The answers of float32 implementations that score positive and negative items in one call."""
    if question.model not in PAIRS or question.rung < 3:
        return []
    return [ask(_InOneCall, of_order) for of_order in [question, *_in_other_orders(question)]]


def _in_other_orders(question: Question) -> List[Question]:
    """The question with its examples in other orders, except where each has its own output."""
    rng = np.random.default_rng(SEED)
    others = [question] * (ROUNDED - 1)
    return [_shuffled(other, rng) for other in others] if question.rung > 2 else others


def _shuffled(question: Question, rng: np.random.Generator) -> Question:
    """The same question, with the examples of each batch in another order."""
    given = dict(question.given)
    for part, axis in (("batch/", 0), ("batches/", 1)):
        names = [name for name in given if name.startswith(part)]
        if names:
            order = rng.permutation(given[names[0]].shape[axis])
            given.update({name: given[name].take(order, axis) for name in names})
    return question._replace(given=given)


def _rounded_up(value: float) -> float:
    """``value`` rounded up to two significant digits."""
    unit = 10.0 ** (math.floor(math.log10(value)) - 1)
    return float(f"{math.ceil(value / unit) * unit:.2g}")
