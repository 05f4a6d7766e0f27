"""Measures the chapter of ``ERRATA.md`` on the tutorial: SVD, NeuMF and autoencoder."""

import pathlib
import tempfile
from typing import Any, Dict, List

import numpy

from benchmarks.errata.figures import Figures, mean_sd
from benchmarks.errata.lab import Lab, Rows
from d2l_recsys.backend import init, mx, np, npx
from d2l_recsys.chapters.extras import svd as by_ratings
from d2l_recsys.chapters.tutorial import neumf, svd
from d2l_recsys.data import load_all_ml100k
from d2l_recsys.loaders.interactions import RankingData
from d2l_recsys.recommend import recommend
from d2l_recsys.saved_models import TrainedModel
from d2l_recsys.saved_models.ids import RatingIds
from d2l_recsys.sections.registry import SYSTEMS
from d2l_recsys.training.history import History

ROWS = Rows()

USER, LIST_LENGTH = 837, 5
NUM_FACTORS = 50
# The NeuMF is stuck with few seeds, so many are needed to see some that are.
NEUMF_SEEDS = 100


def losses_by_epoch(lab: Lab, system: str, seed: int = 0, **options: Any) -> List[Dict[str, Any]]:
    """Trains a system of the tutorial; returns the rows of its history, one for each epoch."""
    with tempfile.TemporaryDirectory() as out:
        SYSTEMS[system].main()(seed=seed, data_dir=lab.data_dir, out=out, quiet=True, **options)
        return History.from_csv(pathlib.Path(out) / "history.csv").rows


@ROWS.row("T1")
def scores_that_are_no_ratings(lab: Lab) -> Figures:
    """Compares the tutorial's scores with ratings, and its list with that of another fill."""
    data = load_all_ml100k(lab.data_dir)
    ids = RatingIds.consecutive(*data.sizes)
    models = {
        "the tutorial's": svd.fit(data, NUM_FACTORS)[0],
        "filled with the user's mean": by_ratings.fit(data, NUM_FACTORS),
        "the tutorial's, 20 factors": svd.fit(data, 20)[0],
    }
    figures: Figures = {}
    lists = {}
    for name, model in models.items():
        trained = TrainedModel("tutorial_svd", model, {}, ids)
        best = recommend(trained, USER, LIST_LENGTH, lab.data_dir)
        lists[name] = set(best["item_id"])
        scores = model.score_all(numpy.arange(data.num_users))[data.users, data.items]
        errors = scores.astype(numpy.float64) - data.ratings
        figures[f"mean of the scores of rated items, {name}"] = float(scores.mean(dtype=float))
        figures[f"RMSE on the rated items, {name}"] = float(numpy.sqrt((errors**2).mean()))
        if name == "the tutorial's":
            for place, score in enumerate(best["score"], start=1):
                figures[f"score of movie {place} for user {USER}"] = float(score)
    figures["mean rating"] = float(data.ratings.mean(dtype=float))
    for name in list(models)[1:]:
        same = len(lists["the tutorial's"] & lists[name])
        figures[f"movies of the tutorial's list that are there, {name}"] = same
    return figures


def only_harmful_units(data: RankingData, seed: int) -> bool:
    """Whether NeuMF starts with no unit that is active and has a positive weight in the output.

    The units are those of the last layer of the MLP. Active means: for at least 1 % of the pairs.
    """
    npx.set_np()
    mx.random.seed(seed)
    net = neumf.TutorialNeuMF(8, *data.sizes, [16, 8, 4])
    net.initialize(init=init.Normal(1))
    neumf.draw_weights(net, neumf.Start.pytorch, neumf.OutputBias.learned, 0.0)
    pairs = [table(np.array(ids)) for table, ids in ((net.U, data.users), (net.V, data.items))]
    active = (net.mlp(np.concatenate(pairs, axis=1)).asnumpy() > 0).mean(axis=0)
    weights = net.prediction.weight.data().asnumpy()[0, 8:]
    return not ((active >= neumf.FEW_PAIRS) & (weights > 0)).any()


@ROWS.row("T2")
def two_regimes(lab: Lab) -> Figures:
    """Counts the stuck runs of NeuMF, and trains them again with other biases of the output."""
    runs = {seed: losses_by_epoch(lab, "tutorial_neumf", seed) for seed in range(NEUMF_SEEDS)}
    stuck = [seed for seed, rows in runs.items() if rows[-1]["defined_stuck"]]
    others = [seed for seed in runs if seed not in stuck]
    figures: Figures = {
        "seeds": NEUMF_SEEDS,
        "stuck runs": len(stuck),
        "stuck runs of the first 20 seeds": sum(seed < 20 for seed in stuck),
    }
    data = load_all_ml100k(lab.data_dir)
    harmful = [seed for seed in runs if only_harmful_units(data, seed)]
    figures["start with only negative weights"] = len(harmful)
    figures["of these, stuck"] = len(set(harmful) & set(stuck))
    for name, seeds in (("usual", others), ("stuck", stuck)):
        for epoch in range(1, 6):
            losses = [runs[seed][epoch - 1]["printed_train_loss"] for seed in seeds]
            figures.update(mean_sd(f"{name}, loss of epoch {epoch}", losses))
    for name, options in (
        ("stuck, bias from the mean", {"output_bias": "mean"}),
        ("stuck, no bias", {"output_bias": "none"}),
        ("the same seeds, Xavier's weights", {"start": "xavier"}),
    ):
        last = [losses_by_epoch(lab, "tutorial_neumf", seed, **options)[-1] for seed in stuck]
        figures.update(
            mean_sd(f"{name}, loss of epoch 5", [row["printed_train_loss"] for row in last])
        )
        figures[f"{name}: stuck runs"] = int(sum(row["defined_stuck"] for row in last))
    return figures


@ROWS.row("T3")
def dead_units(lab: Lab) -> Figures:
    """Counts the dead units and the different lists of the autoencoder, at two rates."""
    figures: Figures = {"seeds": lab.seeds}
    for name, options in (("rate 0.01", {}), ("rate 0.0003", {"lr": 0.0003})):
        runs = [
            losses_by_epoch(lab, "tutorial_autoencoder", seed, **options)
            for seed in range(lab.seeds)
        ]
        for epoch in (1, 4, 20):
            losses = [rows[epoch - 1]["printed_train_loss"] for rows in runs]
            figures.update(mean_sd(f"{name}, loss of epoch {epoch}", losses))
        for number in ("dead_units", "num_lists"):
            last = [int(rows[-1][f"defined_{number}"]) for rows in runs]
            told = number.replace("_", " ").replace("num ", "")
            figures[f"{name}, fewest {told}"] = min(last)
            figures[f"{name}, most {told}"] = max(last)
        figures["loss of the mean row"] = runs[0][-1]["defined_mean_row_loss"]
    return figures
