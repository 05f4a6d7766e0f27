import types

import numpy as np
import pytest
from conftest import ROOT

from d2l_recsys.baseline import made_up_data, mistakes, oracle
from d2l_recsys.baseline.answers import ModuleAnswers
from d2l_recsys.baseline.chapter_data import read_inputs
from d2l_recsys.baseline.check import check
from d2l_recsys.baseline.compare import distance
from d2l_recsys.baseline.convergence import THRESHOLD, law_tests
from d2l_recsys.baseline.dropout import dropout_tests
from d2l_recsys.baseline.files import Baseline
from d2l_recsys.baseline.ladder import (
    MODELS,
    PROTOCOLS,
    RUNGS,
    TRAINED_APART,
    VARIANTS,
    base,
)
from d2l_recsys.baseline.made_up_data import NUM_ITEMS, NUM_USERS
from d2l_recsys.baseline.mistakes import (
    MISTAKES,
    Answered,
    diagnose,
    possible,
    possible_in,
    together,
)
from d2l_recsys.baseline.questions import Question, ask
from d2l_recsys.baseline.report import semantics_map

# A question shows a mistake clearly if the distance is more than this many tolerances.
CLEARLY = 3
# The methods that answer the questions of a rung. On higher rungs any method may take part.
ANSWERED_BY = {0: ("data", "batches"), 1: ("metrics",)}
SEED = 7


@pytest.fixture(scope="module")
def ask_once():
    """``ask`` with a cache, because many tests ask the same questions."""
    answers = {}

    def remembered(make, question):
        key = make, question.name
        if key not in answers:
            answers[key] = ask(make, question)
        return answers[key]

    return remembered


@pytest.fixture(scope="module")
def of_variant(ask_once):
    """A function: the questions of rungs 0 to 5 about a variant, under one or both protocols.

    Each question comes with the oracle's answer and the tolerance.
    """
    baseline = Baseline()

    def answered(entry):
        question = baseline.question(entry)
        if entry["rung"] == 5 and entry["tolerance"] < 1e-3:
            # With a small tolerance, fewer steps show a mistake clearly, and take less time.
            question = cut_short(question, 15)
        return question, ask_once(oracle.Port, question), entry["tolerance"]

    def find(variant, *protocols):
        entries = {
            entry["name"]: entry
            for rung in range(6)
            for protocol in protocols or PROTOCOLS
            for entry in baseline.asked(variant, protocol, rung)
        }
        return [answered(entry) for entry in entries.values()]

    return find


@pytest.fixture(scope="module")
def asked(of_variant):
    """The questions about the six models, as ``of_variant`` returns them."""
    return [each for model in MODELS for each in of_variant(model)]


@pytest.fixture(scope="module")
def ratings():
    return made_up_data.ratings(np.random.default_rng(SEED))


def cut_short(question, steps):
    given = {
        name: array[:steps] if name.startswith("batches/") else array
        for name, array in question.given.items()
    }
    return question._replace(given=given)


def quickest(mistake):
    """The model that the fast tests use; it varies with the mistake, so all models occur."""
    return mistake.variants[len(mistake.name) % len(mistake.variants)]


def cases(rungs):
    """Each mistake with each training. Protocols that share their questions are one case."""
    found = []
    for mistake in MISTAKES:
        for model in mistake.variants if mistake.rung in rungs else ():
            apart = mistake.rung == 1 or model in TRAINED_APART
            for protocol in mistake.protocols[: None if apart else 1]:
                name = f"{mistake.rung}-{mistake.name}-{model}-{protocol}"
                # The fast tests use one model for each mistake, the slow tests all models.
                marks = [] if model == quickest(mistake) else [pytest.mark.slow]
                found.append(pytest.param(mistake, model, protocol, id=name, marks=marks))
    return found


def settings_of(model):
    sizes = {"num_users": NUM_USERS, "num_items": NUM_ITEMS}
    return {**made_up_data.SETTINGS[base(model)], **sizes, "field_dims": [300, 400, 500]}


def first_weights(mistake, model):
    return mistake.port(base(model), "printed").first_parameters(settings_of(model), SEED)


def named(name):
    (mistake,) = (mistake for mistake in MISTAKES if mistake.name == name)
    return mistake


def causes(question, answer, tolerance):
    """The single mistakes that explain the answer to one question."""
    found = diagnose([Answered(question, answer, tolerance)])
    return [cause.mistakes[0] for cause in found if len(cause.mistakes) == 1]


@pytest.mark.parametrize(("mistake", "model", "protocol"), cases(range(6)))
def test_a_mistake_shows_at_its_rung_and_not_below_and_is_named(
    mistake, model, protocol, of_variant, ask_once, monkeypatch
):
    monkeypatch.setattr(mistakes, "ask", ask_once)
    for question, expected, tolerance in of_variant(model, protocol):
        answered_by = ANSWERED_BY.get(question.rung, ())
        if question.rung > mistake.rung or (
            answered_by
            and all(getattr(mistake.port, m) is getattr(oracle.Port, m) for m in answered_by)
        ):
            continue
        answer = ask_once(mistake.port, question)
        off = distance(question, expected, answer)
        if question.rung < mistake.rung:
            assert off <= tolerance, question.name
        elif off > CLEARLY * tolerance:
            assert mistake in causes(question, answer, tolerance)
            return
    pytest.fail("no question of the mistake's rung shows the mistake clearly")


# To find no cause, all pairs of mistakes must be tried, which takes long for most models.
QUICK = ("mf", "autorec")
EACH_VARIANT = [
    pytest.param(name, marks=[] if name in QUICK else [pytest.mark.slow]) for name in VARIANTS
]


@pytest.mark.parametrize("variant", EACH_VARIANT)
def test_what_is_right_is_none_of_the_mistakes(variant, of_variant, ask_once, monkeypatch):
    monkeypatch.setattr(mistakes, "ask", ask_once)
    for question, expected, tolerance in of_variant(variant):
        assert causes(question, expected, tolerance) == [], question.name


@pytest.mark.parametrize("variant", EACH_VARIANT)
def test_what_no_mistake_explains_has_no_diagnosis(variant, of_variant, ask_once, monkeypatch):
    monkeypatch.setattr(mistakes, "ask", ask_once)
    for question, expected, tolerance in of_variant(variant):
        answer = {name: 3 * array + 1 for name, array in expected.items()}
        assert causes(question, answer, tolerance) == [], question.name


def test_an_answer_without_its_arrays_has_no_diagnosis(asked):
    question, _, tolerance = asked[0]
    assert diagnose([Answered(question, {}, tolerance)]) == []


def test_the_nearest_cause_comes_first(asked, ask_once, monkeypatch):
    monkeypatch.setattr(mistakes, "ask", ask_once)
    # With a weight decay of 1e-5, these two mistakes differ by less than the tolerance.
    for name in ("no-weight-decay", "decoupled-weight-decay"):
        question, _, tolerance = next(of for of in asked if of[0].name == "mf/4-step-first")
        found = causes(question, ask_once(named(name).port, question), tolerance)
        assert len(found) > 1
        assert found[0].name == name


def test_a_mistake_that_raises_is_no_cause(asked, monkeypatch):
    question, expected, tolerance = asked[0]

    def raises(model, protocol):
        raise ZeroDivisionError

    broken = mistakes.Mistake("broken", 0, MODELS, PROTOCOLS, "It breaks.", raises)
    monkeypatch.setattr(mistakes, "MISTAKES", (broken,))
    assert possible(0, question.model, "printed") == [broken]
    assert causes(question, expected, tolerance) == []


def of_rung(asked, rung, model, protocol="printed"):
    return [
        (question, tolerance)
        for question, _, tolerance in asked
        if (question.rung, question.variant) == (rung, model) and protocol in question.protocols
    ]


def answered(asked, port, rung, model, protocol="printed"):
    return [
        Answered(question, ask(port, question), tolerance)
        for question, tolerance in of_rung(asked, rung, model, protocol)
    ]


@pytest.mark.parametrize(
    ("rung", "model", "names"),
    [
        # Each shows in another question.
        (0, "neumf", ["last-line-of-a-tie", "last-batch-smaller"]),
        # Both change the same method.
        (2, "fm", ["no-overall-bias", "pairs-counted-twice"]),
        (3, "mf", ["squared-error-not-halved", "mean-over-the-batch"]),
        (4, "mf", ["gradients-not-divided", "epsilon-after-bias-correction"]),
    ],
)
def test_two_mistakes_at_once_are_named(rung, model, names, asked, ask_once, monkeypatch):
    monkeypatch.setattr(mistakes, "ask", ask_once)
    made = tuple(map(named, names))
    answers = answered(asked, together(made), rung, model)
    found = diagnose(answers)
    assert set(names) in [{mistake.name for mistake in cause.mistakes} for cause in found]
    assert all(cause.complete for cause in found)
    # If one of them is accepted, only the other one is looked for.
    (alone, *_) = diagnose(answers, made[1:])
    assert alone.mistakes == made[:1]


def test_a_mistake_that_explains_only_one_question_is_not_said_to_explain_all(asked):
    answers = answered(asked, named("last-batch-dropped").port, 0, "mf")
    wrong = {name: array + 7 for name, array in answers[0].answer.items()}
    answers[0] = answers[0]._replace(answer=wrong)
    (cause,) = diagnose(answers)
    assert not cause.complete
    assert [mistake.name for mistake in cause.mistakes] == ["last-batch-dropped"]
    assert cause.questions == ("mf/0-batches",)


def test_infinite_answers_of_a_mistake_are_recognised(asked):
    question, tolerance = next(
        (q, t) for q, t in of_rung(asked, 3, "neumf") if q.name.endswith("saturated")
    )
    mistake = named("logarithm-of-a-sigmoid")
    answer = ask(mistake.port, question)
    assert not np.isfinite(answer["loss"])
    assert causes(question, answer, tolerance) == [mistake]
    assert causes(question, {**answer, "loss": np.array(np.nan)}, tolerance) == []


def test_only_mistakes_of_what_was_asked_are_possible():
    baseline = Baseline()
    entries = {entry["name"]: entry for entry in baseline.entries}
    found = possible_in(baseline.question(entries["neumf/6-negatives"]))
    assert {"negatives-by-popularity", "seed-without-effect"} <= {m.name for m in found}
    assert not any(m.name.startswith(("first", "uniform", "half")) for m in found)
    trained = Question("mf/6-numbers", 6, "train", "mf", PROTOCOLS, {}, {})
    names = {mistake.name for mistake in possible_in(trained)}
    assert names == {"trained-on-the-test-set", "half-the-epochs", "seed-without-effect"}


DROPPED = [
    (mistake, model, protocol)
    for mistake in MISTAKES
    if mistake.rung == 7
    for model in mistake.variants
    for protocol in (PROTOCOLS if model in TRAINED_APART else PROTOCOLS[:1])
]


@pytest.mark.parametrize(("mistake", "model", "protocol"), DROPPED)
def test_a_mistake_with_dropout_is_flagged_and_named(mistake, model, protocol):
    baseline = Baseline()
    (question,) = (
        baseline.question(entry)._replace(protocols=(protocol,))
        for entry in baseline.asked(model, protocol, 7)
    )

    def least(answer, make=oracle.Port):
        return min(test.p for test in dropout_tests(question, answer, make))

    assert least(ask(oracle.Port, question)) > THRESHOLD
    answer = ask(mistake.port, question)
    assert least(answer) <= THRESHOLD
    # A mask for all examples is no other law of one example, so this mistake is not recognised.
    is_named = mistake.name != "one-mask-for-all-examples"
    assert (least(answer, mistake.port) > THRESHOLD) == is_named
    others = [other for other, of, *_ in DROPPED if of == model and other is not mistake]
    assert all(least(answer, other.port) <= THRESHOLD for other in others)


def test_every_rung_of_every_training_has_possible_mistakes():
    for rung in range(len(RUNGS) - 1):
        for model in VARIANTS:
            for protocol in PROTOCOLS:
                assert possible(rung, model, protocol), (rung, model, protocol)


def test_names_are_unique_and_kebab_case_and_say_something():
    names = [mistake.name for mistake in MISTAKES]
    assert len(set(names)) == len(names)
    for mistake in MISTAKES:
        assert mistake.name == mistake.name.lower().replace("_", "-")
        assert mistake.says.endswith(".")
        assert ". The port " in mistake.says


# The mistakes of rung 6 that change first weights or negative items. The other mistakes of rung 6
# show only in final metrics.
DRAWN = [
    mistake
    for mistake in MISTAKES
    if mistake.rung == 6
    and (
        mistake.name.startswith(("first", "uniform", "normal", "xavier", "standard"))
        or "negative" in mistake.name
    )
]


@pytest.mark.parametrize("model", VARIANTS)
def test_a_mistake_in_what_is_drawn_is_flagged(model):
    baseline = Baseline()
    questions = [baseline.question(entry) for entry in baseline.asked(model, "printed", 6)]

    def flagged(make):
        tests = [test for q in questions for test in law_tests(q, ask(make, q))]
        return min(test.p for test in tests) <= THRESHOLD

    assert not flagged(oracle.Port)
    found = [mistake for mistake in DRAWN if model in mistake.variants]
    assert len(found) >= 3
    for mistake in found:
        assert flagged(mistake.port), mistake.name


def test_answers_of_rung_6_are_not_diagnosed():
    question = Question("mf/6-first", 6, "first", "mf", PROTOCOLS, {}, {})
    assert diagnose([Answered(question, {}, 1.0)]) == []


@pytest.fixture(scope="module")
def negatives(ratings):
    found = oracle.Port("neumf", "printed").data({"ratings": ratings})
    given = {
        "users": np.arange(NUM_USERS), "train": found["train"],
        "num_users": np.array(NUM_USERS), "num_items": np.array(NUM_ITEMS),
    }  # fmt: skip
    return lambda make, seed: make("neumf", "printed").negatives(given, seed)


def test_negatives_of_all_seeds_are_the_same(negatives):
    for make, same in ((oracle.Port, False), (named("seed-without-effect").port, True)):
        assert np.array_equal(negatives(make, 1), negatives(make, 2)) == same


def few_epochs(model):
    return {**made_up_data.SETTINGS[model], "num_epochs": 2}


def numbers(make, model, ratings, seed=SEED, **settings):
    port = make(model, "printed")
    return port.train({"ratings": ratings}, {**few_epochs(model), **settings}, seed)


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("half-the-epochs", "mf"),
        ("trained-on-the-test-set", "mf"),
        ("trained-on-the-test-set", "neumf"),
        ("no-user-bias", "mf"),
        ("first-weights-ten-times-as-large", "autorec"),
    ],
)
def test_training_is_with_the_mistake(name, model, ratings):
    more = {"dropout": 0.1} if model == "autorec" else {}
    right = numbers(oracle.Port, model, ratings, **more)
    assert numbers(named(name).port, model, ratings, **more) != right


def test_training_without_effect_of_the_seed(ratings):
    found = [numbers(named("seed-without-effect").port, "mf", ratings, seed) for seed in (1, 2)]
    assert found[0] == found[1]


# Mistakes that show only in final metrics. The slow test trains the oracle on MovieLens-100K.
FINAL = [
    ("trained-on-the-test-set", "mf"),
    ("trained-on-the-test-set", "neumf"),
    ("half-the-epochs", "mf"),
    ("half-the-epochs", "autorec"),
    ("seed-without-effect", "autorec"),
]


@pytest.mark.slow
@pytest.mark.network
@pytest.mark.parametrize("model", ["mf", "autorec", "neumf"])
def test_a_mistake_that_shows_in_final_numbers_is_flagged(model, ml100k_dir):
    baseline = Baseline()
    inputs = read_inputs([model], ml100k_dir)

    def first_wrong(make):
        module = types.SimpleNamespace(Port=make)
        answers = ModuleAnswers("a port", module)
        (row,) = check(baseline, answers, [model], ["defined"], [6], inputs, range(10))
        return row.first_wrong

    assert first_wrong(oracle.Port) is None
    for name in [name for name, of_model in FINAL if of_model == model]:
        assert first_wrong(named(name).port) == 6, name


def test_the_map_in_the_documentation_is_this_one():
    assert (ROOT / "docs" / "semantics.md").read_text() == semantics_map() + "\n"
