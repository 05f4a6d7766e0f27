"""Measure how far correct float32 answers lie apart, and derive the tolerances from it."""

import math
from typing import Any, Dict, List

import numpy as np

from d2l_recsys.baseline import oracle, reference
from d2l_recsys.baseline.compare import distance
from d2l_recsys.baseline.ladder import PRECISIONS
from d2l_recsys.baseline.made_up_data import SEED
from d2l_recsys.baseline.oracle.rounding import in_precision
from d2l_recsys.baseline.port import Arrays
from d2l_recsys.baseline.questions import Question, ask
from d2l_recsys.errors import DataError

# A port adds numbers in another order than the implementations that we measure. This factor is
# the margin for that.
FACTOR = 10
# The least spread that we trust: sixteen rounding units of float32. A smaller spread is luck.
LEAST = 16 * 2.0**-24
# The margin for lower precisions, and the largest tolerance that still decides something.
FACTOR_OF_LOWER, COARSEST = 4, 0.1
# How often the oracle answers in float32: once as asked, then with other orders of the examples.
ROUNDED = 4


class _OnTwoDevices(reference.Port):
    num_devices = 2


class _InFloat32(oracle.Port):
    dtype = np.float32


def tolerances(question: Question, expected: Arrays) -> Dict[str, Any]:
    """The ``spread`` of float32 answers around ``expected``, and the ``tolerance`` of a question.

    ``lower_precision`` has the tolerance for each lower precision that can be decided. All are
    distances as ``compare`` measures them. Raises DataError if the answer of the oracle in float64
    is further from ``expected`` than rounding explains. The limit is ten times the distance between
    the oracle's float64 and float32 answers, and at least ten times ``LEAST``. The limit is 0 on
    rung 0.
    """
    exact, others = ask(oracle.Port, question), in_float32(question)
    spread = max(distance(question, expected, answer) for answer in [exact, *others])
    if not question.rung:
        allowed = tolerance = 0.0
    else:
        rounding = max(distance(question, exact, answer) for answer in others[:ROUNDED])
        allowed = FACTOR * max(rounding, LEAST)
        tolerance = _rounded_up(FACTOR * max(spread, LEAST))
    off = distance(question, expected, exact)
    if not off <= allowed:
        raise DataError(f"{question.name}: the project and the oracle differ by {off:.2g}")
    lower = {}
    if question.rung > 1:
        lower["lower_precision"] = lower_precision(question, expected, tolerance)
    return {"tolerance": tolerance, "spread": float(f"{spread:.2g}"), **lower}


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
