import numpy as np
import pytest

from d2l_recsys.ctr import CTRDataset
from d2l_recsys.errors import DataError
from d2l_recsys.saved_models.ids import ClickIds, RatingIds


def test_consecutive_ids_are_rows_counted_from_one():
    ids = RatingIds.consecutive(3, 5)
    assert ids.user_rows([1, 3, 2]).tolist() == [0, 2, 1]
    assert ids.item_rows(np.array([5])).tolist() == [4]
    assert ids.item_rows([]).tolist() == []


def test_any_ids_find_their_rows_and_strangers_are_named():
    ids = RatingIds(np.array([70, 10, 40]), np.array([2]))
    assert ids.user_rows([10, 70, 40, 10]).tolist() == [1, 0, 2, 1]
    assert ids.user_rows([10]).dtype == np.int32
    for stranger in (9, 11, 71):
        with pytest.raises(DataError, match=f"user {stranger} was not in the data"):
            ids.user_rows([10, stranger])
    with pytest.raises(DataError, match="item 3 was not in the data"):
        ids.item_rows([3])
    with pytest.raises(DataError, match="ids of users must be whole numbers, not <U2"):
        ids.user_rows(["10"])


def test_clicks_become_the_features_that_the_data_set_gives_them(clicks_dir):
    data = CTRDataset(clicks_dir / "train.csv")
    ids = ClickIds(data.feat_mapper, data.defaults)
    lines = (clicks_dir / "train.csv").read_text().splitlines()
    rows = [line.split("\t")[1:] for line in lines]
    np.testing.assert_array_equal(ids.features(rows), data.features)
    unseen = ids.features([["never seen"] * 34])
    np.testing.assert_array_equal(unseen[0], data.offsets + list(data.defaults.values()))
    assert ids.features([]).shape == (0, 34)
    with pytest.raises(DataError, match="a row has 33 values; the model has 34 fields"):
        ids.features([rows[0], rows[1][1:]])


def test_both_survive_being_arrays(clicks_dir):
    ratings = RatingIds.consecutive(3, 5)
    for part, again in zip(ratings, RatingIds.from_arrays(ratings.as_arrays())):
        np.testing.assert_array_equal(part, again)
    data = CTRDataset(clicks_dir / "train.csv")
    clicks = ClickIds(data.feat_mapper, data.defaults)
    assert ClickIds.from_arrays(clicks.as_arrays()) == clicks
