"""``d2l-recsys doctor``: what a bug report needs to know about this installation."""

import importlib.metadata
import os
import pathlib
import platform
from typing import List, NamedTuple, Optional

import typer

from d2l_recsys.cli.output import AsJson, show
from d2l_recsys.errors import SettingError

CANNOT_TRAIN = 1
PACKAGES = (
    "mxnet",
    "mxnet-cu112",
    "d2l",
    "numpy",
    "pandas",
    "scipy",
    "scikit-learn",
    "matplotlib",
    "safetensors",
    "typer",
)


class Check(NamedTuple):
    """A line of the report: a name, what was found, and whether it is as it should be."""

    name: str
    value: str
    ok: bool = True


def doctor(data_dir: Optional[pathlib.Path] = None, json: AsJson = False) -> None:
    """Show versions, devices, threads, data and write access, for a bug report.

    Trains one step of a small net. The exit code is 0, or 1 if training is impossible. Nothing is
    fetched or changed.
    """
    from tabulate import tabulate

    trains = _training()
    checks = [*_installed(), *trains, _threads(), _results(), *_data(data_dir)]
    can_train = all(check.ok for check in trains)
    document = {"checks": [check._asdict() for check in checks], "can_train": can_train}

    def text() -> str:
        rows = [[c.name, c.value if c.ok else f"PROBLEM: {c.value}"] for c in checks]
        verdict = "training is possible" if can_train else "training is impossible"
        return f"{tabulate(rows, tablefmt='plain', disable_numparse=True)}\n\n{verdict}"

    show(document, text, json)
    if not can_train:
        raise typer.Exit(CANNOT_TRAIN)


def _installed() -> List[Check]:
    import d2l_recsys
    from d2l_recsys.hardware.processor import processor_model

    found = [
        Check("d2l-recsys", d2l_recsys.__version__),
        Check("Python", platform.python_version()),
        Check("system", f"{platform.system()} {platform.release()} {platform.machine()}"),
        Check("processor", f"{processor_model() or 'unknown'}, {os.cpu_count()} cores"),
    ]
    for package in PACKAGES:
        try:
            found.append(Check(package, importlib.metadata.version(package)))
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _training() -> List[Check]:
    """Whether MXNet can be loaded, which devices it has, and whether it trains."""
    try:
        from d2l_recsys.backend import autograd, gluon, nn, np, npx
        from d2l_recsys.devices import try_all_gpus
    except SettingError as error:
        return [Check("training", str(error), ok=False)]
    except Exception as error:
        return [Check("training", f"MXNet cannot be loaded: {error}", ok=False)]
    try:
        npx.set_np()
        devices = try_all_gpus()
        net = nn.Dense(1, in_units=2)
        net.initialize(ctx=devices)
        trainer = gluon.Trainer(net.collect_params(), "adam")
        with autograd.record():
            losses = [net(np.ones((1, 2), ctx=device)) for device in devices]
        autograd.backward(losses)
        trainer.step(1)
        npx.waitall()
    except Exception as error:
        return [Check("training", f"MXNet cannot train: {error}", ok=False)]
    return [Check("devices", ", ".join(map(str, devices))), Check("training", "one step done")]


def _threads() -> Check:
    from d2l_recsys.hardware.threads import num_threads

    return Check("threads", num_threads())


def _results() -> Check:
    """Whether results can be written into the current folder; writes nothing there."""
    folder = pathlib.Path("results") if pathlib.Path("results").exists() else pathlib.Path()
    writable = folder.is_dir() and os.access(folder, os.W_OK)
    return Check("results", f"can{'' if writable else 'not'} be written here", ok=writable)


def _data(data_dir: Optional[pathlib.Path]) -> List[Check]:
    from d2l_recsys.cli.data import survey
    from d2l_recsys.errors import DataError

    try:
        states, problems = survey(data_dir, may_fetch=False)
    except DataError as error:
        return [Check("data", str(error), ok=False)]
    # Missing data is fetched when a run needs it.
    told = [Check(f"data {s.name}", f"{s.folder}: {s.state}") for s in states]
    damaged = [text for text in problems if "is not in" not in text]
    return told + [Check("data", text, ok=False) for text in damaged]
