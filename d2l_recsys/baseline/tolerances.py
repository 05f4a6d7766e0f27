"""Measure how far correct float32 answers lie apart, and derive the tolerances from it."""

import math
from typing import Dict, List

import numpy as np

from d2l_recsys.baseline import oracle, reference
from d2l_recsys.baseline.compare import distance
from d2l_recsys.baseline.made_up_data import SEED
from d2l_recsys.baseline.port import Arrays
from d2l_recsys.baseline.questions import Question, ask
from d2l_recsys.errors import DataError

# A port adds numbers in another order than the implementations that we measure. This factor is
# the margin for that.
FACTOR = 10
# The least spread that we trust: sixteen rounding units of float32. A smaller spread is luck.
LEAST = 16 * 2.0**-24
# How often the oracle answers in float32: once as asked, then with other orders of the examples.
ROUNDED = 4


class _OnTwoDevices(reference.Port):
    num_devices = 2


class _InFloat32(oracle.Port):
    dtype = np.float32


def tolerances(question: Question, expected: Arrays) -> Dict[str, float]:
    """The ``spread`` of float32 answers around ``expected``, and the ``tolerance`` of a question.

    Both are distances as ``compare`` measures them. Raises DataError if the answer of the oracle in
    float64 is further from ``expected`` than rounding explains. The limit is ten times the distance
    between the oracle's float64 and float32 answers, and at least ten times ``LEAST``. The limit is
    0 on rung 0.
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
    return {"tolerance": tolerance, "spread": float(f"{spread:.2g}")}


def in_float32(question: Question) -> List[Arrays]:
    """The answers of several float32 implementations; none on rung 0, where nothing is rounded.

    The first ``ROUNDED`` answers are from the oracle. The last is from this project on two devices.
    """
    if not question.rung:
        return []
    asked = [question] * ROUNDED
    if question.rung > 2:
        rng = np.random.default_rng(SEED)
        asked[1:] = [_shuffled(question, rng) for _ in asked[1:]]
    answers = [ask(_InFloat32, of_order) for of_order in asked]
    return [*answers, ask(_OnTwoDevices, question)]


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
