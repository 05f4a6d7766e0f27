"""Time an epoch of training of each of the chapter's models, with this project and with PyTorch.

    python -m benchmarks.against_pytorch [--only mf,fm] [--rounds 5] [--epochs 6] [--data-dir DIR]

Our side is the script in ``chapters``, with its default settings, on one CPU device and with one
thread. PyTorch's side is ``benchmarks/pytorch_loops.py``, which trains the nets of
``ports/pytorch`` on the same arrays with the same settings. It runs in the environment of the
ports (``make .venv-ports/ready``), with one thread and with two. FM and DeepFM train on
MovieLens-100K, recast as clicks.

Each run is its own process. In a round, each side runs once, one after the other. The figure of a
run is the time of its fastest epoch, without the first epoch. The table shows the fastest of all
rounds. A ratio is the fastest figure of PyTorch in a round over ours in the same round: with one
thread, and with up to two threads. The table shows the median of the rounds and [smallest,
largest].

The benchmark fails if a side of PyTorch does not learn the same: if its mean loss in the timed
epochs differs from ours by more than 10 %, or if a sliced loop trains on another number of
examples.
"""

import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
from typing import Any, Dict, List, NamedTuple, Optional, Sequence

from tabulate import tabulate
from tqdm import tqdm
from typer import Option
from typing_extensions import Annotated

from benchmarks.measuring import ROOT, chosen, measure, spread
from d2l_recsys.data import data_folder, read_data_ml100k
from d2l_recsys.errors import SettingError
from d2l_recsys.hardware.processor import processor_model
from d2l_recsys.runs.results import environment
from d2l_recsys.sections.command_line import run
from d2l_recsys.training.history import History

MODELS = ("mf", "autorec", "neumf", "caser", "fm", "deepfm")
CLICKS = ("fm", "deepfm")
PYTHON = ROOT / ".venv-ports" / "bin" / "python"
OURS = "ours"
# AutoRec has only seven batches in an epoch. Its loss varies much in its first epochs, so it trains
# for more epochs, and they take little time.
AUTOREC_EPOCHS = 6
# The DataLoader takes seconds for an epoch of the other models, so it trains for fewer epochs.
LOADER_EPOCHS = 3
# The largest relative difference of the training losses of both sides.
TOLERANCE = 0.1
VERSIONS = (
    "import json, platform, torch; "
    "print(json.dumps({'python': platform.python_version(), 'torch': torch.__version__}))"
)

Figures = Dict[str, Any]
# The figures of one round, by the name of the side.
Round = Dict[str, Figures]


class Side(NamedTuple):
    """One way to train with PyTorch: the options of ``benchmarks.pytorch_loops``."""

    loop: str
    threads: int
    adam: str = "fused"

    @property
    def name(self) -> str:
        """The name of the side in the JSON file."""
        return f"{self.loop}, {self.threads} thread{'s' * (self.threads > 1)}, {self.adam} Adam"


# A column of the table has the fastest of its sides.
COLUMNS = {
    "sliced\n1 thread": (Side("sliced", 1), Side("sliced", 1, "default")),
    "sliced\n2 threads": (Side("sliced", 2), Side("sliced", 2, "default")),
    "DataLoader\n1 thread": (Side("loader", 1),),
    "DataLoader\n2 threads": (Side("loader", 2),),
}
SIDES = [side for sides in COLUMNS.values() for side in sides]
HEADERS = [
    "model",
    OURS,
    *COLUMNS,
    "1 thread\n/ ours",
    "fastest\n/ ours",
    "loss\nours",
    "loss\nPyTorch",
]


def num_epochs(model: str, epochs: int, loop: str = "") -> int:
    """The number of epochs of a run, if the user asks for ``epochs``."""
    if model == "autorec":
        return max(epochs, AUTOREC_EPOCHS)
    return min(epochs, LOADER_EPOCHS) if loop == "loader" else epochs


def ours(model: str, epochs: int, data_dir: pathlib.Path) -> Figures:
    """Run our script of the model once; returns the figures of each epoch, and of the process."""
    with tempfile.TemporaryDirectory() as out:
        command = [sys.executable, str(ROOT / "chapters" / f"{model}.py"), "--quiet"]
        command += ["--out", out, "--device", "cpu", "--num-epochs", str(num_epochs(model, epochs))]
        if model in CLICKS:
            command += ["--dataset", "movielens"]
        process = measured(command, threads=1, data_dir=data_dir)
        rows = History.from_csv(pathlib.Path(out) / "history.csv").rows
    # Training minimizes this loss: the printed one of clicks, which has two sigmoids.
    loss = "printed_train_loss" if model in CLICKS else "defined_train_loss"
    columns = {"seconds": "seconds_train", "losses": loss, "examples": "examples"}
    return {**{name: [row[column] for row in rows] for name, column in columns.items()}, **process}


def theirs(
    python: pathlib.Path, model: str, side: Side, epochs: int, data_dir: pathlib.Path
) -> Figures:
    """Train a model with PyTorch once; returns the same figures as ``ours``."""
    command = [str(python), "-m", "benchmarks.pytorch_loops", model, "--loop", side.loop]
    command += ["--adam", side.adam, "--threads", str(side.threads)]
    command += ["--epochs", str(num_epochs(model, epochs, side.loop))]
    return measured(command, side.threads, data_dir)


def measured(command: List[str], threads: int, data_dir: pathlib.Path) -> Figures:
    """``measure`` a command that reads ``data_dir`` and computes with ``threads`` threads."""
    variables = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    return measure([*command, "--data-dir", str(data_dir)], cwd=ROOT, env=variables)


def fastest(figures: Figures) -> float:
    """The seconds of the fastest epoch of a run, without its first epoch."""
    return min(figures["seconds"][1:])


def fastest_side(sides: Sequence[Side], rounds: Sequence[Round]) -> Side:
    """The side with the fastest epoch of all rounds; the first of ``sides`` if several are."""
    return min(sides, key=lambda side: min(fastest(figures[side.name]) for figures in rounds))


def ratio(figures: Round, threads: int) -> float:
    """The fastest figure of PyTorch with up to ``threads`` threads in a round, over ours."""
    sides = [side for side in SIDES if side.threads <= threads]
    return min(fastest(figures[side.name]) for side in sides) / fastest(figures[OURS])


def mean_loss(figures: Figures, epochs: int) -> float:
    """The mean training loss of the timed epochs: from the second to epoch ``epochs``."""
    return statistics.fmean(figures["losses"][1:epochs])


def difference(side: Side, figures: Round) -> Optional[str]:
    """How the training of a side differs from ours; None if both learn the same."""
    ours, theirs = figures[OURS], figures[side.name]
    epochs = len(theirs["losses"])
    loss, our_loss = mean_loss(theirs, epochs), mean_loss(ours, epochs)
    if not abs(loss / our_loss - 1) <= TOLERANCE:
        return (
            f"its mean loss in epochs 2 to {epochs} is {loss:.4f}, ours is {our_loss:.4f}; they "
            f"may differ by {TOLERANCE:.0%}"
        )
    # The DataLoader has no rollover: it also yields the rows that do not fill a batch.
    if side.loop == "sliced" and theirs["examples"] != ours["examples"]:
        return f"it trains on {theirs['examples']} examples per epoch, ours on {ours['examples']}"
    return None


def row(model: str, rounds: Sequence[Round]) -> List[str]:
    """The line of a model in the table."""

    def seconds(name: str) -> str:
        return f"{min(fastest(figures[name]) for figures in rounds):.3f}"

    cells = [model, seconds(OURS)]
    for sides in COLUMNS.values():
        side = fastest_side(sides, rounds)
        cells.append("* " * (side.adam == "default") + seconds(side.name))
    sliced = fastest_side([side for side in SIDES if side.loop == "sliced"], rounds)
    for threads in (1, 2):
        cells.append(spread([ratio(figures, threads) for figures in rounds], digits=2))
    last = [rounds[-1][name] for name in (OURS, sliced.name)]
    return [*cells, *(f"{mean_loss(figures, len(figures['losses'])):.4f}" for figures in last)]


def pytorch_versions(python: pathlib.Path) -> Dict[str, str]:
    """The versions of Python and PyTorch in the environment of ``python``.

    Raises SettingError if there is no such Python, or if it cannot import PyTorch.
    """
    advice = "run 'make .venv-ports/ready' to make the environment with PyTorch"
    try:
        done = subprocess.run([str(python), "-c", VERSIONS], capture_output=True, text=True)
        return json.loads(done.stdout)
    except OSError as error:
        reason = error.strerror
    except ValueError:
        reason = (done.stderr.strip().splitlines() or ["it prints no versions"])[-1]
    raise SettingError(f"{python} cannot import torch ({reason}); {advice}")


def main(
    only: Annotated[str, Option(help="Models, separated by commas.")] = ",".join(MODELS),
    rounds: Annotated[int, Option(min=1, help="How often each side runs.")] = 5,
    epochs: Annotated[
        int,
        Option(
            min=2,
            help=f"Epochs of a run; the first is not timed. Always {AUTOREC_EPOCHS} or more for "
            f"AutoRec, and else {LOADER_EPOCHS} or fewer for the DataLoader.",
        ),
    ] = 6,
    data_dir: Optional[pathlib.Path] = None,
    python: Annotated[
        Optional[pathlib.Path],
        Option(help="Python of an environment with PyTorch. Default: .venv-ports/bin/python."),
    ] = None,
    json_file: Annotated[
        Optional[pathlib.Path], Option(help="Also write all measurements to this JSON file.")
    ] = None,
) -> None:
    """Time an epoch of training of each model, with this project and with PyTorch, in turn."""
    models = list(dict.fromkeys(chosen(only, MODELS)))
    data_folder(data_dir)
    # The runs have another working directory. Do not follow links: the Python of a virtual
    # environment is a link, and its place tells Python which environment to use.
    python = PYTHON if python is None else pathlib.Path(os.path.abspath(python))
    versions = pytorch_versions(python)
    # Fetch the ratings before the first run, or say what is wrong with them.
    read_data_ml100k(data_dir)
    folder = data_folder(data_dir).resolve()
    runs: Dict[str, List[Round]] = {model: [] for model in models}
    turns = [(number, model) for number in range(rounds) for model in models]
    for number, model in tqdm(turns, "rounds", disable=None):
        figures = {OURS: ours(model, epochs, folder)}
        for side in SIDES:
            figures[side.name] = theirs(python, model, side, epochs, folder)
            differs = difference(side, figures)
            if differs:
                raise SystemExit(f"{model}, round {number + 1}, {side.name}: {differs}")
        runs[model].append(figures)
    machine = {**environment(), "processor": processor_model() or "unknown processor"}
    table = [row(model, runs[model]) for model in models]
    print(tabulate(table, HEADERS, disable_numparse=True, colalign=["left", *["right"] * 9]))
    print("seconds of the fastest epoch, without the first epoch of each run")
    print(
        f"rounds: {rounds}; epochs of a run: {epochs} "
        f"(autorec: {num_epochs('autorec', epochs)}; DataLoader, except autorec: "
        f"{num_epochs('mf', epochs, 'loader')})"
    )
    print("* PyTorch's default Adam; without a mark, its fused Adam")
    print("loss: mean training loss in the timed epochs; PyTorch: of its fastest sliced loop")
    print(
        f"{machine['platform']}, {machine['processor']}; Python {machine['python']}, "
        f"MXNet {machine['mxnet']}; PyTorch {versions['torch']} with Python {versions['python']}"
    )
    if json_file is not None:
        everything = {
            "environment": machine,
            "pytorch": versions,
            "rounds": rounds,
            "epochs": epochs,
            "runs": runs,
        }
        json_file.write_text(json.dumps(everything, indent=2) + "\n")


if __name__ == "__main__":
    run(main)
