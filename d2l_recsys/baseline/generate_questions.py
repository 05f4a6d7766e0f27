"""Make the questions about made-up data. Needs MXNet to train up to the middle of training."""

from typing import Any, Dict, Iterator, Tuple

import numpy as np

from d2l_recsys.baseline import made_up_data, oracle, reference
from d2l_recsys.baseline.compare import distance
from d2l_recsys.baseline.ladder import (
    CHANGES,
    MODELS,
    PAIRS,
    PROTOCOLS,
    VARIANTS,
    base,
    tracks,
)
from d2l_recsys.baseline.made_up_data import NUM_ITEMS, NUM_USERS, SEED
from d2l_recsys.baseline.oracle.training import draw_negatives, seen_items, training_rows
from d2l_recsys.baseline.port import Arrays
from d2l_recsys.baseline.questions import Question, ask, batch_of, join
from d2l_recsys.baseline.special_questions import special_questions
from d2l_recsys.baseline.spread import from_other_weights
from d2l_recsys.baseline.tolerances import agree, measured

# The number of steps of a trajectory.
STEPS = 50
# Try to begin a trajectory after each of these numbers of steps. Take the first one from which
# float32 implementations stay within ``STAYS_CLOSE``; if there is none, the one with the smallest
# distance.
STEPS_BEFORE = (100, 150, 200, 250, 300, 350, 400)
STAYS_CLOSE = 1e-4
# From the chapter's first weights, the MLP of these variants hardly learns. With weights in the
# head, its gradient is tiny, and weight decay wins. So the way to the middle of training starts
# with larger weights, and with biases that are not 0.
LARGER_START = ("neumf-linear", "neumf-sigmoid", "neumf-hinge")
LARGER = 0.3
EPOCHS, ROWS, ROWS_OF_BATCH = 3, 205, 64
NEGATIVES_A_USER = 400


def questions() -> Iterator[Question]:
    """All questions about made-up data, variant by variant, and for each variant rung by rung."""
    rng = np.random.default_rng(SEED)
    made_up = {"ratings": made_up_data.ratings(rng), **made_up_data.clicks(rng)}
    for variant in VARIANTS:
        settings, found = _sizes(variant, made_up)
        rng = np.random.default_rng([SEED, MODELS.index(base(variant))])
        asked = [
            *_data_questions(variant, made_up, rng),
            *_metric_questions(variant, found, rng),
            *_training_questions(variant, settings, found, rng),
            *_draws(variant, settings, found, rng),
        ]
        rng = np.random.default_rng(SEED)
        batch = batch_of(_batches(base(variant), settings, found, rng, 1), 0)
        batch = {name: array[:ROWS_OF_BATCH] for name, array in batch.items()}
        asked += special_questions(variant, settings, batch, asked[-1])
        if variant in CHANGES:
            asked = [question for question in asked if question.kind in CHANGES[variant].kinds]
        yield from sorted(asked, key=lambda question: question.rung)


def _settings(variant: str) -> Dict[str, Any]:
    changed = CHANGES[variant].settings if variant in CHANGES else {}
    own = made_up_data.SETTINGS.get(variant, made_up_data.SETTINGS[base(variant)])
    return {**own, **changed}


def _sizes(variant: str, made_up: Arrays) -> Tuple[Dict[str, Any], Arrays]:
    """The settings of a variant, including the sizes of its tables, and its training data."""
    settings = _settings(variant)
    given = _given(variant, made_up, np.random.default_rng(SEED))
    found = oracle.Port(base(variant), PROTOCOLS[0]).data(given)
    if "field_dims" in found:
        settings["field_dims"] = found["field_dims"].tolist()
    else:
        settings.update(num_users=NUM_USERS, num_items=NUM_ITEMS)
    return settings, found


def _given(variant: str, made_up: Arrays, rng: np.random.Generator) -> Arrays:
    """The made-up data, and all other inputs that the data of a variant can depend on."""
    settings = _settings(variant)
    return {
        **made_up,
        "L": np.array(settings.get("L", 0)),
        "rows_are_users": np.array(int(settings.get("variant") == "user")),
        "min_threshold": np.array(made_up_data.MIN_THRESHOLD),
        "uniform": rng.uniform(size=len(made_up["ratings"])),
    }


def _data_questions(variant: str, made_up: Arrays, rng: np.random.Generator) -> Iterator[Question]:
    model = base(variant)
    names = {
        "mf": ("ratings",), "autorec": ("ratings", "uniform"), "neumf": ("ratings",),
        "caser": ("ratings", "L"), "autorec-user": ("ratings", "uniform", "rows_are_users"),
    }  # fmt: skip
    given = _given(variant, made_up, rng)
    of_clicks = ("train_tsv", "test_tsv", "min_threshold")
    data = {name: given[name] for name in names.get(variant, names.get(model, of_clicks))}
    yield Question(f"{variant}/0-data", 0, "data", model, PROTOCOLS, {}, data)
    batch_size = _settings(variant)["batch_size"]
    # With this number of rows, every epoch ends with an incomplete batch.
    rows = batch_size * 5 // 3 + 1
    orders = np.stack([rng.permutation(rows) for _ in range(EPOCHS)]).astype(np.int32)
    loader = {"orders": orders, "batch_size": np.array(batch_size)}
    yield Question(f"{variant}/0-batches", 0, "batches", model, PROTOCOLS, {}, loader)


def _metric_questions(variant: str, found: Arrays, rng: np.random.Generator) -> Iterator[Question]:
    model = base(variant)
    losses = rng.gamma(2.0, 0.3, (7, ROWS_OF_BATCH)).astype(np.float32)
    size = {"batch_size": np.array(ROWS_OF_BATCH)}
    if model == "mf":
        labels = rng.integers(1, 6, ROWS).astype(np.float32)
        predictions = (labels + rng.normal(0, 1, ROWS)).astype(np.float32)
        given = {"labels": labels, "predictions": predictions, "losses": losses}
        given["test_batch_size"] = np.array(ROWS_OF_BATCH)
    elif model == "autorec":
        matrix = found["test_matrix"]
        completed = (matrix + rng.normal(0, 1, matrix.shape)).astype(np.float32)
        given = {"test_matrix": matrix, "completed": completed, "losses": losses}
    elif model in PAIRS:
        # Rounded, so that many scores tie.
        scores = rng.normal(0, 1, (NUM_USERS, NUM_ITEMS)).round(1)
        users = np.arange(NUM_USERS)
        scores[users, found["test_items"]] += rng.choice([0, 0.5, 1.5], NUM_USERS)
        given = {
            "scores": scores.round(1).astype(np.float32),
            "train": found["train"].astype(np.int32),
            "test_items": found["test_items"].astype(np.int32),
            "losses": losses.sum(axis=1),
            **size,
        }
    else:
        given = {**_click_outputs(rng), **size, "epoch": np.array(2)}
    for protocol in PROTOCOLS:
        name = f"{variant}-{protocol}/1-metrics"
        yield Question(name, 1, "metrics", model, (protocol,), {}, given)


def _click_outputs(rng: np.random.Generator) -> Arrays:
    given: Arrays = {}
    for part, rows in (("train", 7 * ROWS_OF_BATCH), ("test", ROWS)):
        labels = (rng.uniform(size=rows) < 0.55).astype(np.float32)
        # Large enough that some probabilities round to 1 in float32; rounded, so that some tie.
        z = (rng.normal(0, 9, rows) + 6 * labels).round(1).astype(np.float32)
        given.update({f"{part}_labels": labels, f"{part}_log_odds": z})
        given[f"{part}_scores"] = 1 / (1 + np.exp(-z))
    z, y = given["train_log_odds"].astype(np.float64), given["train_labels"]
    given["train_losses"] = (np.logaddexp(0, z) - z * y).astype(np.float32)
    return given


def _training_questions(
    variant: str, settings: Dict[str, Any], found: Arrays, rng: np.random.Generator
) -> Iterator[Question]:
    """Yield the questions of rungs 2 to 5, from the first weights and from the middle of training.

    Trajectories start only in the middle. If NeuMF and Caser start from their first weights, the
    last bit of a sum decides the course of training within 50 steps.
    """
    model = base(variant)
    first = reference.Port(model, PROTOCOLS[0]).first_parameters(settings, SEED)
    batches = _batches(model, settings, found, rng, 1 + STEPS_BEFORE[-1] + STEPS)
    batch = batch_of(batches, 0)
    start = dict(first)
    if variant in LARGER_START:
        larger = np.random.default_rng([SEED, VARIANTS.index(variant)])
        for name, weights in first.items():
            start[name] = larger.normal(0, LARGER, weights.shape).astype(np.float32)
    for track, protocols in tracks(variant):
        weights, of_adam, trajectory = _under_way(track, protocols, settings, start, batches)
        for state, parameters, moments in (("first", first, {}), ("under-way", weights, of_adam)):
            given = {**join("parameters", parameters), **join("batch", batch)}
            for rung, kind in ((2, "forward"), (3, "gradients"), (4, "step")):
                name = f"{track}/{rung}-{kind}-{state}"
                all_given = {**given, **moments} if kind == "step" else given
                yield Question(name, rung, kind, model, protocols, settings, all_given)
        yield trajectory


def _under_way(
    track: str,
    protocols: Tuple[str, ...],
    settings: Dict[str, Any],
    first: Arrays,
    batches: Arrays,
) -> Tuple[Arrays, Arrays, Question]:
    """Weights and Adam's state in the middle of training, and the trajectory that begins there.

    If the input of a relu is close to 0, the last bit of a sum decides its sign, and two correct
    float32 implementations move apart. So we try several places in the training. The trajectory
    begins at the first place from which float32 implementations stay close together and close to
    the exact trajectory. If there is none, it begins where float32 implementations move apart
    least.
    """
    model = track.split("-")[0]
    port = reference.Port(model, protocols[0])
    port.set_state(settings, first)
    found = []
    for done, place in zip((0, *STEPS_BEFORE), STEPS_BEFORE):
        for number in range(done, place):
            port.step(batch_of(batches, 1 + number))
        weights = port.parameters()
        means, variances, steps = port.moments()
        of_adam = {**join("means", means), **join("variances", variances), "steps": np.array(steps)}
        next_ones = {name: array[1 + place : 1 + place + STEPS] for name, array in batches.items()}
        given = {**join("parameters", weights), **of_adam, **join("batches", next_ones)}
        question = Question(
            f"{track}/5-trajectory", 5, "trajectory", model, protocols, settings, given
        )
        expected = ask(reference.Port, question)
        answers = measured(question)
        # The files of the models are older than this test.
        others = from_other_weights(question) if track in CHANGES else []
        spread = max(distance(question, expected, answer) for answer in [*answers, *others])
        found.append((spread, weights, of_adam, question))
        if spread <= STAYS_CLOSE and agree(question, expected, ask(oracle.Port, question), answers):
            break
    _, weights, of_adam, question = min(found, key=lambda of_place: of_place[0])
    return weights, of_adam, question


def _batches(
    model: str, settings: Dict[str, Any], found: Arrays, rng: np.random.Generator, number: int
) -> Arrays:
    rows = training_rows(model, found)
    count = len(next(iter(rows.values())))
    chosen = rng.integers(count, size=(number, settings["batch_size"]))
    batches = {name: array[chosen] for name, array in rows.items()}
    if model in PAIRS:
        seen = seen_items(found["train"], settings["num_users"], settings["num_items"])
        users = batches["user_id"]
        batches["negative_id"] = draw_negatives(rng, users.ravel(), seen).reshape(users.shape)
    kinds = {name: np.int32 if a.dtype.kind == "i" else np.float32 for name, a in batches.items()}
    kinds["label"] = np.float32
    return {name: array.astype(kinds[name]) for name, array in batches.items()}


def _draws(
    variant: str, settings: Dict[str, Any], found: Arrays, rng: np.random.Generator
) -> Iterator[Question]:
    """Yield the questions of rung 6: a port draws arrays; the check tests their distribution."""
    model = base(variant)
    seed = {"seed": np.array(SEED)}
    yield Question(f"{variant}/6-first", 6, "first", model, PROTOCOLS, settings, seed)
    if model in PAIRS:
        users = np.repeat(np.arange(NUM_USERS, dtype=np.int32), NEGATIVES_A_USER)
        given = {
            **seed,
            "users": rng.permutation(users),
            "train": found["train"].astype(np.int32),
            "num_users": np.array(NUM_USERS),
            "num_items": np.array(NUM_ITEMS),
        }
        yield Question(f"{variant}/6-negatives", 6, "negatives", model, PROTOCOLS, {}, given)
