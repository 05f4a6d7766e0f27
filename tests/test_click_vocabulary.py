import collections

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from d2l_recsys.datasets.click_vocabulary import ValueCounts, feature_map
from d2l_recsys.errors import OutputError

VALUE = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), max_size=4)
COUNTED = st.lists(st.tuples(st.integers(0, 1), VALUE, st.integers(1, 3)), max_size=40)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(counted=COUNTED, threshold=st.integers(1, 5), limit=st.integers(0, 10))
def test_frequent_values_are_those_of_a_counter_in_memory_or_not(
    tmp_path, counted, threshold, limit
):
    file = tmp_path / "counts.sqlite"
    file.unlink(missing_ok=True)
    expected = [collections.Counter(), collections.Counter()]
    in_memory, on_disk = ValueCounts(2), ValueCounts(2, file, limit)
    for field, value, count in counted:
        expected[field][value] += count
        for counts in (in_memory, on_disk):
            counts.add(field, [value], [count])
    for field in (0, 1):
        frequent = sorted(v for v, n in expected[field].items() if n >= threshold)
        assert in_memory.frequent(field, threshold) == frequent
        assert on_disk.frequent(field, threshold) == frequent
    on_disk.close()
    assert file.exists() == (sum(len(c) for c in on_disk.counts) < sum(map(len, expected)))


def test_what_is_in_memory_stays_below_the_limit(tmp_path):
    counts = ValueCounts(1, tmp_path / "counts.sqlite", limit=100)
    for i in range(1000):
        counts.add(0, [f"value {i}", "always"], [1, 1])
        assert len(counts.counts[0]) <= 102
    assert counts.frequent(0, 1000) == ["always"]
    assert len(counts.frequent(0, 1)) == 1001
    counts.close()


def test_the_limit_is_of_all_fields_together(tmp_path):
    counts = ValueCounts(10, tmp_path / "counts.sqlite", limit=100)
    for field in range(10):
        counts.add(field, map(str, range(50)), [1] * 50)
        assert sum(map(len, counts.counts)) <= 100
    counts.add(0, ["never"], [0])
    assert counts.frequent(0, 0) == counts.frequent(0, 1) == sorted(map(str, range(50)))
    counts.close()


def test_the_ids_are_sorted_and_rare_values_share_the_last():
    counts = ValueCounts(2)
    counts.add(0, ["b", "a", "rare", "never"], [4, 5, 3, 0])
    counts.add(1, ["x"], [1])
    assert feature_map(counts, 2, 4) == ({1: {"a": 0, "b": 1}, 2: {}}, {1: 2, 2: 0})
    assert feature_map(counts, 2, 0)[0] == {1: {"a": 0, "b": 1, "rare": 2}, 2: {"x": 0}}


def test_counts_that_cannot_be_written_are_an_error_that_says_so(tmp_path):
    counts = ValueCounts(1, tmp_path / "no folder" / "counts.sqlite", limit=0)
    with pytest.raises(
        OutputError, match=r"cannot write .*counts\.sqlite: .*; free some disk space"
    ):
        counts.add(0, ["a"], [1])
