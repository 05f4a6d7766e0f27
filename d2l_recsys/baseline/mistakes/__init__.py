"""The usual mistakes of ports, and the search for the mistakes that explain wrong answers.

Each mistake is the oracle with one thing changed, so we can compute its answer to every question.
If a port's wrong answers agree with the answers of a mistake, this mistake may be the cause. The
mistakes also test the questions: each mistake must fail at its rung and at no lower rung.
"""

import functools
import itertools
from typing import Callable, Iterable, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from d2l_recsys.baseline.compare import distance
from d2l_recsys.baseline.ladder import DRAWN
from d2l_recsys.baseline.mistakes import (
    data,
    dropout,
    losses,
    metrics,
    models,
    optimizer,
    training,
)
from d2l_recsys.baseline.mistakes.mistake import Mistake
from d2l_recsys.baseline.oracle import Port
from d2l_recsys.baseline.port import Arrays
from d2l_recsys.baseline.questions import KINDS, Question, ask

__all__ = ["MISTAKES", "Answered", "Explanation", "Mistake", "diagnose", "possible", "together"]

MISTAKES: Tuple[Mistake, ...] = tuple(
    mistake
    for module in (data, metrics, models, losses, optimizer, training, dropout)
    for mistake in module.MADE
)


class Answered(NamedTuple):
    """A question, the answer of a port, and the largest distance that is still right."""

    question: Question
    answer: Arrays
    tolerance: float


class Explanation(NamedTuple):
    """Mistakes that together give the answers of a port to ``questions``, which are their names.

    ``complete`` tells whether these are all questions of the rung.
    """

    mistakes: Tuple[Mistake, ...]
    questions: Tuple[str, ...]
    complete: bool


def possible(rung: int, variant: str, protocol: str) -> List[Mistake]:
    """The mistakes whose first failing rung is ``rung``, for this model or variant and protocol."""
    return [
        mistake
        for mistake in MISTAKES
        if mistake.rung == rung and variant in mistake.variants and protocol in mistake.protocols
    ]


def possible_in(question: Question) -> List[Mistake]:
    """The mistakes of the question's rung that change a method which the question asks."""
    methods = KINDS[question.kind][1] if question.kind in KINDS else ("train",)
    return [
        mistake
        for mistake in possible(question.rung, question.variant, question.protocols[0])
        if any(getattr(mistake.port, m) is not getattr(Port, m) for m in methods)
    ]


@functools.lru_cache(maxsize=None)
def together(made: Tuple[Mistake, ...]) -> Callable[[str, str], Port]:
    """The oracle with all mistakes in ``made``. If two replace one method, the first comes last."""
    if len(made) < 2:
        return made[0].port if made else Port
    return type("Port", tuple(mistake.port for mistake in made), {})


def diagnose(answered: Sequence[Answered], accepted: Tuple[Mistake, ...] = ()) -> List[Explanation]:
    """The mistakes that explain the answers to the questions of one rung, the nearest first.

    A mistake explains answers if its own answers are closer to them than the tolerances, and if it
    shows: one of its answers must be further from the right one than the tolerance. If no mistake
    explains all answers, pairs are tried. If no pair does, the result has the mistakes that explain
    the answer to a single question. The port may also make the mistakes in ``accepted``. The result
    is empty for rungs whose answers are random.
    """
    if not answered or answered[0].question.rung in DRAWN:
        return []
    question = answered[0].question
    known = possible(question.rung, question.variant, question.protocols[0])
    known = [mistake for mistake in known if mistake not in accepted]
    for count in (1, 2):
        found = _explaining(answered, itertools.combinations(known, count), accepted)
        if found:
            return [Explanation(made, _names(answered), True) for made in found]
    return [
        Explanation(made, _names([one]), False)
        for one in (answered if len(answered) > 1 else ())
        for made in _explaining([one], ((mistake,) for mistake in known), accepted)
    ]


def _names(answered: Sequence[Answered]) -> Tuple[str, ...]:
    return tuple(one.question.name for one in answered)


def _explaining(
    answered: Sequence[Answered],
    candidates: Iterable[Tuple[Mistake, ...]],
    accepted: Tuple[Mistake, ...],
) -> List[Tuple[Mistake, ...]]:
    """Those of ``candidates`` that explain all answers in ``answered``, the nearest first."""
    found = []
    for made in candidates:
        # Two mistakes together can divide by 0.
        with np.errstate(all="ignore"):
            off = _off(answered, made, accepted)
        if off is not None:
            found.append((off, made))
    return [made for _, made in sorted(found, key=lambda pair: pair[0])]


def _off(
    answered: Sequence[Answered], made: Tuple[Mistake, ...], accepted: Tuple[Mistake, ...]
) -> Optional[float]:
    """How far the answers are from those of the mistakes; None if ``made`` does not explain them.

    The distance of an answer counts in tolerances, except on rung 0, whose tolerances are 0.
    """
    furthest, hidden = 0.0, set(made)
    for question, answer, tolerance in answered:
        try:
            mistaken = ask(together((*made, *accepted)), question)
        except Exception:  # The port gave an answer, so a mistake that raises is not the cause.
            return None
        off = distance(question, *_alike(mistaken, answer))
        if not off <= tolerance:
            return None
        furthest = max(furthest, off / tolerance if tolerance else off)
        for mistake in list(hidden):
            others = tuple(other for other in made if other is not mistake)
            without = ask(together((*others, *accepted)), question)
            if distance(question, without, mistaken) > tolerance:
                hidden.remove(mistake)
    return None if hidden else furthest


def _alike(one: Arrays, other: Arrays) -> Tuple[Arrays, Arrays]:
    """Both answers, with 0 where both have the same infinity, or where both have no number."""
    one, other = dict(one), dict(other)
    for name in set(one) & set(other):
        a, b = np.asarray(one[name]), np.asarray(other[name])
        if a.shape == b.shape and {a.dtype.kind, b.dtype.kind} <= set("biuf"):
            same = ~np.isfinite(a) & ((a == b) | (np.isnan(a) & np.isnan(b)))
            one[name], other[name] = np.where(same, 0, a), np.where(same, 0, b)
    return one, other
