"""docs/names.md has every name of the chapter, and names only objects that exist."""

import ast
import importlib
import inspect
import re

import pytest
from conftest import ROOT

pytest.importorskip("d2l_recsys.backend")
from d2l import mxnet as d2l

PAGE = (ROOT / "docs" / "names.md").read_text(encoding="utf-8")
# The cells of each row of a table: the chapter's names, where they are here, what is different.
ROWS = [
    [cell.strip() for cell in line.split("|")[1:-1]]
    for line in PAGE.splitlines()
    if line.startswith("| `")
]
CODE = re.compile(r"`([^`]+)`")
LINK = re.compile(r"\]\(([^)#]*)(?:#([^)]+))?\)")
# The chapter's functions and classes in d2l 1.0.3 stand together, from the first to the last.
FIRST, LAST = "read_data_ml100k", "CTRDataset"
# The names that the chapter's code takes from the rest of d2l.
FROM_D2L = {
    "d2l.DATA_HUB", "d2l.DATA_URL", "d2l.download_extract", "d2l.plt", "d2l.try_all_gpus",
    "d2l.try_gpu", "d2l.Timer", "d2l.Animator", "d2l.Accumulator", "d2l.train_ch13",
    "d2l.train_batch_ch13", "d2l.split_batch", "d2l.accuracy", "d2l.evaluate_accuracy_gpus",
}  # fmt: skip
# Values that the chapter's code passes from one block to the next.
VALUES = {
    "candidates", "users_train", "items_train", "test_iter", "train_iter", "train_data",
    "train_inter_mat", "test_inter_mat", "train_seq_data[0]", "TARGET_NUM", "scores", "ctx",
    "devices", "num_workers",
}  # fmt: skip
MODELS = ("mf", "autorec", "neumf", "caser", "fm", "deepfm")


def defined_in(path):
    """The functions and classes at the top of a Python file, in order."""
    body = ast.parse(path.read_text(encoding="utf-8")).body
    return [node for node in body if isinstance(node, (ast.ClassDef, ast.FunctionDef))]


def chapters_names():
    """The names that the chapter defines, from d2l 1.0.3 and from the book's code."""
    names = [node.name for node in defined_in(ROOT.__class__(d2l.__file__))]
    names = names[names.index(FIRST) : names.index(LAST) + 1]
    for model in MODELS:
        # ``load`` only puts the chapter's calls together.
        own = defined_in(ROOT / "benchmarks" / "chapter" / f"{model}.py")
        names += [node.name for node in own if node.name != "load"]
    return set(names)


def objects(cell):
    """The module and the names of the objects in a row's second cell."""
    (path, _), *_ = LINK.findall(cell)
    module = path.replace("../", "").replace("/", ".")[: -len(".py")]
    if module.startswith("chapters."):
        module = f"d2l_recsys.{module}"
    return importlib.import_module(module), CODE.findall(cell)


def test_every_name_of_the_chapter_is_on_the_page():
    told = {name for row in ROWS for name in CODE.findall(row[0])}
    names = chapters_names()
    assert {"SeqDataset", "PRDataset", "evaluator", "train_ranking", "DeepFM"} < names
    assert not (names | FROM_D2L | VALUES) - told


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_where_a_name_is_now_exists(row):
    assert len(row) == 3
    module, names = objects(row[1])
    assert names
    for name in names:
        assert getattr(module, name).__doc__ or not callable(getattr(module, name))


def test_every_link_leads_to_a_file_and_a_heading():
    links = LINK.findall(PAGE)
    assert links
    for path, anchor in links:
        file = ROOT / "docs" / path
        assert file.is_file(), path
        if anchor:
            headings = re.findall(r"(?m)^#+ (.+)$", file.read_text(encoding="utf-8"))
            anchors = {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}
            assert anchor in anchors


def parameters(function):
    """The names of the parameters of a function or class, in order."""
    names = inspect.signature(function).parameters
    return [name for name in names if name not in ("kwargs", "args", "self")]


def test_an_argument_that_is_not_here_is_told():
    """An object with the chapter's name has its arguments in order, except those in its row."""
    checked = 0
    for name, where, difference in ROWS:
        module, here = objects(where)
        name = CODE.findall(name)[0]
        if [name] == here and hasattr(d2l, name):
            chapters, ours = parameters(getattr(d2l, name)), parameters(getattr(module, name))
            assert {*chapters} - {*ours} <= set(CODE.findall(difference)), name
            kept = [parameter for parameter in chapters if parameter in ours]
            assert ours[: len(kept)] == kept, name
            checked += 1
    assert checked == 11


@pytest.mark.parametrize(
    ("module", "name", "chapters"),
    [
        ("d2l_recsys.sequences", "sequence_windows", "SeqDataset"),
        ("d2l_recsys.sampling", "PairwiseLoader", "PRDataset"),
        ("d2l_recsys.sampling", "NegativeSampler", "negative_sampler"),
        ("d2l_recsys.loaders.batches", "BatchLoader", "DataLoader"),
        ("d2l_recsys.evaluation.evaluators", "evaluate_rating", "evaluator"),
        ("d2l_recsys.evaluation.evaluators", "evaluate_reconstruction", "evaluator"),
        ("d2l_recsys.evaluation.evaluators", "evaluate_clicks", "evaluate_accuracy_gpus"),
        ("d2l_recsys.evaluation.click_metrics", "right_as_printed", "accuracy"),
        ("d2l_recsys.train", "train_ctr", "train_ch13"),
        ("d2l_recsys.training.train_loss", "TrainLoss", "Accumulator"),
        ("d2l_recsys.training.progress", "EpochDisplay", "Animator"),
        ("d2l_recsys.training.history", "History", "Timer"),
        ("d2l_recsys.datasets.download", "fetch", "download_extract"),
    ],
)
def test_an_object_in_place_of_a_name_says_so(module, name, chapters):
    assert f"``{chapters}``" in getattr(importlib.import_module(module), name).__doc__
