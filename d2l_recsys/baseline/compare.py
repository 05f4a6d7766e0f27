"""Compare an answer with the expected answer: how far apart they are, and where."""

import hashlib
from typing import Any, Dict, List, Mapping, NamedTuple, Sequence, Tuple

import numpy as np

from d2l_recsys.baseline.port import Arrays
from d2l_recsys.baseline.questions import Question
from d2l_recsys.storage.archive import shown

# The rows of these arrays form a set: their order does not matter.
SETS = ("train", "test", "windows")
# An answer counts as a multiple of the expected array if the rest (the answer less the best
# multiple) is smaller than this share of the answer.
MULTIPLE = 1e-3


class Difference(NamedTuple):
    """The ``distance`` of one array from the expected array; ``words`` describes the difference.

    The distance is infinite if the array is missing or extra, has another shape, or does not hold
    finite numbers.
    """

    array: str
    distance: float
    words: str


def canonical(name: str, array: np.ndarray) -> np.ndarray:
    """The form in which rung 0 compares an array.

    Matrices of ratings become float32, integers become int32, and the rows of a set are sorted. An
    array with other numbers stays as it is.
    """
    array = np.asarray(array)
    if name.endswith("_matrix"):
        return array.astype(np.float32)
    whole = array.astype(np.int32)
    if not np.array_equal(whole, array):
        return array
    if name in SETS and whole.ndim == 2 and whole.shape[1]:
        whole = whole[np.lexsort(whole.T[::-1])]
    return whole


def digest(name: str, array: np.ndarray) -> Dict[str, object]:
    """A checksum for an array that may not be published: dtype, shape, SHA-256 and a few rows.

    The SHA-256 is of the bytes of ``canonical(name, array)``, little-endian and in C order.
    """
    array = canonical(name, array)
    content = array.astype(array.dtype.newbyteorder("<")).tobytes()
    return {
        "dtype": str(array.dtype),
        "shape": list(array.shape),
        "sha256": hashlib.sha256(content).hexdigest(),
        "sample": array[:3].tolist() if array.size < 10**6 else [],
    }


def compare(
    rung: int, expected: Arrays, answer: Arrays, given: Arrays, undecided: Sequence[str] = ()
) -> List[Difference]:
    """The distance of each expected array; infinity for a missing array and for an extra array.

    The arrays in ``undecided`` have the distance 0, if they have the right shape and finite
    numbers.

    On rung 0 the distance is the number of entries that differ. On rungs 1 to 3 the distance is the
    largest absolute error divided by the largest absolute expected value. On rungs 4 and 5 the
    distance of a weight is the Euclidean norm of the error divided by the norm of the expected
    movement from ``given``; the losses of rung 5 are compared as on rungs 1 to 3.
    """
    found = [
        Difference(name, 0.0, "")
        if name in undecided and _has_numbers(answer.get(name), array.shape)
        else _compare(rung, name, array, answer, given)
        for name, array in expected.items()
    ]
    return [
        *found,
        *(
            Difference(shown(name), np.inf, f"the question does not ask for {shown(name)}")
            for name in answer
            if name not in expected
        ),
    ]


def _has_numbers(array: Any, shape: Tuple[int, ...]) -> bool:
    """Whether an array of an answer has this shape, and finite numbers."""
    got = np.asarray(array)
    return got.dtype.kind in "biuf" and got.shape == shape and bool(np.isfinite(got).all())


def distance(question: Question, expected: Arrays, answer: Arrays) -> float:
    """The largest distance over all arrays of an answer."""
    found = compare(question.rung, expected, answer, question.given, question.undecided)
    return max(difference.distance for difference in found)


def _compare(
    rung: int, name: str, expected: np.ndarray, answer: Arrays, given: Arrays
) -> Difference:
    if name not in answer:
        return Difference(name, np.inf, f"{name} is missing")
    got = np.asarray(answer[name])
    if got.dtype.kind not in "biuf":
        return Difference(name, np.inf, f"{name} has the type {got.dtype}, not numbers")
    if got.shape != expected.shape:
        words = f"{name} has the shape {got.shape}, not {expected.shape}"
        return Difference(name, np.inf, words)
    if not np.isfinite(got).all():
        return Difference(name, np.inf, f"{name} is not finite{_at(~np.isfinite(got))}")
    if rung == 0:
        expected, got = canonical(name, expected), canonical(name, got)
    off = _distance(rung, name, expected, got, given)
    return Difference(name, off, _words(rung, name, expected, got, given))


def _distance(
    rung: int, name: str, expected: np.ndarray, got: np.ndarray, given: Mapping[str, np.ndarray]
) -> float:
    """The distance of one array that has the expected shape; see ``compare``."""
    if rung == 0:
        return float((got != expected).sum())
    error = np.subtract(got, expected, dtype=np.float64)
    if name in given:
        moved = np.linalg.norm(np.subtract(expected, given[name], dtype=np.float64))
        return _over(float(np.linalg.norm(error)), float(moved))
    return _over(float(np.abs(error).max()), float(np.abs(expected).max()))


def _over(error: float, scale: float) -> float:
    return error / scale if scale else np.inf if error else 0.0


def _words(
    rung: int, name: str, expected: np.ndarray, got: np.ndarray, given: Mapping[str, np.ndarray]
) -> str:
    off = np.abs(np.subtract(got, expected, dtype=np.float64))
    if not off.any():
        return f"{name} is exact"
    place = np.unravel_index(int(np.argmax(off)), off.shape)
    words = f"{name}{_index(place)} is {got[place]:.6g}, expected {expected[place]:.6g}"
    if rung == 0:
        return f"{words}; {int((off > 0).sum())} of {off.size} entries differ"
    start = given.get(name, np.zeros_like(expected))
    factor = _multiple(
        np.subtract(got, start, dtype=float), np.subtract(expected, start, dtype=float)
    )
    if not factor:
        return words
    if name in given:
        return f"{words}; the port changes this array {factor:.4g} times as much as expected"
    return f"{words}; the whole array is {factor:.4g} times the expected one"


def _multiple(got: np.ndarray, expected: np.ndarray) -> float:
    """The factor if ``got`` is a multiple of ``expected``; 0 if it is not, or if both are equal."""
    with np.errstate(over="ignore", invalid="ignore"):
        square = float((expected * expected).sum())
        factor = float((got * expected).sum()) / square if square else 0.0
        rest = float(np.linalg.norm(got - factor * expected))
    alike = expected.size > 1 and rest < MULTIPLE * float(np.linalg.norm(got))
    return factor if alike and abs(factor - 1) > MULTIPLE else 0.0


def _at(where: np.ndarray) -> str:
    places = np.argwhere(where)
    return f" at {_index(tuple(places[0]))}" if places.size and where.ndim else ""


def _index(place: Tuple[int, ...]) -> str:
    return f"[{', '.join(str(int(i)) for i in place)}]" if len(place) else ""
