import importlib

import numpy as np
import pytest

from d2l_recsys.data import load_ranking_ml100k
from d2l_recsys.errors import DataError
from d2l_recsys.loaders.interactions import check_rows, row_loader, seen_rows
from d2l_recsys.seeds import seed_streams


@pytest.mark.parametrize("split", ["seq-aware", "validation"])
def test_a_row_has_1_at_each_training_item_of_its_user(ratings, ratings_dir, split):
    data = load_ranking_ml100k(ratings_dir, split)
    rows = seen_rows(data)
    assert rows.dtype == np.float32
    expected = np.zeros((30, 40))
    for user, items in data.candidates.items():
        for item in items:
            expected[user, item] = 1
    np.testing.assert_array_equal(rows, expected)
    # One rating of each user is held out, and one more for the validation split.
    assert rows.sum() == len(ratings) - 30 * (2 if split == "validation" else 1)
    assert all(rows[user, items].sum() == 0 for user, items in data.test_items.items())


def test_the_loader_has_every_user_once_an_epoch_in_a_new_order():
    users, rows = np.arange(10), np.eye(10, dtype="float32")
    loader = row_loader(users, rows, batch_size=4, streams=seed_streams(3))
    epochs = [list(loader) for _ in range(2)]
    orders = [np.concatenate([batch[0] for batch in epoch]) for epoch in epochs]
    for epoch, order in zip(epochs, orders):
        assert [len(batch[0]) for batch in epoch] == [4, 4, 2]
        assert sorted(order) == list(users)
        np.testing.assert_array_equal(np.concatenate([batch[1] for batch in epoch]), rows[order])
    assert list(orders[0]) != list(orders[1])
    again = row_loader(users, rows, batch_size=4, streams=seed_streams(3))
    np.testing.assert_array_equal(np.concatenate([batch[0] for batch in again]), orders[0])


def test_rows_that_do_not_fit_are_refused():
    check_rows(np.zeros((2, 5)), 5)
    with pytest.raises(DataError, match="give it their rows"):
        check_rows(None, 5)
    with pytest.raises(DataError, match=r"rows of shape \(2, 4\) for a model of 5 items"):
        check_rows(np.zeros((2, 4)), 5)
    with pytest.raises(DataError, match=r"rows of shape \(5,\)"):
        check_rows(np.zeros(5), 5)


@pytest.fixture
def tastes_dir(tmp_path):
    """60 users of two tastes. Each has seen 10 items of one half of 40 equally popular items."""
    folder = tmp_path / "tastes"
    folder.mkdir()
    rng = np.random.default_rng(0)
    lines = [
        f"{user + 1}\t{20 * (user % 2) + (user + step) % 20 + 1}\t5\t{time}"
        for user in range(60)
        for step, time in enumerate(rng.permutation(10))
    ]
    (folder / "u.data").write_text("\n".join(lines) + "\n")
    (folder / "u.item").write_text("".join(f"{i}|{i} (1990)||||{'0|' * 18}0\n" for i in range(40)))
    (folder / "u.user").write_text("".join(f"{u}|20|M|writer|01234\n" for u in range(60)))
    return folder


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("autoencoder", {"num_epochs": 20}),
        ("cdae", {"num_epochs": 20, "lr": 0.02}),
        ("cdae", {"num_epochs": 20, "lr": 0.02, "loss": "square"}),
        ("multvae", {"num_epochs": 30, "lr": 0.01}),
    ],
)
def test_users_are_told_the_items_of_their_taste(name, options, tastes_dir, tmp_path):
    pytest.importorskip("d2l_recsys.backend")
    main = importlib.import_module(f"d2l_recsys.chapters.extras.{name}").main
    result = main(data_dir=tastes_dir, out=tmp_path, quiet=True, batch_size=16, **options)
    # Of the 30 unseen items, 20 are of the other taste and 10 of the same taste. A model that knows
    # only the taste ranks the 20 and half of the 10 below the held-out item.
    assert result["defined"]["test_auc"] > 24 / 30
