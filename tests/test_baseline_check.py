"""The check: which questions it asks, at which rung it stops, and what its reports say."""

import json
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from d2l_recsys.baseline import oracle
from d2l_recsys.baseline.answers import NoAnswer, PortFailed
from d2l_recsys.baseline.check import Status, check
from d2l_recsys.baseline.files import Baseline
from d2l_recsys.baseline.ladder import RUNGS, VARIANTS
from d2l_recsys.baseline.mistakes import MISTAKES, together
from d2l_recsys.baseline.oracle.rounding import InOneCall, in_precision
from d2l_recsys.baseline.questions import ask
from d2l_recsys.baseline.report import as_json, as_junit, first_wrong, table, verdict

ALL = range(len(RUNGS))


@pytest.fixture(scope="module")
def baseline():
    return Baseline()


class Asked:
    """The answers of the oracle, changed by ``change``. Records the names of the questions."""

    def __init__(self, change=lambda question, answer: answer, numbers=None):
        self.change, self.final, self.names = change, numbers, []

    def answer(self, question):
        self.names.append(question.name)
        return self.change(question, ask(oracle.Port, question))

    def numbers(self, question, seeds, note):
        self.names.append(question.name)
        if isinstance(self.final, Exception):
            raise self.final
        return self.final


def climb(baseline, answers, protocols=("printed", "defined"), rungs=ALL, inputs=()):
    return check(baseline, answers, ["mf"], protocols, rungs, dict(inputs), range(10))


def statuses(row):
    return [cell.status for cell in row.cells]


def test_a_right_port_is_right_and_asked_once(baseline):
    answers = Asked()
    rows = climb(baseline, answers)
    assert [(row.model, row.protocol) for row in rows] == [("mf", "printed"), ("mf", "defined")]
    assert all(set(statuses(row)) == {Status.right} for row in rows)
    assert all(row.first_wrong is None for row in rows)
    # A question that both protocols share is asked once.
    assert len(answers.names) == len(set(answers.names))
    expected = {entry["name"] for entry in baseline.entries if entry["model"] == "mf"}
    assert set(answers.names) == expected
    ratios = [f.ratio for row in rows for cell in row.cells for f in cell.findings]
    assert all(0 <= ratio <= 0.2 for ratio in ratios)
    assert verdict(rows) == "right: all rungs that were asked"
    assert first_wrong(rows) == ""


@pytest.mark.parametrize("rung", range(6))
def test_the_first_wrong_rung_is_named_and_what_is_above_is_not_asked(baseline, rung):
    def change(question, answer):
        if question.rung != rung:
            return answer
        name = next(name for name, array in answer.items() if array.size)
        wrong = np.array(answer[name], dtype=float)
        wrong.flat[0] += 1 + 100 * np.abs(wrong).max()
        return {**answer, name: wrong}

    answers = Asked(change)
    (row,) = climb(baseline, answers, protocols=("defined",))
    assert row.first_wrong == rung
    expected = [Status.open] * len(RUNGS)
    expected[: rung + 1] = [Status.right] * rung + [Status.wrong]
    assert statuses(row) == expected
    assert max(int(name.split("/")[1][0]) for name in answers.names) == rung
    told = first_wrong([row])
    assert told.startswith(f"mf (defined), rung {rung}, {RUNGS[rung]}: first wrong here")
    assert "no known mistake, and no two of them, give all of these answers" in told
    assert "--accept" not in told
    assert "WRONG" in table([row])


def test_only_what_is_chosen_is_asked(baseline):
    answers = Asked()
    (row,) = climb(baseline, answers, protocols=("printed",), rungs=[2, 4])
    kinds = {name.split("/")[1].split("-")[1] for name in answers.names}
    assert kinds == {"forward", "step"}
    assert statuses(row).count(Status.left_out) == 6
    assert table([row]).split()[:6] == ["model", "protocol", "2", "forward", "4", "step"]


@pytest.mark.parametrize("rungs", [(0, 1, 2, 3, 4, 7), pytest.param((5,), marks=pytest.mark.slow)])
def test_the_oracle_is_right_in_every_variant(baseline, rungs):
    rows = check(baseline, Asked(), VARIANTS, ["printed", "defined"], rungs, {}, ())
    assert [row.model for row in rows[::2]] == list(VARIANTS)
    assert [row.first_wrong for row in rows] == [None] * len(rows), first_wrong(rows)


def test_a_variant_asks_its_own_questions_and_shares_the_others(baseline):
    answers = Asked()
    (row,) = check(baseline, answers, ["neumf-hinge"], ["printed"], range(6), {}, ())
    assert (row.model, row.first_wrong) == ("neumf-hinge", None)
    folders = {int(name.split("/")[1][0]): name.split("/")[0] for name in answers.names}
    shared, own = dict.fromkeys((0, 2), "neumf"), dict.fromkeys((3, 4, 5), "neumf-hinge")
    assert folders == {**shared, 1: "neumf-printed", **own}


@pytest.mark.parametrize(
    ("variant", "setting", "rung", "cause"),
    [
        ("neumf-hinge", "loss", 3, "bpr-loss"),
        ("neumf-sigmoid", "head", 2, "head-without-sigmoid"),
    ],
)
def test_a_port_that_overlooks_a_setting_of_a_variant_is_told(
    baseline, variant, setting, rung, cause
):
    def overlooks(question, answer):
        settings = {key: value for key, value in question.settings.items() if key != setting}
        return ask(oracle.Port, question._replace(settings=settings))

    rows = check(
        baseline, Asked(overlooks), ["neumf", variant], ["printed"], range(2, 6), {}, ()
    )  # fmt: skip
    assert [row.first_wrong for row in rows] == [None, rung]
    assert cause in first_wrong(rows)


@pytest.mark.parametrize("variant", ["neumf", "neumf-linear", "neumf-hinge", "caser"])
def test_a_port_may_score_both_items_of_a_pair_in_one_call(baseline, variant):
    class OneCall(InOneCall):
        dtype = np.float32

    answers = Asked(lambda question, answer: ask(OneCall, question))
    (row,) = check(baseline, answers, [variant], ["printed"], (2, 3, 4), {}, ())
    assert row.first_wrong is None, first_wrong([row])


@pytest.mark.parametrize(
    ("name", "variant", "rung", "others"),
    [
        ("first-biases-not-0", "neumf", 6, 0),
        ("held-out-items-never-negative", "caser", 6, 0),
        ("observed-items-as-negatives", "neumf", 6, 0),
        # Negative items that are not uniform look alike.
        ("negatives-drawn-once", "neumf", 6, 3),
        ("one-mask-for-all-examples", "deepfm", 7, 0),
    ],
)
def test_where_answers_are_random_only_mistakes_that_fail_the_same_tests_are_listed(
    baseline, name, variant, rung, others
):
    (mistake,) = (mistake for mistake in MISTAKES if mistake.name == name)
    answers = Asked(lambda question, answer: ask(mistake.port, question))
    (row,) = check(baseline, answers, [variant], ["printed"], [rung], {}, ())
    listed = [each.name for each in row.cells[rung].usual]
    assert name in listed
    assert len(listed) == 1 + others
    assert "this can be the cause" in first_wrong([row])


@pytest.mark.parametrize("rung", [6, 7])
def test_a_random_answer_that_no_mistake_gives_has_no_cause(baseline, rung):
    answers = Asked(lambda question, answer: {n: 1.3 * array for n, array in answer.items()})
    (row,) = climb(baseline, answers, protocols=("printed",), rungs=[rung])
    assert row.first_wrong == rung
    assert row.cells[rung].usual == row.cells[rung].causes == ()
    assert "no known mistake fails these tests, and only these" in first_wrong([row])


def test_variants_that_share_a_cell_are_told_once(baseline):
    answers = Asked(lambda question, answer: {n: 1 + array for n, array in answer.items()})
    models = ["neumf", "neumf-hinge"]
    rows = check(baseline, answers, models, ["printed", "defined"], [2], {}, ())
    told = first_wrong(rows)
    assert told.startswith("neumf and neumf-hinge (printed and defined), rung 2, forward:")
    assert told.count("first wrong here") == 1


def test_a_mistake_that_gives_just_these_answers_is_named(baseline):
    class Forgetful(oracle.Port):
        def l2_loss(self, outputs, ratings):
            losses, pull = super().l2_loss(outputs, ratings)
            return 2 * losses, lambda: {name: 2 * g for name, g in pull().items()}

    answers = Asked(lambda question, answer: ask(Forgetful, question))
    rows = climb(baseline, answers, rungs=range(6))
    assert [row.first_wrong for row in rows] == [3, 3]
    told = first_wrong(rows)
    # Both protocols share the training, so they share one paragraph.
    assert told.count("first wrong here") == 1
    assert told.startswith("mf (printed and defined), rung 3")
    assert "the whole array is 2 times the expected one" in told
    assert "this mistake gives the same answers:" in told
    assert "squared-error-not-halved: " in told
    assert told.endswith("accept it and go on: --accept squared-error-not-halved")


def test_a_port_that_raises_is_wrong_and_one_without_an_answer_is_not_right(baseline):
    def raising(question, answer):
        if question.rung == 2:
            raise PortFailed("ValueError: shapes (3,) and (4,) (mf.py, line 7)")
        return answer

    (row,) = climb(baseline, Asked(raising), protocols=("printed",))
    assert statuses(row)[2:4] == [Status.wrong, Status.open]
    assert row.cells[2].causes == ()
    assert "the port raises ValueError: shapes (3,) and (4,) (mf.py, line 7)" in first_wrong([row])

    def silent(question, answer):
        if question.rung == 5:
            raise NoAnswer("there is no trajectory")
        return answer

    (row,) = climb(baseline, Asked(silent), protocols=("printed",))
    assert row.first_wrong == 5
    assert statuses(row)[5:] == [Status.no_answer, Status.open, Status.open]
    assert "no answer" in table([row])
    assert "mf (printed), rung 5, trajectory: no answer" in first_wrong([row])
    assert verdict([row]).startswith("not right: 1 of 1")


@pytest.fixture
def ratings(baseline):
    """Made-up ratings in place of the chapter's; ``check`` does not test the checksum of inputs."""
    (entry,) = [entry for entry in baseline.entries if entry["name"] == "mf/0-data"]
    return {"mf": {"ratings": baseline.question(entry).given["ratings"]}}


def final_numbers(baseline, shift=0.0):
    """The final metrics of ten trainings, drawn from those of the reference."""
    rng = np.random.default_rng(4)
    reference = baseline.index["convergence"]["mf"]
    return {
        protocol: {
            name: [value + shift for value in rng.choice(values, 10, replace=False)]
            for name, values in reference[protocol].items()
        }
        for protocol in ("printed", "defined")
    }


def test_the_chapters_data_is_held_against_its_checksums(baseline, ratings):
    answers = Asked(numbers=final_numbers(baseline))
    (row,) = climb(baseline, answers, protocols=("printed",), inputs=ratings)
    # The ratings are made up, so the answer does not match the checksums.
    assert row.first_wrong == 0
    assert "mf/0-data-ml100k: train has the shape (4123, 3), not (99057, 3)" in first_wrong([row])


@pytest.mark.parametrize(("shift", "is_right"), [(0.0, True), (0.05, False), (-0.05, False)])
def test_final_numbers_are_held_against_the_references(baseline, ratings, shift, is_right):
    answers = Asked(numbers=final_numbers(baseline, shift))
    rows = climb(baseline, answers, rungs=[6], inputs=ratings)
    assert [row.first_wrong is None for row in rows] == [is_right] * 2
    assert answers.names.count("mf/6-numbers") == 1
    if not is_right:
        assert "test_rmse" in first_wrong(rows)
        assert "detect a shift of" in first_wrong(rows)


@pytest.mark.parametrize(
    ("raised", "status"), [(NoAnswer("no train"), "no answer"), (PortFailed("OSError"), "wrong")]
)
def test_a_training_that_fails_is_told(baseline, ratings, raised, status):
    (row,) = climb(
        baseline, Asked(numbers=raised), protocols=("defined",), rungs=[6], inputs=ratings
    )
    assert row.cells[6].status == status


def test_the_json_has_all_findings_and_the_junit_all_rungs(baseline):
    def change(question, answer):
        if question.rung == 4:
            return {**answer, "parameters/P.weight": np.full((113, 30), np.nan)}
        return answer

    rows = climb(baseline, Asked(change), protocols=("printed",), rungs=range(2, 6))
    report = json.loads(as_json(rows, {"port": "a port"}))
    assert (report["port"], report["right"]) == ("a port", False)
    (row,) = report["rows"]
    assert row["first_wrong"] == 4
    assert [rung["status"] for rung in row["rungs"]] == ["right", "right", "wrong", "open"]
    worst = row["rungs"][2]["findings"][0]
    assert worst["tolerances"] is None
    assert worst["words"].startswith("parameters/P.weight is not finite at [0, 0]")
    assert "NaN" not in as_json(rows, {})

    (suite,) = ET.fromstring(as_junit(rows, "a <port>"))
    assert suite.attrib["name"] == "mf printed"
    counts = [suite.attrib[name] for name in ("tests", "failures", "skipped")]
    assert counts == ["4", "1", "1"]
    found = {case.attrib["name"]: [child.tag for child in case] for case in suite}
    assert found == {
        "2 forward": [],
        "3 gradients": [],
        "4 step": ["failure"],
        "5 trajectory": ["skipped"],
    }


def known(*names):
    return tuple(mistake for mistake in MISTAKES if mistake.name in names)


def accepting(baseline, port, names, protocols=("defined",), rungs=range(6), model="mf"):
    answers = Asked(lambda question, answer: ask(port, question))
    return check(
        baseline, answers, [model], protocols, rungs, {}, range(10), accepted=known(*names)
    )


@pytest.mark.parametrize(
    ("model", "names"),
    [
        ("mf", ["last-batch-smaller", "epsilon-after-bias-correction"]),
        ("fm", ["epsilon-after-bias-correction"]),
        ("neumf", ["last-line-of-a-tie", "no-weight-decay"]),
    ],
)
def test_with_accepted_mistakes_the_climb_goes_on(baseline, model, names):
    port = together(known(*names))
    (row,) = accepting(baseline, port, [], model=model)
    assert row.first_wrong is not None
    (row,) = accepting(baseline, port, [*names, "gradients-divided-twice"], model=model)
    assert row.first_wrong is None
    # What the port does not do is not in the verdict.
    assert [mistake.name for mistake in row.accepted] == names
    assert verdict([row]) == f"right except for {', '.join(names)}: all rungs that were asked"
    report = json.loads(as_json([row], {}))
    assert (report["right"], report["accepted"]) == (True, names)
    (suite,) = ET.fromstring(as_junit([row], "a port"))
    assert [p.attrib for p in suite.iter("property")] == [
        {"name": "accepted", "value": name} for name in names
    ]


def test_a_right_port_stays_right_whatever_is_accepted(baseline):
    (row,) = accepting(baseline, oracle.Port, ["no-user-bias", "epsilon-too-large"])
    assert (row.first_wrong, row.accepted) == (None, ())


@pytest.mark.parametrize(
    ("apart", "status"), [(0, Status.wrong), (2, Status.right), (1e9, Status.undecided)]
)
def test_accepted_mistakes_have_their_own_tolerance(baseline, monkeypatch, apart, status):
    """``apart``: how many tolerances float32 answers with the mistake lie apart."""
    (mistake,) = known("no-weight-decay")
    (entry,) = [e for e in baseline.entries if e["name"] == "mf/4-step-first"]

    def moved(question, answer, by):
        """``answer``, all of whose movements are ``by`` tolerances too long."""
        factor = by * entry["tolerance"]
        return {n: w + factor * (w - question.given[n]) for n, w in answer.items()}

    def in_float32(question, made):
        return [moved(question, ask(made, question), apart)]

    monkeypatch.setattr("d2l_recsys.baseline.check.in_float32", in_float32)

    def off_by_five(question, answer):
        answer = ask(mistake.port, question)
        return moved(question, answer, 5) if question.name == entry["name"] else answer

    (row,) = check(
        baseline, Asked(off_by_five), ["mf"], ["printed"], [4], {}, (), accepted=[mistake]
    )  # fmt: skip
    assert row.cells[4].status == (Status.right if status == Status.undecided else status)
    if status != Status.wrong:
        assert row.accepted == (mistake,)
    ratio = max(f.ratio for f in row.cells[4].findings)
    # Nearly: a distance is measured in the movement of the right answer.
    assert ratio == pytest.approx({0: 5, 2: 5 / 20}.get(apart, ratio), rel=0.05)


def test_where_a_gradient_is_wrong_the_loss_is_told_first(baseline):
    def change(wrong):
        return lambda question, answer: {
            name: array * 2 if wrong in name else array for name, array in answer.items()
        }

    for wrong, words in (("weight", "; the loss is right"), ("", "also wrong: loss")):
        answers = Asked(change(wrong))
        (row,) = climb(baseline, answers, protocols=("printed",), rungs=[3])
        told = row.cells[3].findings[-1].words
        assert (words in told) or told.startswith("loss "), told


def test_a_port_that_raises_gets_no_search_for_causes(baseline):
    def fails(question, answer):
        raise PortFailed("KeyError: 'x' (my_port.py, line 7)")

    (row,) = climb(baseline, Asked(fails), protocols=("printed",), rungs=[3])
    told = first_wrong([row])
    assert "the port raises KeyError" in told
    assert "no known mistake" not in told


def test_another_mistake_is_found_behind_an_accepted_one(baseline):
    port = together(known("epsilon-after-bias-correction", "no-weight-decay"))
    (row,) = accepting(baseline, port, ["epsilon-after-bias-correction"])
    assert row.first_wrong == 4
    told = first_wrong([row], ["epsilon-after-bias-correction"])
    assert "no-weight-decay: " in told
    assert told.endswith("--accept epsilon-after-bias-correction,no-weight-decay")


def test_what_the_text_leaves_out_is_counted(baseline):
    def change(question, answer):
        if question.rung != 2:
            return answer
        return {name: array + 1 for name, array in answer.items()}

    (row,) = climb(baseline, Asked(change), protocols=("printed",), rungs=[2])
    told = first_wrong([row])
    assert told.count("expected") == 3
    many = row.cells[2]._replace(findings=row.cells[2].findings * 2)
    assert "more finding" not in told
    # A repeated line is told once.
    assert told == first_wrong([row._replace(cells=(*row.cells[:2], many, *row.cells[3:]))])
    more = [f._replace(words=f"{f.words} again") for f in many.findings[:3]]
    many = many._replace(findings=(*many.findings, *more))
    told = first_wrong([row._replace(cells=(*row.cells[:2], many, *row.cells[3:]))])
    assert "  and 3 more findings; --json writes all" in told


@pytest.mark.parametrize("precision", ["tf32", "bfloat16", "float16"])
def test_a_port_in_lower_precision_is_right_in_it_and_mistakes_still_show(baseline, precision):
    port = in_precision(precision)

    def of(make, chosen, models=("mf", "autorec", "fm")):
        answers = Asked(lambda question, answer: ask(make, question))
        return check(
            baseline, answers, models, ["defined"], (2, 3, 4, 5), {}, range(10),
            precision=chosen,
        )  # fmt: skip

    assert [row.first_wrong for row in of(port, precision)] == [None] * 3
    assert any(row.first_wrong is not None for row in of(port, "float32"))
    # Without the option, the check proposes it.
    (row,) = of(in_precision("tf32"), "float32", ["autorec"])
    assert row.cells[2].precision == "tf32"
    told = first_wrong([row])
    assert "no known mistake, and no two of them, give all of these answers" in told
    assert told.endswith(
        "Only if the port computes in tf32, this can be rounding: then add\n"
        "  --precision tf32. In float32 it is a mistake."
    )
    # With a lower precision already chosen, no other is proposed.
    (row,) = of(in_precision("bfloat16"), "tf32", ["autorec"])
    assert (row.first_wrong, row.cells[2].precision) == (2, "")
    (no_bias,) = known("no-user-bias")
    (row,) = of(no_bias.port, precision, ["mf"])
    assert row.first_wrong == 2


def test_on_the_chapters_data_too_a_mistake_is_accepted(baseline, ratings):
    port = together(known("last-line-of-a-tie"))
    answers = Asked(lambda question, answer: ask(port, question))

    def of(accepted):
        (row,) = check(
            baseline, answers, ["mf"], ["defined"], [0], ratings, range(10), accepted=accepted
        )
        return row

    row = of(known("last-line-of-a-tie"))
    assert (row.first_wrong, row.accepted) == (None, known("last-line-of-a-tie"))
    assert of(known("last-batch-smaller")).first_wrong == 0


def test_a_mistake_with_dropout_is_named_by_the_check(baseline):
    (port,) = (mistake.port for mistake in known("kept-units-not-scaled"))
    (row,) = accepting(baseline, port, [], rungs=[7], model="autorec")
    assert row.first_wrong == 7
    assert [cause.mistakes for cause in row.cells[7].causes] == [known("kept-units-not-scaled")]
    told = first_wrong([row])
    assert "this mistake gives the same answers:\n    kept-units-not-scaled: " in told
    # Random answers have no expected answer, so they cannot be accepted.
    assert "--accept" not in told
