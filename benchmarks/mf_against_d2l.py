"""Matrix factorization: the chapter's own code against this project's, in one run on one machine.

    python -m benchmarks.mf_against_d2l [--pairs 3] [--num-epochs 20] [--data-dir DIR]

Each side runs as a process of its own, in turn, on one CPU device with the chapter's settings. The
chapter's side is d2l 1.0.3 with Gluon's DataLoader; its live figure is timed apart, by a third
process that draws nothing. Ratios are taken pair by pair: median [smallest, largest].
"""

import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Dict, List, Optional

from tabulate import tabulate
from typer import Option
from typing_extensions import Annotated

from d2l_recsys.command_line import DataDir, run
from d2l_recsys.data import find_ml100k
from d2l_recsys.results import environment

ROOT = pathlib.Path(__file__).resolve().parent.parent

# The section as the book has it: load, model, evaluator, training. argv: folder of u.data, epochs,
# whether to draw.
CHAPTER = """
import json, sys, time
import matplotlib; matplotlib.use("Agg")
from d2l import mxnet as d2l
import mxnet as mx
from mxnet import gluon, np, npx
from mxnet.gluon import nn

npx.set_np()
d2l.download_extract = lambda name: sys.argv[1]
if sys.argv[3] == "quiet":
    d2l.Animator.add = lambda self, x, y: None


class MF(nn.Block):
    def __init__(self, num_factors, num_users, num_items):
        super().__init__()
        self.P, self.Q = nn.Embedding(num_users, num_factors), nn.Embedding(num_items, num_factors)
        self.user_bias, self.item_bias = nn.Embedding(num_users, 1), nn.Embedding(num_items, 1)

    def forward(self, user_id, item_id):
        biases = np.squeeze(self.user_bias(user_id)) + np.squeeze(self.item_bias(item_id))
        return ((self.P(user_id) * self.Q(item_id)).sum(axis=-1) + biases).flatten()


def evaluator(net, test_iter, devices):
    metric, values = mx.metric.RMSE(), []
    for batch in test_iter:
        users, items, ratings = (
            gluon.utils.split_and_load(part, devices, even_split=False) for part in batch
        )
        metric.update(labels=ratings, preds=[net(u, i) for u, i in zip(users, items)])
        values.append(float(metric.get()[1]))
    return float(np.mean(np.array(values)))


started = time.perf_counter()
num_users, num_items, train_iter, test_iter = d2l.split_and_load_ml100k(
    test_ratio=0.1, batch_size=512
)
loaded = time.perf_counter()
devices = [mx.cpu()]
net = MF(30, num_users, num_items)
net.initialize(ctx=devices, force_reinit=True, init=mx.init.Normal(0.01))
trainer = gluon.Trainer(net.collect_params(), "adam", {"learning_rate": 0.002, "wd": 1e-5})
mx.nd.waitall()
begun = time.perf_counter()
d2l.train_recsys_rating(
    net, train_iter, test_iter, gluon.loss.L2Loss(), trainer, int(sys.argv[2]), devices, evaluator
)
mx.nd.waitall()
print(json.dumps({"load": loaded - started, "train": time.perf_counter() - begun}))
"""


def measure(command: List[str]) -> Dict[str, float]:
    """Wall seconds and peak memory (MiB) of a process, with the last line it prints as JSON."""
    started = time.perf_counter()
    with tempfile.TemporaryFile() as printed:
        process = subprocess.Popen(command, stdout=printed, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - started
        printed.seek(0)
        lines = printed.read().decode().strip().splitlines()
    if status:
        raise SystemExit(f"failed: {' '.join(command)[:200]}")
    figures = json.loads(lines[-1]) if lines and lines[-1].startswith("{") else {}
    return {**figures, "whole": wall, "memory": usage.ru_maxrss / 1024}


def chapter(folder: str, num_epochs: int, figure: str) -> Dict[str, float]:
    """One run of the chapter's code; ``figure`` is "draw" or "quiet"."""
    return measure([sys.executable, "-c", CHAPTER, folder, str(num_epochs), figure])


def ours(folder: str, num_epochs: int) -> Dict[str, float]:
    """One run of ``chapters/mf.py``, files and figure included."""
    with tempfile.TemporaryDirectory() as out:
        options = ["--data-dir", folder, "--num-epochs", str(num_epochs), "--out", out]
        figures = measure([sys.executable, str(ROOT / "chapters" / "mf.py"), *options])
        seconds = json.loads((pathlib.Path(out) / "result.json").read_text())["seconds"]
    return {**figures, "load": seconds["load"], "train": seconds["train"] + seconds["evaluate"]}


def row(name: str, theirs: List[float], mine: List[float], unit: str) -> List[str]:
    """A line of the table: medians, and the ratios of the pairs."""
    ratios = [a / b for a, b in zip(theirs, mine)]
    spread = f"{statistics.median(ratios):.1f}x [{min(ratios):.1f}, {max(ratios):.1f}]"
    digits = 0 if unit == "MiB" else 2
    medians = (f"{statistics.median(side):.{digits}f} {unit}" for side in (theirs, mine))
    return [name, *medians, spread]


def main(
    pairs: Annotated[int, Option(min=1, help="Times each side runs.")] = 3,
    num_epochs: Annotated[int, Option(help="Epochs of each run.")] = 20,
    data_dir: DataDir = None,
    json_file: Annotated[
        Optional[pathlib.Path], Option(help="Also write all figures here.")
    ] = None,
) -> None:
    """Time the chapter's matrix factorization and this project's, in turn."""
    location = find_ml100k(data_dir)
    runs: Dict[str, List[Dict[str, float]]] = {"chapter": [], "no figure": [], "ours": []}
    with tempfile.TemporaryDirectory() as folder:
        (pathlib.Path(folder) / "u.data").write_bytes(location.rating_lines())
        for _ in range(pairs):
            runs["chapter"].append(chapter(folder, num_epochs, "draw"))
            runs["ours"].append(ours(folder, num_epochs))
            runs["no figure"].append(chapter(folder, num_epochs, "quiet"))

    def column(side: str, name: str) -> List[float]:
        return [figures[name] for figures in runs[side]]

    table = [
        row("load", column("chapter", "load"), column("ours", "load"), "s"),
        row("train and evaluate", column("chapter", "train"), column("ours", "train"), "s"),
        row("the same, no live figure", column("no figure", "train"), column("ours", "train"), "s"),
        row("whole script", column("chapter", "whole"), column("ours", "whole"), "s"),
        row("peak memory", column("chapter", "memory"), column("ours", "memory"), "MiB"),
    ]
    print(tabulate(table, [f"MF, {num_epochs} epochs", "chapter", "ours", "ratio"]))
    machine = environment()
    print(f"{pairs} pairs of runs; {machine['platform']}, Python {machine['python']}")
    if json_file is not None:
        json_file.write_text(json.dumps({"environment": machine, "runs": runs}, indent=2) + "\n")


if __name__ == "__main__":
    run(main)
