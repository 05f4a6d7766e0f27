"""Speed and peak memory of encoding many clicks on disk, and of training on them.

    python -m benchmarks.large_clicks [--rows 200000 --rows 2000000] [--json-file FILE]

The rows are generated and have 39 fields, as many as Criteo's: 13 small whole numbers, and 26
hashes with 10 to 10,000 frequent values. In two of the hashed fields, a third of the rows have a
value that occurs only once. The steps are: write the file, encode it on disk, open the encoded
clicks again, and train FM (section 15.9) on them for one epoch. Each step is its own process. The
table shows the peak memory of a step and, in parentheses, the peak memory of a process that only
imports the same modules.
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

from benchmarks.generated_clicks import GeneratedClicks
from benchmarks.measuring import measure
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
    """The steps of the benchmark; each runs in its own process."""

    generate = "generate"
    imports = "imports"
    encode = "encode"
    open = "open"
    train_imports = "train-imports"
    train = "train"


def generate(folder: pathlib.Path, rows: int) -> Dict[str, Any]:
    """Generate the file; returns the seconds and the size of the file in bytes."""
    clicks = GeneratedClicks(CARDINALITIES, COUNTS, TAILS)
    started = time.perf_counter()
    clicks.write(folder / FILE, rows)
    seconds = time.perf_counter() - started
    return {"seconds": seconds, "bytes": (folder / FILE).stat().st_size}


def encode(folder: pathlib.Path) -> Dict[str, Any]:
    """Encode the file, or open the encoded clicks if they exist.

    Returns the seconds, the number of rows, the bytes on disk and the number of features.
    """
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
    """Train FM with the settings of section 15.9; returns the seconds and the number of examples.

    If ``num_epochs`` is 0, the function only imports the modules.
    """
    # Imported here, because encoding is measured without MXNet: it does not need MXNet.
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
    # The epoch ends with an evaluation. It is not timed, so one batch is enough for it.
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
    """Do one step in this process, and return its measurements."""
    if step is Step.generate:
        return generate(folder, rows)
    if step in (Step.encode, Step.open):
        return encode(folder)
    return train(folder, num_epochs=int(step is Step.train)) if "train" in step.value else {}


def column(rows: int, steps: Dict[str, Dict[str, Any]]) -> List[str]:
    """The column of the table for one number of rows."""

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
    "- peak memory (imports only), MiB",
    "open again, s",
    "- peak memory (imports only), MiB",
    "an epoch of FM, rows/s",
    "- peak memory (imports only), MiB",
]


def main(
    rows: Annotated[List[int], Option(min=BATCH_SIZE, help="Number of rows; may be repeated.")] = (
        200_000,
        2_000_000,
    ),
    json_file: Annotated[
        Optional[pathlib.Path], Option(help="Also write all measurements to this JSON file.")
    ] = None,
    step: Annotated[Optional[Step], Option(help="Do only this step, in this process.")] = None,
    folder: Annotated[
        Optional[pathlib.Path], Option(help="With --step: the folder of its files.")
    ] = None,
) -> None:
    """Measure the encoding of generated clicks, and training on them."""
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
