"""From ratings and clicks as they are given to the arrays that training reads."""

from typing import Callable, Dict, List, Mapping, Tuple

import numpy as np

from d2l_recsys.baseline.port import Arrays

TEST_RATIO = 0.1


def sizes(ratings: np.ndarray) -> Tuple[int, int]:
    """Numbers of users and of items; their ids count from 1 without gaps."""
    return int(ratings[:, 0].max()), int(ratings[:, 1].max())


def split_by_time(ratings: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """Each user's latest rating is the test set; of those that tie, the first in the file.

    Training ratings stand by user and time, ties in the order of the file; test ratings by user.
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
    """User, item and rating of each line, with ids from 0."""
    return ratings[:, :3] - [1, 1, 0]


def roll_over(orders: np.ndarray, batch_size: int) -> np.ndarray:
    """Row numbers of the full batches of several epochs, whose orders are given, (batches, n).

    What does not fill a batch comes first in the next epoch: the orders are one long line.
    """
    line = np.concatenate(list(orders))
    full = len(line) - len(line) % batch_size
    return line[:full].reshape(-1, batch_size)


def matrix(ratings: np.ndarray, num_users: int, num_items: int) -> np.ndarray:
    """Ratings as a matrix, a row for each item, 0 where there is none."""
    rows = np.zeros((num_items, num_users), dtype=np.float32)
    for user, item, rating in from_zero(ratings):
        rows[item, user] = rating
    return rows


def mf(given: Mapping[str, np.ndarray]) -> Arrays:
    """``train`` and ``test``: rows of user, item, rating."""
    train, test = split_by_time(given["ratings"])
    return {"train": from_zero(train), "test": from_zero(test)}


def autorec(given: Mapping[str, np.ndarray]) -> Arrays:
    """``train_matrix`` and ``test_matrix``; a rating is a test rating where its number is high."""
    ratings = given["ratings"]
    in_train = given["uniform"] < 1 - TEST_RATIO
    counts = sizes(ratings)
    return {
        "train_matrix": matrix(ratings[in_train], *counts),
        "test_matrix": matrix(ratings[~in_train], *counts),
    }


def neumf(given: Mapping[str, np.ndarray]) -> Arrays:
    """``train``: rows of user, item; ``test_items``: the held-out item of each user."""
    train, test = split_by_time(given["ratings"])
    return {"train": from_zero(train)[:, :2], "test_items": from_zero(test)[:, 1]}


def caser(given: Mapping[str, np.ndarray]) -> Arrays:
    """As ``neumf``, and ``windows``: rows of user, L items, the next item; ``test_sequences``."""
    L = int(given["L"])
    answer = neumf(given)
    windows, last = [], []
    for user in range(len(answer["test_items"])):
        items = answer["train"][answer["train"][:, 0] == user, 1].tolist()
        latest = ([items[0]] * L + items)[-L:]
        windows += [[user, *items[i : i + L + 1]] for i in range(len(items) - L)]
        if len(items) <= L:
            # As in the chapter: what there is, with the newest once more as its own target.
            windows.append([user, *latest, items[-1]])
        last.append(latest)
    return {**answer, "windows": np.array(windows), "test_sequences": np.array(last)}


def clicks(given: Mapping[str, np.ndarray]) -> Arrays:
    """Clicks as feature ids, with one id after the frequent values of a field for all others."""
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
