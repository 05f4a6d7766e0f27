"""Measure how the tie rule of the seq-aware split affects the metrics of NeuMF and Caser.

    python -m benchmarks.tie_rule [--splits 10] [--data-dir DIR]

Four of ten users have several latest ratings with the same timestamp. The chapter holds out the
first of these ratings in file order. This benchmark shuffles these lines of each user in the file,
so that any of them may come first. It trains NeuMF and Caser on each new split with seed 0. For
comparison, it also trains them on the chapter's own split with as many seeds. The table shows
mean ± standard deviation (n - 1) [smallest, largest].
"""

import pathlib
import statistics
import tempfile
from typing import Any, Dict, List, Optional

import numpy as np
from tabulate import tabulate
from tqdm import tqdm
from typer import Option
from typing_extensions import Annotated

from d2l_recsys.chapters import caser, neumf
from d2l_recsys.data import read_data_ml100k
from d2l_recsys.datasets.movielens import find_ml100k
from d2l_recsys.sections.command_line import run

CHAPTERS = {"neumf": neumf, "caser": caser}
NUMBERS = [
    (protocol, name)
    for name in ("test_hit_rate", "test_auc")
    for protocol in ("printed", "defined")
]


def spread(results: List[Dict[str, Any]]) -> List[str]:
    """The mean, standard deviation and range of each of ``NUMBERS`` over the runs."""
    cells = []
    for protocol, name in NUMBERS:
        values = [result[protocol][name] for result in results]
        cells.append(
            f"{statistics.mean(values):.4f} ± {statistics.stdev(values):.4f} "
            f"[{min(values):.4f}, {max(values):.4f}]"
        )
    return cells


def main(
    splits: Annotated[int, Option(min=2, help="Number of random splits, and of seeds.")] = 10,
    data_dir: Optional[pathlib.Path] = None,
) -> None:
    """Train NeuMF and Caser on splits that break ties at random, and with other seeds."""
    data, num_users, _ = read_data_ml100k(data_dir)
    last = data.groupby("user_id")["timestamp"].transform("max") == data["timestamp"]
    of_user = data[last].groupby("user_id").indices.values()
    of_user = [np.flatnonzero(last)[rows] for rows in of_user if len(rows) > 1]
    tied = len(of_user)
    print(f"{tied} of {num_users} users tie at their last timestamp ({tied / num_users:.0%})")
    lines = np.array(find_ml100k(data_dir).rating_lines().splitlines(keepends=True))
    results: Dict[str, List[List[Dict[str, Any]]]] = {name: [[], []] for name in CHAPTERS}
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as out:
        options = {"out": out, "quiet": True}
        for split in tqdm(range(splits), disable=None):
            rng, order = np.random.default_rng(split), np.arange(len(lines))
            for rows in of_user:
                order[rows] = rng.permutation(rows)
            (pathlib.Path(folder) / "u.data").write_bytes(b"".join(lines[order]))
            for name, chapter in CHAPTERS.items():
                results[name][0].append(chapter.main(seed=0, data_dir=folder, **options))
                results[name][1].append(chapter.main(seed=split, data_dir=data_dir, **options))
    table = [
        [name, what, *spread(runs)]
        for name, both in results.items()
        for what, runs in zip(("random ties, seed 0", "chapter's split, seeds"), both)
    ]
    print(tabulate(table, ["section", "", *(" ".join(number) for number in NUMBERS)]))


if __name__ == "__main__":
    run(main)
