r"""Rung 6: statistical tests of first weights, negative items and the final metrics over seeds.

First weights and negative items are tested against the distribution that they should have. Each
final metric of a port is compared with the metric of the reference by three tests:

- location: the rank sum test of the port's values among all values (Wilcoxon 1945; Mann and Whitney
  1947)
- spread: the same test of the distances from the median of all values. A shift of the location
  also changes these distances, so this test counts only if the test of location finds nothing
- effect of the seed: the port's values must not lie too close together. Take all subsets of all
  values that have as many values as the port. The p-value is the share of these subsets whose range
  is at most the range of the port's values

If port and reference draw from the same distribution, each order of the values is equally likely.
So a p-value is a count of subsets. It is exact for every distribution; ties get their mean rank.
The rank sum tests are two-sided: a metric that is too good is wrong as well.

A whole check raises a false alarm with probability at most ``FALSE_ALARMS``. This probability is
divided evenly among the tests (Bonferroni). ``noticeable_shift`` tells which difference the test of
location detects.
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
# At least the number of tests of all models and variants, so that the bound holds for every check.
TESTS_OF_A_CHECK = 500
THRESHOLD = FALSE_ALARMS / TESTS_OF_A_CHECK
# With fewer seeds hardly any order of the values has a p-value below the threshold. With more seeds
# the exact tests take too long.
FEWEST_SEEDS, MOST_SEEDS = 7, 60
POWER = 0.9
# The numbers of the reference are stored with this many significant digits.
DIGITS = 6
SIMULATIONS = 2000


class Test(NamedTuple):
    """The result of one test: its name, the p-value ``p``, and a description in ``words``."""

    what: str
    p: float
    words: str


def significant(values: Sequence[float]) -> np.ndarray:
    """``values`` rounded to the digits of the reference."""
    return np.array([float(f"{value:.{DIGITS}g}") for value in values])


def rank_test(reference: Sequence[float], values: Sequence[float]) -> float:
    """The exact two-sided p-value of the rank sum of ``values`` among all values."""
    from scipy.stats import rankdata

    # Mean ranks can end in .5; twice a mean rank is an integer.
    ranks = np.rint(2 * rankdata([*reference, *values])).astype(int)
    chosen = len(values)
    # counts[k, s]: the number of subsets of k ranks, among the ranks so far, with the sum s.
    counts = np.zeros((chosen + 1, int(ranks.sum()) + 1))
    counts[0, 0] = 1
    for rank in ranks:
        counts[1:, rank:] += counts[:-1, : counts.shape[1] - rank]
    total = int(ranks[len(reference) :].sum())
    share = counts[chosen] / counts[chosen].sum()
    return float(min(1.0, 2 * min(share[: total + 1].sum(), share[total:].sum())))


def range_test(reference: Sequence[float], values: Sequence[float]) -> float:
    """The p-value of the range of ``values``; it is small if the values lie too close together.

    It is the share of all subsets of this size, of both groups of values together, whose range is
    at most the range of ``values``.
    """
    both = np.sort([*reference, *values])
    span = max(values) - min(values)
    # Count each subset once, at its first member in sorted order.
    others = np.searchsorted(both, both + span, side="right") - np.arange(len(both)) - 1
    chosen = len(values)
    close = sum(math.comb(int(count), chosen - 1) for count in others)
    return close / math.comb(len(both), chosen)


@functools.lru_cache(maxsize=None)
def noticeable_shift(num_reference: int, num_values: int) -> float:
    """The shift that the test of location detects in nine of ten checks, in standard deviations.

    Simulated for normal values, in steps of 0.1.
    """
    rng = np.random.default_rng(0)
    reference = rng.normal(size=(SIMULATIONS, num_reference, 1))
    values = rng.normal(size=(SIMULATIONS, 1, num_values))
    ordered = np.arange(num_reference + num_values, dtype=float)
    # A pair is a value of the reference and a value of the port. Without ties the p-value depends
    # only on how many pairs have the larger value in the reference. Find the smallest number of
    # such pairs whose p-value is not below the threshold.
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
    """Two samples of ``n`` and ``k`` values without ties, with a given number of ``inversions``.

    An inversion is a pair whose value from the first sample is the larger one.
    """
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
    """The three tests of each final metric.

    ``numbers`` has the values of the port, one for each of ``num_seeds`` seeds. If a metric is
    missing, has another number of values, or has a value that is not finite, it gets one test with
    the p-value 0.
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
        noticed = f"nine of ten checks detect a shift of {shift:.2g}"
        seeds = range_test(expected, values)
        tests += [
            Test(name, place, f"{name} is {found}; {noticed}"),
            Test(f"seeds of {name}", seeds, f"{name} hardly varies with the seed: {found}"),
        ]
        if place > THRESHOLD:
            words = f"{name} has another spread: {found}"
            tests.append(Test(f"spread of {name}", spread, words))
    return tests


def _about(values: Sequence[float]) -> str:
    return f"{np.mean(values):.4g} ± {np.std(values, ddof=1):.2g}"


def law_tests(question: Question, answer: Arrays) -> List[Test]:
    """The tests of first weights, or of negative items, against their distribution."""
    return (
        _first_tests(question, answer)
        if question.kind == "first"
        else _negative_tests(question, answer)
    )


def _first_tests(question: Question, answer: Arrays) -> List[Test]:
    shapes = initial.shapes(question.model, question.settings)
    extra = [shown(name) for name in answer if name not in join("parameters", shapes)]
    tests = [Test(name, 0.0, f"the question does not ask for {name}") for name in extra]
    for name, (law, scale) in initial.laws(question.model, question.settings).items():
        drawn = np.asarray(answer.get(f"parameters/{name}", np.nan))
        if drawn.shape != shapes[name] or not np.isfinite(drawn).all():
            found = "is missing" if drawn.ndim == 0 else f"has the shape {drawn.shape}"
            tests.append(Test(name, 0.0, f"{name} {found}; it should be {shapes[name]}"))
            continue
        kind = "standard deviation" if law == "normal" else "bound"
        wanted = "0" if law == "zero" else f"{law} with the {kind} {scale:.4g}"
        largest = float(np.abs(drawn).max())
        words = f"{name} should be {wanted}; found: deviation {drawn.std():.4g}, largest "
        tests += [Test(name, p, f"{words}{largest:.4g}") for p in LAWS[law](drawn.ravel(), scale)]
    return tests


def _normal(drawn: np.ndarray, scale: float) -> List[float]:
    """p-values of the shape (Kolmogorov and Smirnov) and of the sum of squares (chi-square)."""
    from scipy.stats import chi2, kstest

    squares = float(((drawn / scale) ** 2).sum())
    sides = chi2.cdf(squares, drawn.size), chi2.sf(squares, drawn.size)
    return [float(kstest(drawn / scale, "norm").pvalue), float(min(1.0, 2 * min(sides)))]


def _uniform(drawn: np.ndarray, scale: float) -> List[float]:
    """p-values of the shape, and of the largest absolute value m of n numbers: (m / bound)^n."""
    from scipy.stats import kstest

    reach = float(np.abs(drawn).max()) / scale
    # float32 can round a number up to slightly above the bound; this is not a mistake.
    of_largest = 0.0 if reach > 1 + 1e-6 else min(1.0, reach**drawn.size)
    return [float(kstest((drawn / scale + 1) / 2, "uniform").pvalue), of_largest]


def _zero(drawn: np.ndarray, scale: float) -> List[float]:
    return [float(not drawn.any())]


LAWS = {"normal": _normal, "uniform": _uniform, "zero": _zero}


def _negative_tests(question: Question, answer: Arrays) -> List[Test]:
    """Test that all items outside a user's training items are equally likely (Pearson 1900)."""
    from scipy.stats import chi2

    given = question.given
    num_users, num_items = int(given["num_users"]), int(given["num_items"])
    users, items = given["users"], np.asarray(answer.get("negatives", np.zeros(0)))
    if items.dtype.kind == "f" and np.array_equal(items, np.rint(items)):
        items = items.astype(np.int64)
    if items.shape != users.shape or items.dtype.kind not in "iu":
        words = f"negatives are {items.dtype} {items.shape}, not integers {users.shape}"
        return [Test("negatives", 0.0, words)]
    if items.min() < 0 or items.max() >= num_items:
        return [Test("negatives", 0.0, f"negatives have ids outside the {num_items} items")]
    seen = np.zeros((num_users, num_items), dtype=bool)
    seen[given["train"][:, 0], given["train"][:, 1]] = True
    wrong = int(seen[users, items].sum())
    if wrong:
        words = f"{wrong} of {len(items)} negatives are training items of their user"
        return [Test("training items", 0.0, words)]
    counts = np.zeros((num_users, num_items))
    np.add.at(counts, (users, items), 1)
    expected = counts.sum(axis=1, keepdims=True) / (~seen).sum(axis=1, keepdims=True)
    statistic = float(((counts - expected) ** 2 / expected)[~seen].sum())
    freedom = int((~seen).sum()) - num_users
    p = 2 * min(chi2.cdf(statistic, freedom), chi2.sf(statistic, freedom))
    words = f"negatives should be uniform: chi-square {statistic:.0f}, {freedom} degrees of freedom"
    tests = [Test("negatives", float(p), words)]
    if "test_items" in given:
        tests.append(_held_out_test(counts, seen, given["test_items"]))
    return tests


def _held_out_test(counts: np.ndarray, seen: np.ndarray, test_items: np.ndarray) -> Test:
    """Test that the held-out items are as likely as all other unseen items.

    ``counts`` and ``seen``, (users, items), have the number of draws and the training items. The
    number of draws of held-out items is a sum of independent rare events. Its distribution is
    narrower than Poisson's, so the p-value is not too small.
    """
    from scipy.stats import poisson

    users = np.arange(len(counts))
    drawn = int(counts[users, test_items].sum())
    due = float((counts.sum(axis=1) / (~seen).sum(axis=1)).sum())
    p = min(1.0, 2 * min(poisson.cdf(drawn, due), poisson.sf(drawn - 1, due)))
    words = f"held-out items are drawn {drawn} times; {due:.0f} times are due"
    return Test("held-out items", float(p), words)
