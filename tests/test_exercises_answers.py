"""The exercises, and ``docs/exercises.md``: its words are those of the code and of its runs."""

import json
import re

import numpy as np
import pytest
from conftest import ROOT

from d2l_recsys.exercises import answers
from d2l_recsys.exercises.answers import EXERCISES
from d2l_recsys.exercises.claims import check, filled
from d2l_recsys.exercises.exercise import Exercise, Grid, Part
from d2l_recsys.exercises.page import command_of
from d2l_recsys.reproduction import planned
from d2l_recsys.reproduction.summary import Spread
from d2l_recsys.sections.registry import SYSTEMS
from d2l_recsys.sweeps.table import Row

PAGE = (ROOT / "docs" / "exercises.md").read_text(encoding="utf-8")
NUMBERS = json.loads((ROOT / "docs" / "exercises" / "numbers.json").read_text())["exercises"]
HAS_RUNS = [number for number, exercise in EXERCISES.items() if exercise.parts]


def rows_of(number):
    """The rows of each part, from the numbers that the runs of the page left."""
    return [
        [
            Row(
                point["labels"],
                {name: Spread(**spread) for name, spread in point["numbers"].items()},
                point["reported"],
                point["seconds"],
                len(point["seeds"]),
                point["failed"],
            )
            for point in part.get("points", ())
        ]
        for part in NUMBERS[number]["parts"]
    ]


def test_the_chapters_sections_have_all_their_exercises():
    counts = {}
    for number in EXERCISES:
        section, _, place = number.rpartition(".")
        counts[section] = counts.get(section, 0) + 1
        # The tutorial's first question has no answer by a run.
        assert int(place) == counts[section] + (section == "tutorial")
    assert counts == {"15.1": 2, "15.2": 2, "15.3": 3, "15.4": 3, "15.5": 2, "15.6": 5,
                      "15.7": 3, "15.8": 1, "15.9": 2, "15.10": 2, "tutorial": 4}  # fmt: skip
    assert list(NUMBERS) == list(EXERCISES)


@pytest.mark.parametrize("number", EXERCISES)
def test_the_page_has_the_answer_with_the_numbers_of_its_runs(number):
    exercise = EXERCISES[number]
    assert f"### {number} {exercise.question}" in PAGE
    assert filled(exercise.answer, rows_of(number)) in PAGE
    assert len(exercise.answer) > 200
    if exercise.parts:
        assert f"```\n{command_of(number)}\n```" in PAGE


@pytest.mark.parametrize("number", HAS_RUNS)
def test_every_claim_holds_in_the_runs_of_the_page(number):
    several = any(len(rows) > 1 for rows in rows_of(number))
    assert bool(EXERCISES[number].claims) == (several and number != "15.8.1")
    assert [claim["claim"] for claim in NUMBERS[number]["claims"]] == list(EXERCISES[number].claims)
    for claim in EXERCISES[number].claims:
        found = check(claim, rows_of(number))
        assert found.holds, str(found)
        assert str(found) in PAGE


@pytest.mark.parametrize("number", HAS_RUNS)
def test_the_runs_of_the_page_are_those_of_the_exercise(number):
    assert len(EXERCISES[number].parts) == len(NUMBERS[number]["parts"])
    for part, left in zip(EXERCISES[number].parts, NUMBERS[number]["parts"]):
        assert left["title"].rstrip("*") == part.title
        if isinstance(part, Part):
            points = part.points("movielens")
            expected = [json.loads(json.dumps([p.section.name, p.labels])) for p in points]
            assert [[p["system"], p["labels"]] for p in left["points"]] == expected
            for point, of in zip(points, left["points"]):
                assert of["seeds"] == ([*range(part.seeds)] if point.section.draws else [None])


def test_the_log_loss_of_a_constant_is_what_the_answers_say():
    (clicks,) = rows_of("15.8.1")
    p, q = (clicks[0].numbers[f"{part}_ctr"].mean / 100 for part in ("train", "test"))
    constant = -(q * np.log(p) + (1 - q) * np.log(1 - p))
    assert "gives a log loss of 0.688" in " ".join(EXERCISES["15.9.1"].answer.split())
    assert constant == pytest.approx(0.688, abs=5e-4)


def test_every_figure_of_the_page_exists_and_is_shown():
    shown = set(re.findall(r"\]\(exercises/(.*?\.png)\)", PAGE))
    assert shown == {path.name for path in (ROOT / "docs" / "exercises").glob("*.png")}


@pytest.fixture
def small(monkeypatch):
    """Two small exercises on ALS, without worker processes."""
    of_als = Exercise(
        "15.3.1",
        "How many factors?",
        "With 2 factors the AUC is [test_auc num_factors=2].\n\n"
        "| model | see |\n|---|---|\n| ALS | [`ERRATA.md`](../ERRATA.md) |",
        [Part("ALS", [Grid("als", {"num_factors": (2, 3)}, {"num_epochs": 2})], 2)],
        ["test_auc: num_factors=2 ~ num_factors=3"],
    )
    words = Exercise("15.3.2", "Why?", "Because.")
    monkeypatch.setattr(answers, "EXERCISES", {"15.3.1": of_als, "15.3.2": words})
    monkeypatch.setattr(planned, "work_off", lambda jobs, do, _: ((job, do(job)) for job in jobs))


@pytest.mark.usefixtures("small")
def test_an_exercise_is_run_shown_and_written(run_here, ratings_dir, tmp_path):
    options = ["--data-dir", ratings_dir, "--first-seed", "7"]
    status, text, error = run_here("exercise", "15.3", *options)
    assert status == 0, error
    values = [
        SYSTEMS["als"].main()(
            num_factors=2, num_epochs=2, seed=seed, data_dir=ratings_dir, quiet=True
        )["defined"]["test_auc"]
        for seed in (7, 8)
    ]
    mean, sd = np.mean(values), np.std(values, ddof=1)
    assert f"With 2 factors the AUC is {mean:.3f} ± {sd:.3f}." in text
    assert "15.3.2  Why?\n\nBecause." in text
    # A terminal shows no Markdown.
    assert "model    see\n-------  -----------\nALS      `ERRATA.md`\n" in text
    folder = tmp_path / "results" / "exercises"
    page = (folder / "exercises.md").read_text()
    assert f"With 2 factors the AUC is {mean:.3f} ± {sd:.3f}." in page
    assert (
        "- with num_factors=2, test auc is not clearly different from that with num_factors=3"
        in page
    )
    assert "These runs do not show" not in page
    assert (folder / "exercises" / "15.3.1-1.png").read_bytes().startswith(b"\x89PNG")
    document = json.loads((folder / "exercises" / "numbers.json").read_text())
    assert document["exercises"]["15.3.2"]["answer"] == "Because."
    status, text, error = run_here("exercise", "15.3.1", *options, "--seeds", "1", "--json")
    assert status == 0, error
    assert "2 of 2 already finished: als, num_epochs 2, num_factors 3, seed 7" in error
    (claim,) = json.loads(text)["exercises"]["15.3.1"]["claims"]
    assert claim["holds"] is None
    text = run_here("exercise", "15.3.1", *options, "--seeds", "1")[1]
    assert "These runs do not show 1 of the 1 claims of the answer below." in text


def test_the_list_has_every_question(run_here):
    status, text, _ = run_here("exercise", "--list")
    assert status == 0
    head, *lines = (line.split() for line in text.splitlines())
    assert head == ["exercise", "runs", "question"]
    assert [line[0] for line in lines] == list(EXERCISES)
    assert lines[4][:2] == ["15.3.1", "25"]
    assert run_here("exercise")[1] == text
    assert list(json.loads(run_here("exercise", "--list", "--json")[1])["exercises"]) == list(
        EXERCISES
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["15.3.9"], "there is no exercise '15.3.9'; did you mean '15.3.3'?"),
        (["15.3.1", "--seeds", "0"], "--seeds is 0"),
        (["15.3.1", "--jobs", "0"], "--jobs is 0"),
        (["15.3.1", "--dataset", "shop"], "--dataset is 'shop'; choose one of"),
        (["15.3.1", "--first-seed", "-1"], "--first-seed is -1"),
    ],
)
def test_bad_input_is_one_line_before_any_run(run_here, arguments, message, tmp_path):
    status, text, error = run_here("exercise", *arguments)
    assert (status, text) == (2, "")
    assert message in error
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "results").exists()
