"""Analyze the accuracy that the sections on clicks print.

    python -m benchmarks.printed_accuracy [--clicks-dir DIR] [--batch-size 2048] [--figure FILE]

The program trains FM and DeepFM as printed, with the chapter's settings and seed 0. The score of a
row is the sigmoid of its log odds (the logit), in float32. The chapter's accuracy truncates the
score to a whole number. So a row counts as a click only if its score rounds to exactly 1. This is
an accuracy with a threshold, but the threshold is not 1/2. Without ``--clicks-dir``, the clicks are
the ratings of MovieLens-100K, recast as clicks.
"""

import pathlib
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Tuple

import numpy
from matplotlib.figure import Figure
from tabulate import tabulate
from typer import Option
from typing_extensions import Annotated

from benchmarks.against_d2l import BATCH_SIZE, ClicksDir
from d2l_recsys.backend import gluon, init, mx, np, npx
from d2l_recsys.chapters.deepfm import DeepFM
from d2l_recsys.chapters.fm import FM
from d2l_recsys.data import CTRData, load_data_ctr
from d2l_recsys.devices import split_and_load
from d2l_recsys.evaluation.click_metrics import click_scores
from d2l_recsys.runs.plots import FIGSIZE, LINES, png
from d2l_recsys.sections.command_line import run
from d2l_recsys.seeds import seed_streams
from d2l_recsys.train import train_ctr
from d2l_recsys.training.history import History

# The chapter's settings: the net as a function of ``field_dims``, and Adam's learning rate.
NETS: Dict[str, Tuple[Callable, float]] = {
    "FM": (lambda field_dims: FM(field_dims, 20), 0.02),
    "DeepFM": (lambda field_dims: DeepFM(field_dims, 10, (30, 20, 10), 0.1), 0.01),
}
SEED = 0
# The figure shows the log odds from -SHOWN to SHOWN.
SHOWN = 30


class Predictions(NamedTuple):
    """Labels, log odds and float32 scores of the test rows; a score is sigmoid(log odds)."""

    labels: numpy.ndarray
    log_odds: numpy.ndarray
    scores: numpy.ndarray


def train(
    net: gluon.HybridBlock, lr: float, data: CTRData, num_epochs: int
) -> Tuple[History, Predictions]:
    """Train ``net`` as printed; returns the history and the predictions of the test rows."""
    devices = [mx.cpu()]
    net.initialize(ctx=devices, init=init.Xavier())
    trainer = gluon.Trainer(net.collect_params(), "adam", {"learning_rate": lr})
    loss = gluon.loss.SigmoidBinaryCrossEntropyLoss()
    history = train_ctr(
        net, data.train_iter, data.test_iter, loss, trainer, num_epochs, devices, quiet=True
    )
    parts = []
    for shares in split_and_load(devices, data.test_iter):
        for features, labels in shares:
            log_odds = net.logits(mx.nd, features)
            parts.append([labels, log_odds, npx.sigmoid(log_odds)])
    columns = ([part.asnumpy().ravel() for part in column] for column in zip(*parts))
    return history, Predictions(*map(numpy.concatenate, columns))


def first_certain() -> numpy.float32:
    """The smallest log odds whose sigmoid is exactly 1 in float32, found by bisection."""
    low, high = numpy.float32(0), numpy.float32(32)
    while numpy.nextafter(low, high) < high:
        middle = (low + high) / numpy.float32(2)
        if npx.sigmoid(np.array([middle])).item() == 1:
            high = middle
        else:
            low = middle
    return high


def accuracies(predictions: Predictions) -> Tuple[numpy.ndarray, numpy.ndarray]:
    """All thresholds, ascending, and the accuracy of each threshold.

    A row is predicted to be a click if its log odds are at least the threshold. The thresholds are
    the log odds of the rows, and infinity, which never predicts a click. No other threshold has an
    accuracy that is not among these.
    """
    of_clicks, of_others = (
        numpy.sort(predictions.log_odds[predictions.labels == label]) for label in (1, 0)
    )
    thresholds = numpy.append(numpy.unique(predictions.log_odds), numpy.inf)
    right = len(of_clicks) - numpy.searchsorted(of_clicks, thresholds)
    right += numpy.searchsorted(of_others, thresholds)
    return thresholds, right / len(predictions.labels)


def numbers(history: History, predictions: Predictions, certain: float) -> Dict[str, Any]:
    """The column of the table for one net; ``certain`` is the result of ``first_certain``."""
    labels, log_odds, scores = predictions
    is_click = labels == 1
    measured = click_scores(labels, scores, log_odds)
    thresholds, accuracy = accuracies(predictions)
    best = int(accuracy.argmax())

    def share(rows: numpy.ndarray) -> float:
        return float(rows.mean())

    return {
        "accuracy, click never predicted": share(~is_click),
        "accuracy, click always predicted": share(is_click),
        "printed accuracy, all rows": measured.printed["test_acc"],
        "- no click, score below 1": share(~is_click & (scores < 1)),
        "- click, score of 1": share(is_click & (scores == 1)),
        "smallest log odds with a score of 1": float(certain),
        "accuracy, this threshold": share((log_odds >= certain) == is_click),
        "accuracy, threshold 0 (defined)": measured.defined["test_acc"],
        "accuracy, best threshold": float(accuracy[best]),
        "- this threshold, in log odds": float(thresholds[best]),
        "accuracy of d2l 1.0.3": measured.printed["test_acc_exact"],
        "- no click, score of 0": share(~is_click & (scores == 0)),
        "- click, score of 1, as above": share(is_click & (scores == 1)),
        "printed accuracy, last epoch's rows": history.final.printed["test_acc"],
        "AUC": measured.defined["test_auc"],
        "log odds, 5th percentile": float(numpy.percentile(log_odds, 5)),
        "log odds, median": float(numpy.median(log_odds)),
        "log odds, 95th percentile": float(numpy.percentile(log_odds, 95)),
    }


def draw(predictions: Dict[str, Predictions], certain: float) -> Figure:
    """Draw the accuracy as a function of the threshold, one line per net."""
    figure = Figure(figsize=FIGSIZE, dpi=200, layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    for (name, of_net), (style, color) in zip(predictions.items(), LINES):
        thresholds, accuracy = accuracies(of_net)
        # A threshold between two log odds has the accuracy of the higher one. Extend the lines to
        # both edges of the figure.
        ends = [min(-SHOWN, thresholds[0]), *thresholds[:-1], max(SHOWN, thresholds[-2])]
        axes.step(ends, [accuracy[0], *accuracy], style, color=color, label=name, where="pre")
    for threshold, name in ((0, "defined"), (certain, "printed")):
        axes.axvline(threshold, color="0.6", linewidth=0.8)
        axes.annotate(
            f"{name}: {threshold:.3g}",
            (threshold, 1.01),
            xycoords=("data", "axes fraction"),
            horizontalalignment="center",
            fontsize=7,
            color="0.4",
        )
    axes.set(xlabel="threshold, log odds", ylabel="accuracy", xlim=(-SHOWN, SHOWN), ylim=(0, 1))
    axes.grid(color="0.9")
    axes.set_axisbelow(True)
    axes.legend(frameon=False, fontsize=8, loc="lower left")
    return figure


def main(
    data_dir: Optional[pathlib.Path] = None,
    clicks_dir: ClicksDir = None,
    batch_size: Annotated[int, Option(help="Batch size.")] = BATCH_SIZE,
    num_epochs: int = 30,
    figure: Annotated[
        Optional[pathlib.Path], Option(help="Draw accuracy by threshold to this PNG file.")
    ] = None,
) -> None:
    """Train FM and DeepFM as printed, and analyze their test accuracy."""
    dataset, folder = ("movielens", data_dir) if clicks_dir is None else ("book", clicks_dir)
    columns: List[Dict[str, Any]] = []
    predictions = {}
    for name, (make_net, lr) in NETS.items():
        shuffle = seed_streams(SEED).shuffle
        data = load_data_ctr(dataset, folder, batch_size, shuffle_rng=shuffle)
        npx.set_np()
        mx.random.seed(SEED)
        net = make_net(data.train.field_dims)
        history, predictions[name] = train(net, lr, data, num_epochs)
        certain = first_certain()
        columns.append(numbers(history, predictions[name], certain))
    table = [[key, *(f"{column[key]:.4f}" for column in columns)] for key in columns[0]]
    alignment = ("left", "right", "right")
    print(tabulate(table, ["", *NETS], disable_numparse=True, colalign=alignment))
    tested = f"{data.dataset['name']}, {len(data.test):,} test rows"
    print(f"{tested}; seed {SEED}, {num_epochs} epochs, batches of {batch_size}")
    if figure is not None:
        figure.write_bytes(png(draw(predictions, certain)))


if __name__ == "__main__":
    run(main)
