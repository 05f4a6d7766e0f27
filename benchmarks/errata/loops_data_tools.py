"""Measures the errata on training loops, data and tools, which several sections share."""

import pathlib
import tempfile
from typing import Sequence

import pandas as pd
from d2l import mxnet as d2l

from benchmarks.errata.figures import Figures
from benchmarks.errata.lab import Lab, Rows, outcome
from d2l_recsys.backend import gluon, nn, np, npx
from d2l_recsys.data import read_data_ml100k
from d2l_recsys.datasets.movielens import COLUMNS
from d2l_recsys.devices import try_all_gpus
from d2l_recsys.runs.reported import reported_numbers

ROWS = Rows()


def timer_sum(
    seconds_train: Sequence[float], seconds_evaluate: Sequence[float], batches: float
) -> float:
    """Returns the sum of d2l's Timer at the end of ``train_ranking``, in seconds.

    ``train_ranking`` starts the timer once and stops it after each batch. So each stop adds all the
    time since the start of the run. ``seconds_train`` and ``seconds_evaluate`` have one value per
    epoch. An epoch has ``batches`` batches of the same length, and ends with the evaluation.
    """
    started = total = 0.0
    for train, evaluate in zip(seconds_train, seconds_evaluate):
        total += batches * started + train * (batches + 1) / 2
        started += train + evaluate
    return total


def times_counted(batches: int) -> float:
    """Returns the sum of that timer divided by the time of the run.

    All ``batches`` of the run take the same time.
    """
    return (batches + 1) / 2


@ROWS.row("D1")
def training_loss(lab: Lab) -> Figures:
    """Compares the printed training loss (one and two devices) with the mean loss per example."""
    figures: Figures = {}
    for name, section in (("NeuMF", "neumf"), ("Caser", "caser"), ("MF", "mf")):
        figures[f"{name}: reported"] = reported_numbers(section)["train_loss"]
        for devices, variant in (("two devices", section), ("one device", f"{section}-one-device")):
            figures.update(
                lab.mean_sd(f"{name}: printed, {devices}", variant, "printed", "train_loss")
            )
        figures.update(lab.mean_sd(f"{name}: defined", section, "defined", "train_loss"))
    figures["seeds of one device"] = lab.seeds
    figures["AutoRec: reported"] = reported_numbers("autorec")["train_loss"]
    figures.update(lab.mean_sd("AutoRec: printed", "autorec", "printed", "train_loss"))
    figures.update(lab.mean_sd("AutoRec: defined", "autorec", "defined", "train_loss"))
    return figures


@ROWS.row("D2")
def examples_per_second(lab: Lab) -> Figures:
    """Measures what the printed examples/sec count and what the timer adds up."""
    num_users = lab.ranking.num_users
    reported = reported_numbers("autorec")["examples_per_sec"]
    ours = lab.train("autorec")
    figures: Figures = {
        "AutoRec: reported": round(reported),
        "AutoRec: cells of a row": num_users,
        "AutoRec: rows per second that it stands for": round(reported / num_users),
        "AutoRec: rows per second here": round(ours.result["examples_per_second"]),
    }
    for name, section in (("NeuMF", "neumf"), ("Caser", "caser")):
        trained = lab.train(section)
        history = trained.history
        batches = round(history.total("examples") / trained.result["settings"]["batch_size"])
        seconds = ([r[f"seconds_{part}"] for r in history.rows] for part in ("train", "evaluate"))
        total = timer_sum(*seconds, batches / len(history))
        rate = history.rows[-1]["examples"] * len(history) / total
        reported = reported_numbers(section)["examples_per_sec"]
        figures.update(
            {
                f"{name}: reported rate": reported,
                f"{name}: batches of the run": batches,
                f"the timer's sum over the time that passed, {name}": times_counted(batches),
                f"{name}: examples/sec that it stands for": round(
                    reported * times_counted(batches)
                ),
                f"{name}: as printed, of a run here": round(rate),
                f"{name}: examples/sec here": round(history.examples_per_second),
            }
        )
    return figures


@ROWS.row("D3")
def drawn_training_loss(lab: Lab) -> Figures:
    """Compares the training loss of the curve with the printed training loss, for seed 0."""
    figures: Figures = {}
    for name, section in (("MF", "mf"), ("AutoRec", "autorec")):
        last = lab.train(section).history.rows[-1]
        figures[f"{name}: printed"] = last["printed_train_loss"]
        figures[f"{name}: end of the curve"] = last["curve_train_loss"]
        figures[f"{name}: defined"] = last["defined_train_loss"]
    return figures


@ROWS.row("D4")
def no_gpu(lab: Lab) -> Figures:
    """Compares ``try_all_gpus`` of d2l and this project, and splits a batch across no device."""
    devices = d2l.try_all_gpus()
    return {
        "d2l's devices": str(devices),
        "our devices": str(try_all_gpus()),
        "a batch spread over no device": outcome(gluon.utils.split_and_load, np.ones(4), []),
    }


@ROWS.row("D5")
def squeezed_batch(lab: Lab) -> Figures:
    """Squeezes the biases of a batch of one as the chapter does, and compares the scores."""
    npx.set_np()
    P, Q, bias = (np.random.normal(size=(1, size)) for size in (30, 30, 1))
    squeezed, kept = np.squeeze(bias), np.squeeze(bias, axis=-1)
    scores = [((P * Q).sum(axis=-1) + b + b).flatten() for b in (squeezed, kept)]
    return {
        "shape of the biases, squeezed": str(squeezed.shape),
        "shape with an axis": str(kept.shape),
        "shape of the scores": str(scores[0].shape),
        "difference of the scores": float(abs(scores[0] - scores[1]).max()),
    }


@ROWS.row("D6")
def gaps_in_ids(lab: Lab) -> Figures:
    """Reads ratings without one user id or item id, with d2l and with this project."""
    users = pd.DataFrame([(u, i, 3, u + i) for u in (1, 2, 4) for i in (1, 2)], columns=COLUMNS)
    items = pd.DataFrame([(u, i, 3, u + i) for u in (1, 2) for i in (1, 2, 4)], columns=COLUMNS)
    figures: Figures = {}
    for what, ratings in (("user", users), ("item", items)):
        counts = ratings["user_id"].nunique(), ratings["item_id"].nunique()
        for name, function, more in (
            ("rating matrix", d2l.load_data_ml100k, ()),
            ("implicit feedback", d2l.load_data_ml100k, ("implicit",)),
            ("seq-aware split", d2l.split_data_ml100k, ("seq-aware",)),
        ):
            figures[f"no {what} 3, {name}"] = outcome(function, ratings, *counts, *more)
        with tempfile.TemporaryDirectory() as folder:
            ratings.to_csv(pathlib.Path(folder) / "u.data", sep="\t", header=False, index=False)
            figures[f"no {what} 3, ours"] = outcome(read_data_ml100k, folder)
    embedding = nn.Embedding(3, 2)
    embedding.initialize()
    beyond, last = (embedding(np.array([index])) for index in (3, 2))
    figures["row 3 of an embedding of 3 rows"] = (
        "the last row" if (beyond == last).all() else "another row"
    )
    return figures
