"""Rung 7: the tests of dropout.

The question has a small net, one example many times, and a share of dropped units. With few units
there are few masks, so the oracle can compute the outputs for each mask. Each output of a right
port in training is one of them (this is exact), and each occurs as often as its probability says
(Pearson's chi-square test, 1900). In evaluation, only the output without a mask is right.
"""

import itertools
from typing import Callable, Dict, List, NamedTuple, Tuple

import numpy as np

from d2l_recsys.baseline.convergence import Test
from d2l_recsys.baseline.oracle import Port
from d2l_recsys.baseline.port import Arrays
from d2l_recsys.baseline.questions import Question, ask

# An output is that of a mask if it differs by at most this share of the largest output. In lower
# precisions this is sixteen rounding units.
CLOSE = {"float32": 1e-4, "tf32": 2.0**-7, "bfloat16": 2.0**-4, "float16": 2.0**-7}
SAME = CLOSE["float32"]
# Chi-square needs about this expected number in each cell.
LEAST_EXPECTED = 5
WHEN = {"trained": "in training", "evaluated": "in evaluation, after training"}


class Outcomes(NamedTuple):
    """The outputs that one example can have, (outcomes, ...), and their ``chances``."""

    outputs: np.ndarray
    chances: np.ndarray


def outcomes(make: Callable[[str, str], Port], question: Question) -> Dict[str, Outcomes]:
    """The possible outputs for the first example of the question, in training and in evaluation.

    ``make`` is the class of the oracle, or of the oracle with mistakes.
    """
    masks: List[np.ndarray] = []
    sizes: List[int] = []

    class Masked(make):  # type: ignore[misc, valid-type]
        """Drops the units that ``masks`` says; without masks, counts the units."""

        def kept(self, shape: Tuple[int, ...]) -> np.ndarray:
            if masks:
                return masks.pop(0)
            sizes.append(shape[-1])
            return np.ones(shape, dtype=bool)

    given = {
        name: array[:1] if name.startswith("batch/") else array
        for name, array in question.given.items()
    }
    asked = question._replace(given=given)
    ask(Masked, asked)
    port = Masked(question.model, question.protocols[0])
    port.settings = question.settings
    splits, found = np.cumsum(sizes)[:-1], []
    for pattern in itertools.product((True, False), repeat=sum(sizes)):
        flat = np.array(pattern, dtype=bool)
        masks[:] = [part[None] for part in np.split(flat, splits)] if sizes else []
        chance = np.where(flat, 1 - port.share, port.share).prod()
        found.append((ask(Masked, asked), chance))
    chances = np.array([chance for _, chance in found])
    return {
        name: _distinct(np.stack([answer[name][0] for answer, _ in found]), chances)
        for name in WHEN
    }


def _distinct(outputs: np.ndarray, chances: np.ndarray) -> Outcomes:
    """Equal outputs, which several masks can have, as one with the sum of their chances."""
    flat = outputs.reshape(len(outputs), -1)
    same = np.abs(flat[:, None] - flat).max(axis=2) <= SAME * np.abs(flat).max()
    first = same.argmax(axis=1)
    kept = np.unique(first)
    return Outcomes(outputs[kept], np.array([chances[first == i].sum() for i in kept]))


def dropout_tests(
    question: Question,
    answer: Arrays,
    make: Callable[[str, str], Port] = Port,
    precision: str = "float32",
) -> List[Test]:
    """The tests of the outputs in training and in evaluation, against those of ``make``.

    ``precision`` is that of the port.
    """
    examples = len(next(a for n, a in question.given.items() if n.startswith("batch/")))
    tests = []
    for name, (outputs, chances) in outcomes(make, question).items():
        got = np.asarray(answer.get(name, np.nan), dtype=np.float64)
        shape = (examples, *outputs.shape[1:])
        if got.shape != shape or not np.isfinite(got).all():
            told = "not finite" if got.shape == shape else f"{got.shape}, not {shape}"
            tests.append(Test(name, 0.0, f"the outputs {WHEN[name]} are {told}"))
            continue
        rows, known = got.reshape(examples, 1, -1), outputs.reshape(1, len(outputs), -1)
        off = np.abs(rows - known).max(axis=2)
        furthest = int(off.min(axis=1).argmax())
        if off[furthest].min() > CLOSE[precision] * np.abs(known).max():
            where = np.array2string(rows[furthest, 0], precision=6)
            words = f"the output {where} {WHEN[name]} is none that dropout can give"
            if len(outputs) == 1:
                words += f"; expected {np.array2string(known[0, 0], precision=6)}"
            tests.append(Test(name, 0.0, words))
            continue
        counts = np.bincount(off.argmin(axis=1), minlength=len(chances))
        tests.append(_frequencies(name, counts, chances))
    return tests


def _frequencies(name: str, counts: np.ndarray, chances: np.ndarray) -> Test:
    """Test that each outcome is as frequent as its chance says."""
    from scipy.stats import chi2

    expected = counts.sum() * chances
    # Rare outcomes share a cell.
    rare = expected < LEAST_EXPECTED
    if rare.any():
        counts = np.append(counts[~rare], counts[rare].sum())
        expected = np.append(expected[~rare], expected[rare].sum())
    statistic, freedom = float(((counts - expected) ** 2 / expected).sum()), len(counts) - 1
    p = float(chi2.sf(statistic, freedom)) if freedom else 1.0
    words = (
        f"the masks {WHEN[name]} are not as frequent as they should be: chi-square "
        f"{statistic:.0f}, {freedom} degrees of freedom"
    )
    return Test(name, p, words)
