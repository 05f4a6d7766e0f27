"""Write the questions as files, for ports that are not in Python."""

import json
from typing import Any, Dict, List, Mapping, Sequence

from d2l_recsys.baseline.answers import NUMBERS
from d2l_recsys.baseline.chapter_data import chapter_questions
from d2l_recsys.baseline.files import Baseline
from d2l_recsys.baseline.ladder import CONVERGENCE, PROTOCOLS, base, tracks
from d2l_recsys.baseline.npz import npz_bytes
from d2l_recsys.baseline.oracle import Port, initial
from d2l_recsys.baseline.port import Arrays
from d2l_recsys.baseline.questions import ask, join

INDEX = "questions.json"


def question_files(
    baseline: Baseline,
    models: Sequence[str],
    rungs: Sequence[int],
    inputs: Mapping[str, Arrays],
    seeds: int,
) -> Dict[str, bytes]:
    """The content of each question file by name, and of ``questions.json``, which comes last.

    The questions are about ``models`` on ``rungs``. ``questions.json`` names the baseline and has
    an entry for each question: its kind, settings and protocols, and the names and shapes of the
    arrays of its answer. ``inputs`` is the chapter's data; if it is empty, the questions about
    this data are left out. ``seeds`` is the number of trainings that rung 6 asks for.
    """
    entries: List[Dict[str, Any]] = []
    files: Dict[str, bytes] = {}

    def add(name: str, given: Arrays, answer: Mapping[str, Sequence[int]], **more: Any) -> None:
        shapes = {of_array: list(shape) for of_array, shape in answer.items()}
        entries.append({"name": name, **more, "answer": shapes})
        files[f"{name}.npz"] = npz_bytes(given)

    asked = {
        entry["name"]
        for model in models
        for protocol in PROTOCOLS
        for rung in rungs
        for entry in baseline.asked(model, protocol, rung)
    }
    for entry in baseline.entries:
        if entry["name"] in asked:
            more = {key: value for key, value in entry.items() if key not in ("name", "spread")}
            given = baseline.question(entry).given
            add(entry["name"], given, _answer_shapes(baseline, entry, given), **more)
    for name, question in chapter_questions(inputs).items() if 0 in rungs else ():
        more = {"rung": 0, "kind": "data", "model": question.model, "settings": {}}
        kept = baseline.index["chapter_data"]["answers"][name]
        answer = {name: digest["shape"] for name, digest in kept.items()}
        add(question.name, question.given, answer, protocols=list(question.protocols), **more)
    for model in models if inputs and CONVERGENCE in rungs else []:
        for track, protocols in tracks(model):
            reference = baseline.index["convergence"][track]
            answer = {f"{p}/{name}": [seeds] for p in protocols for name in reference[p]}
            more = {"rung": CONVERGENCE, "kind": "train", "model": base(model)}
            more.update(protocols=list(protocols), settings=reference["settings"])
            add(f"{track}/{NUMBERS}", inputs[model], answer, seeds=list(range(seeds)), **more)
    index = json.dumps({"baseline": baseline.about, "questions": entries}, indent=1)
    return {**files, INDEX: index.encode()}


def _answer_shapes(
    baseline: Baseline, entry: Mapping[str, Any], given: Arrays
) -> Dict[str, Sequence[int]]:
    if entry["kind"] == "first":
        return join("parameters", initial.shapes(entry["model"], entry["settings"]))
    if entry["kind"] == "negatives":
        return {"negatives": given["users"].shape}
    if entry["kind"] == "dropout":
        answer = ask(Port, baseline.question(entry))
        return {name: array.shape for name, array in answer.items()}
    return {name: array.shape for name, array in baseline.expected(entry).items()}
