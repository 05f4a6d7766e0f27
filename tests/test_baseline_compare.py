"""Distances on each rung, computed by hand; unusable answers; and the words of a difference."""

import hashlib
import math
import struct

import numpy as np
import pytest

from d2l_recsys.baseline.compare import SETS, canonical, compare, digest

GRADIENTS, STEPS = (1, 2, 3), (4, 5)
EVERY = (0, *GRADIENTS, *STEPS)
W = "parameters/W"


def only(rung, expected, answer, given=(), name="a"):
    """The difference between two arrays; its description is one line."""
    start = {} if len(given) == 0 else {name: np.array(given)}
    (difference,) = compare(rung, {name: np.asarray(expected)}, {name: answer}, start)
    assert difference.array == name
    assert len(difference.words.splitlines()) == 1
    return difference


# Distances


def test_rung_0_counts_what_differs():
    rows = np.arange(12).reshape(3, 4)
    other = rows.copy()
    other[0, 0], other[2, 3] = 7, -1
    found = only(0, rows, other)
    assert found.distance == 2
    assert found.words == "a[2, 3] is -1, expected 11; 2 of 12 entries differ"
    assert only(0, rows, rows) == ("a", 0.0, "a is exact")


@pytest.mark.parametrize("rung", GRADIENTS)
def test_rungs_1_to_3_are_the_largest_error_over_the_largest_number(rung):
    expected = np.array([[1.0, -4.0], [2.0, 0.0]])
    found = only(rung, expected, np.array([[1.5, -4.0], [1.0, 0.25]]))
    assert found.distance == 1.0 / 4.0
    assert found.words == "a[1, 0] is 1, expected 2"
    assert only(rung, expected, expected) == ("a", 0.0, "a is exact")
    number = only(rung, np.array(-2.0), np.array(-2.5))
    assert (number.distance, number.words) == (0.25, "a is -2.5, expected -2")


@pytest.mark.parametrize("rung", STEPS)
def test_rungs_4_and_5_are_the_error_over_the_movement(rung):
    start, expected = [1.0, 1.0], np.array([1.3, 0.6])
    found = only(rung, expected, np.array([1.3, 0.7]), start)
    assert found.distance == pytest.approx(0.1 / 0.5)
    assert found.words == "a[1] is 0.7, expected 0.6"
    found = only(rung, expected, np.array([1.33, 0.64]), start)
    assert found.distance == pytest.approx(0.05 / 0.5)
    # The distance is 1 if the weights do not move, and 2 if they move in the opposite direction.
    assert only(rung, expected, np.array(start), start).distance == pytest.approx(1)
    assert only(rung, expected, np.array([0.7, 1.4]), start).distance == pytest.approx(2)


def test_losses_of_a_trajectory_have_no_beginning():
    expected = {"losses": np.array([2.0, 8.0]), W: np.array([2.0, 0.0])}
    answer = {"losses": np.array([2.0, 7.0]), W: np.array([2.5, 0.0])}
    found = compare(5, expected, answer, {W: np.array([1.0, 0.0])})
    assert {d.array: d.distance for d in found} == {"losses": 1 / 8, W: 0.5}


@pytest.mark.parametrize("rung", [*GRADIENTS, *STEPS])
def test_where_nothing_is_expected_any_error_is_infinite(rung):
    start = [0.0, 0.0] if rung in STEPS else ()
    assert only(rung, np.zeros(2), np.zeros(2), start).distance == 0
    assert only(rung, np.zeros(2), np.array([0.0, 1e-9]), start).distance == math.inf


def test_errors_of_float32_are_measured_in_float64():
    expected = np.array([1.0, 16777216.0], np.float32)
    assert only(2, expected, np.array([1.0, 16777217.0])).distance == 2.0**-24
    moved = only(4, np.array([1.0 + 2**-20], np.float32), np.array([1.0 + 2**-21]), [1.0])
    assert moved.distance == 0.5


# Unusable answers


@pytest.mark.parametrize("rung", EVERY)
def test_what_is_missing_or_too_much_is_infinite(rung):
    expected = {"a": np.array([1.0, 2.0]), "b": np.array([3.0])}
    found = compare(rung, expected, {"a": np.array([1.0, 2.0]), "c": np.zeros(1)}, {})
    assert [d.array for d in found] == ["a", "b", "c"]
    assert [d.distance for d in found] == [0.0, math.inf, math.inf]
    assert found[1].words == "b is missing"
    assert found[2].words.startswith("the question does not ask for c")
    assert [d.distance for d in compare(rung, expected, {}, {})] == [math.inf, math.inf]


@pytest.mark.parametrize("rung", EVERY)
@pytest.mark.parametrize("shape", [(), (1,), (3,), (1, 2), (2, 1), (0,), (2, 0)], ids=str)
def test_another_shape_is_infinite(rung, shape):
    found = only(rung, np.array([1.0, 2.0]), np.ones(shape))
    assert found.distance == math.inf
    assert found.words == f"a has the shape {shape}, not (2,)"


@pytest.mark.parametrize("name", SETS)
def test_a_set_without_columns_has_another_shape(name):
    found = only(0, np.zeros((3, 2), np.int32), np.zeros((3, 0), np.int32), name=name)
    assert (found.distance, "has the shape (3, 0)" in found.words) == (math.inf, True)
    assert digest(name, np.zeros((3, 0)))["shape"] == [3, 0]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("rung", EVERY)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_infinite(rung, value):
    answer = np.array([[1.0, 2.0], [value, 4.0]])
    found = only(rung, np.array([[1.0, 2.0], [3.0, 4.0]]), answer)
    assert (found.distance, found.words) == (math.inf, "a is not finite at [1, 0]")
    found = only(rung, np.array(3.0), np.array(value))
    assert (found.distance, found.words) == (math.inf, "a is not finite")


NO_NUMBERS = {
    "text": np.array(["one", "two"]),
    "digits": np.array(["1", "2"]),
    "bytes": np.array([b"1", b"x"]),
    "objects": np.array([1.0, None], dtype=object),
    "complex": np.array([1.0, 2.0 + 1j]),
    "times": np.array(["2020-01-01", "2020-01-02"], "datetime64[D]"),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("rung", EVERY)
@pytest.mark.parametrize("answer", NO_NUMBERS.values(), ids=NO_NUMBERS)
def test_what_holds_no_numbers_is_infinite(rung, answer):
    found = only(rung, np.array([1, 2]), answer)
    assert found.distance == math.inf
    assert found.words == f"a has the type {answer.dtype}, not numbers"


@pytest.mark.parametrize("rung", EVERY)
def test_what_is_no_array_is_infinite(rung):
    assert only(rung, np.array([1, 2]), None).distance == math.inf


# Arrays that count as equal on rung 0


@pytest.mark.parametrize("kind", ["i1", "u1", "i4", ">i4", "u4", "i8", "u8", "f2", "f4", "f8"])
def test_whole_numbers_are_compared_by_value(kind):
    rows = np.array([[3, 0], [1, 2]])
    for name in ("test_items", "train"):
        assert only(0, rows.astype(np.int32), rows.astype(kind), name=name).distance == 0
        assert only(0, rows.astype(kind), rows.tolist(), name=name).distance == 0
        assert only(0, rows, (rows + np.array([0, 1])).astype(kind), name=name).distance > 0


def test_truths_are_numbers():
    assert only(0, np.array([0, 1]), np.array([False, True])).distance == 0
    found = only(2, np.array([0.5, 1.0]), np.array([False, True]))
    assert (found.distance, found.words) == (0.5, "a[0] is 0, expected 0.5")


def test_what_is_not_whole_or_beyond_int32_differs():
    found = only(0, np.array([1, 2]), np.array([1.0, 2.5]))
    assert (found.distance, found.words) == (1, "a[1] is 2.5, expected 2; 1 of 2 entries differ")
    assert only(0, np.array([1, 2]), np.array([1, 2 + 2**32])).distance == 1


def test_rows_of_a_set_may_come_in_any_order():
    rng = np.random.default_rng(0)
    rows = rng.integers(4, size=(40, 3))
    shuffled = rng.permutation(rows)
    assert (shuffled != rows).any()
    for name in ("train", "test", "windows"):
        assert only(0, rows, shuffled, name=name).distance == 0
        # The order of the columns matters, and so does the number of equal rows.
        assert only(0, rows, shuffled[:, ::-1], name=name).distance > 0
        twice = np.concatenate([shuffled[1:], shuffled[1:2]])
        assert only(0, rows, twice, name=name).distance > 0
    for name in ("test_items", "train_features", "batches", "test_sequences", "train_matrix"):
        assert only(0, rows, shuffled, name=name).distance > 0


def test_only_rung_0_has_sets():
    rows = np.array([[1.0, 2.0], [3.0, 4.0]])
    assert only(2, rows, rows[::-1], name="train").distance == 0.5


def test_a_matrix_of_ratings_is_compared_in_float32():
    matrix = np.array([[0.0, 3.5], [0.1, 5.0]], np.float32)
    for name in ("train_matrix", "test_matrix"):
        assert only(0, matrix, matrix.astype(np.float64), name=name).distance == 0
        assert only(0, matrix, np.array([[0, 3.5], [0.1, 5]]), name=name).distance == 0
        assert only(0, matrix, np.array([[0, 3.5], [0.1001, 5]]), name=name).distance == 1
        assert only(0, np.round(matrix), np.array([[0, 4], [0, 5]]), name=name).distance == 0
        assert only(0, matrix, matrix[::-1], name=name).distance == 4


def test_what_is_compared_is_a_copy():
    rows = np.array([[3, 0], [1, 2]])
    assert canonical("train", rows).tolist() == [[1, 2], [3, 0]]
    assert rows.tolist() == [[3, 0], [1, 2]]


# Words


@pytest.mark.parametrize("factor", [2.0, 0.5, -1.0, 1 / 256, 1.01])
def test_a_multiple_is_called_one(factor):
    expected, start = np.array([0.25, -2.0, 1.0]), np.array([1.0, 2.0, 0.5])
    for rung in GRADIENTS:
        words = only(rung, expected, expected * factor).words
        assert words.startswith("a[1] is ")
        assert words.endswith(f"; the whole array is {factor:.4g} times the expected one")
    for rung in STEPS:
        words = only(rung, start + expected, start + expected * factor, start).words
        assert words.endswith(
            f"; the port changes this array {factor:.4g} times as much as expected"
        )


def test_what_is_no_multiple_is_not_called_one():
    expected = np.array([0.25, -2.0, 1.0])
    for answer in (expected + 1, expected[::-1], expected * [2, 2, 2.1], expected * 1.0001):
        assert "times" not in only(3, expected, answer).words
    # No factor for a single number, for arrays of zeros, or if the movements are no multiples.
    assert "times" not in only(3, np.array([2.0]), np.array([4.0])).words
    assert "times" not in only(3, expected, np.zeros(3)).words
    assert "times" not in only(3, np.zeros(3), expected).words
    assert "times" not in only(4, expected, expected * 2, [1.0, 1.0, 1.0]).words


def test_the_place_is_that_of_the_largest_difference():
    expected = np.zeros((2, 3, 4), np.float32)
    answer = expected.copy()
    answer[0, 1, 2], answer[1, 2, 0] = 0.5, -0.75
    assert only(2, expected, answer).words == "a[1, 2, 0] is -0.75, expected 0"


# Checksums


def test_a_digest_is_that_of_plain_bytes():
    rows = np.array([[3, 0], [1, 2], [0, 7], [0, 5]])
    content = struct.pack("<8i", 0, 5, 0, 7, 1, 2, 3, 0)
    assert digest("train", rows) == {
        "dtype": "int32",
        "shape": [4, 2],
        "sha256": hashlib.sha256(content).hexdigest(),
        "sample": [[0, 5], [0, 7], [1, 2]],
    }
    content = struct.pack("<4f", 0, 3.5, 0.25, 5)
    found = digest("train_matrix", np.array([[0, 3.5], [0.25, 5]]))
    assert found["dtype"] == "float32"
    assert found["sha256"] == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("kind", ["u1", "i4", ">i4", "i8", "f4", "f8", ">f8"])
@pytest.mark.parametrize("name", ["train", "test_items", "train_matrix"])
def test_a_digest_depends_on_the_values_alone(name, kind):
    rows = np.array([[3, 0, 1], [1, 2, 0]])
    as_compared = np.float32 if name == "train_matrix" else np.int32
    expected = digest(name, rows.astype(as_compared))
    for same in (rows, np.asfortranarray(rows), np.repeat(rows, 2, axis=1)[:, ::2]):
        assert digest(name, same.astype(kind)) == expected
    assert (digest(name, rows[::-1].astype(kind)) == expected) is (name == "train")


def test_a_digest_changes_with_any_entry_and_with_the_shape():
    rows = np.arange(90).reshape(30, 3)
    for name in ("train", "test_items"):
        expected = digest(name, rows)["sha256"]
        for place in np.ndindex(*rows.shape):
            other = rows.copy()
            other[place] += 1
            assert digest(name, other)["sha256"] != expected
        assert digest(name, rows.reshape(45, 2))["shape"] == [45, 2]
        swapped = rows[:, [1, 0, 2]]
        assert digest(name, swapped)["sha256"] != expected


def test_a_digest_shows_few_rows_of_what_may_not_be_passed_on():
    assert digest("test_items", np.arange(1000))["sample"] == [0, 1, 2]
    assert digest("train_matrix", np.zeros((1000, 1000)))["sample"] == []


def test_an_undecided_array_only_needs_its_shape_and_finite_numbers():
    expected, given = {"w": np.array([1.0, 2.0])}, {"w": np.zeros(2)}

    def off(answer):
        (found,) = compare(1, expected, answer, given, ["w"])
        return found.distance

    assert off({"w": np.array([7.0, -2.0])}) == 0
    expected["w"] *= 0
    assert off({"w": np.array([1e-9, 0.0])}) == 0
    assert off({"w": np.array([7.0])}) == np.inf
    assert off({"w": np.array([7.0, np.nan])}) == np.inf
    assert off({}) == np.inf
