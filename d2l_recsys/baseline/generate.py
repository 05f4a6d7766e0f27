"""Make the baseline's files from the project's own code, and check them against the oracle.

Needs MXNet. The same code on the same machine makes the same bytes.
"""

import json
import math
import pathlib
from typing import Any, Dict, Iterator, List, Mapping, Optional, Tuple

import numpy as np

import d2l_recsys
from d2l_recsys import reproduce
from d2l_recsys.baseline import oracle, reference, world
from d2l_recsys.baseline.chapter_data import chapter_questions, input_sums, read_inputs
from d2l_recsys.baseline.compare import compare, digest
from d2l_recsys.baseline.files import INDEX, SUMS, VERSION, as_index, checksums
from d2l_recsys.baseline.npz import npz_bytes
from d2l_recsys.baseline.oracle.training import draw_negatives, seen_items, training_rows
from d2l_recsys.baseline.port import Arrays
from d2l_recsys.baseline.questions import (
    MODELS,
    PROTOCOLS,
    TRAINED_APART,
    Question,
    ask,
    join,
    tracks,
)
from d2l_recsys.errors import DataError
from d2l_recsys.registry import VARIANTS
from d2l_recsys.results import environment
from d2l_recsys.summary import as_reference, summarise

__all__ = ["FEWEST_TRAININGS", "make_baseline", "numbers_over_seeds"]

SEED = 2021
# How long the trajectory is, where in a training it may begin, and how close float32
# implementations have to stay on it: it begins at the first of these places where they do.
STEPS = 50
STEPS_BEFORE = (100, 150, 200, 250, 300, 350, 400)
STAYS_CLOSE = 1e-4
# A port sums in another order than those whose spread was measured; that is what is left for it.
FACTOR = 10
# Sixteen of float32's units: a spread below that is luck.
LEAST = 16 * 2.0**-24
# The oracle in float32, once as asked and then with the examples in other orders.
ROUNDED = 4
# By which variant of the chapter each training is known, where that has another name.
VARIANT = {"fm-printed": "fm", "deepfm-printed": "deepfm"}
# What of a run's settings a port is told.
PORTED = (
    "num_epochs", "batch_size", "lr", "wd", "num_factors", "num_hidden", "nums_hiddens", "mlp_dims",
    "L", "d", "d_prime", "dropout", "min_threshold",
)  # fmt: skip
FEWEST_TRAININGS = 20
EPOCHS, ROWS, ROWS_OF_BATCH = 3, 205, 64
NEGATIVES_A_USER = 400


def make_baseline(
    numbers: Mapping[str, Any], data_dir: Optional[pathlib.Path] = None
) -> Dict[str, bytes]:
    """The files of the baseline by name.

    ``numbers`` are those of ``numbers_over_seeds``.

    Raises DataError where they are too few or of other data, or where the project's own code and
    the oracle disagree.
    """
    files: Dict[str, bytes] = {}
    entries: List[Dict[str, Any]] = []
    for question in questions():
        more: Dict[str, Any] = {}
        if question.rung < 6:
            expected = ask(reference.Port, question)
            files[question.name + ".expected.npz"] = npz_bytes(expected)
            more = tolerances(question, expected)
        entries.append(as_index(question, **more))
        files[question.name + ".given.npz"] = npz_bytes(question.given)
    inputs = read_inputs(list(MODELS), data_dir)
    index = {
        "version": VERSION,
        "made_by": f"d2l_recsys {d2l_recsys.__version__}",
        "environment": environment(),
        "tolerance": {"factor": FACTOR, "least_spread": LEAST},
        "questions": entries,
        "chapter_data": {
            "inputs": input_sums(inputs),
            "answers": {
                question.model: {
                    name: digest(name, array)
                    for name, array in ask(reference.Port, question).items()
                }
                for question in chapter_questions(inputs)
            },
        },
        "convergence": convergence(numbers),
    }
    files[INDEX] = (json.dumps(index, indent=1, ensure_ascii=False) + "\n").encode()
    files[SUMS] = checksums(files).encode()
    return files


# Questions


def questions() -> Iterator[Question]:
    """All that a port is asked about the made-up world, rung by rung within each model."""
    for number, model in enumerate(MODELS):
        rng = np.random.default_rng([SEED, number])
        given = _world()
        settings, found = _sizes(model, given)
        asked = [
            *_data_questions(model, given, found, rng),
            *_metric_questions(model, found, rng),
            *_training_questions(model, settings, found, rng),
            *_draws(model, settings, found, rng),
        ]
        yield from sorted(asked, key=lambda question: question.rung)


def _world() -> Dict[str, np.ndarray]:
    rng = np.random.default_rng(SEED)
    return {"ratings": world.ratings(rng), **world.clicks(rng)}


def _sizes(model: str, given: Arrays) -> Tuple[Dict[str, Any], Arrays]:
    """The settings of a model with the sizes of its tables, and its data."""
    settings = dict(world.SETTINGS[model])
    given = {
        **given,
        "L": np.array(settings.get("L", 0)),
        "min_threshold": np.array(world.MIN_THRESHOLD),
        "uniform": np.random.default_rng(SEED).uniform(size=len(given["ratings"])),
    }
    found = oracle.Port(model, PROTOCOLS[0]).data(given)
    if "field_dims" in found:
        settings["field_dims"] = found["field_dims"].tolist()
    else:
        settings.update(num_users=world.NUM_USERS, num_items=world.NUM_ITEMS)
    return settings, found


def _data_questions(
    model: str, given: Arrays, found: Arrays, rng: np.random.Generator
) -> Iterator[Question]:
    names = {
        "mf": ("ratings",), "autorec": ("ratings", "uniform"), "neumf": ("ratings",),
        "caser": ("ratings", "L"),
    }.get(model, ("train_tsv", "test_tsv", "min_threshold"))  # fmt: skip
    more = {
        "L": np.array(world.SETTINGS[model].get("L", 0)),
        "min_threshold": np.array(world.MIN_THRESHOLD),
        "uniform": rng.uniform(size=len(given["ratings"])),
    }
    given = {**given, **more}
    data = {name: given[name] for name in names}
    yield Question(f"{model}/0-data", 0, "data", model, PROTOCOLS, {}, data)
    # Rows that no number of epochs fills batches with.
    rows = world.SETTINGS[model]["batch_size"] * 5 // 3 + 1
    orders = np.stack([rng.permutation(rows) for _ in range(EPOCHS)]).astype(np.int32)
    loader = {"orders": orders, "batch_size": np.array(world.SETTINGS[model]["batch_size"])}
    yield Question(f"{model}/0-batches", 0, "batches", model, PROTOCOLS, {}, loader)


def _metric_questions(model: str, found: Arrays, rng: np.random.Generator) -> Iterator[Question]:
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
    elif model in ("neumf", "caser"):
        # Rounded, so that many of them tie.
        scores = rng.normal(0, 1, (world.NUM_USERS, world.NUM_ITEMS)).round(1)
        users = np.arange(world.NUM_USERS)
        scores[users, found["test_items"]] += rng.choice([0, 0.5, 1.5], world.NUM_USERS)
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
        name = f"{model}-{protocol}/1-metrics"
        yield Question(name, 1, "metrics", model, (protocol,), {}, given)


def _click_outputs(rng: np.random.Generator) -> Arrays:
    given: Arrays = {}
    for part, rows in (("train", 7 * ROWS_OF_BATCH), ("test", ROWS)):
        labels = (rng.uniform(size=rows) < 0.55).astype(np.float32)
        # Some saturate float32, and some tie.
        z = (rng.normal(0, 9, rows) + 6 * labels).round(1).astype(np.float32)
        given.update({f"{part}_labels": labels, f"{part}_log_odds": z})
        given[f"{part}_scores"] = 1 / (1 + np.exp(-z))
    z, y = given["train_log_odds"].astype(np.float64), given["train_labels"]
    given["train_losses"] = (np.logaddexp(0, z) - z * y).astype(np.float32)
    return given


def _training_questions(
    model: str, settings: Dict[str, Any], found: Arrays, rng: np.random.Generator
) -> Iterator[Question]:
    """Rungs 2 to 5, from the first weights and from the middle of a training.

    In the middle: from NeuMF's and Caser's first weights the last bit of a sum decides, within 50
    steps, where a training goes.
    """
    first = reference.Port(model, PROTOCOLS[0]).first_parameters(settings, SEED)
    batches = _batches(model, settings, found, rng, 1 + STEPS_BEFORE[-1] + STEPS)
    batch = _cut(batches, 0)
    for track, protocols in tracks(model):
        weights, of_adam, trajectory = _under_way(track, protocols, settings, first, batches)
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
    """Weights in the middle of a training, Adam's state there, and the trajectory from there on.

    Where a unit is so near the edge of its relu that the last bit of a sum decides, one float32
    implementation goes here and the next one there, and both are right. So the trajectory begins at
    the first of several places from which they stay together, or where they do best.
    """
    model = track.split("-")[0]
    port = reference.Port(model, protocols[0])
    port.set_state(settings, first)
    found = []
    done = 0
    for place in STEPS_BEFORE:
        for number in range(done, place):
            port.step(_cut(batches, 1 + number))
        done = place
        weights = port.parameters()
        means, variances, steps = port.moments()
        of_adam = {**join("means", means), **join("variances", variances), "steps": np.array(steps)}
        next_ones = {name: array[1 + place : 1 + place + STEPS] for name, array in batches.items()}
        given = {**join("parameters", weights), **of_adam, **join("batches", next_ones)}
        question = Question(
            f"{track}/5-trajectory", 5, "trajectory", model, protocols, settings, given
        )
        expected = ask(reference.Port, question)
        spread = max(_distance(question, expected, answer) for answer in _others(question))
        found.append((spread, weights, of_adam, question))
        if spread <= STAYS_CLOSE:
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
    if model in ("neumf", "caser"):
        seen = seen_items(found["train"], settings["num_users"], settings["num_items"])
        users = batches["user_id"]
        batches["negative_id"] = draw_negatives(rng, users.ravel(), seen).reshape(users.shape)
    kinds = {name: np.int32 if a.dtype.kind == "i" else np.float32 for name, a in batches.items()}
    kinds["label"] = np.float32
    return {name: array.astype(kinds[name]) for name, array in batches.items()}


def _cut(batches: Arrays, number: int) -> Arrays:
    return {name: array[number] for name, array in batches.items()}


def _draws(
    model: str, settings: Dict[str, Any], found: Arrays, rng: np.random.Generator
) -> Iterator[Question]:
    """Of rung 6 what is drawn: its answers are held against a law."""
    seed = {"seed": np.array(SEED)}
    yield Question(f"{model}/6-first", 6, "first", model, PROTOCOLS, settings, seed)
    if model in ("neumf", "caser"):
        users = np.repeat(np.arange(world.NUM_USERS, dtype=np.int32), NEGATIVES_A_USER)
        given = {
            **seed,
            "users": rng.permutation(users),
            "train": found["train"].astype(np.int32),
            "num_users": np.array(world.NUM_USERS),
            "num_items": np.array(world.NUM_ITEMS),
        }
        yield Question(f"{model}/6-negatives", 6, "negatives", model, PROTOCOLS, {}, given)


# Tolerances


class _OnTwoDevices(reference.Port):
    num_devices = 2


class _InFloat32(oracle.Port):
    dtype = np.float32


def tolerances(question: Question, expected: Arrays) -> Dict[str, float]:
    """How far float32 implementations are from the expected answer, and how far a port may be.

    Raises DataError where the oracle in float64 is further away than it is from itself in float32,
    by more than a factor: that is no rounding.
    """
    exact, others = ask(oracle.Port, question), _others(question)
    spread = max(_distance(question, expected, answer) for answer in [exact, *others])
    if not question.rung:
        allowed = tolerance = 0.0
    else:
        rounding = max(_distance(question, exact, answer) for answer in others[:ROUNDED])
        allowed = FACTOR * max(rounding, LEAST)
        tolerance = _rounded_up(FACTOR * max(spread, LEAST))
    off = _distance(question, expected, exact)
    if not off <= allowed:
        raise DataError(f"{question.name}: the project and the oracle disagree by {off:.2g}")
    return {"tolerance": tolerance, "spread": float(f"{spread:.2g}")}


def _others(question: Question) -> List[Arrays]:
    """Answers of float32 implementations, the first ``ROUNDED`` of them the oracle's.

    The oracle in float32, also with the examples in other orders; the project on two devices.
    """
    if not question.rung:
        return []
    asked = [question] * ROUNDED
    if question.rung > 2:
        rng = np.random.default_rng(SEED)
        asked[1:] = [_shuffled(question, rng) for _ in asked[1:]]
    answers = [ask(_InFloat32, of_order) for of_order in asked]
    return [*answers, ask(_OnTwoDevices, question)]


def _distance(question: Question, expected: Arrays, answer: Arrays) -> float:
    found = compare(question.rung, expected, answer, question.given)
    return max(difference.distance for difference in found)


def _shuffled(question: Question, rng: np.random.Generator) -> Question:
    """The same question with the examples of each batch in another order."""
    given = dict(question.given)
    for part, axis in (("batch/", 0), ("batches/", 1)):
        names = [name for name in given if name.startswith(part)]
        if names:
            order = rng.permutation(given[names[0]].shape[axis])
            given.update({name: given[name].take(order, axis) for name in names})
    return question._replace(given=given)


def _rounded_up(value: float) -> float:
    """``value`` with two digits, not below it."""
    unit = 10.0 ** (math.floor(math.log10(value)) - 1)
    return float(f"{math.ceil(value / unit) * unit:.2g}")


# Convergence


def numbers_over_seeds(
    seeds: int,
    results: pathlib.Path,
    jobs: int,
    data_dir: Optional[pathlib.Path] = None,
    quiet: bool = False,
) -> Dict[str, Any]:
    """The final numbers of each training, by the variant's name, over seeds 0, 1, ...

    Runs what has not been run in the folder ``results``; raises what that raises.
    """
    with reproduce.alone_in(results):
        variants = [VARIANTS[VARIANT.get(t, t)] for model in MODELS for t, _ in tracks(model)]
        _, runs = reproduce.do_all(variants, range(seeds), 1, data_dir, results, jobs, quiet)
    by_variant = {
        variant.name: [run.result for run in runs if run.stamp["variant"] == variant.name]
        for variant in variants
    }
    return as_reference([summarise(name, found) for name, found in by_variant.items()])


def convergence(numbers: Mapping[str, Any]) -> Dict[str, Any]:
    """Of each training its settings, and each final number over the seeds."""
    found = {}
    for model in MODELS:
        for track, _ in tracks(model):
            variant = numbers[VARIANT.get(track, track)]
            if len(variant["seeds"]) < FEWEST_TRAININGS:
                raise DataError(f"{track} has fewer than {FEWEST_TRAININGS} seeds; use --seeds")
            if model in TRAINED_APART and not variant["dataset"]["substitute"]:
                raise DataError(
                    f"{track} was trained on the book's clicks, which a port cannot be given; "
                    "name a folder without them in --data-dir"
                )
            found[track] = {
                "settings": {k: v for k, v in variant["settings"].items() if k in PORTED},
                **{
                    protocol: {
                        name: spread["values"]
                        for name, spread in variant[protocol].items()
                        if not name.startswith("score_")
                    }
                    for protocol in PROTOCOLS
                },
            }
    return found
