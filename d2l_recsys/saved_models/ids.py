"""Convert the ids of a data set to the rows of a model's tables."""

import json
from typing import Any, Dict, NamedTuple, Sequence

import numpy as np

from d2l_recsys.datasets.click_vocabulary import FeatureMap
from d2l_recsys.errors import DataError


class RatingIds(NamedTuple):
    """The ids of users and of items, int64, in the order of the rows of a model's tables."""

    users: np.ndarray
    items: np.ndarray

    @classmethod
    def consecutive(cls, num_users: int, num_items: int) -> "RatingIds":
        """Ids from 1 without gaps, as in MovieLens-100K."""
        return cls(np.arange(1, num_users + 1), np.arange(1, num_items + 1))

    def user_rows(self, ids: Sequence[int]) -> np.ndarray:
        """The rows (int32) of users. Raises DataError for an id that the model does not know."""
        return _rows("user", self.users, ids)

    def item_rows(self, ids: Sequence[int]) -> np.ndarray:
        """The rows (int32) of items. Raises DataError for an id that the model does not know."""
        return _rows("item", self.items, ids)

    def as_arrays(self) -> Dict[str, np.ndarray]:
        """The arrays that ``from_arrays`` reads."""
        return self._asdict()

    @classmethod
    def from_arrays(cls, arrays: Dict[str, np.ndarray]) -> "RatingIds":
        """Make ids from the arrays ``users`` and ``items``.

        Raises KeyError if an array is missing and ValueError if an array does not hold ids.
        """
        ids = cls(*(arrays[name] for name in cls._fields))
        if any(part.ndim != 1 or part.dtype != np.int64 for part in ids):
            raise ValueError("ids must be one-dimensional arrays of int64")
        if any(not len(part) or len(np.unique(part)) < len(part) for part in ids):
            raise ValueError("there are no ids, or an id occurs twice")
        return ids


def _rows(kind: str, known: np.ndarray, ids: Sequence[int]) -> np.ndarray:
    wanted = np.asarray(ids, dtype=None if len(ids) else np.int64)
    if wanted.dtype.kind not in "iu":
        raise DataError(f"ids of {kind}s must be whole numbers, not {wanted.dtype}")
    order = np.argsort(known, kind="stable")
    place = np.searchsorted(known, wanted, sorter=order)
    rows = order[np.minimum(place, len(known) - 1)]
    unknown = known[rows] != wanted
    if unknown.any():
        raise DataError(
            f"{kind} {wanted[unknown][0]} was not in the data that the model was trained on"
        )
    return rows.astype(np.int32)


class ClickIds(NamedTuple):
    """The mapping from the values of fields to features, as in ``CTRDataset``."""

    feat_mapper: FeatureMap
    defaults: Dict[int, int]

    def features(self, rows: Sequence[Sequence[str]]) -> np.ndarray:
        """The features, int32 (rows, fields), of rows with one value per field.

        A value that is not in the mapper gets the default of its field. Raises DataError if a row
        does not have one value per field.
        """
        from d2l_recsys.datasets.click_encoding import field_dims, offsets

        starts = offsets(field_dims(self.feat_mapper)).tolist()
        fields = range(1, len(starts) + 1)
        for row in rows:
            if len(row) != len(starts):
                raise DataError(f"a row has {len(row)} values; the model has {len(starts)} fields")
        ids = [
            [self.feat_mapper[f].get(v, self.defaults[f]) + o for f, v, o in zip(fields, r, starts)]
            for r in rows
        ]
        return np.array(ids, dtype=np.int32).reshape(len(ids), len(starts))

    def as_arrays(self) -> Dict[str, np.ndarray]:
        """The arrays that ``from_arrays`` reads."""
        text = json.dumps([self.feat_mapper, self.defaults], default=int).encode()
        return {"features": np.frombuffer(text, dtype=np.uint8)}

    @classmethod
    def from_arrays(cls, arrays: Dict[str, np.ndarray]) -> "ClickIds":
        """Make ids from the array ``features``.

        Raises KeyError if the array is missing and ValueError if it does not hold a mapper.
        """
        loaded: Any = json.loads(arrays["features"].tobytes())
        feat_mapper, defaults = (
            {int(field): ids for field, ids in part.items()} for part in loaded
        )
        fields = list(range(1, len(feat_mapper) + 1))
        if sorted(feat_mapper) != fields or any(
            type(i) is not int or defaults[f] != len(feat_mapper[f])
            for f in fields
            for i in feat_mapper[f].values()
        ):
            raise ValueError("the mapper and its defaults do not match")
        return cls(feat_mapper, defaults)
