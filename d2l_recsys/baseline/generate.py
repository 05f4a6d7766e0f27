"""Make the files of the baseline from the project's own code, and check them with the oracle.

Needs MXNet. The same code makes the same bytes on the same machine.
"""

import json
import pathlib
from typing import Any, Dict, Iterable, List, Mapping, Optional, Tuple

import d2l_recsys
from d2l_recsys.baseline import reference
from d2l_recsys.baseline.chapter_data import chapter_questions, input_sums, read_inputs
from d2l_recsys.baseline.compare import digest
from d2l_recsys.baseline.files import (
    EXPECTED,
    GIVEN,
    INDEX,
    SUMS,
    VERSION,
    Baseline,
    as_index,
    checksums,
)
from d2l_recsys.baseline.generate_questions import questions
from d2l_recsys.baseline.ladder import CLICKS, DRAWN, MODELS, PROTOCOLS, tracks
from d2l_recsys.baseline.npz import npz_bytes
from d2l_recsys.baseline.questions import Question, ask
from d2l_recsys.baseline.tolerances import FACTOR, LEAST, lower_precision, tolerances
from d2l_recsys.errors import DataError
from d2l_recsys.reproduction.runs import do_all
from d2l_recsys.reproduction.summary import as_reference, summarise
from d2l_recsys.runs.results import environment
from d2l_recsys.sections.registry import VARIANTS
from d2l_recsys.storage.in_use import alone_in

# The trainings whose variant in the registry has another name.
VARIANT = {"fm-printed": "fm", "deepfm-printed": "deepfm"}
# The settings of a run that the check passes to a port.
PORTED = (
    "num_epochs", "batch_size", "lr", "wd", "num_factors", "num_hidden", "nums_hiddens", "mlp_dims",
    "L", "d", "d_prime", "dropout", "min_threshold",
)  # fmt: skip
FEWEST_TRAININGS = 20


def make_baseline(
    numbers: Mapping[str, Any], data_dir: Optional[pathlib.Path] = None
) -> Dict[str, bytes]:
    """The content of each file of the baseline by name.

    ``numbers`` is the result of ``numbers_over_seeds``. Raises DataError if ``numbers`` has too few
    seeds or comes from other data, or if the project's own code and the oracle disagree.
    """
    files, entries = _asked(questions())
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
    return _with_index(files, index)


def add_questions(baseline: Baseline) -> Dict[str, bytes]:
    """The files of ``baseline``, and of the questions that it lacks; trains nothing.

    The files that exist keep their bytes, except for the index and the checksums. Raises DataError
    if the project's own code and the oracle disagree about a new question.
    """
    kept = {entry["name"]: entry for entry in baseline.entries}
    made = list(questions())
    files, entries = _asked(question for question in made if question.name not in kept)
    for entry in kept.values():
        if "tolerance" in entry and entry["rung"] > 1 and "lower_precision" not in entry:
            question, expected = baseline.question(entry), baseline.expected(entry)
            entry["lower_precision"] = lower_precision(question, expected, entry["tolerance"])
    known = {**kept, **{entry["name"]: entry for entry in entries}}
    names = [question.name for question in made]
    index = {**baseline.index, "questions": [known[name] for name in names]}
    for name in kept:
        for end in (GIVEN, EXPECTED):
            if (name + end) in baseline.sums:
                files[name + end] = baseline.content(name + end)
    return _with_index(files, index)


def _asked(questions: Iterable[Question]) -> Tuple[Dict[str, bytes], List[Dict[str, Any]]]:
    """The files of ``questions`` and of their expected answers, and their entries in the index."""
    files: Dict[str, bytes] = {}
    entries: List[Dict[str, Any]] = []
    for question in questions:
        more: Dict[str, Any] = {}
        if question.rung not in DRAWN:
            expected = ask(reference.Port, question)
            files[question.name + EXPECTED] = npz_bytes(expected)
            more = tolerances(question, expected)
        entries.append(as_index(question, **more))
        files[question.name + GIVEN] = npz_bytes(question.given)
    return files, entries


def _with_index(files: Dict[str, bytes], index: Mapping[str, Any]) -> Dict[str, bytes]:
    files[INDEX] = (json.dumps(index, indent=1, ensure_ascii=False) + "\n").encode()
    files[SUMS] = checksums(files).encode()
    return files


def numbers_over_seeds(
    seeds: int,
    results: pathlib.Path,
    jobs: int,
    data_dir: Optional[pathlib.Path] = None,
    quiet: bool = False,
) -> Dict[str, Any]:
    """The final metrics of each training over seeds 0, 1, ..., by the name of the variant.

    Runs the trainings that are not yet in the folder ``results``; raises the errors of these runs.
    """
    with alone_in(results, "--results"):
        variants = [VARIANTS[VARIANT.get(t, t)] for model in MODELS for t, _ in tracks(model)]
        _, runs = do_all(variants, range(seeds), 1, data_dir, results, jobs, quiet)
    by_variant = {
        variant.name: [run.result for run in runs if run.stamp["variant"] == variant.name]
        for variant in variants
    }
    return as_reference([summarise(name, found) for name, found in by_variant.items()])


def convergence(numbers: Mapping[str, Any]) -> Dict[str, Any]:
    """For each training: its settings, and each final metric with one value for each seed.

    Raises DataError if there are too few seeds, or if FM or DeepFM trained on the book's clicks.
    """
    found = {}
    for model in MODELS:
        for track, _ in tracks(model):
            variant = numbers[VARIANT.get(track, track)]
            if len(variant["seeds"]) < FEWEST_TRAININGS:
                raise DataError(f"{track} has fewer than {FEWEST_TRAININGS} seeds; use --seeds")
            if model in CLICKS and not variant["dataset"]["substitute"]:
                raise DataError(
                    f"{track} was trained on the book's clicks, which ports are not given; name a "
                    "folder without these clicks in --data-dir"
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
