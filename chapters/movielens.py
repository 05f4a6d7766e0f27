"""The MovieLens data set (section 15.2): its size, its sparsity, and how people rate.

    python chapters/movielens.py

leaves ``result.json`` and the histogram of ratings, ``histogram.png``. Needs matplotlib, not MXNet.
"""

import time
from typing import Any, Dict

import numpy as np

from d2l_recsys import command_line as cli
from d2l_recsys.data import dataset_ml100k, read_data_ml100k
from d2l_recsys.metrics import Scores
from d2l_recsys.plots import draw_rating_histogram, png
from d2l_recsys.results import as_json, make_result, prepare_folder, reported_numbers, write_files


def main(
    data_dir: cli.DataDir = None,
    out: cli.Out = None,
    quiet: cli.Quiet = False,
) -> Dict[str, Any]:
    """Describe MovieLens-100K: its statistics and the histogram of its ratings (section 15.2)."""
    started = time.perf_counter()
    dataset = dataset_ml100k(data_dir)
    data, num_users, num_items = read_data_ml100k(data_dir)
    loaded = time.perf_counter()

    # Of all the ratings there could be, the share that there is not.
    sparsity = 1 - len(data) / (num_users * num_items)
    counts = np.bincount(data["rating"], minlength=6)[1:].tolist()
    statistics = {
        "num_users": num_users,
        "num_items": num_items,
        "num_ratings": len(data),
        "sparsity": sparsity,
    }

    folder = prepare_folder(out, "movielens")
    result = make_result(
        chapter="movielens",
        protocol="defined",
        seed=None,
        scores=Scores(printed=statistics, defined=statistics),
        reported=reported_numbers("movielens"),
        dataset=dataset,
        settings={},
        seconds={"load": loaded - started, "total": time.perf_counter() - started},
    )
    result["ratings"] = {str(rating): count for rating, count in enumerate(counts, 1)}
    source = "these ratings" if dataset["substitute"] else "MovieLens-100K"
    histogram = png(draw_rating_histogram(counts, f"Distribution of ratings in {source}"))
    write_files(folder, {"histogram.png": histogram, "result.json": as_json(result)})

    if not quiet:
        print(f"number of users: {num_users}, number of items: {num_items}")
        print(f"matrix sparsity: {sparsity:f}")
        print(data.head(5).to_string())
        print(f"left in {folder}: histogram.png, result.json")
    return result


if __name__ == "__main__":
    cli.run(main)
