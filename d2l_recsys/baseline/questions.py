"""What a port is asked: one question is one file of arrays, and one answer another.

The rungs of the ladder, in the order in which a port climbs them:

0. **data**: splits, candidates, windows and encoded clicks, from ratings and clicks
1. **metrics**: the numbers of both protocols, from given scores and losses
2. **forward**: what a net gives, from given weights
3. **gradients**: the loss of a batch and its gradients
4. **step**: one step of the optimizer, from its beginning and from the middle of a training
5. **trajectory**: 50 steps on given batches
6. **convergence**: first weights, drawn negatives, and the final numbers over seeds
"""

from typing import Any, Callable, Dict, Iterator, Mapping, NamedTuple, Tuple

import numpy as np

from d2l_recsys.baseline.port import Arrays, Port

__all__ = [
    "MODELS",
    "PROTOCOLS",
    "RUNGS",
    "TRAINED_APART",
    "Question",
    "ask",
    "cut",
    "join",
    "tracks",
]

RUNGS = ("data", "metrics", "forward", "gradients", "step", "trajectory", "convergence")
MODELS = ("mf", "autorec", "neumf", "caser", "fm", "deepfm")
PROTOCOLS = ("printed", "defined")
# Printed and defined differ in what these minimise; in the others only in how they are measured.
TRAINED_APART = ("fm", "deepfm")


class Question(NamedTuple):
    """One question of one rung.

    ``name`` is that of its files, ``model/rung-what`` or, where the protocols part, with
    ``model-protocol``; ``kind`` is what to do with the ``given`` arrays and the ``settings``.
    """

    name: str
    rung: int
    kind: str
    model: str
    protocols: Tuple[str, ...]
    settings: Dict[str, Any]
    given: Arrays


def tracks(model: str) -> Iterator[Tuple[str, Tuple[str, ...]]]:
    """The trainings of a model: the name of each, and the protocols that it is one of."""
    if model in TRAINED_APART:
        for protocol in PROTOCOLS:
            yield f"{model}-{protocol}", (protocol,)
    else:
        yield model, PROTOCOLS


def cut(arrays: Mapping[str, np.ndarray], part: str) -> Arrays:
    """Those of ``arrays`` whose name begins with ``part/``, by the rest of their name."""
    part += "/"
    return {name[len(part) :]: array for name, array in arrays.items() if name.startswith(part)}


def join(part: str, arrays: Mapping[str, np.ndarray]) -> Arrays:
    """The reverse of ``cut``."""
    return {f"{part}/{name}": array for name, array in arrays.items()}


def ask(make: Callable[[str, str], Port], question: Question) -> Arrays:
    """The answer of a port, whose class is ``make``, to a question of rungs 0 to 5, or a draw.

    Raises NotImplementedError where the port has no such method, and what the port raises.
    """
    port = make(question.model, question.protocols[0])
    for method in METHODS[question.kind]:
        if not hasattr(port, method):
            raise NotImplementedError(f"the port has no method {method}")
    return KINDS[question.kind](port, question)


def _data(port: Port, question: Question) -> Arrays:
    return dict(port.data(question.given))


def _batches(port: Port, question: Question) -> Arrays:
    return {"batches": port.batches(question.given)}


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
        batch = {name: array[number] for name, array in batches.items()}
        losses.append(port.loss(batch))
        port.step(batch)
    return {"losses": np.array(losses), **join("parameters", port.parameters())}


def _first(port: Port, question: Question) -> Arrays:
    seed = int(question.given["seed"])
    return join("parameters", port.first_parameters(question.settings, seed))


def _negatives(port: Port, question: Question) -> Arrays:
    return {"negatives": port.negatives(question.given, int(question.given["seed"]))}


KINDS: Dict[str, Callable[[Port, Question], Arrays]] = {
    "data": _data,
    "batches": _batches,
    "metrics": _metrics,
    "forward": _forward,
    "gradients": _gradients,
    "step": _step,
    "trajectory": _trajectory,
    "first": _first,
    "negatives": _negatives,
}
METHODS: Dict[str, Tuple[str, ...]] = {
    "data": ("data",),
    "batches": ("batches",),
    "metrics": ("metrics",),
    "forward": ("set_state", "forward"),
    "gradients": ("set_state", "loss", "gradients"),
    "step": ("set_state", "step", "parameters"),
    "trajectory": ("set_state", "loss", "step", "parameters"),
    "first": ("first_parameters",),
    "negatives": ("negatives",),
}
