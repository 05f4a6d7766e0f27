"""Fixtures: the real data if it can be fetched, small made-up data, and the real command line."""

import contextlib
import gc
import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from d2l_recsys.__main__ import main
from d2l_recsys.datasets.movielens import COLUMNS, find_ml100k
from d2l_recsys.errors import DataError

ROOT = pathlib.Path(__file__).resolve().parent.parent


def pytest_collection_finish():
    """Let d2l.mxnet be among the objects that garbage collection leaves out."""
    if "mxnet" in sys.modules:
        with contextlib.suppress(ImportError):
            import d2l.mxnet  # noqa: F401
    leave_out_of_garbage_collection()


@pytest.fixture(scope="module")
def quick_garbage_collection():
    """Let garbage collection leave out the objects of the tests before."""
    leave_out_of_garbage_collection()


def leave_out_of_garbage_collection():
    """Exclude all objects that exist now from garbage collection.

    Gluon collects garbage for each DataLoader, and d2l's evaluation makes a loader for each user.
    Most of the time of that evaluation would go into looking through these objects.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def ml100k_dir():
    """A folder with the real MovieLens-100K, fetched only once into the checkout's data folder."""
    try:
        return find_ml100k().folder.resolve()
    except DataError as error:
        if os.environ.get("CI") or "wrong checksum" in str(error):
            raise
        pytest.skip(f"MovieLens-100K cannot be fetched here: {error}")


def made_up_ratings(num_users=30, num_items=40, per_user=12, seed=0):
    """Ratings of every user and every item in random order; many timestamps are equal."""
    rng = np.random.default_rng(seed)
    rows = []
    for user in range(1, num_users + 1):
        # The first item of user n is item n, so that few items are missing after the loop.
        first = (user - 1) % num_items
        others = rng.permutation(np.delete(np.arange(num_items), first))[: per_user - 1]
        for item in [first, *others]:
            rows.append((user, item + 1, rng.integers(1, 6), 880000000 + rng.integers(0, 6)))
    missing = set(range(1, num_items + 1)) - {row[1] for row in rows}
    rows += [(1, item, 3, 880000000) for item in missing]
    return pd.DataFrame(rng.permutation(np.array(rows)), columns=COLUMNS)


@pytest.fixture
def ratings():
    return made_up_ratings()


def write_ratings(folder, ratings):
    """Write ``ratings``, movies and users in GroupLens's layout; return ``folder``."""
    ratings.to_csv(folder / "u.data", sep="\t", header=False, index=False)
    users = [f"{u}|{20 + u}|{'MF'[u % 2]}|writer|{u % 10}1234" for u in ratings["user_id"].unique()]
    (folder / "u.user").write_text("\n".join(users) + "\n")
    flags = "0|1|0|0|0|1" + "|0" * 13
    items = [f"{i}|Film {i} ({1950 + i})|01-Jan-1995||url|{flags}" for i in range(1, 41)]
    (folder / "u.item").write_text("\n".join(items) + "\n")
    return folder


@pytest.fixture
def ratings_dir(tmp_path, ratings):
    """A folder with made-up ratings in GroupLens's layout."""
    folder = tmp_path / "made-up"
    folder.mkdir()
    return write_ratings(folder, ratings)


@pytest.fixture(scope="module")
def sessions_dir(tmp_path_factory):
    """Made-up ratings of 30 users in sessions of about six items."""
    ratings = made_up_ratings().sort_values("user_id", kind="stable")
    rng = np.random.default_rng(1)
    steps = np.where(rng.random(len(ratings)) < 0.15, 3600, 60)
    ratings = ratings.assign(timestamp=880000000 + np.cumsum(steps))
    return write_ratings(tmp_path_factory.mktemp("sessions"), ratings)


def made_up_clicks(num_rows=600, num_fields=34, seed=0):
    """Lines of a click file in the book's layout; the label depends on the first three fields."""
    rng = np.random.default_rng(seed)
    values = np.array(
        [rng.zipf(1.5, num_rows) % (3 + 4 * (f % 5)) for f in range(num_fields)], dtype=int
    ).T
    odds = np.sin(values[:, :3] * [1, 2, 3]).sum(axis=1) * 3
    labels = rng.uniform(size=num_rows) < 1 / (1 + np.exp(-odds))
    return [
        "\t".join([str(int(y)), *(f"0{f}a{v}" for f, v in enumerate(row))]) + "\n"
        for y, row in zip(labels, values)
    ]


@pytest.fixture
def clicks_dir(tmp_path):
    """A folder with made-up clicks in the book's layout: 600 training and 150 test rows."""
    folder = tmp_path / "clicks"
    folder.mkdir()
    lines = made_up_clicks(750)
    (folder / "train.csv").write_text("".join(lines[:600]))
    (folder / "test.csv").write_text("".join(lines[600:]))
    return folder


def made_up_scores(n=500, seed=0, spread=3.0):
    """Labels, float32 probabilities, and the logits of the probabilities; one-dimensional."""
    rng = np.random.default_rng(seed)
    log_odds = rng.normal(0, spread, n).astype("float32")
    labels = (rng.uniform(size=n) < 1 / (1 + np.exp(-log_odds / 3))).astype("float32")
    return labels, (1 / (1 + np.exp(-log_odds))).astype("float32"), log_odds


def some(cases, fast):
    """The ``cases`` of a test as parameters; those that are not in ``fast`` are marked as slow.

    A case is a value, or a tuple of the values of several parameters.
    """
    return [
        pytest.param(
            *(case if isinstance(case, tuple) else (case,)),
            marks=[pytest.mark.slow] * (case not in fast),
        )
        for case in cases
    ]


@pytest.fixture
def run_here(monkeypatch, capsys, tmp_path):
    """Run ``d2l-recsys`` in this process, in an empty folder; returns exit code, output, error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "argv", ["d2l-recsys"])

    def run(*arguments):
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            main(list(map(str, arguments)))
        return (left.value.code or 0, *capsys.readouterr())

    return run


@pytest.fixture
def stop_after(monkeypatch):
    """A function that simulates Ctrl-C after ``count`` checks for it.

    The loop checks once after each batch, and twice at the end of an epoch.
    """

    from d2l_recsys.training import loop

    def stop(count):
        asked = iter(range(count))
        monkeypatch.setattr(
            loop,
            "noting_interrupts",
            lambda: contextlib.nullcontext(lambda: next(asked, None) is None),
        )

    return stop


def run_script(script, *options, cwd=None, **environment):
    """Run ``python script options...`` as a user does; return the process, with output as text."""
    return subprocess.run(
        [sys.executable, str(ROOT / script), *map(str, options)],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=240,
    )


def peak_memory(code, *arguments):
    """Peak memory in KiB of a separate process that runs ``code``; skips outside Linux."""
    if not os.path.exists("/proc/self/status"):
        pytest.skip("peak memory is read from /proc, which only Linux has")
    code += '\nprint(open("/proc/self/status").read().split("VmHWM:")[1].split()[0])'
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return int(subprocess.run(command, check=True, capture_output=True).stdout)


def what_it_left(folder):
    """All results of a run: its numbers, the bits of its weights, its history without times."""
    result = json.loads((folder / "result.json").read_text())
    history = pd.read_csv(folder / "history.csv", float_precision="round_trip")
    timed = [name for name in history if name.startswith("seconds")]
    return (
        result["printed"],
        result["defined"],
        (folder / "model.safetensors").read_bytes(),
        history.drop(columns=timed).to_csv(),
    )
