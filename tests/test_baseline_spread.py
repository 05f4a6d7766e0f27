"""How far right answers lie apart, and the arrays in which they lie too far apart."""

import numpy as np

from d2l_recsys.baseline import oracle
from d2l_recsys.baseline.files import Baseline
from d2l_recsys.baseline.questions import Question, ask
from d2l_recsys.baseline.spread import (
    ORDERS,
    from_other_weights,
    in_float32,
    in_one_call,
    undecided_arrays,
)


def question(name):
    baseline = Baseline()
    (entry,) = (entry for entry in baseline.entries if entry["name"] == name)
    return baseline.question(entry)


def test_answers_come_in_float32_and_in_several_orders():
    asked = question("neumf/3-gradients-first")
    exact = ask(oracle.Port, asked)
    for answers in (in_float32(asked), in_one_call(asked)):
        assert len(answers) == ORDERS
        found = [answer["gradients/mlp.0.weight"] for answer in answers]
        assert {array.dtype for array in found} == {np.dtype(np.float32)}
        assert len({array.tobytes() for array in found}) == ORDERS
        for array in found:
            scale = np.abs(exact["gradients/mlp.0.weight"]).max()
            np.testing.assert_allclose(
                array, exact["gradients/mlp.0.weight"], atol=1e-4 * scale, rtol=0
            )


def test_only_pairs_are_scored_in_one_call():
    assert in_one_call(question("mf/3-gradients-first")) == []
    assert in_one_call(question("neumf/2-forward-first")) == []


def test_only_trajectories_begin_with_other_weights():
    assert from_other_weights(question("mf/4-step-first")) == []
    answers = from_other_weights(question("mf/5-trajectory"))
    assert len({answer["losses"].tobytes() for answer in answers}) == ORDERS


def test_arrays_in_which_right_answers_lie_far_apart_are_undecided():
    given = {"parameters/w": np.zeros(2), "parameters/b": np.zeros(2)}

    def found(rung, expected, *others):
        asked = Question(f"mf/{rung}-x", rung, "x", "mf", ("printed",), {}, given)
        return undecided_arrays(asked, expected, others)

    moved = {"parameters/w": np.ones(2), "parameters/b": np.ones(2)}
    apart = {**moved, "parameters/b": np.array([1.0, 1.02])}
    assert found(4, moved, moved, apart) == ("parameters/b",)
    assert found(2, moved, moved, apart) == ()
    # Where nothing is expected, any rounding is infinitely far away.
    none = {**moved, "parameters/w": np.zeros(2)}
    assert found(3, none, none, {**none, "parameters/w": np.array([0, 1e-9])}) == ("parameters/w",)
