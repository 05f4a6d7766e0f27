"""Mistakes of rung 0: the split of ratings, windows, batches and the encoding of clicks."""

from typing import Callable, List

import numpy as np

from d2l_recsys.baseline.ladder import CLICKS, MODELS, PAIRS
from d2l_recsys.baseline.mistakes.mistake import Mistakes
from d2l_recsys.baseline.oracle import Port
from d2l_recsys.baseline.oracle.data import roll_over
from d2l_recsys.baseline.oracle.metrics import Given
from d2l_recsys.baseline.port import Arrays

MADE = Mistakes()

# Rung 0: ratings


@MADE.add(0, ("mf", *PAIRS), method="data")
def last_line_of_a_tie(port: Port, given: Given) -> Arrays:
    """If a user's latest ratings have the same time, the first in the file must be held out.

    The port holds out the last in the file.
    """
    ratings, last = given["ratings"], []
    for user in np.unique(ratings[:, 0]):
        own = np.flatnonzero(ratings[:, 0] == user)
        times = ratings[own, 3]
        last.append(own[times == times.max()][-1])
    # Move the last line of each user's tie to the top of the file: it is then the first line of the
    # tie. The other lines keep their order.
    reordered = np.concatenate([ratings[last], np.delete(ratings, last, axis=0)])
    return port.data({**given, "ratings": reordered})


@MADE.add(0, ("mf", *PAIRS), method="data")
def earliest_rating_held_out(port: Port, given: Given) -> Arrays:
    """A user's latest rating must be held out. The port holds out the earliest rating."""
    ratings = given["ratings"].copy()
    ratings[:, 3] *= -1
    return port.data({**given, "ratings": ratings})


@MADE.add(0, ("mf",), method="data")
def ids_from_one(port: Port, given: Given) -> Arrays:
    """User and item ids must count from 0.

    The port keeps the ids of the file, which count from 1.
    """
    return {name: rows + np.array([1, 1, 0]) for name, rows in port.data(given).items()}


@MADE.add(0, ("autorec",), method="data", but=("autorec-user",))
def rows_are_users(port: Port, given: Given) -> Arrays:
    """A row of the rating matrix must hold the ratings of one item.

    The port fills each row with the ratings of one user.
    """
    return {name: matrix.T for name, matrix in port.data(given).items()}


@MADE.add(0, ("autorec-user",), method="data")
def rows_are_items(port: Port, given: Given) -> Arrays:
    """User-based: a row of the rating matrix must hold the ratings of one user.

    The port fills each row with the ratings of one item.
    """
    return {name: matrix.T for name, matrix in port.data(given).items()}


@MADE.add(0, ("autorec",), method="data")
def test_ratings_left_in_training(port: Port, given: Given) -> Arrays:
    """The training matrix must be 0 in the cells of the test ratings.

    The port keeps the test ratings in the training matrix.
    """
    found = port.data(given)
    return {**found, "train_matrix": np.maximum(found["train_matrix"], found["test_matrix"])}


@MADE.add(0, ("autorec",), method="data")
def low_numbers_are_the_test_set(port: Port, given: Given) -> Arrays:
    """A rating must be a test rating if its number in `uniform` is at least 0.9.

    The port tests on the ratings whose number is at most 0.1.
    """
    return port.data({**given, "uniform": 1 - given["uniform"]})


@MADE.add(0, ("caser",), method="data")
def newest_item_first(port: Port, given: Given) -> Arrays:
    """The items of a window must be ordered from oldest to newest.

    The port puts the newest item first.
    """
    found = port.data(given)
    user, items, target = np.split(found["windows"], [1, -1], axis=1)
    windows = np.concatenate([user, items[:, ::-1], target], axis=1)
    return {**found, "windows": windows, "test_sequences": found["test_sequences"][:, ::-1]}


@MADE.add(0, ("caser",), method="data")
def windows_with_the_held_out_item(port: Port, given: Given) -> Arrays:
    """Windows must be cut from the training items only.

    The port includes the held-out item in the windows.
    """
    ratings = given["ratings"]
    users = np.unique(ratings[:, 0])
    # Add a later rating of each user. The split holds it out, so the windows use all real ratings.
    later = np.stack([users, users * 0 + 1, users, users * 0 + ratings[:, 3].max() + 1], axis=1)
    of_all = port.data({**given, "ratings": np.concatenate([ratings, later])})
    windows = {name: of_all[name] for name in ("windows", "test_sequences")}
    return {**port.data(given), **windows}


@MADE.add(0, ("caser",), method="data")
def short_histories_dropped(port: Port, given: Given) -> Arrays:
    """A user with at most L training items must get one padded window.

    The port gives this user no window.
    """
    found = port.data(given)
    long = np.bincount(found["train"][:, 0]) > int(given["L"])
    return {**found, "windows": found["windows"][long[found["windows"][:, 0]]]}


@MADE.add(0, ("caser",), method="data")
def short_histories_filled_with_0(port: Port, given: Given) -> Arrays:
    """A short history must be padded with the user's first item.

    The port pads the history with 0, which is the id of an item.
    """
    found = port.data(given)
    lengths = np.bincount(found["train"][:, 0])
    places = np.arange(int(given["L"]))
    windows, sequences = found["windows"].copy(), found["test_sequences"].copy()
    sequences[places < len(places) - lengths[:, None]] = 0
    windows[:, 1:-1][places < len(places) - lengths[windows[:, :1]]] = 0
    return {**found, "windows": windows, "test_sequences": sequences}


# Rung 0: batches


@MADE.add(0, MODELS, method="batches")
def last_batch_dropped(port: Port, given: Given) -> np.ndarray:
    """Rows left over after the last full batch must come first in the next epoch.

    The port drops these rows.
    """
    size = int(given["batch_size"])
    return np.concatenate([roll_over(order[None], size) for order in given["orders"]])


@MADE.add(0, MODELS, method="batches")
def last_batch_smaller(port: Port, given: Given) -> List[np.ndarray]:
    """Rows left over after the last full batch must come first in the next epoch.

    The port makes a smaller last batch of these rows, as the loaders of most frameworks do.
    """
    size = int(given["batch_size"])
    starts = range(0, given["orders"].shape[1], size)
    return [order[start : start + size] for order in given["orders"] for start in starts]


@MADE.add(0, MODELS, method="batches")
def last_batch_filled_up(port: Port, given: Given) -> np.ndarray:
    """Rows left over after the last full batch must come first in the next epoch.

    The port adds more rows of the same epoch to make a full batch.
    """
    size = int(given["batch_size"])
    return np.concatenate(
        [np.resize(order, -(-len(order) // size) * size) for order in given["orders"]]
    ).reshape(-1, size)


@MADE.add(0, MODELS, method="batches")
def rest_comes_after_the_next_epoch(port: Port, given: Given) -> np.ndarray:
    """Rows left over after the last full batch must come first in the next epoch.

    The port puts these rows at the end of the next epoch.
    """
    size, rest, batches = int(given["batch_size"]), np.arange(0), []
    for order in given["orders"]:
        line = np.concatenate([order, rest])
        full = len(line) - len(line) % size
        rest = line[full:]
        batches.append(line[:full].reshape(-1, size))
    return np.concatenate(batches)


# Rung 0: clicks


def _features(found: Arrays, change: Callable[[np.ndarray], np.ndarray]) -> Arrays:
    return {
        name: change(array) if name.endswith("features") else array for name, array in found.items()
    }


def _last_ids(field_dims: np.ndarray) -> np.ndarray:
    """The last id of each field, which all rare values of the field share."""
    return np.cumsum(field_dims) - 1


@MADE.add(0, CLICKS, method="data")
def threshold_exceeded(port: Port, given: Given) -> Arrays:
    """A value that occurs min_threshold times must count as frequent.

    The port requires one more occurrence.
    """
    return port.data({**given, "min_threshold": given["min_threshold"] + 1})


@MADE.add(0, CLICKS, method="data")
def default_id_of_the_last_value(port: Port, given: Given) -> Arrays:
    """Rare values must get the id that follows the frequent values of their field.

    The port gives rare values the id of the last frequent value.
    """
    found = port.data(given)
    return _features(found, lambda ids: ids - (ids == _last_ids(found["field_dims"])))


@MADE.add(0, CLICKS, method="data")
def default_id_of_the_next_field(port: Port, given: Given) -> Arrays:
    """Rare values must get the last id of their field.

    The port gives rare values the first id of the next field.
    """
    found = port.data(given)
    return _features(found, lambda ids: ids + (ids == _last_ids(found["field_dims"])))


@MADE.add(0, CLICKS, method="data")
def default_id_first(port: Port, given: Given) -> Arrays:
    """The id of rare values must come after the ids of the field's frequent values.

    The port puts the id of rare values first.
    """
    found = port.data(given)
    last = _last_ids(found["field_dims"])
    first = last + 1 - found["field_dims"]
    return _features(found, lambda ids: np.where(ids == last, first, ids + 1))


@MADE.add(0, CLICKS, method="data")
def ids_start_anew_in_each_field(port: Port, given: Given) -> Arrays:
    """The ids of a field must start where the ids of the field before it end.

    The port starts the ids of every field at 0.
    """
    found = port.data(given)
    first = _last_ids(found["field_dims"]) + 1 - found["field_dims"]
    return _features(found, lambda ids: ids - first)


@MADE.add(0, CLICKS, method="data")
def vocabulary_of_the_test_rows_too(port: Port, given: Given) -> Arrays:
    """The frequency of a value must be counted in the training rows only.

    The port counts the test rows as well.
    """
    both = np.concatenate([given["train_tsv"], given["test_tsv"]])
    found = port.data({**given, "train_tsv": both})
    rows = len(found["train_labels"]) - len(found["test_labels"])
    train = {name: found[name][:rows] for name in ("train_features", "train_labels")}
    return {**found, **train}


@MADE.add(0, CLICKS, method="data")
def values_read_as_numbers(port: Port, given: Given) -> Arrays:
    """Values must be compared as strings: 007 is not 7.

    The port reads values as numbers if it can, so 007 becomes 7.
    """

    def read(tsv: np.ndarray) -> np.ndarray:
        lines = [line.split("\t") for line in tsv.tobytes().decode("utf-8").splitlines()]
        lines = [[str(int(v)) if v.isdecimal() else v for v in line] for line in lines]
        text = "\n".join("\t".join(line) for line in lines) + "\n"
        return np.frombuffer(text.encode("utf-8"), dtype=np.uint8)

    tables = {name: read(given[name]) for name in ("train_tsv", "test_tsv")}
    return port.data({**given, **tables})


@MADE.add(0, CLICKS, method="data")
def vocabulary_in_order_of_appearance(port: Port, given: Given) -> Arrays:
    """The frequent values of a field must be numbered in sorted order.

    The port numbers these values in the order of their first appearance.
    """
    found = port.data(given)
    new = np.arange(found["field_dims"].sum())
    for column, last in zip(found["train_features"].T, _last_ids(found["field_dims"])):
        ids, appears = np.unique(column[column != last], return_index=True)
        new[ids[np.argsort(appears)]] = ids
    return _features(found, lambda ids: new[ids])
