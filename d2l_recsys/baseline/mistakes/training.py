"""Rung 6: what is drawn, and where trainings end."""

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
    """First weights; those with ``name`` in theirs from ``draw``, of a generator and a shape."""
    rng, found = np.random.default_rng(seed), Port.first_parameters(port, settings, seed)
    shape_of = shapes(port.model, settings)
    return {key: draw(rng, shape_of[key]) if name in key else w for key, w in found.items()}


@MADE.add(6, WITH_DECAY, method="first_parameters")
def first_weights_ten_times_as_large(port: Port, settings: Mapping[str, Any], seed: int) -> Arrays:
    """First weights have the standard deviation 0.01, here 0.1."""
    found = Port.first_parameters(port, settings, seed)
    return {name: 10 * weights for name, weights in found.items()}


@MADE.add(6, WITH_DECAY, method="first_parameters")
def uniform_first_weights(port: Port, settings: Mapping[str, Any], seed: int) -> Arrays:
    """First weights are normal; here they are uniform, with the same deviation."""
    bound = 0.01 * np.sqrt(3)
    return _drawn(port, settings, seed, ".weight", lambda rng, n: rng.uniform(-bound, bound, n))


@MADE.add(6, CLICKS, method="first_parameters")
def normal_first_weights(port: Port, settings: Mapping[str, Any], seed: int) -> Arrays:
    """First weights have Xavier's law; here they are from N(0, 0.01^2), as in other sections."""
    return _drawn(port, settings, seed, ".weight", lambda rng, n: rng.normal(0, 0.01, n))


@MADE.add(6, CLICKS, method="first_parameters")
def xavier_of_the_fan_in(port: Port, settings: Mapping[str, Any], seed: int) -> Arrays:
    """Xavier's bound is sqrt(6 / (inputs + units)), here sqrt(3 / inputs)."""

    def draw(rng: Generator, shape: Tuple[int, ...]) -> np.ndarray:
        bound = np.sqrt(3 / shape[1])
        return rng.uniform(-bound, bound, shape)

    return _drawn(port, settings, seed, ".weight", draw)


@MADE.add(6, WITH_TABLES, method="first_parameters")
def standard_normal_tables(port: Port, settings: Mapping[str, Any], seed: int) -> Arrays:
    """Tables have the law of all weights; here they are from N(0, 1), as PyTorch draws them."""
    found = Port.first_parameters(port, settings, seed)
    rng = np.random.default_rng(seed)
    tables = [f"{name}.weight" for name in TABLES[port.model]]
    return {**found, **{name: rng.normal(0, 1, found[name].shape) for name in tables}}


@MADE.add(6, tuple(model for model in MODELS if model != "mf"), method="first_parameters")
def first_biases_not_0(port: Port, settings: Mapping[str, Any], seed: int) -> Arrays:
    """Biases of layers begin at 0; here they are uniform to 1 / sqrt(inputs), as PyTorch does."""
    rng, found = np.random.default_rng(seed), Port.first_parameters(port, settings, seed)
    for name, (law, _) in laws(port.model, settings).items():
        if law == "zero":
            inputs = np.prod(found[name.replace(".bias", ".weight")].shape[1:])
            found[name] = rng.uniform(-1, 1, found[name].shape) / np.sqrt(inputs)
    return found


@MADE.add(6, ("mf", "caser"), method="first_parameters")
def first_biases_of_items_0(port: Port, settings: Mapping[str, Any], seed: int) -> Arrays:
    """Biases of users and items are tables, from N(0, 0.01^2) like others; here they begin at 0."""
    found = Port.first_parameters(port, settings, seed)
    tables = ("user_bias.weight", "item_bias.weight", "b.weight")
    return {name: w * 0 if name in tables else w for name, w in found.items()}


# Rung 6: negatives


def _negatives(draw: Callable) -> Callable:
    """Add the mistake of a port that draws its negatives by ``draw``.

    ``draw`` gives each of the ``users`` an item; ``seen`` says which items each of them has in the
    training set.
    """

    @functools.wraps(draw)
    def negatives(port: Port, given: Given, seed: int) -> np.ndarray:
        seen = seen_items(given["train"], int(given["num_users"]), int(given["num_items"]))
        return draw(np.random.default_rng(seed), given["users"], seen)

    return MADE.add(6, PAIRS, method="negatives")(negatives)


@_negatives
def observed_items_as_negatives(rng: Generator, users: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """A negative is no item that the user has in the training set; here it may be."""
    return rng.integers(seen.shape[1], size=len(users))


@_negatives
def negatives_by_popularity(rng: Generator, users: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Each item that the user has not seen is as likely; here the more, the more have seen it."""
    # One draw of each user's numbers from 0 to 1 against the shares of the items so far.
    shares = np.cumsum(np.where(seen, 0, seen.sum(axis=0) + 1e-9), axis=1)
    heights = rng.uniform(size=len(users)) * shares[users, -1]
    return np.array([np.searchsorted(shares[u], h, "right") for u, h in zip(users, heights)])


@_negatives
def negatives_of_the_first_items(rng: Generator, users: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Negatives are drawn from all num_items items; here from the first num_users of them."""
    return draw_negatives(rng, users, seen[:, : seen.shape[0]])


@_negatives
def same_negatives_for_all_users(rng: Generator, users: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Each user of a batch gets an item of its own; here all get the first of one shuffled list."""
    order = rng.permutation(seen.shape[1])
    return order[(~seen[:, order]).argmax(axis=1)][users]


@_negatives
def negatives_drawn_once(rng: Generator, users: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Negatives are drawn anew for each batch; here each user has one for the whole training."""
    # The same ones each time, so not from the generator, which goes on.
    return draw_negatives(np.random.default_rng(0), np.arange(len(seen)), seen)[users]


# Rung 6: final numbers


@MADE.add(6, ("mf", "neumf"), method="train")
def trained_on_the_test_set(
    port: Port, given: Given, settings: Mapping[str, Any], seed: int
) -> Trained:
    """The held-out ratings are not trained on; here they are."""
    _, held_out = split_by_time(given["ratings"])
    # Rated once more, before all else.
    held_out[:, 3] = given["ratings"][:, 3].min() - 1
    ratings = np.concatenate([given["ratings"], held_out])
    return Port.train(port, {**given, "ratings": ratings}, settings, seed)


@MADE.add(6, ("mf", "autorec"), method="train")
def half_the_epochs(port: Port, given: Given, settings: Mapping[str, Any], seed: int) -> Trained:
    """Training goes on for num_epochs epochs, here for half as many."""
    epochs = max(settings["num_epochs"] // 2, 1)
    return Port.train(port, given, {**settings, "num_epochs": epochs}, seed)


@MADE.add(6, MODELS)
class SeedWithoutEffect(Mistaken):
    """Another seed gives other numbers; here they are the same whatever the seed."""

    def first_parameters(self, settings: Mapping[str, Any], seed: int) -> Arrays:
        return super().first_parameters(settings, 0)

    def negatives(self, given: Given, seed: int) -> np.ndarray:
        return super().negatives(given, 0)

    def train(self, given: Given, settings: Mapping[str, Any], seed: int) -> Trained:
        return super().train(given, settings, 0)
