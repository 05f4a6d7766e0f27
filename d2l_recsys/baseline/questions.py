"""The questions that the check asks a port. Each question and each answer is a file of arrays."""

from typing import Any, Callable, Dict, Mapping, NamedTuple, Tuple

import numpy as np

from d2l_recsys.baseline.ladder import PROTOCOLS
from d2l_recsys.baseline.port import Arrays, Port


class Question(NamedTuple):
    """One question of one rung.

    ``name`` is the path of its files without the ending: ``variant/rung-what``, or
    ``variant-protocol/rung-what`` if the question depends on the protocol. ``kind`` says what the
    port computes from the ``given`` arrays and the ``settings``: a key of ``KINDS``, or ``train``.
    ``model`` is the model of the variant; ``settings`` say how the variant differs from it.
    ``undecided`` names the arrays of the answer in which right answers lie too far apart.
    """

    name: str
    rung: int
    kind: str
    model: str
    protocols: Tuple[str, ...]
    settings: Dict[str, Any]
    given: Arrays
    undecided: Tuple[str, ...] = ()

    @property
    def variant(self) -> str:
        """The model, or its variant, that the question is about."""
        track = self.name.partition("/")[0]
        variant, _, protocol = track.rpartition("-")
        return variant if protocol in PROTOCOLS else track


def cut(arrays: Mapping[str, np.ndarray], part: str) -> Arrays:
    """The arrays whose name begins with ``part/``; their new names lack this prefix."""
    part += "/"
    return {name[len(part) :]: array for name, array in arrays.items() if name.startswith(part)}


def join(part: str, arrays: Mapping[str, np.ndarray]) -> Arrays:
    """Put ``part/`` in front of each name; the reverse of ``cut``."""
    return {f"{part}/{name}": array for name, array in arrays.items()}


def batch_of(batches: Mapping[str, np.ndarray], number: int) -> Arrays:
    """One batch of several that are stacked along the first axis."""
    return {name: array[number] for name, array in batches.items()}


def ask(make: Callable[[str, str], Port], question: Question) -> Arrays:
    """Ask a port one question and return its answer; ``make`` is the class of the port.

    The question is not one for complete trainings.
    Raises NotImplementedError if the port lacks a method that the question needs, and every error
    that the port raises.
    """
    port = make(question.model, question.protocols[0])
    answer, methods = KINDS[question.kind]
    for method in methods:
        if not hasattr(port, method):
            raise NotImplementedError(f"the port has no method {method}")
    return answer(port, question)


def _data(port: Port, question: Question) -> Arrays:
    return dict(port.data(question.given))


def _batches(port: Port, question: Question) -> Arrays:
    batches = port.batches(question.given)
    if not isinstance(batches, (list, tuple)):
        return {"batches": np.asarray(batches)}
    batches = [np.asarray(batch) for batch in batches]
    longest = max(map(len, batches), default=0)
    # An array has rows of one length, so -1 fills up a batch that has fewer rows.
    filled = [np.pad(batch, (0, longest - len(batch)), constant_values=-1) for batch in batches]
    return {"batches": np.array(filled)}


def _metrics(port: Port, question: Question) -> Arrays:
    return {name: np.array(value) for name, value in port.metrics(question.given).items()}


def _set_state(port: Port, question: Question) -> None:
    given = question.given
    port.set_state(
        question.settings,
        cut(given, "parameters"),
        cut(given, "means") or None,
        cut(given, "variances") or None,
        int(given.get("steps", 0)),
    )


def _forward(port: Port, question: Question) -> Arrays:
    _set_state(port, question)
    return {"output": port.forward(cut(question.given, "batch"))}


def _gradients(port: Port, question: Question) -> Arrays:
    _set_state(port, question)
    batch = cut(question.given, "batch")
    return {"loss": np.array(port.loss(batch)), **join("gradients", port.gradients(batch))}


def _step(port: Port, question: Question) -> Arrays:
    _set_state(port, question)
    port.step(cut(question.given, "batch"))
    return join("parameters", port.parameters())


def _trajectory(port: Port, question: Question) -> Arrays:
    _set_state(port, question)
    batches = cut(question.given, "batches")
    losses = []
    for number in range(len(next(iter(batches.values())))):
        batch = batch_of(batches, number)
        losses.append(port.loss(batch))
        port.step(batch)
    return {"losses": np.array(losses), **join("parameters", port.parameters())}


def _dropout(port: Port, question: Question) -> Arrays:
    _set_state(port, question)
    batch, seed = cut(question.given, "batch"), int(question.given["seed"])
    # First in training: a port may forget to leave it.
    trained = port.training_outputs(batch, seed)
    return {"trained": trained, "evaluated": port.forward(batch)}


def _first(port: Port, question: Question) -> Arrays:
    seed = int(question.given["seed"])
    return join("parameters", port.first_parameters(question.settings, seed))


def _negatives(port: Port, question: Question) -> Arrays:
    return {"negatives": port.negatives(question.given, int(question.given["seed"]))}


# For each kind of question: the function that asks it, and the methods that the port needs.
KINDS: Dict[str, Tuple[Callable[[Port, Question], Arrays], Tuple[str, ...]]] = {
    "data": (_data, ("data",)),
    "batches": (_batches, ("batches",)),
    "metrics": (_metrics, ("metrics",)),
    "forward": (_forward, ("set_state", "forward")),
    "gradients": (_gradients, ("set_state", "loss", "gradients")),
    "step": (_step, ("set_state", "step", "parameters")),
    "trajectory": (_trajectory, ("set_state", "loss", "step", "parameters")),
    "dropout": (_dropout, ("set_state", "training_outputs", "forward")),
    "first": (_first, ("first_parameters",)),
    "negatives": (_negatives, ("negatives",)),
}
