import os
import re

import numpy as np
import pytest
from conftest import made_up_ratings, run_script, write_ratings

from d2l_recsys.__main__ import main
from d2l_recsys.cli import recommend as recommend_command
from d2l_recsys.cli.recommend import resolve
from d2l_recsys.errors import SettingError, Stopped
from d2l_recsys.model_bases.closed_form import ClosedForm
from d2l_recsys.recommend import rated_highest, recommend, similar
from d2l_recsys.saved_models import MODEL, TrainedModel, load_model, save_model
from d2l_recsys.saved_models.ids import RatingIds
from d2l_recsys.sections.registry import SYSTEMS, Kind


@pytest.fixture
def call(ratings_dir, tmp_path, monkeypatch, capsys):
    """A function that runs ``d2l-recsys recommend`` on made-up data.

    It returns the exit code, standard output and standard error.
    """
    monkeypatch.chdir(tmp_path)

    def call_main(*options, data_dir=ratings_dir):
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            main(["recommend", *map(str, options), "--data-dir", str(data_dir)])
        return (left.value.code, *capsys.readouterr())

    return call_main


def tables(text):
    """Yield each printed table: its heading, then its column names and rows."""
    for table in text.rstrip("\n").split("\n\n"):
        heading, head, rule, *rows = table.split("\n")
        columns = [(match.start(), match.end()) for match in re.finditer("-+", rule)]
        yield heading, [[line[a:b].strip() for a, b in columns] for line in (head, *rows)]


def as_rows(frame, number, ranked):
    rows = [
        [str(rank)] * ranked + [m["title"], str(m["year"]), ", ".join(m["genres"]), number(m)]
        for rank, m in enumerate(frame.to_dict("records"), 1)
    ]
    last = "score" if ranked else "rating"
    return [["rank"] * ranked + ["title", "year", "genres", last], *rows]


def scored(frame):
    return as_rows(frame, lambda movie: f"{movie['score']:.3f}", True)


def test_a_model_is_trained_and_from_then_on_loaded(call, ratings_dir, tmp_path):
    status, first, note = call("--model", "popularity", "--user", 8, "-n", 3)
    assert (status, note) == (
        0, "training popularity first; the model will be saved in results/popularity\n"
    )  # fmt: skip
    path = tmp_path / "results" / "popularity" / MODEL
    left = path.read_bytes()
    again = call("--model", "popularity", "--user", 8, "-n", 3)
    assert again == (0, first, "")
    assert path.read_bytes() == left
    highest = rated_highest(8, 3, ratings_dir)
    best = recommend(load_model(path.parent), 8, 3, ratings_dir)
    assert list(tables(first)) == [
        ("rated highest by user 8", as_rows(highest, lambda m: str(m["rating"]), False)),
        ("recommended by popularity", scored(best)),
    ]
    # The command uses the saved model, whatever its numbers are.
    counts = load_model(path.parent)
    save_model(path.parent, counts._replace(net=type(counts.net)(-counts.net.counts)))
    assert call("--model", "popularity", "--user", 8, "-n", 3)[1] != first


def test_a_model_is_taken_from_a_folder(call, tmp_path):
    _, expected, _ = call("--model", "popularity", "--user", 8)
    elsewhere = tmp_path / "mine"
    (tmp_path / "results" / "popularity").rename(elsewhere)
    for name in ("mine", elsewhere, "./mine/"):
        assert call("--model", name, "--user", 8) == (0, expected, "")
    assert not list((tmp_path / "results").iterdir())


def test_systems_that_draw_have_a_model_for_each_seed(call, tmp_path, monkeypatch, ratings_dir):
    pytest.importorskip("d2l_recsys.backend")
    options = {"num_epochs": 1, "batch_size": 64}
    of_mf = SYSTEMS["mf"], options, "other-name"
    monkeypatch.setattr(recommend_command, "resolve", lambda name: of_mf)
    results = tmp_path / "all"
    shared = ["--model", "quick", "--results", results, "-n", 2]
    seeds = {}
    for seed in (0, 3):
        status, text, note = call(*shared, "--user", 8, "--like", "film 7", "--seed", seed)
        folder = results / "other-name" / f"seed-{seed}"
        assert (status, note.count("\n")) == (0, 1)
        assert note.startswith(f"training quick first; the model will be saved in {folder}")
        model = load_model(folder)
        seeds[seed] = list(tables(text))
        assert seeds[seed][1:] == [
            ("recommended by quick", scored(recommend(model, 8, 2, ratings_dir))),
            ("most like Film 7 (1957), by quick", scored(similar(model, 7, 2, ratings_dir))),
        ]
        assert len(seeds[seed][0][1]) == 3
    assert seeds[0] != seeds[3]
    assert seeds[0][0] == seeds[3][0]
    _, text, note = call(*shared, "--like", "Film 7 (1957)", "--seed", 3)
    assert (list(tables(text)), note) == (seeds[3][2:], "")


class Alike(ClosedForm):
    """A model in which items with near ids are similar."""

    def similar_to(self, item):
        return -abs(np.arange(40.0) - item)


def test_a_movie_that_the_data_has_twice_is_told(call, ratings_dir, monkeypatch):
    path = ratings_dir / "u.item"
    text = path.read_text(encoding="latin-1").replace("Film 28 (1978)", "Film 30 (1980)")
    path.write_bytes(text.replace("Film 29 (1979)", "Été, L' (Summer)").encode("latin-1"))
    model = TrainedModel("ease", Alike(), {}, RatingIds.consecutive(30, 40))
    monkeypatch.setattr("d2l_recsys.saved_models.load_model", lambda folder: model)
    _, text, _ = call("--model", "./any", "--like", "film 30", "-n", 2)
    ratings = np.loadtxt(ratings_dir / "u.data", dtype=int)[:, 1]
    assert (ratings == 30).sum() > (ratings == 28).sum()
    assert text.splitlines()[:2] == [
        "most like Film 30 (1980), by ease",
        "(item 30, which has the most ratings; the same movie is also item 28)",
    ]
    rows = [line.split() for line in text.splitlines() if re.match(" +[12] ", line)]
    # A movie without a year leaves that column empty.
    assert rows[0][:5] == ["1", "Été,", "L'", "(Summer)", "Action,"]
    assert rows[1][:5] == ["2", "Film", "31", "1981", "Action,"]


BAD = [
    ([], "give --user, --like or both"),
    (["--user", "31"], "user 31 is not in the data; users are 1 to 30"),
    (["--user", "-1"], "user -1 is not in the data; users are 1 to 30"),
    (["--user", "one"], "Invalid value for '--user'"),
    (["--user", "1", "-n", "0"], "-n is 0; it must be a whole number, 1 or larger"),
    (["--like", "Film 7", "-n", "0"], "-n is 0; it must be a whole number, 1 or larger"),
    (["--user", "1", "-n", "-1"], "-n is -1; it must be a whole number, 1 or larger"),
    (["--user", "1", "--seed", "-1"], "--seed is -1; it must lie between 0 and"),
    (["--like", "Flim 7"], r"no movie is called 'Flim 7'; did you mean Film 7 \(1957\), Film"),
    (["--like", ""], "--like is ''; give it a value"),
    (["--like", "Film 7"], "popularity has no vectors of items, so it cannot find similar ones"),
    (["--user", "1", "--like", "Film 7"], "popularity has no vectors of items"),
]
BAD_MODELS = [
    ("fm", "fm predicts clicks and does not rank items; try fm-ranking"),
    ("deepfm", "deepfm predicts clicks and does not rank items; try deepfm-ranking"),
    ("movielens", "movielens does not rank items; choose one of: mf"),
    ("populartiy", r"--model is 'populartiy'; did you mean 'popularity'\? .*; or name a run's"),
    ("", "--model is ''; give it a value"),
    ("results/mf", "there is no results/mf/model.safetensors; name the folder of a finished run"),
    (".", r"there is no model\.safetensors; name the folder of a finished run"),
]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        *((["--model", "popularity", *options], message) for options, message in BAD),
        *((["--model", name, "--user", "1"], message) for name, message in BAD_MODELS),
    ],
)
def test_bad_input_gets_one_line_before_anything_is_trained(call, tmp_path, options, message):
    status, out, error = call(*options)
    assert (status, out) == (2, "")
    (line,) = error.splitlines()
    assert re.search(rf"error: {message}", line)
    assert not (tmp_path / "results").exists()


def test_without_a_model_the_highest_that_is_trained_is_used(call, tmp_path):
    status, first, note = call("--user", 8, "-n", 3)
    assert status == 0
    assert note.splitlines() == [
        "no system is trained in results; using ordered_ease, which stands highest on the "
        "leaderboard; choose another with --model",
        "training ordered_ease first; the model will be saved in results/ordered_ease",
    ]
    assert "recommended by ordered_ease" in first
    call("--model", "popularity", "--user", 8)
    assert call("--user", 8, "-n", 3)[1] == first
    (tmp_path / "results" / "ordered_ease" / MODEL).unlink()
    status, out, note = call("--user", 8, "-n", 3)
    assert status == 0
    assert "recommended by popularity" in out
    assert note == (
        "using popularity, which stands highest on the leaderboard of the models in results; "
        "choose another with --model\n"
    )
    # Popularity cannot compare movies.
    status, out, note = call("--like", "Film 7", "-n", 3)
    assert status == 0
    assert "by ordered_ease" in out
    assert note.startswith("no system is trained in results; using ordered_ease")


def test_a_model_of_other_data_does_not_count(call, ratings, tmp_path):
    folder = tmp_path / "fewer"
    folder.mkdir()
    other = write_ratings(folder, ratings[ratings["user_id"] < 30])
    call("--model", "popularity", "--user", 1, data_dir=other)
    status, out, _ = call("--user", 1)
    assert status == 0
    assert "recommended by ordered_ease" in out


def test_a_model_of_other_data_is_refused(call, ratings, tmp_path):
    call("--model", "popularity", "--user", 1)
    fewer = ratings[ratings["user_id"] < 30]
    folder = tmp_path / "fewer"
    folder.mkdir()
    status, out, error = call(
        "--model", "popularity", "--user", 1, data_dir=write_ratings(folder, fewer)
    )
    assert (status, out) == (2, "")
    assert "results/popularity was trained on other ratings; name their folder with --data" in error


def test_missing_movies_are_named(call, ratings_dir):
    (ratings_dir / "u.item").unlink()
    for options in (["--user", 1], ["--like", "Film 1"]):
        status, _, error = call("--model", "popularity", *options)
        assert status == 2
        assert re.search(r"error: .*made-up/u\.item cannot be read", error)


@pytest.mark.parametrize("stopped", [Stopped("saved; --resume goes on"), KeyboardInterrupt()])
def test_ctrl_c_in_training_does_not_speak_of_options_that_there_are_not(
    call, monkeypatch, stopped
):
    def interrupted(data_dir, out):
        raise stopped

    monkeypatch.setattr(type(SYSTEMS["mf"]), "main", lambda section: interrupted)
    status, out, error = call("--model", "popularity", "--user", 1)
    assert (status, out) == (130, "")
    assert "--resume" not in error
    lines = error.splitlines()[1:]
    assert len(lines) == isinstance(stopped, Stopped)
    if lines:
        assert lines[0].endswith("run the command again to train popularity from scratch")


def test_names_are_those_of_systems_that_rank():
    for name, section in SYSTEMS.items():
        if section.kind in (Kind.ranking, Kind.ratings, Kind.all_ratings):
            assert resolve(name) == (section, {}, name)
        else:
            with pytest.raises(
                SettingError, match=rf"^{name} (predicts clicks and )?does not rank items"
            ):
                resolve(name)


def test_a_closed_form_recommends_without_mxnet(ratings_dir, tmp_path):
    (tmp_path / "mxnet.py").write_text("raise ModuleNotFoundError(\"none\", name='mxnet')\n")
    options = ["--model", "popularity", "--user", 3, "--data-dir", ratings_dir]
    done = run_script(
        "d2l_recsys/__main__.py", "recommend", *options, cwd=tmp_path, PYTHONPATH=str(tmp_path)
    )
    assert (done.returncode, done.stderr.count("\n")) == (0, 1), done.stderr
    assert f"in results{os.sep}popularity" in done.stderr
    assert len(list(tables(done.stdout))) == 2


def test_a_name_on_the_leaderboard_is_a_system_with_its_options():
    section, options, folder = resolve("svd-zero")
    assert (section.name, options["fill"], folder) == ("svd", "zero", "svd-zero")
    # als is a system and an entry: the name stands for the system with its defaults.
    assert resolve("als") == (SYSTEMS["als"], {}, "als")
    with pytest.raises(SettingError, match=r"--model is 'svd-zeros'; did you mean 'svd-zero'\?"):
        resolve("svd-zeros")


def test_a_model_of_another_system_or_of_other_data_is_refused(call, tmp_path, ratings_dir):
    SYSTEMS["popularity"].main()(
        data_dir=ratings_dir, out=tmp_path / "results/ease", quiet=True, force=True
    )
    status, text, error = call("--model", "ease", "--user", 3)
    assert (status, text) == (2, "")
    assert "results/ease has a model of popularity, not of ease; remove this" in error
    other = tmp_path / "other"
    other.mkdir()
    ratings = made_up_ratings(seed=5)
    write_ratings(other, ratings)
    for model in ("popularity", "./results/popularity"):
        SYSTEMS["popularity"].main()(
            data_dir=other, out=tmp_path / "results/popularity", quiet=True, force=True
        )
        status, text, error = call("--model", model, "--user", 3)
        assert (status, text) == (2, "")
        assert "results/popularity was trained on other ratings; name their folder" in error


def test_settings_that_are_not_the_defaults_are_told(call, tmp_path, ratings_dir):
    ease = SYSTEMS["ease"].main()
    ease(data_dir=ratings_dir, out=tmp_path / "results/ease", quiet=True, force=True)
    assert call("--model", "ease", "--user", 3)[2] == ""
    ease(
        data_dir=ratings_dir,
        out=tmp_path / "results/ease",
        quiet=True,
        force=True,
        l2=7.0,
        split="validation",
    )
    for model in ("ease", "./results/ease"):
        status, _, error = call("--model", model, "--user", 3)
        assert status == 0
        assert error == "the model in results/ease was trained with l2 7.0, split validation\n"
