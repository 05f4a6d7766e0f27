"""Recommend movies to a user, and find similar movies, by the ids of the data set.

from d2l_recsys.recommend import recommend
from d2l_recsys.saved_models import load_model

recommend(load_model("results/ease"), 837, n=5)

``predictions`` has the prediction for any user and any item.
"""

import os
from typing import Iterable, Optional, Sequence, Union

import numpy as np
import pandas as pd

from d2l_recsys.data import load_all_ml100k, read_data_ml100k
from d2l_recsys.datasets.movielens import find_ml100k, read_items_ml100k
from d2l_recsys.errors import DataError, SettingError
from d2l_recsys.evaluation.scoring import user_scores
from d2l_recsys.loaders.interactions import RankingData
from d2l_recsys.model_bases.contract import compares_items
from d2l_recsys.recommend.titles import title_with_year
from d2l_recsys.saved_models import TrainedModel
from d2l_recsys.sections.registry import SYSTEMS, Kind, Section

__all__ = [
    "check_count",
    "check_ranks",
    "data_of",
    "in_words",
    "movies_of",
    "no_vectors",
    "ranks_items",
    "rated_highest",
    "recommend",
    "row_of",
    "similar",
]

PathLike = Union[str, "os.PathLike[str]"]


def recommend(
    model: TrainedModel, user_id: int, n: int = 10, data_dir: Optional[PathLike] = None
) -> pd.DataFrame:
    """The ``n`` movies that ``model`` scores highest among those that the user has not rated.

    Returns a data frame with ``item_id``, ``title``, ``year``, ``genres`` (a list of names) and
    ``score``. The best movie is first, and equal scores are sorted by id. If fewer than ``n``
    movies are left, the frame has fewer rows.

    All ratings of the user count, also those that were held out when the model was trained: their
    movies are left out, and the history that a model reads includes them. If the data has a movie
    under several ids, it counts as one movie: it is rated if one of its ids is rated, and the frame
    has the id with the highest score.

    Raises SettingError for an ``n`` below 1 and for a model that does not rank items. Raises
    DataError for a user who is not in the data or has rated all movies, for a model of other data,
    and for scores that are NaN.
    """
    check_count(n)
    data = data_of(model, data_dir)
    user = row_of("user", model.ids.users, user_id)
    movies = movies_of(model.ids.items, data_dir)
    unseen = _unlike(movies, data.candidates[user])
    if not len(unseen):
        raise DataError(
            f"user {user_id} has rated all {data.num_items} movies: nothing is left to recommend"
        )
    return _best(model, movies, unseen, user_scores(model.net, data, user), n)


def similar(
    model: TrainedModel, item_id: int, n: int = 10, data_dir: Optional[PathLike] = None
) -> pd.DataFrame:
    """The ``n`` other movies that are most similar to ``item_id``; a frame as in ``recommend``.

    The score comes from the model's ``similar_to``: the cosine of the vectors of two items, or the
    model's own number. Movies with a score of 0 are not similar and are left out.

    Raises what ``recommend`` raises for ``n``, ``model`` and NaN scores. Raises SettingError for a
    model that cannot compare items, and DataError for an item that is not in the data or has no
    similar item.
    """
    check_count(n)
    data_of(model, data_dir)
    item = row_of("item", model.ids.items, item_id)
    if not compares_items(type(model.net)):
        raise no_vectors(model.section)
    scores = np.asarray(model.net.similar_to(item), dtype=np.float64)
    movies = movies_of(model.ids.items, data_dir)
    others = _unlike(movies, [item])
    others = others[scores[others] != 0]
    if not len(others):
        raise DataError(
            f"{model.section} finds no item similar to item {item_id}, which may have no rating to "
            "learn from; choose another movie"
        )
    return _best(model, movies, others, scores, n)


def rated_highest(user_id: int, n: int = 10, data_dir: Optional[PathLike] = None) -> pd.DataFrame:
    """The ``n`` movies that the user has rated highest; of equal ratings, the newest comes first.

    Returns a data frame with ``item_id``, ``title``, ``year``, ``genres`` and ``rating``. Equal
    ratings of the same time are sorted by id. Raises SettingError for an ``n`` below 1, and
    DataError for a user who is not in the data.
    """
    check_count(n)
    ratings, num_users, _ = read_data_ml100k(data_dir)
    row_of("user", np.arange(1, num_users + 1), user_id)
    given = ratings[ratings["user_id"] == user_id].sort_values(
        ["rating", "timestamp", "item_id"], ascending=[False, False, True]
    )[:n]
    found = movies_of(given["item_id"], data_dir)
    return found.assign(rating=given["rating"].to_numpy())


def in_words(recommended: pd.DataFrame) -> str:
    """What ``recommend`` returned, in one line: the titles and their scores."""
    names = _title_and_year(recommended)
    return ", ".join(f"{name} {score:.3f}" for name, score in zip(names, recommended["score"]))


def movies_of(item_ids: Iterable[int], data_dir: Optional[PathLike] = None) -> pd.DataFrame:
    """The movies with these ids, in this order, with the columns of ``read_items_ml100k``.

    Raises DataError if the file of movies does not have exactly one line for each id.
    """
    movies = read_items_ml100k(data_dir)
    item_ids = np.asarray(item_ids)
    lines = movies["item_id"].value_counts().reindex(item_ids, fill_value=0)
    if (lines != 1).any():
        location = find_ml100k(data_dir)
        path = location.folder / location.layout.items
        item_id = lines.index[lines != 1][0]
        raise DataError(f"{path}: item {item_id} has {lines[item_id]} lines; it must have one")
    return movies.set_index("item_id").loc[item_ids].reset_index()


def check_count(n: int) -> None:
    """Raise SettingError if ``n`` is not a whole number, 1 or larger."""
    if not isinstance(n, (int, np.integer)) or n < 1:
        raise SettingError(f"-n is {n}; it must be a whole number, 1 or larger")


def ranks_items(section: Section) -> bool:
    """Whether models of ``section`` score the items of a user."""
    return section.kind in (Kind.ratings, Kind.ranking, Kind.all_ratings)


def check_ranks(name: str, section: Section) -> None:
    """Raise SettingError if models of ``section`` do not rank items."""
    if not ranks_items(section):
        choices = ", ".join(s.name for s in SYSTEMS.values() if ranks_items(s))
        raise SettingError(f"{name} does not rank items; choose one of: {choices}")


def no_vectors(name: str) -> SettingError:
    """The error for similar items from a model that cannot compare items."""
    return SettingError(
        f"{name} has no vectors of items, so it cannot find similar ones; choose another --model, "
        "such as svd, ease or lightgcn"
    )


def data_of(model: TrainedModel, data_dir: Optional[PathLike]) -> RankingData:
    """All ratings. Raises DataError if their users or items are not those of ``model``."""
    check_ranks(model.section, SYSTEMS[model.section])
    data = load_all_ml100k(data_dir)
    sizes = data.num_users, data.num_items
    if any(not np.array_equal(ids, np.arange(1, size + 1)) for ids, size in zip(model.ids, sizes)):
        users, items = map(len, model.ids)
        raise DataError(
            f"{model.section} was trained on {users} users and {items} items; these are not the "
            f"{sizes[0]} users and {sizes[1]} items in {find_ml100k(data_dir).folder}; name the "
            "data that the model was trained on, or train the model again"
        )
    return data


def row_of(kind: str, ids: np.ndarray, wanted: int) -> int:
    """The row of the id ``wanted``. Raises DataError if the id does not exist."""
    rows = np.flatnonzero(ids == wanted) if isinstance(wanted, (int, np.integer)) else []
    if not len(rows):
        raise DataError(f"{kind} {wanted} is not in the data; {kind}s are {ids[0]} to {ids[-1]}")
    return int(rows[0])


def _unlike(movies: pd.DataFrame, rows: Sequence[int]) -> np.ndarray:
    """The rows of ``movies``, ascending, except ``rows`` and other entries of the same movies."""
    names = _title_and_year(movies)
    return np.flatnonzero(~np.isin(names, names[rows]))


def _title_and_year(movies: pd.DataFrame) -> np.ndarray:
    """The title with the year of each row; two entries of the same movie share it."""
    return np.array([title_with_year(*of) for of in zip(movies["title"], movies["year"])])


def _best(
    model: TrainedModel, movies: pd.DataFrame, rows: np.ndarray, scores: np.ndarray, n: int
) -> pd.DataFrame:
    """The ``n`` movies with the highest ``scores`` among ``rows`` (ascending), each movie once."""
    if np.isnan(scores).any():
        raise DataError(f"the scores of {model.section} are NaN; train the model again")
    best = rows[np.argsort(-scores[rows], kind="stable")]
    found = movies.iloc[best].assign(score=scores[best])
    again = pd.Series(_title_and_year(found)).duplicated().to_numpy()
    return found[~again][:n].reset_index(drop=True)
