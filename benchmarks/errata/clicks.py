"""Measures the errata on clicks: sections 15.8 (the data), 15.9 (FM) and 15.10 (DeepFM)."""

import contextlib
import io
import json
import math
import os
import pathlib
import re
import subprocess
import sys
import tempfile
from typing import Dict, List, Tuple
from unittest import mock

import numpy
from d2l import mxnet as d2l

from benchmarks.against_d2l import BATCH_SIZE, GENERATED, GENERATED_BATCH_SIZE, GENERATED_FIELDS
from benchmarks.errata.figures import BOOK, Figures, differences, mean_sd, percent
from benchmarks.errata.lab import BATCHES_NEEDED, BOOK_SEEDS, ROOT, Lab, Rows, outcome
from benchmarks.generated_clicks import GeneratedClicks
from benchmarks.printed_accuracy import first_certain
from d2l_recsys.backend import gluon, init, mx, nn, np, npx
from d2l_recsys.ctr import CTRDataset
from d2l_recsys.datasets.movielens_clicks import MOVIELENS, movielens_clicks
from d2l_recsys.evaluation.evaluators import evaluate_clicks
from d2l_recsys.loaders.batches import BatchLoader
from d2l_recsys.runs.reported import reported_numbers

ROWS = Rows()

# Number of rows in the book's click data.
BOOK_TEST_ROWS, BOOK_TRAIN_ROWS = 3000, 15000
MODELS = (("FM", "fm"), ("DeepFM", "deepfm"))

# Numbers of a result, in the form that ``Lab.numbers`` expects.
AUC = ("AUC", "defined", "test_auc")
ACCURACIES = (
    ("printed accuracy", "printed", "test_acc"),
    ("accuracy of d2l 1.0.3", "printed", "test_acc_exact"),
    ("defined accuracy", "defined", "test_acc"),
    AUC,
)
PRINTED_LOSS = ("loss printed", "printed", "train_loss")
ON_TEST_ROWS = (
    ("accuracy printed", "printed", "test_acc"),
    ("accuracy defined", "defined", "test_acc"),
    AUC,
)


def rows_scored(rows: int, batch_size: int, evaluations: int) -> List[int]:
    """Returns how many rows a loader with ``last_batch="rollover"`` yields per evaluation."""
    loader = BatchLoader(numpy.arange(rows), batch_size=batch_size, last_batch="rollover")
    return [sum(len(batch) for batch in loader) for _ in range(evaluations)]


def curve_ends(rows: int, batch_size: int, num_epochs: int) -> List[float]:
    """Returns where ``train_ch13`` draws the last point of each epoch, in epochs from its start.

    ``train_ch13`` assumes that each epoch has as many batches as the first one. With rollover, some
    epochs have one batch more.
    """
    scored = rows_scored(rows, batch_size, num_epochs)
    return [count // batch_size / (rows // batch_size) for count in scored]


def loss_floor(click_share: float) -> float:
    """Returns the lowest possible mean loss if the sigmoid is applied twice.

    The second sigmoid gets scores in (0, 1). So the loss of a click is at least ln(1 + 1/e), and
    the loss of any other row is at least ln 2. ``click_share``, the share of clicks, is in [0, 1].
    """
    return click_share * math.log1p(math.exp(-1)) + (1 - click_share) * math.log(2)


def different_ids(first: Dict[str, Dict[str, int]], second: Dict[str, Dict[str, int]]) -> float:
    """Returns the share of values, over all fields, that have different ids in two mappers."""
    same = [first[field][value] == i for field, ids in second.items() for value, i in ids.items()]
    return 1 - sum(same) / len(same)


@ROWS.row("C1")
def printed_accuracy(lab: Lab) -> Figures:
    """Measures the printed and the defined accuracies of FM and DeepFM."""
    npx.set_np()
    figures: Figures = {
        "FM, reported": reported_numbers("fm")["test_acc"],
        "DeepFM, reported": reported_numbers("deepfm")["test_acc"],
        "log odds from which a float32 sigmoid is 1": float(first_certain()),
    }
    for prefix, variants in lab.click_sets:
        if prefix == BOOK:
            figures[f"{BOOK}training"] = lab.book_rows["train.csv"]
            figures[f"{BOOK}test"] = lab.book_rows["test.csv"]
            figures[f"{BOOK}batch size"] = lab.book_batch_size
            figures[f"{BOOK}seeds"] = BOOK_SEEDS
        for name, section in MODELS:
            figures.update(lab.numbers(f"{prefix}{name}", f"{variants}{section}", ACCURACIES))
    return figures


@ROWS.row("C2")
def sigmoid_twice(lab: Lab) -> Figures:
    """Measures the lowest possible printed loss, and compares training on scores and logits."""
    train, _ = movielens_clicks(lab.data_dir)
    clicks = [line.startswith(b"1") for line in train.splitlines()]
    figures: Figures = {
        "FM, loss reported": reported_numbers("fm")["train_loss"],
        "DeepFM, loss reported": reported_numbers("deepfm")["train_loss"],
        "least loss of a click": loss_floor(1),
        "least loss of any other row": loss_floor(0),
        "least mean loss where half are clicks": loss_floor(0.5),
        "clicks among the training rows, %": percent(sum(clicks), len(clicks)),
        "least mean loss": loss_floor(sum(clicks) / len(clicks)),
    }
    if lab.clicks_dir is not None:
        lines = (lab.clicks_dir / "train.csv").read_bytes().splitlines()
        share = sum(line.startswith(b"1") for line in lines) / len(lines)
        figures[f"{BOOK}least mean loss"] = loss_floor(share)
    of_test_rows = [("log loss", "defined", "test_log_loss"), AUC]
    for prefix, variants in lab.click_sets:
        for model, section in MODELS:
            name, variant = f"{prefix}{model}", f"{variants}{section}"
            figures.update(lab.numbers(name, variant, [PRINTED_LOSS]))
            figures.update(lab.numbers(f"{name} on scores", variant, of_test_rows))
            figures.update(lab.numbers(f"{name} on logits", f"{variant}-defined", of_test_rows))
    return figures


@ROWS.row("C3")
def learning_rate(lab: Lab) -> Figures:
    """Compares FM with the learning rate of the text and with that of the code."""
    figures: Figures = {"seeds": lab.seeds}
    for prefix, variants in lab.click_sets:
        for lr, variant in (("0.01", "fm-lr-0.01"), ("0.02", "fm")):
            name, numbers = f"{prefix}lr {lr}", [PRINTED_LOSS, *ON_TEST_ROWS]
            figures.update(lab.numbers(name, f"{variants}{variant}", numbers))
    return figures


@ROWS.row("C4")
def test_rows_rolled_over(lab: Lab) -> Figures:
    """Counts the test rows of the chapter's evaluations, and measures the effect on FM."""
    trained = lab.train("fm", dataset="movielens")
    labels = trained.test_iter.arrays[1]
    batch_size, num_epochs = (
        trained.result["settings"][name] for name in ("batch_size", "num_epochs")
    )
    scored = rows_scored(len(labels), batch_size, num_epochs)
    everything = evaluate_clicks(trained.net, trained.test_iter, [mx.cpu()])
    return {
        "book's test rows": BOOK_TEST_ROWS,
        "scored at the first evaluation": rows_scored(BOOK_TEST_ROWS, BATCH_SIZE, 1)[0],
        "MovieLens: test rows": len(labels),
        "MovieLens: scored at the first evaluation": scored[0],
        "MovieLens: scored at the last": scored[-1],
        "accuracy printed, rows of the last evaluation": trained.result["printed"]["test_acc"],
        "accuracy printed, all rows": everything.printed["test_acc"],
    }


# Prints the feature mapper of a file as JSON. Arguments: the file, and its number of fields.
MAPPER_CODE = """
import json, sys
from d2l import mxnet as d2l
clicks = d2l.CTRDataset(sys.argv[1], num_feat=int(sys.argv[2]))
print(json.dumps(clicks.feat_mapper))
"""


@ROWS.row("C5")
def ids_of_two_processes(lab: Lab) -> Figures:
    """Compares the feature ids of one file in two processes with different string hashes."""
    train, _ = movielens_clicks(lab.data_dir)
    num_fields = len(MOVIELENS.fields)
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "train.csv"
        file.write_bytes(train)
        command = [sys.executable, "-c", MAPPER_CODE, str(file), str(num_fields)]
        mappers = []
        for hash_seed in ("1", "2"):
            changed = {**os.environ, "PYTHONHASHSEED": hash_seed}
            printed = subprocess.run(command, env=changed, check=True, capture_output=True).stdout
            mappers.append(json.loads(printed.splitlines()[-1]))
    return {
        "values": sum(map(len, mappers[0].values())),
        "with another id in the second process, %": percent(different_ids(*mappers), 1),
    }


@ROWS.row("C6")
def lines_that_vanish(lab: Lab) -> Figures:
    """Reads a file in which some lines lack a column, with d2l and with this project."""
    rows, broken = 1000, 10
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "train.csv"
        GeneratedClicks(GENERATED_FIELDS).write(file, rows)
        lines = file.read_text().splitlines()
        for number in range(0, rows, rows // broken):
            lines[number] = lines[number].rpartition("\t")[0]
        file.write_text("\n".join(lines) + "\n")
        theirs, ours = d2l.CTRDataset(str(file)), CTRDataset(file)
        strict = outcome(CTRDataset, file, strict=True)
    return {
        "lines": rows,
        "broken": broken,
        "rows of d2l": len(theirs),
        "rows of ours": len(ours),
        "counted and named by ours": ours.skipped.count,
        "with --strict": strict,
    }


def _without_scale(net: gluon.Block) -> None:
    scale = net.linear_layer.weight
    scale.init, scale.grad_req = init.One(), "null"


@ROWS.row("C7")
def scale_of_the_linear_part(lab: Lab) -> Figures:
    """Trains FM without the factor by which the chapter multiplies the sum of the weights."""
    without = lab.results("fm", _without_scale, dataset="movielens")
    scale = lab.train("fm", dataset="movielens").net.linear_layer.weight
    figures: Figures = {"factor after training": float(scale.data()), "seeds": lab.seeds}
    for label, protocol, number in ON_TEST_ROWS:
        values = [result[protocol][number] for result in without]
        change = differences(lab.values("fm", protocol, number), values)
        figures.update(mean_sd(f"{label} with the factor minus without it", change))
    return figures


def _unit_and_rows() -> Tuple[gluon.Block, gluon.data.ArrayDataset]:
    """Returns a net with one unit and a data set of eight rows."""
    npx.set_np()
    net = nn.Dense(1)
    net.initialize()
    return net, gluon.data.ArrayDataset(np.ones((8, 3)), np.ones((8, 1)))


@ROWS.row("C8")
def loop_for_images(lab: Lab) -> Figures:
    """Measures how the loop for images treats rollover, and which time its timer counts."""
    ends = curve_ends(BOOK_TRAIN_ROWS, BATCH_SIZE, 30)
    net, rows = _unit_and_rows()
    short = gluon.data.DataLoader(rows, 16, last_batch="rollover")
    with tempfile.TemporaryDirectory() as folder:
        clicks = GeneratedClicks(GENERATED_FIELDS)
        for name, count in GENERATED.items():
            clicks.write(pathlib.Path(folder) / name, count)
        script = ROOT / "benchmarks" / "chapter" / "fm.py"
        command = [sys.executable, str(script), folder, "quiet", str(GENERATED_BATCH_SIZE)]
        printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    rate = float(re.search(r"([\d.]+) examples/sec", printed).group(1))
    seconds = json.loads(printed.splitlines()[-1])["seconds"]["train"]
    scored = rows_scored(GENERATED["train.csv"], GENERATED_BATCH_SIZE, 30)
    return {
        "a test set smaller than a batch": outcome(d2l.evaluate_accuracy_gpus, net, short),
        "epochs of 30 whose curve runs past their end": sum(end > 1 for end in ends),
        "last point of an epoch's curve, in epochs": max(ends),
        "FM, examples/sec printed": round(rate),
        "FM, examples/sec with the loader": round(sum(scored) / seconds),
        "printed over true examples/sec": rate * seconds / sum(scored),
    }


@ROWS.row("C9")
def too_few_batches(lab: Lab) -> Figures:
    """Runs d2l's training loop on epochs of four and of eight batches."""
    net, rows = _unit_and_rows()
    trainer = gluon.Trainer(net.collect_params(), "adam")

    def train(batch_size: int) -> None:
        loader = gluon.data.DataLoader(rows, batch_size)
        with mock.patch.object(d2l, "Animator"), contextlib.redirect_stdout(io.StringIO()):
            d2l.train_ch13(net, loader, loader, gluon.loss.L2Loss(), trainer, 1, [mx.cpu()])

    return {
        "four batches": outcome(train, 2),
        "eight batches": outcome(train, 1),
        "rows that the chapter's batches need": BATCHES_NEEDED * BATCH_SIZE,
    }


@ROWS.row("C10")
def ids_in_float32(lab: Lab) -> Figures:
    """Stores an id beyond 2^24 as d2l does, and reads labels that are not exactly 0 or 1."""
    npx.set_np()
    first = 2**24 + 1
    lines = ["0\ta\tb\n", " 1\ta\tb\n", "01\ta\tb\n"]
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "train.csv"
        file.write_text("".join(lines))
        theirs, ours = d2l.CTRDataset(str(file), num_feat=2), CTRDataset(file, num_feat=2)
    return {
        "d2l's type of ids": str(theirs[0][0].dtype),
        "our type of ids": str(ours.features.dtype),
        "first id that is not exact": first,
        "it becomes": int(np.array([first]).item()),
        "labels 0, ' 1', '01': rows of d2l": len(theirs),
        "rows of ours": len(ours),
    }
