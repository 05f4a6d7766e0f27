import itertools

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from d2l_recsys.data import read_data_ml100k, split_data_ml100k
from d2l_recsys.datasets.movielens import COLUMNS, read_items_ml100k
from d2l_recsys.errors import DataError
from d2l_recsys.leaderboard.control import deal_anew, write_shuffled


def table(num_users, num_items, share, seed):
    rng = np.random.default_rng(seed)
    users, items = np.nonzero(rng.uniform(size=(num_users, num_items)) < share)
    order = rng.permutation(len(users))
    return users[order], items[order]


@settings(max_examples=60, deadline=None)
@given(
    num_users=st.integers(1, 8),
    num_items=st.integers(1, 8),
    share=st.floats(0.05, 1),
    seed=st.integers(0, 99),
)
def test_margins_stay_and_no_user_has_an_item_twice(num_users, num_items, share, seed):
    users, items = table(num_users, num_items, share, seed)
    if not len(users):
        return
    is_fixed = np.random.default_rng(seed).uniform(size=len(users)) < 0.3
    dealt = deal_anew(users, items, is_fixed, np.random.default_rng(seed), rounds=20)
    np.testing.assert_array_equal(np.sort(dealt), np.sort(items))
    np.testing.assert_array_equal(dealt[is_fixed], items[is_fixed])
    assert len(set(zip(users.tolist(), dealt.tolist()))) == len(users)


@pytest.mark.parametrize(
    ("users", "items"), [([0, 1, 2], [0, 1, 2]), ([0, 0, 1, 1, 2, 3], [0, 1, 0, 2, 1, 0])]
)
def test_every_table_of_the_same_margins_comes_out_alike(users, items):
    """In the second table, many swaps would give a user an item twice."""
    users, items = np.array(users), np.array(items)
    # List all orders of the items, as sets of pairs.
    tables = {
        frozenset(zip(users.tolist(), order)) for order in itertools.permutations(items.tolist())
    }
    tables = {table for table in tables if len(table) == len(users)}
    counts = dict.fromkeys(tables, 0)
    rng, times = np.random.default_rng(0), 300 * len(tables)
    for _ in range(times):
        dealt = deal_anew(users, items, np.zeros(len(users), bool), rng)
        counts[frozenset(zip(users.tolist(), dealt.tolist()))] += 1
    assert scipy.stats.chisquare(list(counts.values())).pvalue > 0.001


def test_what_a_user_rated_says_nothing_any_more():
    # There are two kinds of users, and each kind has its own items.
    kind = np.repeat([0, 1], 200)
    rng = np.random.default_rng(0)
    items = np.concatenate([rng.permutation(20)[:8] + 20 * k for k in kind])
    users = np.repeat(np.arange(400), 8)
    dealt = deal_anew(users, items, np.zeros(len(users), bool), rng)
    own_kind = (dealt >= 20) == np.repeat(kind, 8).astype(bool)
    assert abs(own_kind.mean() - 0.5) < 0.03


@pytest.mark.parametrize("held_out", ["seq-aware", "validation"])
@pytest.mark.parametrize("header", [False, True])
def test_the_copy_has_the_held_out_items_and_all_else_of_the_ratings(
    ratings_dir, tmp_path, header, held_out
):
    if header:  # the layout of the wheel
        lines = (ratings_dir / "u.data").read_text()
        first = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
        (ratings_dir / "ml-100k.inter").write_text(first + lines)
        (ratings_dir / "u.data").unlink()
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / "u.data").write_text("an old file")
    copy = write_shuffled(ratings_dir, tmp_path / "copy", 3, held_out)
    real, *counts = read_data_ml100k(ratings_dir)
    dealt, *same = read_data_ml100k(copy)
    assert counts == same
    others = [name for name in COLUMNS if name != "item_id"]
    pd.testing.assert_frame_equal(real[others], dealt[others])
    for split in ("seq-aware", held_out):
        parts = [split_data_ml100k(d, *counts, split)[1] for d in (real, dealt)]
        pd.testing.assert_frame_equal(*parts)
    if held_out == "seq-aware":
        before = [split_data_ml100k(d, *counts, "validation")[1] for d in (real, dealt)]
        assert (before[0]["item_id"] != before[1]["item_id"]).mean() > 0.8
    trained = [split_data_ml100k(d, *counts, held_out)[0]["item_id"] for d in (real, dealt)]
    assert (trained[0] != trained[1]).mean() > 0.8
    np.testing.assert_array_equal(*map(np.sort, trained))
    if header:
        with pytest.raises(DataError, match=r"ml-100k\.item cannot be read"):
            read_items_ml100k(copy)
    else:
        pd.testing.assert_frame_equal(read_items_ml100k(ratings_dir), read_items_ml100k(copy))
    assert (tmp_path / "copy").is_dir()
    other = write_shuffled(ratings_dir, tmp_path / "other", 4, held_out)
    assert not read_data_ml100k(other)[0]["item_id"].equals(dealt["item_id"])
