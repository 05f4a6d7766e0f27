import io
import json
import shutil

import matplotlib.image
import pandas as pd
import pytest
from conftest import ROOT, made_up_ratings, write_ratings

from d2l_recsys.leaderboard.entries import ENTRIES, predicts_ratings
from d2l_recsys.recommend.predictions import predict, predict_both
from d2l_recsys.saved_models import MODEL, TrainedModel, load_model
from d2l_recsys.saved_models.ids import ClickIds
from d2l_recsys.sections.registry import SYSTEMS

FILES = ["histogram.png", "predictions.csv"]


@pytest.fixture
def call(run_here, ratings_dir):
    """A function that runs ``d2l-recsys predict`` on made-up data."""

    def call(*arguments, data_dir=ratings_dir):
        return run_here("predict", *arguments, "--data-dir", data_dir)

    return call


@pytest.fixture
def run_of(ratings_dir, tmp_path):
    """A function that runs a system on made-up data, and returns the name of its folder."""

    def run_of(name, **options):
        folder = tmp_path / name
        SYSTEMS[name].main()(data_dir=ratings_dir, out=folder, quiet=True, **options)
        return name

    return run_of


@pytest.fixture
def mf(run_of):
    pytest.importorskip("d2l_recsys.backend")
    return run_of("mf", num_epochs=1, batch_size=64)


def files_in(folder):
    return sorted(path.name for path in folder.iterdir())


def test_one_rating_of_mf_has_both_readings(call, mf, ratings, ratings_dir, tmp_path):
    real = {(u, i): r for u, i, r, _ in ratings.to_numpy().tolist()}
    left = files_in(tmp_path / mf)
    result = json.loads((tmp_path / mf / "result.json").read_text())
    model = load_model(tmp_path / mf)
    seen = min(i for u, i in real if u == 20)
    for item, last in (
        (seen, f"the real rating by user 20: {real[20, seen]}"),
        (30, "user 20 has not rated this movie"),
    ):
        found, printed = predict_both(model, 20, item, ratings_dir)
        lines = [
            f"mf predicts for user 20 and Film {item} ({1950 + item}), item {item}: rating "
            f"{found['prediction'][0]:.3f} as defined (rows 19 and {item - 1} of P and Q)",
            f"as printed: {printed:.3f} (the chapter's code reads rows 20 and {item}, which belong "
            f"to user 21 and item {item + 1}, because ids start at 1)",
            last,
        ]
        for folder in (mf, f"{mf}/result.json"):
            code, out, err = call(folder, "--user", 20, "--item", item)
            assert (code, out.splitlines(), err) == (0, lines, "")
    assert (20, 30) not in real
    # The run asks for the same pair at its end.
    for protocol, number in (("defined", found["prediction"][0]), ("printed", printed)):
        assert result[protocol]["score_user20_item30"] == pytest.approx(number, abs=1e-6)
    # One prediction writes nothing.
    assert files_in(tmp_path / mf) == left


def test_the_last_user_has_no_printed_reading(call, mf):
    _, out, _ = call(mf, "--user", 30, "--item", 7)
    assert out.splitlines()[1] == (
        "as printed, there is no rating: the chapter's code reads rows 30 and 7, but the last rows "
        "are 29 and 39"
    )
    _, out, _ = call(mf, "--user", 30, "--item", 7, "--json")
    assert json.loads(out)["printed"] is None


def test_all_users_for_an_item(call, mf, ratings, ratings_dir, tmp_path, monkeypatch):
    marked = []
    import d2l_recsys.runs.plots as plots

    draw = plots.draw_predictions
    monkeypatch.setattr(
        plots, "draw_predictions", lambda *a: marked.append((a[3], a[4])) or draw(*a)
    )
    code, out, err = call(mf, "--item", 7)
    assert (code, err) == (0, "")
    found = predict(load_model(tmp_path / mf), item_ids=7, data_dir=ratings_dir)
    given = ratings["rating"][ratings["item_id"] == 7]
    lines = out.splitlines()
    assert lines[:3] == [
        "mf: predicted ratings of Film 7 (1957), item 7, by 30 users",
        "as defined: the rows of P and Q are the ids minus 1",
        "rating       users",
    ]
    below = (found["prediction"] < 1).sum()
    assert lines[4].split() == ["below", "1", str(below)]
    assert sum(int(line.split()[-1]) for line in lines[4:-3]) == 30
    low, high = found["prediction"].idxmin(), found["prediction"].idxmax()
    assert lines[-3:] == [
        f"mean {found['prediction'].mean():.3f}, sd {found['prediction'].std(ddof=0):.3f}, "
        f"lowest {found['prediction'][low]:.3f} (user {low + 1}), "
        f"highest {found['prediction'][high]:.3f} (user {high + 1})",
        f"real ratings: {len(given)}, mean {given.mean():.3f}",
        "written to mf/item-7: histogram.png, predictions.csv",
    ]
    assert marked == [(lines[0], pytest.approx(given.mean()))]
    table = pd.read_csv(tmp_path / mf / "item-7" / "predictions.csv", dtype={"rating": "Int64"})
    assert list(table) == ["user_id", "prediction", "rating"]
    assert table["user_id"].tolist() == list(range(1, 31))
    assert table["prediction"].tolist() == pytest.approx(found["prediction"].tolist(), rel=1e-5)
    assert table["rating"].equals(found["rating"])
    picture = (tmp_path / mf / "item-7" / "histogram.png").read_bytes()
    assert matplotlib.image.imread(io.BytesIO(picture)).shape[:2] == (500, 700)


def test_all_items_for_a_user_by_a_model_of_scores(call, run_of, ratings_dir, tmp_path):
    ease = run_of("ease")
    out_folder = tmp_path / "new" / "mine"
    code, out, err = call(ease, "--user", 8, "--out", out_folder)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[:2] == [
        "ease: scores of 40 movies by user 8",
        "scores of different models are not comparable",
    ]
    assert sum(int(line.split()[-1]) for line in lines[4:-3]) == 40
    assert lines[-1] == f"written to {out_folder}: {', '.join(FILES)}"
    assert files_in(out_folder) == FILES
    table = pd.read_csv(out_folder / "predictions.csv")
    assert list(table) == ["item_id", "title", "year", "prediction", "rating"]
    assert table["title"].tolist() == [f"Film {i}" for i in range(1, 41)]
    found = predict(load_model(ease), 8, data_dir=ratings_dir)
    assert table["prediction"].tolist() == pytest.approx(found["prediction"].tolist(), rel=1e-5)
    code, out, _ = call(ease, "--user", 8, "--item", 3)
    assert out.splitlines()[0] == (
        f"ease predicts for user 8 and Film 3 (1953), item 3: score "
        f"{found['prediction'][2]:.4g} (scores of different models are not comparable)"
    )
    assert "as printed" not in out


def test_json_has_the_documented_keys(call, run_of, tmp_path):
    bias = run_of("bias")
    code, out, err = call(bias, "--user", 8, "--item", 3, "--json")
    one = json.loads(out)
    code, out, err = call(bias, "--item", 3, "--json")
    assert (code, err) == (0, "")
    every = json.loads(out)
    assert (one["model"], one["kind"], one["user"], one["item"]) == ("bias", "rating", 8, 3)
    assert (every["user"], every["item"], len(every["predictions"])) == (None, 3, 30)
    (of_one,) = one["predictions"]
    assert every["predictions"][7] == {
        **of_one, "prediction": pytest.approx(of_one["prediction"], rel=1e-6)
    }  # fmt: skip
    assert (every["folder"], every["files"]) == ("bias/item-3", FILES)
    page = (ROOT / "docs" / "json.md").read_text(encoding="utf-8")
    (row,) = (line for line in page.splitlines() if line.startswith("| `predict`"))
    for key in (*one, *every, *of_one, *every["summary"]):
        assert f"`{key}`" in row


BAD = [
    (["bias"], "give --user, --item or both"),
    (["bias", "--user", "31"], "user 31 is not in the data; users are 1 to 30"),
    (["bias", "--user", "0", "--item", "1"], "user 0 is not in the data; users are 1 to 30"),
    (["bias", "--item", "41"], "item 41 is not in the data; items are 1 to 40"),
    (["bias", "--user", "one"], "Invalid value for '--user'"),
    (["nowhere", "--user", "1"], "there is no nowhere/model.safetensors; name the folder of a"),
    (["bias", "--user", "1", "--item", "1", "--out", "x"], "one prediction writes no files"),
    (["bias", "--user", "1", "--out", "bias/result.json"], "it is a file, not a folder"),
    (["--user", "1"], "Missing argument"),
]


def test_bad_input_gets_one_line_and_no_file(call, run_of, tmp_path):
    left = files_in(tmp_path / run_of("bias"))
    for arguments, message in BAD:
        code, out, err = call(*arguments)
        assert (code, out) == (2, "")
        assert len(err.splitlines()) == 1
        assert message in err
        assert files_in(tmp_path / "bias") == left
        assert files_in(tmp_path) == ["bias", "made-up"]


def test_models_of_other_ratings_and_without_a_result_are_refused(call, run_of, tmp_path):
    (tmp_path / "other").mkdir()
    other = write_ratings(tmp_path / "other", made_up_ratings(seed=5))
    bias = run_of("bias")
    code, out, err = call(bias, "--user", 1, data_dir=other)
    assert (code, out) == (2, "")
    assert "the run was made from other ratings; name their folder with --data-dir" in err
    (tmp_path / "bare").mkdir()
    shutil.copy(tmp_path / bias / MODEL, tmp_path / "bare")
    code, out, err = call("bare", "--user", 1)
    assert (code, out) == (2, "")
    assert "bare/result.json does not exist; run its section first" in err


def test_a_model_of_clicks_is_refused(call, monkeypatch):
    model = TrainedModel("deepfm", None, {}, ClickIds({}, {}))
    monkeypatch.setattr("d2l_recsys.saved_models.load_model", lambda folder: model)
    code, out, err = call("any", "--user", 1)
    assert (code, out) == (2, "")
    assert "error: deepfm does not rank items; choose one of: mf" in err


def test_the_leaderboard_knows_which_models_predict_ratings():
    for entry in ENTRIES.values():
        assert predicts_ratings(entry.section, entry.options) == entry.on_ratings
    svd, als = SYSTEMS["svd"], SYSTEMS["als"]
    assert predicts_ratings(svd, {"fill": "mean", "num_factors": 20})
    assert not predicts_ratings(svd, {"fill": "zero", "num_factors": 7})
    assert predicts_ratings(als, {"feedback": "explicit", "num_factors": 7})
    assert not predicts_ratings(als, {"feedback": "implicit"})
    assert predicts_ratings(SYSTEMS["autorec"], {"split": "random"})
