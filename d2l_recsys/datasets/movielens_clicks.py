"""MovieLens-100K recast as clicks, what sections 15.8-15.10 run on where the book's data is not.

A rating of 4 or 5 is a click. (An exercise of section 15.9 asks for MovieLens, too.)
"""

from typing import Optional, Tuple

import pandas as pd

from d2l_recsys.datasets.click_files import Field, RowLayout
from d2l_recsys.datasets.location import PathLike
from d2l_recsys.datasets.movielens import (
    find_ml100k,
    read_data_ml100k,
    read_items_ml100k,
    read_users_ml100k,
)
from d2l_recsys.errors import DataError
from d2l_recsys.loaders.splits import in_training

FIELDS = (
    "user", "item", "age", "gender", "occupation", "zip area", "release year", "genres", "hour",
    "weekday",
)  # fmt: skip
MOVIELENS = RowLayout(
    "\t", len(FIELDS) + 1, 0, tuple(Field(name, i) for i, name in enumerate(FIELDS, 1))
)
CLICK_FROM = 4
# The book's split does not change with a run's seed, so neither does this one.
SPLIT_SEED = 0
TEST_RATIO = 0.1


def movielens_clicks(data_dir: Optional[PathLike] = None) -> Tuple[bytes, bytes]:
    """Training and test file of clicks, in the book's layout with the fields of ``MOVIELENS``.

    A rating is a row; a random tenth, always the same, is the test file. Ages are in years, zip
    areas the first character of the zip code, genres all those of the movie, hours and weekdays
    (1 is Monday) those of the rating in UTC. What is unknown is an empty value.

    Raises what reading the ratings, movies and users raises, and DataError for a rating of a movie
    or by a user that is not among these.
    """
    ratings, *_ = read_data_ml100k(data_dir)
    users = read_users_ml100k(data_dir).set_index("user_id")
    items = read_items_ml100k(data_dir).set_index("item_id")
    for column, table in (("user_id", users), ("item_id", items)):
        unknown = ~ratings[column].isin(table.index)
        if unknown.any():
            raise DataError(
                f"{find_ml100k(data_dir).ratings}: {column} {ratings[column][unknown].iloc[0]} is "
                f"not in the file of {column[:-3]}s beside it; add it there"
            )
    users, items = users.loc[ratings["user_id"]], items.loc[ratings["item_id"]]
    time = pd.to_datetime(ratings["timestamp"], unit="s")
    columns = (
        (ratings["rating"] >= CLICK_FROM).astype(int),
        ratings["user_id"],
        ratings["item_id"],
        users["age"],
        users["gender"],
        users["occupation"],
        users["zip_code"].str[:1],
        items["year"].astype(object).where(items["year"].notna(), ""),
        items["genres"].str.join("|"),
        time.dt.hour,
        time.dt.day_of_week + 1,
    )
    table = pd.DataFrame({i: column.astype(str).to_numpy() for i, column in enumerate(columns)})
    train = in_training(len(table), TEST_RATIO, SPLIT_SEED)
    return _lines(table[train]), _lines(table[~train])


def _lines(table: pd.DataFrame) -> bytes:
    rows = zip(*(table[column] for column in table))
    return "".join("\t".join(row) + "\n" for row in rows).encode("utf-8")
