"""The usual mistakes of ports, and the search for the mistake that explains a wrong answer.

Each mistake is the oracle with one thing changed, so we can compute its answer to every question.
If a port's wrong answer agrees with the answer of a mistake, this mistake may be the cause. The
mistakes also test the questions: each mistake must fail at its rung and at no lower rung.
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
    """The mistakes whose first failing rung is ``rung``, for this model and protocol."""
    return [
        mistake
        for mistake in MISTAKES
        if mistake.rung == rung and model in mistake.models and protocol in mistake.protocols
    ]


def diagnose(question: Question, answer: Arrays, tolerance: float) -> List[Mistake]:
    """The mistakes whose answer to ``question`` agrees with ``answer``, the nearest first.

    A mistake is named only if ``question`` shows it: its answer must be closer to ``answer`` than
    ``tolerance``, and its distance from the right answer must exceed ``tolerance``. The result is
    empty for rung 6, because its answers are random.
    """
    if question.rung == CONVERGENCE:
        return []
    right, found = ask(Port, question), []
    for mistake in usual_causes(question.rung, question.model, question.protocols[0]):
        try:
            mistaken = ask(mistake.port, question)
        except Exception:  # The port gave an answer, so a mistake that raises is not the cause.
            continue
        off = distance(question, mistaken, answer)
        # Not every question of the rung shows the mistake: skip those with nearly the right answer.
        if off <= tolerance < distance(question, right, mistaken):
            found.append((off, mistake))
    return [mistake for _, mistake in sorted(found, key=lambda pair: pair[0])]
