"""Predict the rating, or the score, of any user for any item with a trained model.

from d2l_recsys.recommend.predictions import predict
from d2l_recsys.saved_models import load_model

predict(load_model("results/mf/seed-0"), 20, 30)
"""

from typing import Dict, List, Optional, Sequence, Tuple, Union

import numpy as np
import pandas as pd

from d2l_recsys.errors import DataError
from d2l_recsys.evaluation.scoring import all_scores, user_scores
from d2l_recsys.loaders.interactions import RankingData, interaction_matrix
from d2l_recsys.recommend import PathLike, data_of, movies_of, row_of
from d2l_recsys.saved_models import TrainedModel

# The limits of the groups in which predicted ratings are counted.
HALF_STARS = np.arange(1, 5.5, 0.5)
# Scores have no fixed range. They are counted in this many groups of equal width.
NUM_GROUPS = 10
IdOrIds = Union[int, Sequence[int]]


def predict(
    model: TrainedModel,
    user_ids: Optional[IdOrIds] = None,
    item_ids: Optional[IdOrIds] = None,
    data_dir: Optional[PathLike] = None,
) -> pd.DataFrame:
    """What ``model`` predicts for each of ``user_ids`` and each of ``item_ids``.

    Both are one id or several ids, as in ``u.data``; None stands for all. Returns a data frame with
    a row for each pair, by user and then by item, in the given order. Its columns are ``user_id``,
    ``item_id``, ``title``, ``year``, ``prediction`` (float32) and ``rating``: the rating that the
    user gave the item, missing if there is none. A prediction is a rating if the model learns
    ratings, otherwise a score. The prediction of MF is the one as defined.

    The model reads all ratings of the users, also those that were held out when it was trained.

    Raises SettingError for a model that does not rank items. Raises DataError for an id that is not
    in the data, for a model of other data, and for predictions that are not finite.
    """
    data = data_of(model, data_dir)
    users = _rows_of("user", model.ids.users, user_ids)
    items = _rows_of("item", model.ids.items, item_ids)
    predictions = _scores(model, data, users)[:, items]
    if not np.isfinite(predictions).all():
        raise DataError(f"the predictions of {model.section} are not finite; train the model again")
    movies = movies_of(model.ids.items[items], data_dir)
    ratings = interaction_matrix(data.users, data.items, *data.sizes, data.ratings).toarray()
    # A rating is a whole number, 1 or larger; the matrix has 0 if there is none.
    given = ratings[np.ix_(users, items)].ravel().astype(np.int64)
    pairs = pd.DataFrame({"user_id": np.repeat(model.ids.users[users], len(items))})
    repeated = pd.concat([movies[["item_id", "title", "year"]]] * len(users), ignore_index=True)
    return pairs.join(repeated).assign(
        prediction=predictions.ravel(), rating=pd.arrays.IntegerArray(given, given == 0)
    )


def predict_both(
    model: TrainedModel, user_id: int, item_id: int, data_dir: Optional[PathLike] = None
) -> Tuple[pd.DataFrame, Optional[float]]:
    """The row of ``predict`` for one pair, and the prediction of MF as printed.

    The chapter's code uses ids as rows, but ids start at 1 and rows at 0. So, as printed, the
    prediction is the one for the next user and the next item. It is None if one of them does not
    exist, and for all models but MF. Raises what ``predict`` raises.
    """
    found = predict(model, user_id, item_id, data_dir)
    users, items = map(len, model.ids)
    if model.section != "mf" or user_id == users or item_id == items:
        return found, None
    following = predict(model, user_id + 1, item_id + 1, data_dir)
    return found, float(following["prediction"][0])


def summary_of(predictions: Sequence[float]) -> Dict[str, float]:
    """Mean, standard deviation (divided by n), smallest and largest of ``predictions``."""
    values = np.asarray(predictions, dtype=np.float64)
    return {
        "mean": float(values.mean()),
        "sd": float(values.std()),
        "lowest": float(values.min()),
        "highest": float(values.max()),
    }


def groups_of(predictions: Sequence[float], on_ratings: bool) -> List[Tuple[str, int]]:
    """How many ``predictions`` lie in each group: the name of each group, and its count.

    The groups are half stars if the predictions are ratings (``on_ratings``). Otherwise they are
    ten groups of equal width. A group includes its lower limit, and the last also the upper one.
    """
    values = np.asarray(predictions, dtype=np.float64)
    if on_ratings:
        limits = [f"{limit:g}" for limit in HALF_STARS]
        names = [f"{low} to {high}" for low, high in zip(limits, limits[1:])]
        names = [f"below {limits[0]}", *names, f"{limits[-1]} or more"]
        counts = np.bincount(np.searchsorted(HALF_STARS, values, "right"), minlength=len(names))
    else:
        counts, edges = np.histogram(values, NUM_GROUPS)
        names = [f"{low:.4g} to {high:.4g}" for low, high in zip(edges, edges[1:])]
    return list(zip(names, counts.tolist()))


def _rows_of(kind: str, known: np.ndarray, ids: Optional[IdOrIds]) -> np.ndarray:
    """The rows of ``ids``, all rows for None. Raises DataError if an id does not exist."""
    if ids is None:
        return np.arange(len(known))
    wanted = list(ids) if np.ndim(ids) == 1 else [ids]
    if not wanted:
        raise DataError(f"no ids of {kind}s are given; None stands for all {kind}s")
    return np.array([row_of(kind, known, one) for one in wanted])


def _scores(model: TrainedModel, data: RankingData, users: np.ndarray) -> np.ndarray:
    """The scores of all items for ``users`` (rows), float32 (len(users), num_items)."""
    if len(users) == 1:
        return user_scores(model.net, data, int(users[0]))[None]
    return np.concatenate([scores for _, scores in all_scores(model.net, data)])[users]
