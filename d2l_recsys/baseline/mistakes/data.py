"""Rung 0: what becomes of ratings and clicks."""

from typing import Callable

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
    """Of a user's latest ratings that tie the first line is held out; here it is the last."""
    ratings, last = given["ratings"], []
    for user in np.unique(ratings[:, 0]):
        own = np.flatnonzero(ratings[:, 0] == user)
        times = ratings[own, 3]
        last.append(own[times == times.max()][-1])
    # First in the file, it is the first of its tie, and the others stay in their order.
    reordered = np.concatenate([ratings[last], np.delete(ratings, last, axis=0)])
    return Port.data(port, {**given, "ratings": reordered})


@MADE.add(0, ("mf", *PAIRS), method="data")
def earliest_rating_held_out(port: Port, given: Given) -> Arrays:
    """A user's latest rating is held out; here it is the earliest."""
    ratings = given["ratings"].copy()
    ratings[:, 3] *= -1
    return Port.data(port, {**given, "ratings": ratings})


@MADE.add(0, ("mf",), method="data")
def ids_from_one(port: Port, given: Given) -> Arrays:
    """Ids count from 0; here they are left as in the file, from 1."""
    return {name: rows + np.array([1, 1, 0]) for name, rows in Port.data(port, given).items()}


@MADE.add(0, ("autorec",), method="data")
def rows_are_users(port: Port, given: Given) -> Arrays:
    """A row of the matrix has the ratings of an item, here those of a user."""
    return {name: matrix.T for name, matrix in Port.data(port, given).items()}


@MADE.add(0, ("autorec",), method="data")
def test_ratings_left_in_training(port: Port, given: Given) -> Arrays:
    """The training matrix is 0 where a rating is a test rating; here it has all ratings."""
    found = Port.data(port, given)
    return {**found, "train_matrix": np.maximum(found["train_matrix"], found["test_matrix"])}


@MADE.add(0, ("autorec",), method="data")
def low_numbers_are_the_test_set(port: Port, given: Given) -> Arrays:
    """A rating is a test rating where its number is 0.9 or more, here where it is below 0.1."""
    return Port.data(port, {**given, "uniform": 1 - given["uniform"]})


@MADE.add(0, ("caser",), method="data")
def newest_item_first(port: Port, given: Given) -> Arrays:
    """The items of a window stand oldest first; here the newest is first."""
    found = Port.data(port, given)
    user, items, target = np.split(found["windows"], [1, -1], axis=1)
    windows = np.concatenate([user, items[:, ::-1], target], axis=1)
    return {**found, "windows": windows, "test_sequences": found["test_sequences"][:, ::-1]}


@MADE.add(0, ("caser",), method="data")
def windows_with_the_held_out_item(port: Port, given: Given) -> Arrays:
    """Windows are cut from the training ratings; here from all, the held-out item among them."""
    ratings = given["ratings"]
    users = np.unique(ratings[:, 0])
    # With one more rating after it, the held-out rating is a training rating.
    later = np.stack([users, users * 0 + 1, users, users * 0 + ratings[:, 3].max() + 1], axis=1)
    of_all = Port.data(port, {**given, "ratings": np.concatenate([ratings, later])})
    windows = {name: of_all[name] for name in ("windows", "test_sequences")}
    return {**Port.data(port, given), **windows}


@MADE.add(0, ("caser",), method="data")
def short_histories_dropped(port: Port, given: Given) -> Arrays:
    """A user with at most L training items has one window, filled up; here there is none."""
    found = Port.data(port, given)
    long = np.bincount(found["train"][:, 0]) > int(given["L"])
    return {**found, "windows": found["windows"][long[found["windows"][:, 0]]]}


@MADE.add(0, ("caser",), method="data")
def short_histories_filled_with_0(port: Port, given: Given) -> Arrays:
    """Short histories are filled up with the user's first item, here with 0, which is an item."""
    found = Port.data(port, given)
    lengths = np.bincount(found["train"][:, 0])
    places = np.arange(int(given["L"]))
    windows, sequences = found["windows"].copy(), found["test_sequences"].copy()
    sequences[places < len(places) - lengths[:, None]] = 0
    windows[:, 1:-1][places < len(places) - lengths[windows[:, :1]]] = 0
    return {**found, "windows": windows, "test_sequences": sequences}


# Rung 0: batches


@MADE.add(0, MODELS, method="batches")
def last_batch_dropped(port: Port, given: Given) -> np.ndarray:
    """What fills no batch comes first in the next epoch; here it is dropped."""
    size = int(given["batch_size"])
    return np.concatenate([roll_over(order[None], size) for order in given["orders"]])


@MADE.add(0, MODELS, method="batches")
def last_batch_filled_up(port: Port, given: Given) -> np.ndarray:
    """What fills no batch comes first in the next epoch; here the same epoch's rows fill it up."""
    size = int(given["batch_size"])
    return np.concatenate(
        [np.resize(order, -(-len(order) // size) * size) for order in given["orders"]]
    ).reshape(-1, size)


@MADE.add(0, MODELS, method="batches")
def rest_comes_after_the_next_epoch(port: Port, given: Given) -> np.ndarray:
    """What fills no batch comes first in the next epoch; here it comes last."""
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
    """The id of each field that stands for all values that are not frequent."""
    return np.cumsum(field_dims) - 1


@MADE.add(0, CLICKS, method="data")
def threshold_exceeded(port: Port, given: Given) -> Arrays:
    """A value is frequent that comes min_threshold times; here it has to come more often."""
    return Port.data(port, {**given, "min_threshold": given["min_threshold"] + 1})


@MADE.add(0, CLICKS, method="data")
def default_id_of_the_last_value(port: Port, given: Given) -> Arrays:
    """The id of all other values follows those of a field; here it is that of the last of them."""
    found = Port.data(port, given)
    return _features(found, lambda ids: ids - (ids == _last_ids(found["field_dims"])))


@MADE.add(0, CLICKS, method="data")
def default_id_of_the_next_field(port: Port, given: Given) -> Arrays:
    """The id of all other values is the last of its field; here it is the next field's first."""
    found = Port.data(port, given)
    return _features(found, lambda ids: ids + (ids == _last_ids(found["field_dims"])))


@MADE.add(0, CLICKS, method="data")
def default_id_first(port: Port, given: Given) -> Arrays:
    """The id of all other values comes after those of the field's frequent values; here before."""
    found = Port.data(port, given)
    last = _last_ids(found["field_dims"])
    first = last + 1 - found["field_dims"]
    return _features(found, lambda ids: np.where(ids == last, first, ids + 1))


@MADE.add(0, CLICKS, method="data")
def ids_start_anew_in_each_field(port: Port, given: Given) -> Arrays:
    """The ids of a field begin where those of the one before end; here they all begin at 0."""
    found = Port.data(port, given)
    first = _last_ids(found["field_dims"]) + 1 - found["field_dims"]
    return _features(found, lambda ids: ids - first)


@MADE.add(0, CLICKS, method="data")
def vocabulary_of_the_test_rows_too(port: Port, given: Given) -> Arrays:
    """Values are counted in the training rows; here in the test rows as well."""
    both = np.concatenate([given["train_tsv"], given["test_tsv"]])
    found = Port.data(port, {**given, "train_tsv": both})
    rows = len(found["train_labels"]) - len(found["test_labels"])
    train = {name: found[name][:rows] for name in ("train_features", "train_labels")}
    return {**found, **train}


@MADE.add(0, CLICKS, method="data")
def values_read_as_numbers(port: Port, given: Given) -> Arrays:
    """Values are strings, and 007 is not 7; here they are read as numbers where they can be."""

    def read(tsv: np.ndarray) -> np.ndarray:
        lines = [line.split("\t") for line in tsv.tobytes().decode("utf-8").splitlines()]
        lines = [[str(int(v)) if v.isdecimal() else v for v in line] for line in lines]
        text = "\n".join("\t".join(line) for line in lines) + "\n"
        return np.frombuffer(text.encode("utf-8"), dtype=np.uint8)

    tables = {name: read(given[name]) for name in ("train_tsv", "test_tsv")}
    return Port.data(port, {**given, **tables})


@MADE.add(0, CLICKS, method="data")
def vocabulary_in_order_of_appearance(port: Port, given: Given) -> Arrays:
    """The frequent values of a field are numbered in sorted order, here as they appear."""
    found = Port.data(port, given)
    new = np.arange(found["field_dims"].sum())
    for column, last in zip(found["train_features"].T, _last_ids(found["field_dims"])):
        ids, appears = np.unique(column[column != last], return_index=True)
        new[ids[np.argsort(appears)]] = ids
    return _features(found, lambda ids: new[ids])
