import subprocess
import sys

import numpy as np
from conftest import ROOT

from d2l_recsys.chapters.extras.popularity import fit
from d2l_recsys.data import load_ranking_ml100k


def test_the_scores_are_how_many_users_have_seen_each_item(ratings_dir):
    data = load_ranking_ml100k(ratings_dir)
    counts = [0] * data.num_items
    for seen in data.candidates.values():
        for item in seen:
            counts[item] += 1
    scores = fit(data).score_all(np.array([7, 0, 7]))
    assert scores.tolist() == [counts] * 3
    assert scores.dtype == np.float32


def test_an_item_without_users_scores_0(ratings_dir):
    data = load_ranking_ml100k(ratings_dir)._replace(num_items=42)
    assert fit(data).score_all(np.arange(2))[:, 40:].tolist() == [[0, 0]] * 2


def test_it_runs_and_the_other_closed_forms_are_computed_without_mxnet(ratings_dir, tmp_path):
    code = (
        "import pathlib, sys\n"
        "sys.modules['mxnet'] = None\n"
        "from d2l_recsys.chapters.extras import als, bias, ease, itemknn\n"
        "from d2l_recsys.chapters.extras import ordered_ease, popularity, svd\n"
        "from d2l_recsys.chapters.tutorial import svd as tutorial_svd\n"
        "from d2l_recsys.data import load_ranking_ml100k\n"
        "folder, out = map(pathlib.Path, sys.argv[1:])\n"
        "popularity.main(data_dir=folder, out=out, quiet=True)\n"
        "options = {'num_factors': 3, 'user': 1, 'quiet': True, 'data_dir': folder}\n"
        "tutorial_svd.main(out=out / 'svd', **options)\n"
        "data = load_ranking_ml100k(folder)\n"
        "bias.fit(data, 5), itemknn.fit(data, 5, 1), ease.fit(data, 5)\n"
        "ordered_ease.fit(data, 5, 3, 0.9, 1, 0.9)\n"
    )
    command = [sys.executable, "-c", code, ratings_dir, tmp_path]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "model.safetensors").exists()
