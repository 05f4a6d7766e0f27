"""MovieLens-100K recast as clicks: the substitute data of sections 15.8 to 15.10.

The sections use it if the book's clicks cannot be fetched. A rating of 4 or 5 is a click. (An
exercise of section 15.9 also asks for MovieLens.)
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
# The book's split is the same for all seeds of a run, so this split is the same, too.
SPLIT_SEED = 0
TEST_RATIO = 0.1


def movielens_clicks(data_dir: Optional[PathLike] = None) -> Tuple[bytes, bytes]:
    """Returns a training and a test file of clicks, like the book's but with other fields.

    ``MOVIELENS`` is the layout of the rows. Each rating is a row. A random tenth of the rows,
    always the same, is the test file. Age is in years. The zip area is the first character of the
    zip code. All genres of a movie are one value. Hour and weekday (1 is Monday) are those of the
    rating, in UTC. An unknown value is empty.

    Raises the errors of reading the ratings, movies and users. Raises DataError if a rating has a
    movie or a user that is not in the file of movies or users.
    """
    ratings, *_ = read_data_ml100k(data_dir)
    users = read_users_ml100k(data_dir).set_index("user_id")
    items = read_items_ml100k(data_dir).set_index("item_id")
    for column, table in (("user_id", users), ("item_id", items)):
        unknown = ~ratings[column].isin(table.index)
        if unknown.any():
            raise DataError(
                f"{find_ml100k(data_dir).ratings}: {column} {ratings[column][unknown].iloc[0]} is "
                f"not in the file of {column[:-3]}s in the same folder; add it to that file"
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
