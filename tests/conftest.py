"""Fixtures: the real data where it can be had, small made-up ratings, the real command line."""

import os
import pathlib
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from d2l_recsys.data import COLUMNS, find_ml100k
from d2l_recsys.errors import DataError

ROOT = pathlib.Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def ml100k_dir():
    """A folder with the real MovieLens-100K; fetched once, into the checkout's data folder."""
    try:
        return find_ml100k().folder.resolve()
    except DataError as error:
        if os.environ.get("CI") or "wrong checksum" in str(error):
            raise
        pytest.skip(f"MovieLens-100K cannot be had here: {error}")


def made_up_ratings(num_users=30, num_items=40, per_user=12, seed=0):
    """Ratings in which every user and item occurs, with many tied timestamps, in random order."""
    rng = np.random.default_rng(seed)
    rows = []
    for user in range(1, num_users + 1):
        # The first item of each user walks through all items, so that no id is missing.
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


@pytest.fixture
def ratings_dir(tmp_path, ratings):
    """A folder in GroupLens's layout with made-up ratings."""
    folder = tmp_path / "made-up"
    folder.mkdir()
    ratings.to_csv(folder / "u.data", sep="\t", header=False, index=False)
    return folder


def run_script(script, *options, cwd=None, **environment):
    """Run ``python script options...`` as a user does; the completed process, output as text."""
    return subprocess.run(
        [sys.executable, str(ROOT / script), *map(str, options)],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=240,
    )
