"""Rung 0 of the oracle: from ratings and clicks to the arrays that training reads.

``ratings`` is an array (n, 4) with the user, item, rating and timestamp of each line of the file.
Its ids count from 1. The ids in the data of a model (``mf``, ``autorec``, ...) count from 0.
"""

from typing import Callable, Dict, List, Mapping, Tuple

import numpy as np

from d2l_recsys.baseline.port import Arrays

TEST_RATIO = 0.1


def sizes(ratings: np.ndarray) -> Tuple[int, int]:
    """The numbers of users and items: the largest ids, since ids count from 1 without gaps."""
    return int(ratings[:, 0].max()), int(ratings[:, 1].max())


def split_by_time(ratings: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """Split ``ratings`` by time: returns the training ratings, and each user's latest rating.

    The latest rating is the test rating. If several latest ratings of a user have the same
    timestamp, the first of these lines in the file is the test rating. Both results have four
    columns like ``ratings``. The training ratings are sorted by user and then by time, with ties
    in the order of the file. The test ratings are sorted by user.
    """
    train: List[np.ndarray] = []
    test: List[np.ndarray] = []
    for user in np.unique(ratings[:, 0]):
        own = ratings[ratings[:, 0] == user]
        own = own[np.argsort(own[:, 3], kind="stable")]
        held_out = int(np.argmax(own[:, 3] == own[:, 3].max()))
        test.append(own[held_out])
        train.extend(np.delete(own, held_out, axis=0))
    return np.array(train), np.array(test)


def from_zero(ratings: np.ndarray) -> np.ndarray:
    """User, item and rating of each line, (n, 3), with ids from 0."""
    return ratings[:, :3] - [1, 1, 0]


def roll_over(orders: np.ndarray, batch_size: int) -> np.ndarray:
    """The row numbers of the full batches of several epochs, (batches, batch_size).

    ``orders``, (epochs, rows), has the row numbers of each epoch in the order of that epoch. Rows
    left over after the last full batch come first in the next epoch. So all orders form one long
    sequence, which is cut into batches. Rows left over after the last epoch are dropped.
    """
    line = np.concatenate(list(orders))
    full = len(line) - len(line) % batch_size
    return line[:full].reshape(-1, batch_size)


def matrix(ratings: np.ndarray, num_users: int, num_items: int) -> np.ndarray:
    """The ratings as a float32 matrix (num_items, num_users), 0 if there is no rating."""
    rows = np.zeros((num_items, num_users), dtype=np.float32)
    for user, item, rating in from_zero(ratings):
        rows[item, user] = rating
    return rows


def mf(given: Mapping[str, np.ndarray]) -> Arrays:
    """The data of MF, split by time: ``train`` and ``test``, rows of user, item, rating."""
    train, test = split_by_time(given["ratings"])
    return {"train": from_zero(train), "test": from_zero(test)}


def autorec(given: Mapping[str, np.ndarray]) -> Arrays:
    """The data of AutoRec: ``train_matrix`` and ``test_matrix``, both (num_items, num_users).

    ``uniform``, (n,), has a number between 0 and 1 for each rating. A rating is a test rating if
    its number is 0.9 or more. If ``rows_are_users`` is given and not 0, both matrices are
    transposed, (num_users, num_items).
    """
    ratings = given["ratings"]
    in_train = given["uniform"] < 1 - TEST_RATIO
    parts = {"train_matrix": ratings[in_train], "test_matrix": ratings[~in_train]}
    found = {name: matrix(part, *sizes(ratings)) for name, part in parts.items()}
    rows_are_users = bool(given.get("rows_are_users", 0))
    return {name: rows.T if rows_are_users else rows for name, rows in found.items()}


def neumf(given: Mapping[str, np.ndarray]) -> Arrays:
    """The data of NeuMF: ``train``, rows of user and item, and ``test_items``, (num_users,).

    ``test_items`` has the held-out item of each user. The ratings are split by time.
    """
    train, test = split_by_time(given["ratings"])
    return {"train": from_zero(train)[:, :2], "test_items": from_zero(test)[:, 1]}


def caser(given: Mapping[str, np.ndarray]) -> Arrays:
    """The data of Caser: that of ``neumf``, with ``windows`` and ``test_sequences``.

    A row of ``windows`` has a user, L consecutive training items of the user, oldest first, and the
    next item, which is the target. A user with m > L training items has m - L windows. A user with
    m <= L training items has one window: the m items, padded at the front with the first item; its
    target is the last of the m items.

    ``test_sequences``, (num_users, L), has the last L training items of each user. Shorter
    histories are padded in the same way.
    """
    L = int(given["L"])
    answer = neumf(given)
    windows, last = [], []
    for user in range(len(answer["test_items"])):
        items = answer["train"][answer["train"][:, 0] == user, 1].tolist()
        latest = ([items[0]] * L + items)[-L:]
        windows += [[user, *items[i : i + L + 1]] for i in range(len(items) - L)]
        if len(items) <= L:
            # As in the chapter, the newest item is in the window and is also the target.
            windows.append([user, *latest, items[-1]])
        last.append(latest)
    return {**answer, "windows": np.array(windows), "test_sequences": np.array(last)}


def clicks(given: Mapping[str, np.ndarray]) -> Arrays:
    """The data of FM and DeepFM: clicks, with each value replaced by a feature id.

    ``train_tsv`` and ``test_tsv`` are the bytes (uint8) of the files: lines of a label and one
    value per field, separated by tabs. A value is frequent if it occurs at least ``min_threshold``
    times in its field of the training rows. The frequent values of a field get the ids 0, 1, ... in
    sorted order of their text, and all other values share the next id. So field f has
    ``field_dims[f]`` ids, its frequent values plus 1. Finally,
    ``field_dims[0] + ... + field_dims[f - 1]`` is added to the ids of field f.

    Returns ``field_dims`` (fields,), ``train_features`` and ``test_features`` (rows, fields), and
    ``train_labels`` and ``test_labels`` (rows,).
    """
    train, test = (_rows(given[name]) for name in ("train_tsv", "test_tsv"))
    numbers: List[Dict[str, int]] = []
    for field in range(1, len(train[0])):
        values = [row[field] for row in train]
        names, counts = np.unique(values, return_counts=True)
        frequent = sorted(names[counts >= int(given["min_threshold"])].tolist())
        numbers.append({value: number for number, value in enumerate(frequent)})
    field_dims = np.array([len(of_field) + 1 for of_field in numbers])
    offsets = np.cumsum(field_dims) - field_dims

    def encode(rows: List[List[str]]) -> np.ndarray:
        return np.array(
            [
                [
                    offset + of_field.get(value, len(of_field))
                    for value, of_field, offset in zip(row[1:], numbers, offsets)
                ]
                for row in rows
            ]
        )

    return {
        "field_dims": field_dims,
        "train_features": encode(train),
        "train_labels": np.array([int(row[0]) for row in train]),
        "test_features": encode(test),
        "test_labels": np.array([int(row[0]) for row in test]),
    }


def _rows(tsv: np.ndarray) -> List[List[str]]:
    return [line.split("\t") for line in tsv.tobytes().decode("utf-8").splitlines()]


DATA: Dict[str, Callable[[Mapping[str, np.ndarray]], Arrays]] = {
    "mf": mf, "autorec": autorec, "neumf": neumf, "caser": caser, "fm": clicks, "deepfm": clicks,
}  # fmt: skip
