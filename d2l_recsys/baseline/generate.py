"""Make the files of the baseline from the project's own code, and check them with the oracle.

Needs MXNet. The same code makes the same bytes on the same machine.
"""

import json
import pathlib
from typing import Any, Dict, Iterable, List, Mapping, Optional, Sequence, Tuple

import d2l_recsys
from d2l_recsys.baseline import reference
from d2l_recsys.baseline.chapter_data import (
    OWN_DATA,
    chapter_questions,
    check_inputs,
    input_sums,
    read_inputs,
)
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
from d2l_recsys.baseline.ladder import (
    CHANGES,
    CLICKS,
    DRAWN,
    PROTOCOLS,
    VARIANTS,
    base,
    tracks,
)
from d2l_recsys.baseline.npz import npz_bytes
from d2l_recsys.baseline.port import Arrays
from d2l_recsys.baseline.questions import Question, ask
from d2l_recsys.baseline.spread import FACTOR, LEAST
from d2l_recsys.baseline.tolerances import tolerances
from d2l_recsys.errors import DataError
from d2l_recsys.reproduction.runs import do_all
from d2l_recsys.reproduction.summary import as_reference, summarise
from d2l_recsys.runs.results import environment
from d2l_recsys.sections.registry import VARIANTS as RUNS
from d2l_recsys.storage.in_use import alone_in

# The trainings that have another name in the registry.
RUN = {"fm-printed": "fm", "deepfm-printed": "deepfm"}
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
    inputs = read_inputs(list(VARIANTS), data_dir)
    index = {
        "version": VERSION,
        "made_by": f"d2l_recsys {d2l_recsys.__version__}",
        "environment": environment(),
        "tolerance": {"factor": FACTOR, "least_spread": LEAST},
        "questions": entries,
        "chapter_data": {
            "inputs": input_sums(inputs),
            "answers": _digests(inputs),
        },
        "convergence": convergence(numbers, trainings()),
    }
    return _with_index(files, index)


def add_to(
    baseline: Baseline, numbers: Mapping[str, Any], data_dir: Optional[pathlib.Path] = None
) -> Dict[str, bytes]:
    """The files of ``baseline`` with the questions that it lacks.

    The files that exist keep their bytes, except for the index and the checksums. ``numbers`` is
    the result of ``numbers_over_seeds`` for the trainings in ``missing(baseline)``. Raises
    DataError as ``make_baseline`` does.
    """
    kept = {entry["name"]: entry for entry in baseline.entries}
    made = list(questions())
    files, entries = _asked(question for question in made if question.name not in kept)
    known = {**kept, **{entry["name"]: entry for entry in entries}}
    names = [question.name for question in made]
    index = {
        **baseline.index,
        "questions": [known[name] for name in names],
        "chapter_data": _more_chapter_data(baseline, data_dir),
        "convergence": _in_order(
            {**baseline.index["convergence"], **convergence(numbers, missing(baseline))},
            trainings(),
        ),
    }
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


def _more_chapter_data(
    baseline: Baseline, data_dir: Optional[pathlib.Path]
) -> Dict[str, Dict[str, Any]]:
    """The checksums about MovieLens-100K of ``baseline``, and those that it lacks."""
    kept = baseline.index["chapter_data"]
    lacking = [name for name in OWN_DATA if name not in kept["answers"]]
    if not lacking:
        return kept
    inputs = read_inputs(lacking, data_dir)
    check_inputs(inputs, kept["inputs"])
    return {**kept, "answers": _in_order({**kept["answers"], **_digests(inputs)}, VARIANTS)}


def _digests(inputs: Mapping[str, Arrays]) -> Dict[str, Any]:
    """What the project's own code answers to the questions about MovieLens-100K, as checksums."""
    return {
        name: {array: digest(array, a) for array, a in ask(reference.Port, question).items()}
        for name, question in chapter_questions(inputs).items()
    }


def _in_order(found: Mapping[str, Any], names: Iterable[str]) -> Dict[str, Any]:
    return {name: found[name] for name in names if name in found}


def trainings() -> List[str]:
    """The names of all trainings: one for each variant, or for each of its protocols."""
    return [track for variant in VARIANTS for track, _ in tracks(variant)]


def missing(baseline: Baseline) -> List[str]:
    """The trainings whose numbers ``baseline`` lacks."""
    return [track for track in trainings() if track not in baseline.index["convergence"]]


def numbers_over_seeds(
    names: Sequence[str],
    seeds: int,
    results: pathlib.Path,
    jobs: int,
    data_dir: Optional[pathlib.Path] = None,
    quiet: bool = False,
) -> Dict[str, Any]:
    """The final metrics of the trainings ``names`` over seeds 0, 1, ..., by their registry name.

    Runs the trainings that are not yet in the folder ``results``; raises the errors of these runs.
    """
    if not names:
        return {}
    with alone_in(results, "--results"):
        variants = [RUNS[RUN.get(name, name)] for name in names]
        _, runs = do_all(variants, range(seeds), 1, data_dir, results, jobs, quiet)
    by_variant = {
        variant.name: [run.result for run in runs if run.stamp["variant"] == variant.name]
        for variant in variants
    }
    return as_reference([summarise(name, found) for name, found in by_variant.items()])


def convergence(numbers: Mapping[str, Any], names: Sequence[str]) -> Dict[str, Any]:
    """For each training in ``names``: its settings, and each final metric, one value a seed.

    Raises DataError if there are too few seeds, or if FM or DeepFM trained on the book's clicks.
    """
    found = {}
    for track in names:
        run = numbers[RUN.get(track, track)]
        if len(run["seeds"]) < FEWEST_TRAININGS:
            raise DataError(f"{track} has fewer than {FEWEST_TRAININGS} seeds; use --seeds")
        if base(track) in CLICKS and not run["dataset"]["substitute"]:
            raise DataError(
                f"{track} was trained on the book's clicks, which ports are not given; name a "
                "folder without these clicks in --data-dir"
            )
        changed = CHANGES[track].settings if track in CHANGES else {}
        found[track] = {
            "settings": {k: v for k, v in run["settings"].items() if k in (*PORTED, *changed)},
            **{
                protocol: {
                    name: spread["values"]
                    for name, spread in run[protocol].items()
                    if not name.startswith("score_")
                }
                for protocol in PROTOCOLS
            },
        }
    return found
