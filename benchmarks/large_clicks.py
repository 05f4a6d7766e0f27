"""Clicks in numbers that do not fit in memory: how fast they are encoded, and in how much of it.

    python -m benchmarks.large_clicks [--rows 200000 --rows 2000000] [--json-file FILE]

Generated rows of 39 fields, as many as Criteo's: 13 small whole numbers and 26 hashes of 10 to
10,000 frequent values. Two of these fields also have, in a third of the rows, a value that occurs
nowhere else. Each step runs as a process of its own: writing the file, encoding it on disk, opening
it again, an epoch of FM (section 15.9) on what was encoded. Peak memory stands beside that of a
process that only imports the same modules.
"""

import enum
import json
import pathlib
import sys
import tempfile
import time
from typing import Any, Dict, List, Optional

import numpy as np
from tabulate import tabulate
from tqdm import tqdm
from typer import Option
from typing_extensions import Annotated

from benchmarks.against_d2l import measure
from benchmarks.generated_clicks import GeneratedClicks
from d2l_recsys.ctr import CTRDataset
from d2l_recsys.runs.results import environment
from d2l_recsys.sections.command_line import run

COUNTS = 13
CARDINALITIES = [
    *np.linspace(4, 100, COUNTS).astype(int).tolist(),
    *np.geomspace(10, 10_000, 26).round().astype(int).tolist(),
]
TAILS = (COUNTS + 10, COUNTS + 20)
NUM_FACTORS, LR, BATCH_SIZE = 20, 0.02, 2048
FILE, ENCODED = "clicks.csv", "encoded"


class Step(str, enum.Enum):
    """What a process of its own does."""

    generate = "generate"
    imports = "imports"
    encode = "encode"
    open = "open"
    train_imports = "train-imports"
    train = "train"


def generate(folder: pathlib.Path, rows: int) -> Dict[str, Any]:
    """Write the file."""
    clicks = GeneratedClicks(CARDINALITIES, COUNTS, TAILS)
    started = time.perf_counter()
    clicks.write(folder / FILE, rows)
    seconds = time.perf_counter() - started
    return {"seconds": seconds, "bytes": (folder / FILE).stat().st_size}


def encode(folder: pathlib.Path) -> Dict[str, Any]:
    """Encode the file, or open what is encoded already."""
    started = time.perf_counter()
    clicks = _clicks(folder)
    seconds = time.perf_counter() - started
    sizes = [path.stat().st_size for path in (folder / ENCODED).rglob("*") if path.is_file()]
    return {
        "seconds": seconds,
        "rows": len(clicks),
        "bytes": sum(sizes),
        "features": int(clicks.field_dims.sum()),
    }


def train(folder: pathlib.Path, num_epochs: int) -> Dict[str, Any]:
    """An epoch of FM as section 15.9 has it; the modules alone where ``num_epochs`` is 0."""
    # Here, so that encoding is measured without MXNet, which it does not need.
    from d2l_recsys.backend import gluon, init, mx, npx
    from d2l_recsys.chapters.fm import FM
    from d2l_recsys.data import click_batches
    from d2l_recsys.loaders.batches import BatchLoader
    from d2l_recsys.train import train_ctr

    if not num_epochs:
        return {}
    clicks = _clicks(folder)
    npx.set_np()
    mx.random.seed(0)
    net = FM(clicks.field_dims, NUM_FACTORS)
    net.initialize(init=init.Xavier())
    # Training ends with an evaluation; a batch is enough for it, since it is not timed.
    features, labels = clicks[:BATCH_SIZE]
    history = train_ctr(
        net,
        click_batches(clicks, BATCH_SIZE, shuffle=True, last_batch="rollover", rng=0),
        BatchLoader(np.array(features), np.array(labels), batch_size=BATCH_SIZE),
        gluon.loss.SigmoidBinaryCrossEntropyLoss(),
        gluon.Trainer(net.collect_params(), "adam", {"learning_rate": LR}),
        num_epochs,
        [mx.cpu()],
        quiet=True,
    )
    return {"seconds": history.total("seconds_train"), "rows": int(history.total("examples"))}


def _clicks(folder: pathlib.Path) -> CTRDataset:
    return CTRDataset(folder / FILE, num_feat=len(CARDINALITIES), encoded_dir=folder / ENCODED)


def do(step: Step, folder: pathlib.Path, rows: int) -> Dict[str, Any]:
    """The step, in this process."""
    if step is Step.generate:
        return generate(folder, rows)
    if step in (Step.encode, Step.open):
        return encode(folder)
    return train(folder, num_epochs=int(step is Step.train)) if "train" in step.value else {}


def column(rows: int, steps: Dict[str, Dict[str, Any]]) -> List[str]:
    """The column of the table for a number of rows."""

    def speed(step: str) -> str:
        return f"{steps[step]['rows'] / steps[step]['seconds']:,.0f}"

    def memory(step: str, imports: str) -> str:
        return f"{steps[step]['memory']:.0f} ({steps[imports]['memory']:.0f})"

    return [
        f"{rows:,}",
        f"{steps['generate']['bytes'] / 2**20:.1f}",
        f"{steps['generate']['seconds']:.1f}",
        f"{steps['encode']['features']:,}",
        f"{steps['encode']['bytes'] / 2**20:.1f}",
        speed("encode"),
        memory("encode", "imports"),
        f"{steps['open']['seconds']:.2f}",
        memory("open", "imports"),
        speed("train"),
        memory("train", "train-imports"),
    ]


HEADERS = [
    "rows",
    "file, MiB",
    "generate, s",
    "features",
    "encoded, MiB",
    "encode, rows/s",
    "- peak memory (imports alone), MiB",
    "open again, s",
    "- peak memory (imports alone), MiB",
    "an epoch of FM, rows/s",
    "- peak memory (imports alone), MiB",
]


def main(
    rows: Annotated[List[int], Option(min=BATCH_SIZE, help="Rows; may be repeated.")] = (
        200_000,
        2_000_000,
    ),
    json_file: Annotated[
        Optional[pathlib.Path], Option(help="Also write all figures here.")
    ] = None,
    step: Annotated[Optional[Step], Option(help="Do this step alone, in this process.")] = None,
    folder: Annotated[
        Optional[pathlib.Path], Option(help="Folder of the step's files, with --step.")
    ] = None,
) -> None:
    """Encode generated clicks and train on them."""
    if step is not None:
        print(json.dumps(do(step, folder, rows[0])))
        return
    figures, table = {}, []
    for count in rows:
        with tempfile.TemporaryDirectory() as temporary:
            command = [sys.executable, "-m", "benchmarks.large_clicks", "--folder", temporary]
            steps = {
                name: measure([*command, "--rows", str(count), "--step", name])
                for name in tqdm([member.value for member in Step], f"{count:,}", disable=None)
            }
        figures[count] = steps
        table.append(column(count, steps))
    print(tabulate(zip(HEADERS, *table), disable_numparse=True))
    machine = environment()
    print(f"batches of {BATCH_SIZE}; {machine['platform']}, Python {machine['python']}")
    if json_file is not None:
        everything = {"environment": machine, "steps": figures}
        json_file.write_text(json.dumps(everything, indent=2) + "\n")


if __name__ == "__main__":
    run(main)
