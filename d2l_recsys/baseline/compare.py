"""How far an answer is from what is expected, and where."""

import hashlib
from typing import Dict, List, Mapping, NamedTuple, Tuple

import numpy as np

from d2l_recsys.baseline.port import Arrays
from d2l_recsys.baseline.questions import Question
from d2l_recsys.storage.archive import shown

# Rows of these stand for a set: their order means nothing.
SETS = ("train", "test", "windows")
# An answer is called a multiple of the expected one where the rest is a smaller share than this.
MULTIPLE = 1e-3


class Difference(NamedTuple):
    """How far one array of an answer is away: its ``distance``, and in ``words`` what is wrong.

    The distance of an array that is missing, or of another shape, is infinite.
    """

    array: str
    distance: float
    words: str


def canonical(name: str, array: np.ndarray) -> np.ndarray:
    """An array of rung 0 as it is compared: whole numbers as int32, the rows of a set sorted."""
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
    """What is kept of an array that may not be passed on: shape, SHA-256 of its bytes, some rows.

    The bytes are little-endian, in C order, of ``canonical``.
    """
    array = canonical(name, array)
    content = array.astype(array.dtype.newbyteorder("<")).tobytes()
    return {
        "dtype": str(array.dtype),
        "shape": list(array.shape),
        "sha256": hashlib.sha256(content).hexdigest(),
        "sample": array[:3].tolist() if array.size < 10**6 else [],
    }


def compare(rung: int, expected: Arrays, answer: Arrays, given: Arrays) -> List[Difference]:
    """The distance of each expected array, and infinity for what is missing or too much.

    Rung 0: the number of entries that differ. Rungs 1 to 3: the largest error over the largest
    number expected. Rungs 4 and 5: the error of the weights over how far they should have moved
    from ``given``, both as Euclidean norms.
    """
    return [
        *(_compare(rung, name, array, answer, given) for name, array in expected.items()),
        *(
            Difference(shown(name), np.inf, f"{shown(name)} is not asked for; leave it out")
            for name in answer
            if name not in expected
        ),
    ]


def distance(question: Question, expected: Arrays, answer: Arrays) -> float:
    """The largest distance of all arrays of an answer."""
    found = compare(question.rung, expected, answer, question.given)
    return max(difference.distance for difference in found)


def _compare(
    rung: int, name: str, expected: np.ndarray, answer: Arrays, given: Arrays
) -> Difference:
    if name not in answer:
        return Difference(name, np.inf, f"{name} is missing")
    got = np.asarray(answer[name])
    if got.dtype.kind not in "biuf":
        return Difference(name, np.inf, f"{name} is of {got.dtype}, not of numbers")
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
    """The distance of one array of the right shape; see ``compare``."""
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
        return f"{words}; it moves {factor:.4g} times as far"
    return f"{words}; all of it is {factor:.4g} times what is expected"


def _multiple(got: np.ndarray, expected: np.ndarray) -> float:
    """The factor by which all of ``expected`` was multiplied; 0 where there is none."""
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
