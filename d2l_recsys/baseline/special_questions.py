"""Questions with unusual inputs. Each kind shows mistakes that no other question shows.

- **large**: more users and items than an id of 8 bits can name
- **saturated**: scores so large that the sigmoid of float32 rounds to 0 or 1
- **dropout**: small nets, so that there are few masks
- **held out**: negative items, where the port knows which items are held out
"""

from typing import Any, Dict, Iterator, List

import numpy as np

from d2l_recsys.baseline.ladder import CLICKS, DROPOUT, MODELS, PAIRS, PROTOCOLS, base, tracks
from d2l_recsys.baseline.made_up_data import SEED
from d2l_recsys.baseline.oracle import initial
from d2l_recsys.baseline.port import Arrays
from d2l_recsys.baseline.questions import Question, join

LARGE = {"num_users": 300, "num_items": 400}
# The models with tables of users and items.
OF_USERS_AND_ITEMS = ("mf", *PAIRS)
# The standard deviations of the parameters that make scores large. (NeuMF multiplies two tables.)
SATURATING = {
    "neumf": {"P.weight": 4.0, "Q.weight": 4.0, "prediction.weight": 2.0},
    "caser": {"b.weight": 80.0},
    "fm": {"fc.weight": 30.0},
    "deepfm": {"fc.weight": 30.0},
}


# The sizes of the nets of rung 7, and the share of units that their dropout drops.
SMALL: Dict[str, Dict[str, Any]] = {
    "mf": {"num_users": 3, "num_items": 4, "num_factors": 2},
    "autorec": {"num_users": 5, "num_items": 4, "num_hidden": 3, "dropout": 0.3},
    "neumf": {"num_users": 3, "num_items": 4, "num_factors": 2, "nums_hiddens": [2, 2]},
    "caser": {
        "num_users": 3, "num_items": 4, "num_factors": 2, "L": 2, "d": 1, "d_prime": 1,
        "dropout": 0.4,
    },
    "fm": {"field_dims": [3, 4], "num_factors": 2},
    "deepfm": {"field_dims": [3, 4], "num_factors": 2, "mlp_dims": [2, 2], "dropout": 0.4},
}  # fmt: skip
EXAMPLE: Dict[str, List[int]] = {
    "user_id": [1], "item_id": [2], "negative_id": [3], "rating": [4], "seq": [0, 3],
    "ratings": [1, 5, 3, 2, 4], "features": [1, 5], "label": [1],
}  # fmt: skip
EXAMPLES = 800


def special_questions(
    variant: str, settings: Dict[str, Any], batch: Arrays, draws: Question
) -> Iterator[Question]:
    """Yield the special questions of a model or variant.

    ``batch`` has the arrays of some training examples. ``draws`` is the question about negative
    items, or that about first weights if the model has no negative items.
    """
    model = base(variant)
    rng = np.random.default_rng([SEED, MODELS.index(model), 1])
    if model in OF_USERS_AND_ITEMS:
        given = {**_parameters(model, {**settings, **LARGE}, rng), **_many_ids(batch, rng)}
        for rung, kind in ((2, "forward"), (3, "gradients")):
            name = f"{variant}/{rung}-{kind}-large"
            yield Question(name, rung, kind, model, PROTOCOLS, {**settings, **LARGE}, given)
    if model in SATURATING:
        given = {**_parameters(model, settings, rng), **join("batch", batch)}
        for name, deviation in SATURATING[model].items():
            array = given.get(f"parameters/{name}")
            if array is not None:
                drawn = rng.normal(0, deviation, array.shape)
                given[f"parameters/{name}"] = drawn.astype(np.float32)
        if model in CLICKS:
            given["parameters/linear_layer.weight"] = np.ones((1, 1), np.float32)
        for track, protocols in tracks(variant):
            # The printed loss of clicks is that of a probability, which is never large.
            if "defined" in protocols:
                name = f"{track}/3-gradients-saturated"
                yield Question(name, 3, "gradients", model, protocols, settings, given)
    yield from _dropout(variant, settings, batch, rng)
    if model in PAIRS:
        num_users, num_items = (int(draws.given[name]) for name in ("num_users", "num_items"))
        seen = np.zeros((num_users, num_items), dtype=bool)
        seen[draws.given["train"][:, 0], draws.given["train"][:, 1]] = True
        # For each user an unseen item, like the item that the split holds out.
        held_out = np.where(seen, -1, rng.uniform(size=seen.shape)).argmax(axis=1)
        given = {**draws.given, "test_items": held_out.astype(np.int32)}
        yield draws._replace(name=f"{variant}/6-negatives-held-out", given=given)


def _dropout(
    variant: str, settings: Dict[str, Any], batch: Arrays, rng: np.random.Generator
) -> Iterator[Question]:
    model = base(variant)
    settings = {**settings, **SMALL[model]}
    # Positive weights, so that no relu hides a dropped unit.
    shapes = initial.shapes(model, settings)
    weights = {n: rng.uniform(0.2, 1, shape).astype(np.float32) for n, shape in shapes.items()}
    if model in CLICKS:
        # So that no probability is nearly 1.
        weights["linear_layer.bias"] -= np.float32(4)
    if model == "autorec":
        # So that no hidden unit is nearly 1.
        weights["encoder.weight"] *= np.float32(0.1)
    examples = {}
    for name, array in batch.items():
        example = np.array(EXAMPLE[name], dtype=array.dtype)
        if name == "ratings":
            example = example[: weights["encoder.weight"].shape[1]]
        shape = (EXAMPLES,) if array.ndim == 1 else (EXAMPLES, len(example))
        examples[name] = np.broadcast_to(example, (EXAMPLES, len(example))).reshape(shape)
    for track, protocols in tracks(variant):
        given = {**join("parameters", weights), **join("batch", examples), "seed": np.array(SEED)}
        yield Question(f"{track}/7-dropout", DROPOUT, "dropout", model, protocols, settings, given)


def _parameters(model: str, settings: Dict[str, Any], rng: np.random.Generator) -> Arrays:
    """Weights as in the middle of training: larger than the first weights."""
    drawn = initial.draw(model, settings, rng)
    larger = 1.0 if model in CLICKS else 30.0
    return join("parameters", {n: (larger * w).astype(np.float32) for n, w in drawn.items()})


def _many_ids(batch: Arrays, rng: np.random.Generator) -> Arrays:
    """A batch as ``batch``, whose ids are drawn from all users and items of the larger data."""
    found = {}
    for name, array in batch.items():
        if array.dtype.kind == "i":
            size = LARGE["num_users" if name == "user_id" else "num_items"]
            array = rng.integers(size, size=array.shape).astype(np.int32)
        found[name] = array
    return join("batch", found)
