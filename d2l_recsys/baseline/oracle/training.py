"""Rung 6 of the oracle: complete training, from the data to the final metrics.

The training loop needs only a ``Learner``, so a port can use the loop with its own framework.
"""

from typing import Any, Dict, Iterator, List, Mapping, Optional, Protocol

import numpy as np

from d2l_recsys.baseline.oracle.data import DATA, roll_over, sizes
from d2l_recsys.baseline.oracle.metrics import METRICS
from d2l_recsys.baseline.port import Arrays


class Learner(Protocol):
    """The methods that the training loop needs: first weights, a step, and predictions."""

    def start(self, settings: Mapping[str, Any], seed: int) -> None:
        """Draw the first weights; ``seed`` determines these and the dropout.

        ``settings`` are the chapter's settings and ``num_users`` and ``num_items``, or
        ``field_dims`` for FM and DeepFM.
        """

    def train_step(self, batch: Arrays) -> Arrays:
        """Make one optimizer step, with dropout; returns values measured before the step.

        ``losses``: the loss of each example, (n,), for MF, AutoRec, FM and DeepFM; the sum of the
        losses, (1,), for NeuMF and Caser. ``log_odds``: the logits, (n,), for FM and DeepFM.
        """

    def forward(self, batch: Arrays) -> np.ndarray:
        """The outputs of the net for a batch, without dropout, as on rung 2.

        FM and DeepFM return logits under both protocols.
        """

    def score_all(self, users: np.ndarray, sequences: Optional[np.ndarray]) -> np.ndarray:
        """The scores of all items for each of ``users``, (len(users), num_items).

        ``sequences``, (num_users, L), has the last L items of every user for Caser. It is None for
        NeuMF.
        """


def train(
    model: str, learner: Learner, given: Mapping[str, np.ndarray], settings: Mapping[str, Any],
    seed: int,
) -> Dict[str, Dict[str, float]]:  # fmt: skip
    """Train ``learner`` and evaluate it; returns its metrics by protocol and name.

    ``given`` has the ratings or clicks, as on rung 0. ``settings`` are the chapter's settings,
    with ``num_epochs`` and ``batch_size``. ``seed`` determines AutoRec's test ratings, the order
    of the examples, the negative items, and the seed of the learner.
    """
    rng = np.random.default_rng(seed)
    given = {**given, "L": settings.get("L", 0), "min_threshold": settings.get("min_threshold", 0)}
    given["rows_are_users"] = settings.get("variant") == "user"
    if model == "autorec":
        given["uniform"] = rng.uniform(size=len(given["ratings"]))
    found = DATA[model](given)
    rows = training_rows(model, found)
    if "ratings" in given:
        num_users, num_items = sizes(given["ratings"])
        settings = {**settings, "num_users": num_users, "num_items": num_items}
    else:
        settings = {**settings, "field_dims": found["field_dims"]}
    learner.start(settings, int(rng.integers(2**31)))

    seen = np.zeros((0, 0), dtype=bool)
    if model in ("neumf", "caser"):
        seen = seen_items(found["train"], settings["num_users"], settings["num_items"])
    last_epoch: List[Arrays] = []
    for epoch_batches in epochs(len(next(iter(rows.values()))), settings, rng):
        last_epoch = []
        for numbers in epoch_batches:
            batch = {name: array[numbers] for name, array in rows.items()}
            if model in ("neumf", "caser"):
                batch["negative_id"] = draw_negatives(rng, batch["user_id"], seen)
            measured = learner.train_step(batch)
            measured["labels"] = batch.get("label", numbers)
            last_epoch.append(measured)
    return evaluate(model, learner, found, settings, last_epoch)


def training_rows(model: str, found: Arrays) -> Arrays:
    """The training arrays that batches are cut from, by their names in a batch.

    All arrays have one row per example. ``found`` is the data of rung 0.
    """
    if model == "mf":
        user, item, rating = found["train"].T
        return {"user_id": user, "item_id": item, "rating": rating.astype(np.float32)}
    if model == "autorec":
        return {"ratings": found["train_matrix"]}
    if model == "neumf":
        user, item = found["train"].T
        return {"user_id": user, "item_id": item}
    if model == "caser":
        windows = found["windows"]
        return {"user_id": windows[:, 0], "seq": windows[:, 1:-1], "item_id": windows[:, -1]}
    return {"features": found["train_features"], "label": found["train_labels"]}


def epochs(
    num_rows: int, settings: Mapping[str, Any], rng: np.random.Generator
) -> Iterator[np.ndarray]:
    """Yield the batches of each epoch as row numbers, (batches, batch_size).

    Each epoch has its own random order. Rows left over after the last full batch of an epoch come
    first in the next epoch.
    """
    num_epochs, n = settings["num_epochs"], settings["batch_size"]
    batches = roll_over(np.stack([rng.permutation(num_rows) for _ in range(num_epochs)]), n)
    for epoch in range(num_epochs):
        yield batches[epoch * num_rows // n : (epoch + 1) * num_rows // n]


def seen_items(train: np.ndarray, num_users: int, num_items: int) -> np.ndarray:
    """The training items of each user: a Boolean matrix (num_users, num_items).

    ``train`` has rows of user and item.
    """
    seen = np.zeros((num_users, num_items), dtype=bool)
    seen[train[:, 0], train[:, 1]] = True
    return seen


def draw_negatives(rng: np.random.Generator, users: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Draw a negative item for each of ``users``, (n,).

    Each item is drawn uniformly from all items, and drawn again while ``seen[user, item]`` is true.
    """
    items = rng.integers(seen.shape[1], size=len(users))
    while (again := seen[users, items]).any():
        items[again] = rng.integers(seen.shape[1], size=again.sum())
    return items


def evaluate(
    model: str, learner: Learner, found: Arrays, settings: Mapping[str, Any], epoch: List[Arrays]
) -> Dict[str, Dict[str, float]]:
    """The metrics of the trained model by protocol and name.

    ``found`` is the data of rung 0. ``epoch`` has the values that ``train_step`` returned for each
    batch of the last epoch, and the ``labels`` of the batch.
    """
    given: Dict[str, Any] = {"losses": np.stack([of_batch["losses"] for of_batch in epoch])}
    if model == "mf":
        user, item, rating = found["test"].T
        given["labels"] = rating
        given["predictions"] = learner.forward({"user_id": user, "item_id": item})
        given["test_batch_size"] = settings["batch_size"]
    elif model == "autorec":
        given["test_matrix"] = found["test_matrix"]
        given["completed"] = learner.forward({"ratings": found["train_matrix"]})
    elif model in ("neumf", "caser"):
        users = np.arange(settings["num_users"])
        given["scores"] = learner.score_all(users, found.get("test_sequences"))
        given["losses"] = given["losses"][:, 0]
        given.update({name: found[name] for name in ("train", "test_items")})
        given["batch_size"] = settings["batch_size"]
    else:
        given = click_outputs(learner, found, settings, epoch)
    given = as_type(np.float64, given)
    return {protocol: METRICS[model](protocol, given) for protocol in ("printed", "defined")}


def as_type(dtype: type, arrays: Mapping[str, np.ndarray]) -> Arrays:
    """A copy of ``arrays`` with all floating-point arrays converted to ``dtype``."""
    return {
        name: np.array(array, dtype if np.asarray(array).dtype.kind == "f" else None)
        for name, array in arrays.items()
    }


def click_outputs(
    learner: Learner, found: Arrays, settings: Mapping[str, Any], epoch: List[Arrays]
) -> Dict[str, Any]:
    """The arrays from which ``metrics.clicks`` computes the metrics of a trained FM or DeepFM."""
    given = {
        "test_labels": found["test_labels"],
        "test_log_odds": learner.forward({"features": found["test_features"]}),
        "batch_size": settings["batch_size"],
        "epoch": settings["num_epochs"],
    }
    for name in ("labels", "log_odds", "losses"):
        given[f"train_{name}"] = np.concatenate([of_batch[name] for of_batch in epoch])
    for part in ("train", "test"):
        # The printed accuracy counts the scores that float32 rounds to 1, so use float32 here.
        z = given[f"{part}_log_odds"].astype(np.float32)
        with np.errstate(over="ignore"):
            given[f"{part}_scores"] = 1 / (1 + np.exp(-z))
    return given
