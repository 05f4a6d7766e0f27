"""The MovieLens data set (section 15.2): its size, its sparsity and its ratings.

Run the section from the root of the checkout:

    python chapters/movielens.py

It writes ``result.json`` and a histogram of the ratings, ``histogram.png``. It needs matplotlib,
but not MXNet.
"""

from typing import Any, Dict

import numpy as np

from d2l_recsys.data import read_data_ml100k
from d2l_recsys.datasets.movielens import dataset_ml100k
from d2l_recsys.runs.plots import draw_rating_histogram
from d2l_recsys.runs.section_run import DataRun
from d2l_recsys.sections import command_line
from d2l_recsys.sections.options import section


@section("movielens")
def main(run: DataRun) -> Dict[str, Any]:
    """Describe MovieLens-100K: its statistics and the histogram of its ratings (section 15.2)."""
    dataset = dataset_ml100k(run.data_dir)
    data, num_users, num_items = read_data_ml100k(run.data_dir)
    run.data_loaded(dataset)

    # The share of the pairs of a user and an item that have no rating.
    sparsity = 1 - len(data) / (num_users * num_items)
    counts = np.bincount(data["rating"], minlength=6)[1:].tolist()
    statistics = {
        "num_users": num_users,
        "num_items": num_items,
        "num_ratings": len(data),
        "sparsity": sparsity,
    }
    run.say(f"number of users: {num_users}, number of items: {num_items}")
    run.say(f"matrix sparsity: {sparsity:f}")
    run.say(data.head(5).to_string())

    source = "these ratings" if dataset["substitute"] else "MovieLens-100K"
    figure = draw_rating_histogram(counts, f"Distribution of ratings in {source}")
    ratings = {str(rating): count for rating, count in enumerate(counts, 1)}
    return run.finish(statistics, figure, compares=True, more={"ratings": ratings})


if __name__ == "__main__":
    command_line.run(main)
