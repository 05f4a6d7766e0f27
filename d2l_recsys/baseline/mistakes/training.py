"""Mistakes of rung 6: first weights, negative items, and complete trainings."""

import functools
from typing import Any, Callable, Mapping, Tuple

import numpy as np
from numpy.random import Generator

from d2l_recsys.baseline.ladder import CLICKS, MODELS, PAIRS
from d2l_recsys.baseline.mistakes.mistake import (
    TABLES,
    WITH_DECAY,
    WITH_TABLES,
    Mistaken,
    Mistakes,
    Trained,
)
from d2l_recsys.baseline.oracle import Port
from d2l_recsys.baseline.oracle.data import split_by_time
from d2l_recsys.baseline.oracle.initial import laws, shapes
from d2l_recsys.baseline.oracle.metrics import Given
from d2l_recsys.baseline.oracle.training import draw_negatives, seen_items
from d2l_recsys.baseline.port import Arrays

MADE = Mistakes()

# Rung 6: first weights


def _drawn(port: Port, settings: Mapping[str, Any], seed: int, name: str, draw: Callable) -> Arrays:
    """First weights; every parameter whose name contains ``name`` is ``draw(rng, shape)``."""
    rng, found = np.random.default_rng(seed), port.first_parameters(settings, seed)
    shape_of = shapes(port.model, settings)
    return {key: draw(rng, shape_of[key]) if name in key else w for key, w in found.items()}


@MADE.add(6, WITH_DECAY, method="first_parameters")
def first_weights_ten_times_as_large(port: Port, settings: Mapping[str, Any], seed: int) -> Arrays:
    """First weights must have a standard deviation of 0.01. The port uses 0.1."""
    found = port.first_parameters(settings, seed)
    return {name: 10 * weights for name, weights in found.items()}


@MADE.add(6, WITH_DECAY, method="first_parameters")
def uniform_first_weights(port: Port, settings: Mapping[str, Any], seed: int) -> Arrays:
    """First weights must come from a normal distribution.

    The port uses a uniform distribution with the same standard deviation.
    """
    bound = 0.01 * np.sqrt(3)
    return _drawn(port, settings, seed, ".weight", lambda rng, n: rng.uniform(-bound, bound, n))


@MADE.add(6, CLICKS, method="first_parameters")
def normal_first_weights(port: Port, settings: Mapping[str, Any], seed: int) -> Arrays:
    """First weights must come from Xavier's uniform distribution.

    The port uses N(0, 0.01^2), as in the other sections.
    """
    return _drawn(port, settings, seed, ".weight", lambda rng, n: rng.normal(0, 0.01, n))


@MADE.add(6, CLICKS, method="first_parameters")
def xavier_of_the_fan_in(port: Port, settings: Mapping[str, Any], seed: int) -> Arrays:
    """Xavier's bound must be sqrt(6 / (inputs + units)). The port uses sqrt(3 / inputs)."""

    def draw(rng: Generator, shape: Tuple[int, ...]) -> np.ndarray:
        bound = np.sqrt(3 / shape[1])
        return rng.uniform(-bound, bound, shape)

    return _drawn(port, settings, seed, ".weight", draw)


@MADE.add(6, WITH_TABLES, method="first_parameters")
def standard_normal_tables(port: Port, settings: Mapping[str, Any], seed: int) -> Arrays:
    """Embedding tables must come from the same distribution as the other weights.

    The port uses N(0, 1), as PyTorch does.
    """
    found = port.first_parameters(settings, seed)
    rng = np.random.default_rng(seed)
    tables = [f"{name}.weight" for name in TABLES[port.model]]
    return {**found, **{name: rng.normal(0, 1, found[name].shape) for name in tables}}


@MADE.add(6, tuple(model for model in MODELS if model != "mf"), method="first_parameters")
def first_biases_not_0(port: Port, settings: Mapping[str, Any], seed: int) -> Arrays:
    """Biases of layers must start at 0.

    The port draws them uniformly between -1 / sqrt(inputs) and 1 / sqrt(inputs), as PyTorch does.
    """
    rng, found = np.random.default_rng(seed), port.first_parameters(settings, seed)
    for name, (law, _) in laws(port.model, settings).items():
        if law == "zero":
            inputs = np.prod(found[name.replace(".bias", ".weight")].shape[1:])
            found[name] = rng.uniform(-1, 1, found[name].shape) / np.sqrt(inputs)
    return found


@MADE.add(6, ("mf", "caser"), method="first_parameters")
def first_biases_of_items_0(port: Port, settings: Mapping[str, Any], seed: int) -> Arrays:
    """User and item biases are tables and must come from N(0, 0.01^2).

    The port starts these biases at 0.
    """
    found = port.first_parameters(settings, seed)
    tables = ("user_bias.weight", "item_bias.weight", "b.weight")
    return {name: w * 0 if name in tables else w for name, w in found.items()}


# Rung 6: negatives


def _negatives(draw: Callable) -> Callable:
    """Add a port that draws its negative items with ``draw(rng, users, seen)`` as a mistake.

    ``draw`` returns an item for each of ``users``, (n,). ``seen`` is the Boolean matrix
    (num_users, num_items) of the training items.
    """

    @functools.wraps(draw)
    def negatives(port: Port, given: Given, seed: int) -> np.ndarray:
        seen = seen_items(given["train"], int(given["num_users"]), int(given["num_items"]))
        return draw(np.random.default_rng(seed), given["users"], seen)

    return MADE.add(6, PAIRS, method="negatives")(negatives)


@_negatives
def observed_items_as_negatives(rng: Generator, users: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """A negative item must not be a training item of the user.

    The port may draw training items of the user.
    """
    return rng.integers(seen.shape[1], size=len(users))


@_negatives
def negatives_by_popularity(rng: Generator, users: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """All items that the user has not seen must be equally likely negative items.

    The port draws an item more often if more users have seen it.
    """
    # Inverse transform sampling: find each uniform draw in the user's cumulative popularity.
    shares = np.cumsum(np.where(seen, 0, seen.sum(axis=0) + 1e-9), axis=1)
    heights = rng.uniform(size=len(users)) * shares[users, -1]
    return np.array([np.searchsorted(shares[u], h, "right") for u, h in zip(users, heights)])


@_negatives
def negatives_of_the_first_items(rng: Generator, users: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Negative items must be drawn from all num_items items.

    The port draws from the first num_users items.
    """
    return draw_negatives(rng, users, seen[:, : seen.shape[0]])


@_negatives
def same_negatives_for_all_users(rng: Generator, users: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Each user of a batch must get an independently drawn item.

    The port shuffles the items once and gives each user the first item that the user has not seen.
    """
    order = rng.permutation(seen.shape[1])
    return order[(~seen[:, order]).argmax(axis=1)][users]


@_negatives
def negatives_drawn_once(rng: Generator, users: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Negative items must be drawn again for each batch.

    The port draws one negative item for each user and keeps it for the whole training.
    """
    # `rng` changes from call to call, so draw from a generator with a fixed seed.
    return draw_negatives(np.random.default_rng(0), np.arange(len(seen)), seen)[users]


@MADE.add(6, PAIRS, method="negatives")
def held_out_items_never_negative(port: Port, given: Given, seed: int) -> np.ndarray:
    """A held-out item must be as likely a negative item as all other unseen items.

    The port never draws held-out items, so the training has seen the test set.
    """
    train = given["train"]
    if "test_items" in given:
        users = np.arange(len(given["test_items"]))
        train = np.concatenate([train, np.stack([users, given["test_items"]], axis=1)])
    return port.negatives({**given, "train": train}, seed)


# Rung 6: final numbers


@MADE.add(6, ("mf", "neumf"), method="train")
def trained_on_the_test_set(
    port: Port, given: Given, settings: Mapping[str, Any], seed: int
) -> Trained:
    """Held-out ratings must not be in the training data.

    The port trains on the held-out ratings as well.
    """
    _, held_out = split_by_time(given["ratings"])
    # Repeat each held-out rating with an early timestamp, so that the copy is a training rating.
    held_out[:, 3] = given["ratings"][:, 3].min() - 1
    ratings = np.concatenate([given["ratings"], held_out])
    return port.train({**given, "ratings": ratings}, settings, seed)


@MADE.add(6, ("mf", "autorec"), method="train")
def half_the_epochs(port: Port, given: Given, settings: Mapping[str, Any], seed: int) -> Trained:
    """Training must run for num_epochs epochs. The port runs for half as many epochs."""
    epochs = max(settings["num_epochs"] // 2, 1)
    return port.train(given, {**settings, "num_epochs": epochs}, seed)


@MADE.add(6, MODELS)
class SeedWithoutEffect(Mistaken):
    """Different seeds must give different results.

    The port gives the same results with every seed.
    """

    def first_parameters(self, settings: Mapping[str, Any], seed: int) -> Arrays:
        return super().first_parameters(settings, 0)

    def negatives(self, given: Given, seed: int) -> np.ndarray:
        return super().negatives(given, 0)

    def train(self, given: Given, settings: Mapping[str, Any], seed: int) -> Trained:
        return super().train(given, settings, 0)
