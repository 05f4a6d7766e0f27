import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from d2l_recsys.errors import DataError
from d2l_recsys.loaders.batches import BatchLoader
from d2l_recsys.sampling import NegativeSampler, PairwiseLoader

NUM_ITEMS = 12
some_items = st.sets(st.integers(0, NUM_ITEMS - 1), max_size=NUM_ITEMS - 1).map(list)


class EachPlace:
    """Replaces a random generator: the draws are 0, 1, 2, ..."""

    def integers(self, high):
        return np.arange(len(high))


@settings(max_examples=200, deadline=None)
@given(lists=st.lists(some_items, min_size=1, max_size=5), user=st.integers(0, 4))
def test_the_rth_draw_is_the_rth_unobserved_item(lists, user):
    user %= len(lists)
    sampler = NegativeSampler(dict(enumerate(lists)), len(lists), NUM_ITEMS)
    sampler.rng = EachPlace()
    unobserved = sorted(set(range(NUM_ITEMS)) - set(lists[user]))
    drawn = sampler.draw(np.full(len(unobserved), user, dtype="int32"))
    assert drawn.tolist() == unobserved
    assert drawn.dtype == np.int32


@pytest.mark.network
def test_a_million_draws_avoid_what_was_observed_and_are_uniform(ml100k_dir):
    """Chi-square test over all unobserved items of users with few, typical and many ratings."""
    from d2l_recsys.data import load_ranking_ml100k

    data = load_ranking_ml100k(ml100k_dir)
    sampler = NegativeSampler(data.candidates, data.num_users, data.num_items, rng=11)
    by_count = sorted(data.candidates, key=lambda u: len(data.candidates[u]))
    chosen = np.array([by_count[0], by_count[471], by_count[-1]])
    users = np.repeat(chosen, 333_334)
    drawn = sampler.draw(np.random.default_rng(0).permutation(users))
    users = np.random.default_rng(0).permutation(users)
    assert len(drawn) > 1_000_000
    for user in chosen:
        counts = np.bincount(drawn[users == user], minlength=data.num_items)
        assert counts[data.candidates[user]].sum() == 0
        unobserved = np.delete(np.arange(data.num_items), data.candidates[user])
        assert counts[unobserved].min() > 0
        assert chisquare(counts[unobserved]).pvalue > 1e-4
    # The same test over all users, who occur as often as in the training pairs.
    drawn = np.concatenate([sampler.draw(data.users) for _ in range(11)])
    users = np.tile(data.users, 11)
    observed = set(zip(data.users.tolist(), data.items.tolist()))
    assert not observed & set(zip(users.tolist(), drawn.tolist()))
    seen = np.zeros((data.num_users, data.num_items), dtype=bool)
    seen[data.users, data.items] = True
    rate = np.bincount(users) / (~seen).sum(axis=1)
    expected = (~seen * rate[:, None]).sum(axis=0)
    assert chisquare(np.bincount(drawn, minlength=data.num_items), expected).pvalue > 1e-4


def test_the_generator_decides():
    candidates = {0: [1], 1: [0, 2]}
    users = np.tile([0, 1], 50)
    draws = [NegativeSampler(candidates, 2, 9, rng).draw(users).tolist() for rng in (3, 3, 4)]
    assert draws[0] == draws[1] != draws[2]


def test_a_user_who_has_seen_everything_is_refused_when_drawn_for():
    sampler = NegativeSampler({0: [0, 1, 2], 1: [0]}, 2, 3, 0)
    assert set(sampler.draw(np.array([1, 1, 1, 1])).tolist()) <= {1, 2}
    with pytest.raises(DataError, match=r"user 1 .* has seen all 3 items"):
        sampler.draw(np.array([1, 0]))
    for outside in (-1, 2):
        with pytest.raises(DataError, match="users must lie between 0 and 1"):
            sampler.draw(np.array([1, outside]))


def test_a_loaders_batches_end_with_negatives_drawn_anew_each_epoch():
    users = np.arange(40, dtype="int32") % 4
    items = np.arange(40, dtype="int32") % 10
    candidates = {u: sorted(set(items[users == u].tolist())) for u in range(4)}
    options = {"batch_size": 16, "shuffle": True, "last_batch": "rollover", "rng": 5}
    loader = PairwiseLoader(users, items, sampler=NegativeSampler(candidates, 4, 10, 6), **options)
    plain = BatchLoader(users, items, **options)
    negatives = []
    for _ in range(3):
        assert len(loader) == len(plain)
        epoch = list(loader)
        for batch, expected in zip(epoch, list(plain)):
            np.testing.assert_array_equal(batch[0], expected[0])
            np.testing.assert_array_equal(batch[1], expected[1])
            assert all(n not in candidates[u] for u, n in zip(batch[0], batch[2]))
        negatives.append(np.concatenate([batch[2] for batch in epoch]).tolist())
    assert negatives[0] != negatives[1] != negatives[2]


def test_from_a_loaders_state_the_same_negatives_follow():
    users, items = np.arange(40, dtype="int32") % 4, np.arange(40, dtype="int32") % 10

    def loader(seed):
        sampler = NegativeSampler({u: [0] for u in range(4)}, 4, 1000, seed)
        options = {"batch_size": 16, "shuffle": True, "last_batch": "rollover", "rng": seed}
        return PairwiseLoader(users, items, sampler=sampler, **options)

    first, second = loader(1), loader(2)
    list(first)
    state = first.state
    second.state = state
    for batch, other in zip(list(first), list(second)):
        np.testing.assert_array_equal(batch, other)


def test_a_loader_draws_several_negatives_for_each_row():
    users, items = np.arange(40, dtype="int32") % 4, np.arange(40, dtype="int32") % 10
    candidates = {u: sorted(set(items[users == u].tolist())) for u in range(4)}
    sampler = NegativeSampler(candidates, 4, 10, 6)
    (batch,) = PairwiseLoader(users, items, sampler=sampler, num_negatives=3, batch_size=40)
    assert batch[2].shape == (40, 3)
    assert batch[2].dtype == np.int32
    for user, row in zip(batch[0], batch[2]):
        assert not set(row.tolist()) & set(candidates[user])
    assert len({tuple(row) for row in batch[2].tolist()}) > 20


def test_many_negatives_are_drawn_in_smaller_blocks_with_the_same_numbers():
    users = np.arange(4000, dtype="int32") % 4
    sampler = NegativeSampler({u: [0] for u in range(4)}, 4, 1000, 6)
    loader = PairwiseLoader(users, sampler=sampler, num_negatives=5, batch_size=10)
    sizes = [len(arrays[0]) for arrays, _ in loader.blocks(20)]
    assert sizes == [40] * 100
    drawn = np.concatenate([arrays[1] for arrays, _ in loader.blocks(20)])
    again = NegativeSampler({u: [0] for u in range(4)}, 4, 1000, 6)
    again.draw(np.repeat(users, 5))
    assert (drawn.ravel() == again.draw(np.repeat(users, 5))).all()
