import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import ndcg_score, roc_auc_score

from d2l_recsys.errors import DataError, SettingError
from d2l_recsys.ranking import HeldOut, hit_and_auc, ranking_metrics


@settings(max_examples=300, deadline=None)
@given(data=st.data(), length=st.integers(2, 30))
def test_hit_and_auc_equals_d2ls(data, length):
    d2l = pytest.importorskip("d2l.mxnet")
    ranked = data.draw(st.permutations(range(length)))
    held_out = data.draw(st.lists(st.integers(0, length + 5), max_size=6))
    k = data.draw(st.integers(0, length + 3))
    assert hit_and_auc(ranked, held_out, k) == d2l.hit_and_auc(ranked, held_out, k)


def test_hit_and_auc_of_cases_done_by_hand():
    assert hit_and_auc([4, 2, 7, 1, 9], [2], 1) == (0, 0.75)
    assert hit_and_auc([4, 2, 7, 1, 9], [2], 2) == (1, 0.75)
    assert hit_and_auc([4, 2, 7, 1, 9], [9, 7], 50) == (2, 0.5)
    assert hit_and_auc([4, 2, 7], [5], 2) == (0, 0)
    assert hit_and_auc([], [5], 2) == (0, 0)
    with pytest.raises(SettingError, match=r"k is -1"):
        hit_and_auc([4, 2, 7], [2], -1)
    with pytest.raises(DataError, match=r"the list has only the held-out item"):
        hit_and_auc([4], [4], 1)


def random_case(seed, num_users, num_items, distinct_scores, per_user=1):
    """Random scores with ties, held-out items, and candidates that are not held out.

    Items 0 and 1 are never candidates, so the chapter's list has at least two items and an AUC.
    """
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, distinct_scores, (num_users, num_items)).astype("float32")
    test_input, candidates = {}, {}
    for user in range(num_users):
        items = rng.permutation(num_items).tolist()
        test_input[user] = items[:per_user]
        others = [item for item in items[per_user:] if item > 1]
        candidates[user] = others[: rng.integers(0, len(others) - 1)]
    return scores, test_input, candidates


def in_blocks(held_out, scores, size):
    return [held_out.ranks(i, scores[i : i + size]) for i in range(0, len(scores), size)]


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    distinct_scores=st.sampled_from([2, 5, 10**6]),
    block=st.integers(1, 8),
)
def test_defined_metrics_equal_scikit_learns_and_a_plain_loop(seed, distinct_scores, block):
    """Seven users and eighty items. The chapter's lists of seven items do not matter here."""
    scores, test_input, candidates = random_case(seed, 7, 80, distinct_scores)
    held_out = HeldOut(test_input, candidates, 7, 80)
    found = held_out.scores(in_blocks(held_out, scores, block), cutoffs=[3]).defined
    expected = {name: [] for name in found}
    for user in range(7):
        (target,) = test_input[user]
        others = [i for i in range(80) if i not in candidates[user] and i != target]
        own = float(scores[user, target])
        rank = 0.0
        for other in others:
            rank += 1.0 * (scores[user, other] > own) + 0.5 * (scores[user, other] == own)
        labels = [1] + [0] * len(others)
        of_user = scores[user, [target, *others]]
        expected["test_auc"].append(roc_auc_score(labels, of_user))
        expected["test_hit_rate"].append(float(rank < 50))
        expected["test_mrr"].append(1 / (rank + 1))
        expected["test_hit_rate_at_3"].append(float(rank < 3))
        expected["test_mrr_at_3"].append((rank < 3) / (rank + 1))
        for name, k in (("test_ndcg", 10), ("test_ndcg_at_3", 3)):
            gain = (rank < k) / np.log2(rank + 2)
            if (of_user == own).sum() == 1:  # scikit-learn takes the mean over all orders of ties
                assert gain == pytest.approx(ndcg_score([labels], [of_user], k=k))
            expected[name].append(gain)
    assert found == pytest.approx({name: np.mean(values) for name, values in expected.items()})


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), sizes=st.sampled_from([(9, 14), (12, 12), (15, 8), (70, 90)]))
def test_printed_metrics_equal_sorting_as_the_chapter_sorts(seed, sizes):
    """The lists have items 0 ... num_users - 1; ids beyond the last item get its score."""
    num_users, num_items = sizes
    scores, test_input, candidates = random_case(seed, *sizes, distinct_scores=4, per_user=2)
    held_out = HeldOut(test_input, candidates, *sizes)
    found = held_out.scores(in_blocks(held_out, scores, 4)).printed
    hits, aucs = [], []
    for user in range(num_users):
        unobserved = list(set(range(num_users)) - set(candidates[user]))
        score = {i: scores[user, min(i, num_items - 1)] for i in unobserved}
        ranked = sorted(unobserved, key=score.get, reverse=True)
        hit, auc = hit_and_auc(ranked, test_input[user], 50)
        hits.append(hit)
        aucs.append(auc)
    assert found == {"test_hit_rate": np.mean(hits), "test_auc": np.mean(aucs)}


def test_ties_count_half_and_the_chapter_prefers_the_lower_item():
    scores = np.zeros((4, 5), dtype="float32")
    test_input, candidates = {0: [0], 1: [2], 2: [3], 3: [4]}, {0: [], 1: [], 2: [1], 3: []}
    held_out = HeldOut(test_input, candidates, 4, 5)
    found = held_out.scores([held_out.ranks(0, scores)])
    # Printed positions: 0 of 4, 2 of 4, 2 of 3. The chapter does not rank item 4.
    assert found.printed["test_auc"] == pytest.approx((1 + 1 / 3 + 0 + 0) / 4)
    assert found.printed["test_hit_rate"] == 0.75
    assert found.defined["test_auc"] == 0.5
    assert found.defined["test_mrr"] == pytest.approx((3 * 1 / 3 + 1 / 2.5) / 4)


def test_the_order_of_ties_is_that_of_the_chapters_set_even_where_it_wraps_around():
    assert list(set(range(30)) - (set(range(30)) - {3, 8, 9})) == [8, 9, 3]
    candidates = {user: sorted(set(range(30)) - {3, 8, 9}) for user in range(30)}
    held_out = HeldOut({user: [9] for user in range(30)}, candidates, 30, 40)
    ranks = held_out.ranks(0, np.zeros((30, 40), dtype="float32"))
    assert set(ranks.position) == {1}


def test_the_default_cut_offs_are_fifty_and_ten():
    rank = np.array([9.0, 9.5, 10.0, 49.5, 50.0])
    metrics = ranking_metrics(rank, np.full(5, 100))
    assert metrics["test_hit_rate"].tolist() == [1, 1, 1, 1, 0]
    assert (metrics["test_ndcg"] > 0).tolist() == [True, True, False, False, False]
    assert metrics["test_auc"].tolist() == [0.91, 0.905, 0.9, 0.505, 0.5]


def test_a_cut_off_beyond_the_list_cuts_nothing():
    metrics = ranking_metrics(np.array([0.0, 7.0]), np.array([7, 7]), cutoffs=[1000])
    assert metrics["test_hit_rate_at_1000"].tolist() == [1, 1]
    assert metrics["test_mrr_at_1000"].tolist() == metrics["test_mrr"].tolist()
    with pytest.raises(SettingError, match=r"--cutoff is 0"):
        ranking_metrics(np.array([0.0]), np.array([7]), cutoffs=[0])


def test_held_out_items_of_a_user_count_alike_and_so_do_users():
    """User 0 has two held-out items, at ranks 0 and 2; user 1 has one, at rank 1."""
    scores = np.array([[9, 5, 6, 7, 0], [1, 9, 0, 5, 0]], dtype="float32")
    held_out = HeldOut({0: [0, 1], 1: [3]}, {0: [], 1: []}, 2, 5)
    found = held_out.scores([held_out.ranks(0, scores)]).defined
    assert found["test_mrr"] == pytest.approx(((1 + 1 / 3) / 2 + 1 / 2) / 2)
    assert found["test_auc"] == pytest.approx(((1 + 1 / 3) / 2 + 3 / 4) / 2)


def test_a_score_that_is_not_a_number_makes_no_hit():
    scores = np.array([[3, 2, 1], [np.nan, 5, 1]], dtype="float32")
    held_out = HeldOut({0: [0], 1: [1]}, {0: [], 1: []}, 2, 3)
    found = held_out.scores([held_out.ranks(0, scores)], cutoffs=[2])
    for numbers in found:
        assert np.isnan(list(numbers.values())).all()


def test_bad_input_is_refused():
    everything = {0: [0, 1, 2], 1: []}
    with pytest.raises(DataError, match=r"user 2 .* is missing from the training items"):
        HeldOut({0: [1], 1: [1]}, {0: []}, 2, 3)
    with pytest.raises(DataError, match=r"user 2 .* is missing from the held-out items"):
        HeldOut({0: [1]}, everything, 2, 3)
    with pytest.raises(DataError, match=r"user 2 .* has no held-out item"):
        HeldOut({0: [1], 1: []}, everything, 2, 3)
    with pytest.raises(DataError, match=r"held-out item 3 is beyond the table of 3 items"):
        HeldOut({0: [1], 1: [3]}, everything, 2, 3)
    with pytest.raises(DataError, match=r"training item 3 is beyond the table of 3 items"):
        HeldOut({0: [1], 1: [1]}, {0: [3], 1: []}, 2, 3)
    with pytest.raises(DataError, match=r"^user 1 \(counted from 1, as in u\.data\) has no unseen"):
        HeldOut({0: [1], 1: [1]}, everything, 2, 3)
    with pytest.raises(DataError, match=r"user 2 .* has no unseen item to rank"):
        HeldOut({0: [1], 1: [1, 2]}, {0: [], 1: [0]}, 2, 3)


def test_a_user_who_is_alone_in_the_chapters_list_counts_in_the_defined_numbers():
    """The chapter ranks items 0 and 1. Of these, user 0 has only seen item 1, and 0 is held out."""
    held_out = HeldOut({0: [0], 1: [1]}, {0: [1], 1: []}, 2, 6)
    scores = np.array([[3.0, 9, 1, 2, 4, 0], [2, 1, 3, 4, 5, 6]])
    found = held_out.scores([held_out.ranks(0, scores)])
    # User 0 has four unseen items, and one of them has a higher score. Of user 1, item 0 has, too.
    assert found.defined["test_auc"] == pytest.approx((3 / 4 + 0) / 2)
    assert found.printed == {"test_hit_rate": 1.0, "test_auc": 0.0}
    alone = HeldOut({0: [0]}, {0: []}, 1, 3)
    found = alone.scores([alone.ranks(0, np.array([[1.0, 0, 2]]))])
    assert found.defined["test_auc"] == 0.5
    assert found.printed["test_hit_rate"] == 1
    assert np.isnan(found.printed["test_auc"])
    # A single unseen item is enough.
    one = HeldOut({0: [0]}, {0: [1]}, 1, 3)
    assert one.scores([one.ranks(0, np.array([[1.0, 9, 0]]))]).defined["test_auc"] == 1
    d2l = pytest.importorskip("d2l.mxnet")
    with pytest.raises(ZeroDivisionError):
        d2l.hit_and_auc([0], [0], 50)


def test_a_held_out_item_that_was_observed_too_is_no_hit_for_the_chapter():
    d2l = pytest.importorskip("d2l.mxnet")
    scores = np.array([[9, 5, 1, 0], [9, 5, 1, 0], [9, 5, 1, 0]], dtype="float32")
    held_out = HeldOut({u: [0] for u in range(3)}, {0: [0], 1: [], 2: [0, 1]}, 3, 4)
    found = held_out.scores([held_out.ranks(0, scores)])
    assert d2l.hit_and_auc([1, 2], [0], 50) == (0, 0)
    assert found.printed == {"test_hit_rate": 1 / 3, "test_auc": 1 / 3}
    assert found.defined["test_mrr"] == 1


def test_a_user_without_training_items_is_ranked_against_everything():
    scores = np.array([[3, 2, 1, 0], [1, 0, 2, 3], [0, 0, 0, 1]], dtype="float32")
    held_out = HeldOut({0: [2], 1: [0], 2: [3]}, {0: [], 1: [1], 2: []}, 3, 4)
    found = held_out.scores([held_out.ranks(0, scores)]).defined
    assert found["test_auc"] == pytest.approx((1 / 3 + 0 / 2 + 3 / 3) / 3)


def test_the_printed_hit_rate_is_over_the_first_fifty():
    """The held-out items are at positions 48, 49, 50 and 59 of lists of sixty items."""
    scores = np.tile(np.arange(60, 0, -1), (60, 1)).astype("float32")
    held_out = HeldOut(
        {user: [(48, 49, 50, 59)[user % 4]] for user in range(60)},
        {user: [] for user in range(60)},
        60,
        60,
    )
    assert held_out.scores([held_out.ranks(0, scores)]).printed["test_hit_rate"] == 0.5
