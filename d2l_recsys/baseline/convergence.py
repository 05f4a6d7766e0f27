r"""Rung 6: what a port draws and where its trainings end, held against laws and a reference.

Every number over seeds is held against that of the reference by three tests: of where it lies, of
how it spreads, and of whether the seed has an effect. They are Wilcoxon's rank sum of the port's
values among all (Wilcoxon 1945; Mann and Whitney 1947), the same of their distances from the median
of all, and how likely values lie so close together. Where port and reference draw from one law,
each order of the values is equally likely, so a chance is a count of subsets: exact, whatever the
law, with ties at their mean rank. The rank tests have two sides: too good is as wrong as too bad.

The false-alarm rate of a whole check is at most ``FALSE_ALARMS``, divided evenly among its tests
(Bonferroni). What it takes to be noticed is told by ``noticeable_shift``.
"""

import functools
import math
from typing import List, Mapping, NamedTuple, Sequence

import numpy as np

from d2l_recsys.baseline.oracle import initial
from d2l_recsys.baseline.port import Arrays
from d2l_recsys.baseline.questions import Question, join
from d2l_recsys.storage.archive import shown

FALSE_ALARMS = 1e-3
# No fewer than the tests of all models together, so that each alone is the stricter.
TESTS_OF_A_CHECK = 250
THRESHOLD = FALSE_ALARMS / TESTS_OF_A_CHECK
# With fewer values than that hardly any order of them is below the threshold; more than so many
# take the exact tests long.
FEWEST_SEEDS, MOST_SEEDS = 7, 60
POWER = 0.9
# The reference's numbers are kept with as many digits.
DIGITS = 6
SIMULATIONS = 2000


class Test(NamedTuple):
    """One test: of what, the chance of so much or more where the port is right, and the words."""

    what: str
    p: float
    words: str


def significant(values: Sequence[float]) -> np.ndarray:
    """``values`` with the digits that the reference is kept with."""
    return np.array([float(f"{value:.{DIGITS}g}") for value in values])


def rank_test(reference: Sequence[float], values: Sequence[float]) -> float:
    """The exact two-sided p-value of the rank sum of ``values`` among all."""
    from scipy.stats import rankdata

    # Twice the mean ranks are whole numbers.
    ranks = np.rint(2 * rankdata([*reference, *values])).astype(int)
    chosen = len(values)
    # counts[k, s]: how many subsets of k of the ranks so far sum up to s.
    counts = np.zeros((chosen + 1, int(ranks.sum()) + 1))
    counts[0, 0] = 1
    for rank in ranks:
        counts[1:, rank:] += counts[:-1, : counts.shape[1] - rank]
    total = int(ranks[len(reference) :].sum())
    share = counts[chosen] / counts[chosen].sum()
    return float(min(1.0, 2 * min(share[: total + 1].sum(), share[total:].sum())))


def range_test(reference: Sequence[float], values: Sequence[float]) -> float:
    """The share of all choices of so many values that span no more than ``values`` do."""
    both = np.sort([*reference, *values])
    span = max(values) - min(values)
    # Each choice is counted with the first of its least values.
    others = np.searchsorted(both, both + span, side="right") - np.arange(len(both)) - 1
    chosen = len(values)
    close = sum(math.comb(int(count), chosen - 1) for count in others)
    return close / math.comb(len(both), chosen)


@functools.lru_cache(maxsize=None)
def noticeable_shift(num_reference: int, num_values: int) -> float:
    """The shift, in standard deviations, that is noticed nine times of ten, where these are normal.

    By simulation, to about a tenth.
    """
    rng = np.random.default_rng(0)
    reference = rng.normal(size=(SIMULATIONS, num_reference, 1))
    values = rng.normal(size=(SIMULATIONS, 1, num_values))
    ordered = np.arange(num_reference + num_values, dtype=float)
    # The least number of inversions that is no longer remarkable: the test depends on it alone.
    remarkable = 0
    while remarkable < num_reference * num_values // 2:
        moved = _with_inversions(ordered, num_reference, num_values, remarkable)
        if rank_test(*moved) >= THRESHOLD:
            break
        remarkable += 1
    for shift in np.arange(0.1, 10, 0.1):
        inversions = (reference > values + shift).sum(axis=(1, 2))
        if (inversions < remarkable).mean() >= POWER:
            return float(round(shift, 1))
    return float("inf")


def _with_inversions(ordered: np.ndarray, n: int, k: int, inversions: int) -> tuple:
    """Two samples without ties where so many pairs have the first one's member above."""
    places = np.arange(n, n + k)
    for i in range(k):
        step = min(inversions, n)
        places[i] -= step
        inversions -= step
    return np.delete(ordered, places), ordered[places]


def number_tests(
    reference: Mapping[str, Sequence[float]],
    numbers: Mapping[str, Sequence[float]],
    num_seeds: int,
) -> List[Test]:
    """The tests of each final number, of which there has to be one a seed.

    One that is missing, or not finite for some seed, has the chance 0.
    """
    tests = []
    for name, expected in reference.items():
        values, fault = significant(numbers.get(name, ())), ""
        if name not in numbers:
            fault = "is missing"
        elif not np.isfinite(values).all():
            fault = "is not finite"
        elif len(values) != num_seeds:
            fault = f"has {len(values)} values for {num_seeds} seeds"
        if fault:
            tests.append(Test(name, 0.0, f"{name} {fault}"))
            continue
        both = np.concatenate([expected, values])
        away = np.abs(both - np.median(both))
        place = rank_test(expected, values)
        spread = rank_test(away[: len(expected)], away[len(expected) :])
        shift = noticeable_shift(len(expected), len(values)) * np.std(expected, ddof=1)
        found = (
            f"{_about(values)} over {len(values)} seeds, the reference has {_about(expected)} over "
            f"{len(expected)}"
        )
        noticed = f"a shift of {shift:.2g} is noticed nine times of ten"
        seeds = range_test(expected, values)
        tests += [
            Test(name, place, f"{name} is {found}; {noticed}"),
            Test(f"spread of {name}", spread, f"{name} spreads otherwise: {found}"),
            Test(f"seeds of {name}", seeds, f"{name} hardly varies with the seed: {found}"),
        ]
    return tests


def _about(values: Sequence[float]) -> str:
    return f"{np.mean(values):.4g} ± {np.std(values, ddof=1):.2g}"


def law_tests(question: Question, answer: Arrays) -> List[Test]:
    """The tests of first weights, or of negatives, against the law that they are drawn from."""
    return (
        _first_tests(question, answer)
        if question.kind == "first"
        else _negative_tests(question, answer)
    )


def _first_tests(question: Question, answer: Arrays) -> List[Test]:
    shapes = initial.shapes(question.model, question.settings)
    extra = [shown(name) for name in answer if name not in join("parameters", shapes)]
    tests = [Test(name, 0.0, f"{name} is not asked for; leave it out") for name in extra]
    for name, (law, scale) in initial.laws(question.model, question.settings).items():
        drawn = np.asarray(answer.get(f"parameters/{name}", np.nan))
        if drawn.shape != shapes[name] or not np.isfinite(drawn).all():
            found = "is missing" if drawn.ndim == 0 else f"has the shape {drawn.shape}"
            tests.append(Test(name, 0.0, f"{name} {found}; it should be {shapes[name]}"))
            continue
        kind = "deviation" if law == "normal" else "bound"
        wanted = "0" if law == "zero" else f"{law} with the {kind} {scale:.4g}"
        largest = float(np.abs(drawn).max())
        words = f"{name} starts {wanted}; here the deviation is {drawn.std():.4g}, the largest "
        tests += [Test(name, p, f"{words}{largest:.4g}") for p in LAWS[law](drawn.ravel(), scale)]
    return tests


def _normal(drawn: np.ndarray, scale: float) -> List[float]:
    """Shape (Kolmogorov and Smirnov), and the sum of squares, which is chi-square."""
    from scipy.stats import chi2, kstest

    squares = float(((drawn / scale) ** 2).sum())
    sides = chi2.cdf(squares, drawn.size), chi2.sf(squares, drawn.size)
    return [float(kstest(drawn / scale, "norm").pvalue), float(min(1.0, 2 * min(sides)))]


def _uniform(drawn: np.ndarray, scale: float) -> List[float]:
    """Shape, and the largest of n numbers: it is below m with the chance (m / bound)^n."""
    from scipy.stats import kstest

    reach = float(np.abs(drawn).max()) / scale
    # What float32 rounds up is not beyond the bound.
    of_largest = 0.0 if reach > 1 + 1e-6 else min(1.0, reach**drawn.size)
    return [float(kstest((drawn / scale + 1) / 2, "uniform").pvalue), of_largest]


def _zero(drawn: np.ndarray, scale: float) -> List[float]:
    return [float(not drawn.any())]


LAWS = {"normal": _normal, "uniform": _uniform, "zero": _zero}


def _negative_tests(question: Question, answer: Arrays) -> List[Test]:
    """All items that a user has not in the training set are equally likely (Pearson 1900)."""
    from scipy.stats import chi2

    given = question.given
    num_users, num_items = int(given["num_users"]), int(given["num_items"])
    users, items = given["users"], np.asarray(answer.get("negatives", np.zeros(0)))
    if items.dtype.kind == "f" and np.array_equal(items, np.rint(items)):
        items = items.astype(np.int64)
    if items.shape != users.shape or items.dtype.kind not in "iu":
        words = f"negatives are {items.dtype} {items.shape}, not whole numbers {users.shape}"
        return [Test("negatives", 0.0, words)]
    if items.min() < 0 or items.max() >= num_items:
        return [Test("negatives", 0.0, f"negatives go beyond the {num_items} items")]
    seen = np.zeros((num_users, num_items), dtype=bool)
    seen[given["train"][:, 0], given["train"][:, 1]] = True
    wrong = int(seen[users, items].sum())
    if wrong:
        words = f"{wrong} of {len(items)} negatives are items that their user has in training"
        return [Test("negatives", 0.0, words)]
    counts = np.zeros((num_users, num_items))
    np.add.at(counts, (users, items), 1)
    expected = counts.sum(axis=1, keepdims=True) / (~seen).sum(axis=1, keepdims=True)
    statistic = float(((counts - expected) ** 2 / expected)[~seen].sum())
    freedom = int((~seen).sum()) - num_users
    p = 2 * min(chi2.cdf(statistic, freedom), chi2.sf(statistic, freedom))
    words = f"negatives are uniform: chi-square {statistic:.0f} with {freedom} degrees of freedom"
    return [Test("negatives", float(p), words)]
