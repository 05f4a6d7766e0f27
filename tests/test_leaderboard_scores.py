import numpy as np
import pandas as pd
import pytest

from d2l_recsys.leaderboard.runs import Done
from d2l_recsys.leaderboard.scores import METRICS, by_user, interval, stand


def done(rank, num_negatives=99, seconds=1.0):
    rank = np.asarray(rank, dtype=float)
    users = np.arange(len(rank))
    frame = {"user": users, "item": users, "rank": rank, "num_negatives": num_negatives}
    result = {"seconds": {"train": seconds}}
    return Done({}, result, pd.DataFrame(frame), None, 7, 3.0)


def test_the_metrics_of_each_user_follow_from_the_rank():
    values = by_user(done([0, 9, 10, 49, 50, 99]))
    assert list(values) == list(METRICS)
    np.testing.assert_array_equal(values["Hit@10"], [1, 1, 0, 0, 0, 0])
    np.testing.assert_array_equal(values["Hit@50"], [1, 1, 1, 1, 0, 0])
    np.testing.assert_allclose(values["NDCG@10"], [1, 1 / np.log2(11), 0, 0, 0, 0])
    np.testing.assert_allclose(values["MRR"], 1 / np.array([1, 10, 11, 50, 51, 100]))
    np.testing.assert_allclose(values["AUC"], 1 - np.array([0, 9, 10, 49, 50, 99]) / 99)


def test_users_are_paired_whatever_order_they_stand_in():
    run = done([5, 1, 0])
    turned = run._replace(ranks=run.ranks.iloc[::-1])
    for name, values in by_user(run).items():
        np.testing.assert_array_equal(by_user(turned)[name], values)


def test_the_interval_is_that_of_a_plain_bootstrap():
    values = np.random.default_rng(1).exponential(size=300)
    rng = np.random.default_rng(2)
    means = [values[rng.integers(300, size=300)].mean() for _ in range(4000)]
    expected = np.quantile(means, [0.025, 0.975])
    # Both intervals come from random draws. The error of a limit is about 2 % of the interval.
    np.testing.assert_allclose(interval(values), expected, atol=0.06 * np.ptp(expected))
    assert interval(values) == interval(values)
    assert interval(np.full(9, 0.25)) == (0.25, 0.25)


def test_a_pair_is_told_apart_by_its_differences():
    rng = np.random.default_rng(4)
    rank = rng.integers(0, 60, 400)
    # One system is slightly better for each user, but the two intervals overlap widely.
    better = np.maximum(rank - 1, 0)
    found = {s.name: s for s in stand({"bar": [done(rank)], "better": [done(better)]}, "bar")}
    assert found["better"].interval[0] < found["bar"].interval[1]
    assert found["better"].beats_popularity
    assert not found["bar"].beats_popularity
    assert found["bar"].lead == (0.0, 0.0)
    assert found["better"].ties_with_first
    assert not found["bar"].ties_with_first


def test_what_is_alike_but_for_chance_does_not_lead():
    rng = np.random.default_rng(5)
    one, other = rng.integers(0, 60, (2, 400))
    standings = stand({"bar": [done(one)], "other": [done(other)]}, "bar")
    assert [s.beats_popularity for s in standings] == [False, False]
    assert [s.ties_with_first for s in standings] == [True, True]


def test_standings_are_means_over_seeds_and_the_best_comes_first():
    runs = {
        "bar": [done([20, 20, 20, 1])],
        "best": [done([0, 0, 20, 20], seconds=3), done([0, 20, 20, 20], seconds=5)],
    }
    best, bar = stand(runs, "bar")
    assert (best.name, best.seeds, bar.name, bar.seeds) == ("best", 2, "bar", 1)
    assert best.means["NDCG@10"] == pytest.approx((0.5 + 0.25) / 2)
    assert best.sds["NDCG@10"] == pytest.approx(np.std([0.5, 0.25], ddof=1))
    assert bar.sds["NDCG@10"] == 0
    assert (best.seconds, best.parameters, best.median_count) == (4, 7, 3)
