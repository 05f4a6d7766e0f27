import numpy as np
import pytest

from d2l_recsys.datasets.movielens_clicks import FIELDS, movielens_clicks
from d2l_recsys.errors import DataError


def rows_of(content):
    return [line.split("\t") for line in content.decode().splitlines()]


def test_ratings_become_clicks_with_fields_of_user_movie_and_time(ratings_dir, ratings):
    train, test = movielens_clicks(ratings_dir)
    rows = rows_of(train) + rows_of(test)
    assert len(rows) == len(ratings)
    expected = []
    for user, item, rating, timestamp in ratings.to_numpy():
        seconds = timestamp - 880000000
        # 880000000 is Thursday 20 November 1997, 04:26:40 UTC.
        assert 0 <= seconds < 60
        fields = [user, item, 20 + user, "MF"[user % 2], "writer", user % 10, 1950 + item]
        expected.append([*map(str, [int(rating >= 4), *fields, "Action|Comedy", 4, 4])])
    assert sorted(rows) == sorted(expected)
    assert len(FIELDS) == len(rows[0]) - 1


def test_the_split_is_a_tenth_and_always_the_same(ratings_dir):
    train, test = movielens_clicks(ratings_dir)
    assert (train, test) == movielens_clicks(ratings_dir)
    assert 0.03 < len(rows_of(test)) / len(rows_of(train) + rows_of(test)) < 0.2


def test_a_user_or_movie_that_is_not_in_its_file_is_named(ratings_dir):
    for name, message in (
        ("u.user", "user_id 30 is not in the file of users in the same folder"),
        ("u.item", "item_id 40 is not in the file of items in the same folder"),
    ):
        path = ratings_dir / name
        whole = path.read_text()
        number = message.split()[1]
        path.write_text("".join(x for x in whole.splitlines(True) if not x.startswith(number)))
        with pytest.raises(DataError, match=rf"u\.data: {message}; add it to that file"):
            movielens_clicks(ratings_dir)
        path.write_text(whole)
    (ratings_dir / "u.user").unlink()
    with pytest.raises(DataError, match=r"u\.user cannot be read"):
        movielens_clicks(ratings_dir)


def test_an_unknown_year_is_an_empty_value(ratings_dir):
    path = ratings_dir / "u.item"
    path.write_text(path.read_text().replace("Film 7 (1957)", "Film 7"))
    rows = np.array([row for part in movielens_clicks(ratings_dir) for row in rows_of(part)])
    assert set(rows[rows[:, 2] == "7", 7]) == {""}
    assert set(rows[rows[:, 2] == "8", 7]) == {"1958"}


@pytest.mark.network
def test_the_real_ratings(ml100k_dir):
    train, test = map(rows_of, movielens_clicks(ml100k_dir))
    assert (len(train), len(test)) == (90095, 9905)
    clicks = sum(row[0] == "1" for row in train + test)
    assert clicks == 55375  # the ratings of 4 and 5
    # The first line of u.data: user 196, item 242 (Kolya, 1996), rating 3, 4 December 1997.
    kolya = "0\t196\t242\t49\tM\twriter\t5\t1996\tComedy\t15\t4"
    assert kolya in ["\t".join(row) for row in train + test]
