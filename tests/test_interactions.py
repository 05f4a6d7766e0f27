import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from d2l_recsys.errors import DataError
from d2l_recsys.loaders.interactions import interaction_matrix, user_items


@settings(max_examples=100, deadline=None)
@given(lists=st.lists(st.lists(st.integers(0, 12)), min_size=1, max_size=8))
def test_the_arrays_hold_each_users_distinct_items_in_order(lists):
    arrays = user_items(dict(enumerate(lists)), len(lists), 13, "training item")
    cut = [
        arrays.items[start:stop].tolist() for start, stop in zip(arrays.starts, arrays.starts[1:])
    ]
    assert cut == [sorted(set(items)) for items in lists]
    assert arrays.users.tolist() == [u for u, items in enumerate(cut) for _ in items]


def test_the_order_of_the_mapping_does_not_matter():
    arrays = user_items({1: [3, 0], 0: [2]}, 2, 4, "training item")
    assert arrays.items.tolist() == [2, 0, 3]


def test_a_missing_user_and_items_beyond_the_table_are_refused():
    with pytest.raises(DataError, match=r"user 2 .* is missing from the training items"):
        user_items({0: [1], 2: [1]}, 3, 5, "training item")
    with pytest.raises(DataError, match=r"held-out item 5 is beyond the table of 5 items \(0 to 4"):
        user_items({0: [1], 1: [5]}, 2, 5, "held-out item")
    with pytest.raises(DataError, match=r"held-out item -1 is beyond"):
        user_items({0: [-1]}, 1, 5, "held-out item")
    assert len(user_items({0: np.array([4])}, 1, 5, "held-out item").items) == 1


def test_lists_by_position_do_and_ids_that_are_not_whole_numbers_do_not():
    assert user_items([[1], [0, 2]], 2, 3, "training item").items.tolist() == [1, 0, 2]
    assert user_items(np.array([[1], [2]]), 2, 3, "training item").items.tolist() == [1, 2]
    with pytest.raises(DataError, match=r"user 3 .* is missing"):
        user_items([[1], [0]], 3, 3, "training item")
    for bad in ([1.9], ["12"]):
        with pytest.raises(DataError, match="training items are not whole numbers"):
            user_items({0: bad}, 1, 20, "training item")


def test_the_matrix_has_each_value_at_its_pair_and_nothing_else():
    users, items = np.array([2, 0, 2]), np.array([1, 3, 0])
    matrix = interaction_matrix(users, items, 4, 5, np.array([4, 1, 3]))
    expected = np.zeros((4, 5))
    expected[users, items] = [4, 1, 3]
    np.testing.assert_array_equal(matrix.toarray(), expected)
    assert matrix.dtype == np.float32
    assert matrix.has_sorted_indices
    np.testing.assert_array_equal(interaction_matrix(users, items, 4, 5).toarray(), expected > 0)
