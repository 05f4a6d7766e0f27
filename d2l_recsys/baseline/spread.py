"""How far right answers lie apart: the oracle answers in float32, in several orders of its sums.

Some arrays have no tolerance that decides anything. A gradient can be a sum that cancels, so that
only its rounding error remains. The first step of Adam makes a whole step of that error. These
arrays are undecided.
"""

from typing import Callable, List, Sequence, Tuple

import numpy as np

from d2l_recsys.baseline.compare import compare
from d2l_recsys.baseline.ladder import PAIRS
from d2l_recsys.baseline.made_up_data import SEED
from d2l_recsys.baseline.oracle import Port
from d2l_recsys.baseline.oracle.rounding import InOneCall
from d2l_recsys.baseline.port import Arrays
from d2l_recsys.baseline.questions import Question, ask

# A port adds numbers in another order than the implementations that we measure. This factor is
# the margin for that.
FACTOR = 10
# The least spread that we trust: sixteen rounding units of float32. A smaller spread is luck.
LEAST = 16 * 2.0**-24
# The largest tolerance that still decides something.
COARSEST = 0.1
# How often the oracle answers: once as asked, then with other orders of the examples.
ORDERS = 4
# The relative change of the weights at the start of a trajectory.
PERTURBED = 1e-6
# The rungs on which an array can be undecided: gradients, and weights after steps.
FROM_GRADIENTS = (3, 4, 5)


def in_orders(make: Callable[[str, str], Port], question: Question) -> List[Arrays]:
    """The answers of an oracle to the question with its examples in ``ORDERS`` orders.

    If each example has its own output, the order stays as it is.
    """
    rng = np.random.default_rng(SEED)
    others = [question] * (ORDERS - 1)
    if question.rung > 2:
        others = [_shuffled(other, rng) for other in others]
    return [ask(make, of_order) for of_order in [question, *others]]


def in_float32(question: Question, made: type = Port) -> List[Arrays]:
    """The answers of the oracle ``made`` in float32."""
    return in_orders(_of_float32(made), question)


def in_one_call(question: Question, made: type = Port) -> List[Arrays]:
    """The same, with the positive and the negative items scored in one call.

    The list is empty if the model has no pairs, or if ``made`` has its own loss of pairs.
    """
    own_loss = made.ranking_loss is not Port.ranking_loss
    if question.model not in PAIRS or question.rung < 3 or own_loss:
        return []
    return in_orders(_of_float32(InOneCall, made), question)


def from_other_weights(question: Question, made: type = Port) -> List[Arrays]:
    """The same, from weights and moments that differ by some rounding units; trajectories only.

    If such a small difference grows within the steps, the next implementation may also end far
    away.
    """
    if question.kind != "trajectory":
        return []
    make, rng, answers = _of_float32(made), np.random.default_rng(SEED), []
    for _ in range(ORDERS):
        given = {
            name: (array * (1 + PERTURBED * rng.normal(size=array.shape))).astype(array.dtype)
            if name.startswith(("parameters/", "means/", "variances/"))
            else array
            for name, array in question.given.items()
        }
        answers.append(ask(make, question._replace(given=given)))
    return answers


def undecided_arrays(
    question: Question, expected: Arrays, answers: Sequence[Arrays]
) -> Tuple[str, ...]:
    """The arrays on rungs 3 to 5 in which right ``answers`` lie too far apart for a tolerance."""
    if question.rung not in FROM_GRADIENTS:
        return ()
    apart = [
        one.array
        for answer in answers
        for one in compare(question.rung, expected, answer, question.given)
        if not FACTOR * one.distance <= COARSEST
    ]
    return tuple(name for name in expected if name in apart)


def _of_float32(*made: type) -> type:
    """An oracle that inherits from ``made`` and computes in float32."""
    return type("InFloat32", made, {"dtype": np.float32})


def _shuffled(question: Question, rng: np.random.Generator) -> Question:
    """The same question, with the examples of each batch in another order."""
    given = dict(question.given)
    for part, axis in (("batch/", 0), ("batches/", 1)):
        names = [name for name in given if name.startswith(part)]
        if names:
            order = rng.permutation(given[names[0]].shape[axis])
            given.update({name: given[name].take(order, axis) for name in names})
    return question._replace(given=given)
