import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from d2l_recsys.errors import DataError
from d2l_recsys.storage.archive import pack, unpack

CONTENT = {"seed": 2**127, "loss": 0.1, "none": None, "title": "Ü", "rows": [{"a": 1}]}
ARRAYS = {"b": np.arange(6, dtype=np.int64).reshape(2, 3), "a": np.float32([[1.5], [np.nan]])}


@pytest.fixture
def path(tmp_path):
    (tmp_path / "file").write_bytes(pack("thing", 1, CONTENT, ARRAYS))
    return tmp_path / "file"


@settings(max_examples=50, deadline=None)
@given(
    content=st.dictionaries(st.text(), st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=5)),
    arrays=st.dictionaries(st.text(max_size=9), hnp.arrays(
        st.sampled_from(["float32", "int32", "int64", "uint8", "float64"]),
        hnp.array_shapes(min_dims=0, min_side=0, max_side=4)), max_size=4),
)  # fmt: skip
def test_what_is_packed_is_unpacked(tmp_path_factory, content, arrays):
    path = tmp_path_factory.getbasetemp() / "packed"
    path.write_bytes(pack("thing", 3, content, arrays))
    found, read = unpack(path, "thing", 3, "mend it")
    assert found == content
    assert set(read) == set(arrays)
    for name, array in arrays.items():
        assert (read[name].dtype, read[name].shape) == (array.dtype, array.shape)
        assert read[name].tobytes() == array.tobytes()


def test_slices_and_transposes_arrive_as_they_look(tmp_path):
    array = np.arange(12, dtype=np.float32).reshape(3, 4)
    (tmp_path / "file").write_bytes(pack("thing", 1, {}, {"t": array.T, "s": array[:, ::2]}))
    _, read = unpack(tmp_path / "file", "thing", 1, "mend")
    np.testing.assert_array_equal(read["t"], array.T)
    np.testing.assert_array_equal(read["s"], array[:, ::2])


def test_the_same_content_gives_the_same_bytes():
    turned = dict(reversed(ARRAYS.items()))
    assert pack("thing", 1, CONTENT, ARRAYS) == pack("thing", 1, CONTENT, turned)


def test_any_changed_byte_and_any_cut_is_found(path):
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(DataError, match=r"file .*; mend it"):
            unpack(path, "thing", 1, "mend it")
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(DataError, match=r"file is damaged .*; mend it"):
            unpack(path, "thing", 1, "mend it")


def test_another_kind_and_another_version_are_named(path):
    with pytest.raises(DataError, match="file is not a checkpoint; mend it"):
        unpack(path, "checkpoint", 1, "mend it")
    with pytest.raises(
        DataError, match="has version 1 of the format, but this program reads version 2"
    ):
        unpack(path, "thing", 2, "mend it")


def test_what_is_no_such_file_is_one_error(tmp_path):
    from safetensors.numpy import save

    (tmp_path / "other").write_bytes(save({"a": np.zeros(2)}))
    (tmp_path / "deep").write_bytes(save({}, metadata={"d2l_recsys": "[" * 10**5}))
    (tmp_path / "list").write_bytes(save({}, metadata={"d2l_recsys": json.dumps([])}))
    (tmp_path / "folder").mkdir()
    for name in ("other", "deep", "list", "folder", "absent"):
        with pytest.raises(DataError, match=f"{name} .*; mend it"):
            unpack(tmp_path / name, "thing", 1, "mend it")
