"""Measure how far correct float32 answers lie apart, and derive the tolerances from it."""

import math
from typing import Any, Dict, List, Sequence

import numpy as np

from d2l_recsys.baseline import oracle, reference, spread
from d2l_recsys.baseline.compare import distance
from d2l_recsys.baseline.ladder import PRECISIONS
from d2l_recsys.baseline.oracle.rounding import in_precision
from d2l_recsys.baseline.port import Arrays
from d2l_recsys.baseline.questions import Question, ask
from d2l_recsys.baseline.spread import COARSEST, FACTOR, LEAST, ORDERS, undecided_arrays
from d2l_recsys.errors import DataError

# The margin for lower precisions.
FACTOR_OF_LOWER = 4


class _OnTwoDevices(reference.Port):
    num_devices = 2


def tolerances(question: Question, expected: Arrays) -> Dict[str, Any]:
    """The ``spread`` of float32 answers around ``expected``, and the ``tolerance`` of a question.

    ``lower_precision`` has the tolerance for each lower precision that can be decided. All are
    distances as ``compare`` measures them. If there are undecided arrays, ``undecided`` names them.

    Raises DataError if the answer of the oracle in float64 is further from ``expected`` than
    rounding explains.
    """
    exact, others = ask(oracle.Port, question), measured(question)
    answers = [exact, *others, *spread.in_one_call(question)]
    found: Dict[str, Any] = {}
    undecided = undecided_arrays(question, expected, answers)
    if undecided:
        found["undecided"] = list(undecided)
        question = question._replace(undecided=undecided)
    furthest = max(distance(question, expected, answer) for answer in answers)
    tolerance = _rounded_up(FACTOR * max(furthest, LEAST)) if question.rung else 0.0
    if not agree(question, expected, exact, others):
        off = distance(question, expected, exact)
        raise DataError(f"{question.name}: the project and the oracle differ by {off:.2g}")
    found.update(tolerance=tolerance, spread=float(f"{furthest:.2g}"))
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
        rounding = max(distance(question, exact, answer) for answer in in_float32[:ORDERS])
        allowed = FACTOR * max(rounding, LEAST)
    return distance(question, expected, exact) <= allowed


def lower_precision(question: Question, expected: Arrays, least: float) -> Dict[str, float]:
    """The tolerance of a question on rungs 2 to 5 for each lower precision.

    It comes from the oracle with the rounding of this precision, and is at least ``least``, the
    tolerance of float32. If the tolerance would be above ``COARSEST``, it would decide too little,
    and the precision is left out.
    """
    found = {}
    for precision in PRECISIONS[1:]:
        with np.errstate(all="ignore"):
            answers = spread.in_orders(in_precision(precision), question)
        furthest = max(distance(question, expected, answer) for answer in answers)
        tolerance = max(least, FACTOR_OF_LOWER * furthest)
        if tolerance <= COARSEST:
            found[precision] = _rounded_up(tolerance)
    return found


def measured(question: Question) -> List[Arrays]:
    """The answers of several float32 implementations; none on rung 0, where nothing is rounded.

    The first ``ORDERS`` answers are from the oracle. The last is from this project on two devices.
    """
    if not question.rung:
        return []
    return [*spread.in_float32(question), ask(_OnTwoDevices, question)]


def _rounded_up(value: float) -> float:
    """``value`` rounded up to two significant digits."""
    unit = 10.0 ** (math.floor(math.log10(value)) - 1)
    return float(f"{math.ceil(value / unit) * unit:.2g}")
