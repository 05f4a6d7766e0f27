"""The statistical tests of rung 6: p-values, false alarms, and the mistakes that they detect."""

import itertools
import re
from math import comb

import numpy as np
import pytest
from scipy.stats import mannwhitneyu

from d2l_recsys.baseline import convergence, oracle
from d2l_recsys.baseline.convergence import (
    FEWEST_SEEDS,
    THRESHOLD,
    law_tests,
    noticeable_shift,
    number_tests,
    range_test,
    rank_test,
)
from d2l_recsys.baseline.files import Baseline
from d2l_recsys.baseline.ladder import DROPOUT, MODELS, VARIANTS, tracks
from d2l_recsys.baseline.questions import ask


def by_counting(reference, values):
    """The two-sided p-value of the rank sum, by counting all subsets of the same size."""
    both = np.array([*reference, *values])
    ranks = [(both < x).sum() + ((both == x).sum() + 1) / 2 for x in both]
    sums = np.array([sum(chosen) for chosen in itertools.combinations(ranks, len(values))])
    found = sum(ranks[len(reference) :])
    tails = (sums <= found + 1e-9).mean(), (sums >= found - 1e-9).mean()
    return min(1.0, 2 * min(tails))


@pytest.mark.parametrize("levels", [2, 4, 1000])
def test_the_rank_test_counts_all_orders_ties_included(levels):
    rng = np.random.default_rng(levels)
    for _ in range(30):
        reference, values = rng.integers(levels, size=7), rng.integers(levels, size=4)
        assert rank_test(reference, values) == pytest.approx(by_counting(reference, values))


def test_without_ties_it_is_the_test_of_mann_and_whitney():
    rng = np.random.default_rng(0)
    for shift in (0.0, 0.7, 3.0):
        reference, values = rng.normal(size=40), rng.normal(size=10) + shift
        expected = mannwhitneyu(values, reference, method="exact").pvalue
        assert rank_test(reference, values) == pytest.approx(expected)


def test_numbers_that_never_vary_agree_or_are_told_apart():
    assert rank_test([0.449] * 40, [0.449] * 10) == 1
    assert rank_test([0.449] * 40, [0.4491] * 10) < THRESHOLD


@pytest.mark.parametrize("draw", ["normal", "heavy", "ties"])
def test_what_is_drawn_alike_is_seldom_flagged(draw):
    rng = np.random.default_rng(1)
    draws = {
        "normal": lambda: rng.normal(size=30),
        "heavy": lambda: rng.standard_cauchy(size=30),
        "ties": lambda: rng.binomial(6, 0.3, size=30),
    }
    drawn = [draws[draw]() for _ in range(600)]
    share = np.mean([rank_test(x[:20], x[20:]) <= 0.05 for x in drawn])
    # The share is at most 0.05; the bound is five standard errors above 0.05.
    assert share < 0.05 + 5 * np.sqrt(0.05 * 0.95 / 600)


def test_the_shift_that_is_noticed_nine_times_of_ten_is_about_that():
    rng = np.random.default_rng(2)
    shift = noticeable_shift(40, 10)
    assert 1.5 < shift < 3 < noticeable_shift(40, 5) + 1
    pairs = [(rng.normal(size=40), rng.normal(size=10) + shift) for _ in range(200)]
    noticed = np.mean([rank_test(*pair) <= THRESHOLD for pair in pairs])
    assert 0.8 < noticed < 0.98


def test_a_number_that_is_too_good_too_bad_or_too_steady_is_flagged():
    rng = np.random.default_rng(3)
    reference = {"test_rmse": rng.normal(0.9, 0.01, 40).tolist()}

    def worst(values):
        return min(
            number_tests(reference, {"test_rmse": values}, len(values)), key=lambda test: test.p
        )

    assert worst(rng.normal(0.9, 0.01, 10)).p > THRESHOLD
    for mean in (0.87, 0.93):
        assert worst(rng.normal(mean, 0.01, 10)).p <= THRESHOLD
    steady = worst(np.median(reference["test_rmse"]) + 1e-6 * np.arange(10))
    assert steady.p <= THRESHOLD
    assert steady.what == "seeds of test_rmse"
    wild = worst(0.9 + 0.2 * np.linspace(-1, 1, 10))
    assert wild.p <= THRESHOLD
    assert wild.what == "spread of test_rmse"
    place = number_tests(reference, {"test_rmse": [0.8] * 10}, 10)[0]
    assert re.search(r"0\.8 ± 0 over 10 seeds, .* checks detect a shift of 0\.0\d+$", place.words)


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        ({}, "test_auc is missing"),
        ({"test_auc": [0.5] * 9 + [np.nan]}, "test_auc is not finite"),
        ({"test_auc": [0.5] * 6}, "test_auc has 6 values for 10 seeds"),
    ],
)
def test_a_number_that_is_not_there_is_flagged(numbers, words):
    (found,) = number_tests({"test_auc": [0.5, 0.6, 0.7]}, numbers, 10)
    assert (found.p, found.words) == (0.0, words)


def test_seeds_without_effect_are_flagged_wherever_their_value_lies():
    rng = np.random.default_rng(5)
    reference = rng.normal(size=30)
    for value in rng.normal(size=20):
        tests = number_tests({"x": reference}, {"x": value + 1e-5 * rng.normal(size=10)}, 10)
        assert min(tests, key=lambda test: test.p).what == "seeds of x"
        assert min(test.p for test in tests) <= THRESHOLD
    assert range_test([0.5] * 30, [0.5] * 10) == 1
    # With only two different values, ten equal values can be luck.
    assert range_test([0, 1] * 15, [1] * 10) == pytest.approx(
        (comb(15, 10) + comb(25, 10)) / comb(40, 10)
    )


def test_the_range_test_counts_all_choices():
    rng = np.random.default_rng(6)
    for levels in (3, 1000):
        reference, values = rng.integers(levels, size=8), rng.integers(levels, size=4)
        both = [*reference, *values]
        spans = [max(chosen) - min(chosen) for chosen in itertools.combinations(both, 4)]
        share = np.mean(np.array(spans) <= max(values) - min(values))
        assert range_test(reference, values) == pytest.approx(share)


def test_the_fewest_seeds_can_be_told_from_the_reference():
    fewest = np.arange(FEWEST_SEEDS)
    assert rank_test(np.arange(30), fewest - 1000) <= THRESHOLD
    assert rank_test(np.arange(30), fewest[2:] - 1000) > THRESHOLD


def test_as_many_tests_as_the_threshold_is_made_for():
    index = Baseline().index
    numbers = sum(
        3 * len(index["convergence"][track][protocol])
        for variant in VARIANTS
        for track, protocols in tracks(variant)
        for protocol in protocols
    )
    laws = [law_tests(q, ask(oracle.Port, q)) for q in drawn_questions()]
    of_dropout = 2 * sum(len(e["protocols"]) for e in Baseline().entries if e["rung"] == DROPOUT)
    total = numbers + sum(map(len, laws)) + of_dropout
    assert total <= convergence.TESTS_OF_A_CHECK


def drawn_questions():
    baseline = Baseline()
    return [baseline.question(entry) for entry in baseline.entries if entry["rung"] == 6]


def least(question, answer):
    return min(test.p for test in law_tests(question, answer))


@pytest.mark.parametrize("question", drawn_questions(), ids=lambda question: question.name)
def test_what_the_oracle_draws_follows_its_law(question):
    assert least(question, ask(oracle.Port, question)) > THRESHOLD


@pytest.mark.parametrize("model", MODELS)
def test_first_weights_of_another_law_are_flagged(model):
    (question,) = [q for q in drawn_questions() if q.name == f"{model}/6-first"]
    right = ask(oracle.Port, question)
    largest = max((name for name in right if "weight" in name), key=lambda name: right[name].size)
    wider = {**right, largest: right[largest] * 1.2}
    assert least(question, wider) <= THRESHOLD
    assert least(question, {**right, largest: right[largest].T}) == 0
    assert least(question, {name: right[name] for name in right if name != largest}) == 0
    assert least(question, {**right, "parameters/more": np.zeros(3)}) == 0
    biases = [name for name in right if name.endswith(".bias")]
    if biases:
        assert least(question, {**right, biases[0]: right[biases[0]] + 1e-3}) == 0


@pytest.mark.parametrize("model", ["neumf", "caser"])
def test_negatives_that_are_seen_or_not_uniform_are_flagged(model):
    (question,) = [q for q in drawn_questions() if q.name == f"{model}/6-negatives"]
    items = ask(oracle.Port, question)["negatives"]
    given = question.given
    user, seen = given["train"][0]
    with_seen = items.copy()
    with_seen[np.flatnonzero(given["users"] == user)[0]] = seen
    for wrong, words in (
        (with_seen, "1 of "),
        (items[:-1], "negatives are "),
        (items + int(given["num_items"]), "negatives have ids outside the "),
        (items + 0.5, "negatives are "),
    ):
        (found,) = law_tests(question, {"negatives": wrong})
        assert found.p == 0
        assert found.words.startswith(words)
    assert least(question, {"negatives": items.astype(float)}) > THRESHOLD
    # One of seven draws comes from the first 40 unseen items of the user.
    skewed = items.copy()
    mask = np.ones((int(given["num_users"]), int(given["num_items"])), bool)
    mask[given["train"][:, 0], given["train"][:, 1]] = False
    for row in range(0, len(skewed), 7):
        skewed[row] = np.flatnonzero(mask[given["users"][row]])[row % 40]
    assert least(question, {"negatives": skewed}) <= THRESHOLD


def test_a_shift_is_told_as_a_shift_and_not_as_another_spread():
    rng = np.random.default_rng(8)
    reference = {"x": rng.normal(8.37, 0.37, 30)}
    told = {t.what: t for t in number_tests(reference, {"x": rng.normal(9.71, 0.45, 10)}, 10)}
    assert told["x"].p <= THRESHOLD
    assert "spread of x" not in told
    # Another spread around the same place is still told.
    wide = {t.what: t for t in number_tests(reference, {"x": 8.37 + np.linspace(-9, 9, 10)}, 10)}
    assert wide["x"].p > THRESHOLD >= wide["spread of x"].p
