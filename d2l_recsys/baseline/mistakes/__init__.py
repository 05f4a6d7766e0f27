"""The semantics map: what ports get wrong, each mistake made on purpose in the oracle.

A mistake is the oracle with one thing changed, so its answers are known to the last digit. Where a
port's wrong answer agrees with that of a mistake, the cause is found. The tests also check the
questions with the mistakes: each mistake has to show at its rung, and not below.
"""

from typing import List, Tuple

from d2l_recsys.baseline.compare import distance
from d2l_recsys.baseline.ladder import CONVERGENCE
from d2l_recsys.baseline.mistakes import data, losses, metrics, models, optimizer, training
from d2l_recsys.baseline.mistakes.mistake import Mistake
from d2l_recsys.baseline.oracle import Port
from d2l_recsys.baseline.port import Arrays
from d2l_recsys.baseline.questions import Question, ask

__all__ = ["MISTAKES", "Mistake", "diagnose", "usual_causes"]

MISTAKES: Tuple[Mistake, ...] = tuple(
    mistake
    for module in (data, metrics, models, losses, optimizer, training)
    for mistake in module.MADE
)


def usual_causes(rung: int, model: str, protocol: str) -> List[Mistake]:
    """The mistakes that first show at ``rung`` of this model and protocol."""
    return [
        mistake
        for mistake in MISTAKES
        if mistake.rung == rung and model in mistake.models and protocol in mistake.protocols
    ]


def diagnose(question: Question, answer: Arrays, tolerance: float) -> List[Mistake]:
    """The usual causes whose own answer to ``question`` is ``answer``, the nearest first.

    Only those that this question shows; none of rung 6, where answers are drawn.
    """
    if question.rung == CONVERGENCE:
        return []
    right, found = ask(Port, question), []
    for mistake in usual_causes(question.rung, question.model, question.protocols[0]):
        try:
            mistaken = ask(mistake.port, question)
        except Exception:  # a mistake that cannot answer is not what happened
            continue
        off = distance(question, mistaken, answer)
        # Not every mistake shows in every question of its rung.
        if off <= tolerance < distance(question, right, mistaken):
            found.append((off, mistake))
    return [mistake for _, mistake in sorted(found, key=lambda pair: pair[0])]
