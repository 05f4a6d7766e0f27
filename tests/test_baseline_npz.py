"""The .npz files of the baseline: reproducible bytes, plain format, and DataError for damage."""

import ast
import io
import struct
import time
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from d2l_recsys.baseline.npz import npz_bytes, read_npz
from d2l_recsys.errors import DataError

KINDS = ["?", *(f"{kind}{size}" for kind in "iu" for size in (1, 2, 4, 8)), "f2", "f4", "f8"]
ARRAYS = {
    **{f"of {kind}": np.arange(6).reshape(2, 3).astype(kind) for kind in KINDS},
    "without dimensions": np.array(2.5),
    "empty": np.zeros((0, 3), np.int32),
    "in/a/folder": np.array([np.nan, np.inf, -0.0], np.float32),
    # Longer than the block that zipfile reads at once. So numpy reads the header before zipfile
    # finds a wrong checksum.
    "long": np.arange(1200.0).reshape(100, 12),
}
WHOLE = npz_bytes(ARRAYS)
quick = settings(
    max_examples=100, deadline=None, database=None, derandomize=True, print_blob=True,
    suppress_health_check=list(HealthCheck),
)  # fmt: skip


def written(content, folder):
    path = folder / "file.npz"
    path.write_bytes(content)
    return path


def zipped(members):
    """A zip archive of the members, with correct checksums."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, member in members.items():
            archive.writestr(name, member)
    return content.getvalue()


def saved(*arrays):
    """The file that numpy writes; numpy pickles objects."""
    content = io.BytesIO()
    np.savez(content, *arrays)
    return content.getvalue()


def with_header(text, version=(1, 0)):
    """An archive with one array that has the header ``text``."""
    header = text.encode("latin-1") + b"\n"
    size = struct.pack("<H" if version == (1, 0) else "<I", len(header))
    return zipped({"a.npy": b"\x93NUMPY" + bytes(version) + size + header + bytes(64)})


def described(descr="'<f8'", order="False", shape="(3,)"):
    return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}}}"


def refusal(path):
    """The message of the DataError: one line that names the file once."""
    with pytest.raises(DataError) as refused:
        read_npz(path)
    message = str(refused.value)
    assert message.startswith(f"{path}"), "the message does not name the file"
    assert message.count(str(path)) == 1, "the message names the file more than once"
    assert len(message.splitlines()) == 1
    return message


def read_or_refused(path):
    """Reading returns arrays of numbers or raises DataError in one line; no other error."""
    try:
        found = read_npz(path)
    except DataError as error:
        message = str(error)
    else:
        assert all(array.dtype.kind in "biuf" for array in found.values())
        return
    assert str(path) in message
    assert len(message.splitlines()) == 1


# Writing


def test_all_arrives_as_it_was(tmp_path):
    found = read_npz(written(WHOLE, tmp_path))
    assert set(found) == set(ARRAYS)
    for name, array in ARRAYS.items():
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape)
        assert found[name].tobytes() == array.tobytes()


def test_no_array_at_all_is_a_file_as_well(tmp_path):
    assert read_npz(written(npz_bytes({}), tmp_path)) == {}


def test_slices_and_transposes_arrive_as_they_look(tmp_path):
    array = np.arange(24, dtype=np.float32).reshape(4, 6)
    looks = {"t": array.T, "s": array[:, ::2], "r": array[::-1], "f": np.asfortranarray(array)}
    found = read_npz(written(npz_bytes(looks), tmp_path))
    for name, look in looks.items():
        np.testing.assert_array_equal(found[name], look)
        assert found[name].flags.c_contiguous


@pytest.mark.parametrize("kind", [">i4", ">i8", ">u2", ">f4", ">f8"])
def test_big_endian_numbers_are_written_little_endian(kind, tmp_path):
    array = np.array([1, 2, 300]).astype(kind)
    (found,) = read_npz(written(npz_bytes({"a": array}), tmp_path)).values()
    assert found.dtype == array.dtype.newbyteorder("<")
    assert found.tolist() == [1, 2, 300]
    assert npz_bytes({"a": array}) == npz_bytes({"a": found})


def test_lists_and_numbers_are_arrays_too(tmp_path):
    found = read_npz(written(npz_bytes({"list": [1.5, 2.5], "number": 3}), tmp_path))
    assert {name: array.tolist() for name, array in found.items()} == {
        "list": [1.5, 2.5],
        "number": 3,
    }


def test_the_same_arrays_give_the_same_bytes(monkeypatch):
    assert npz_bytes(dict(reversed(list(ARRAYS.items())))) == WHOLE
    monkeypatch.setattr(time, "time", lambda: 2e9)
    assert npz_bytes(ARRAYS) == WHOLE
    assert npz_bytes({**ARRAYS, "empty": np.zeros((0, 4), np.int32)}) != WHOLE


def test_numpy_reads_it_without_pickle():
    with np.load(io.BytesIO(WHOLE), allow_pickle=False) as found:
        assert set(found.files) == set(ARRAYS)
        assert all(found[name].tobytes() == array.tobytes() for name, array in ARRAYS.items())


def test_it_is_as_plain_as_the_guide_says():
    """Sorted members without compression, each with a header of version 1.0.

    The test reads the bytes in the way a program in another language does.
    """
    with zipfile.ZipFile(io.BytesIO(WHOLE)) as archive:
        members = archive.infolist()
        assert [member.filename for member in members] == sorted(f"{n}.npy" for n in ARRAYS)
        assert {member.compress_type for member in members} == {zipfile.ZIP_STORED}
        assert {member.date_time for member in members} == {(1980, 1, 1, 0, 0, 0)}
        for member in members:
            content = archive.read(member)
            array = ARRAYS[member.filename[: -len(".npy")]]
            assert content[:8] == b"\x93NUMPY\x01\x00"
            (size,) = struct.unpack("<H", content[8:10])
            header = ast.literal_eval(content[10 : 10 + size].decode("ascii"))
            assert header["descr"] == array.dtype.newbyteorder("<").str
            assert header["fortran_order"] is False
            assert header["shape"] == array.shape
            assert content[10 + size :] == array.tobytes()


def test_objects_are_not_written():
    with pytest.raises(ValueError, match=r"allow_pickle|[Oo]bject"):
        npz_bytes({"a": np.array([{}, None], dtype=object)})


# Reading


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    assert "cannot be read: No such file" in refusal(tmp_path / "none.npz")
    (tmp_path / "folder.npz").mkdir()
    assert "cannot be read: " in refusal(tmp_path / "folder.npz")
    assert "cannot be read: " in refusal(written(b"", tmp_path) / "below.npz")


def plain_npy():
    content = io.BytesIO()
    np.save(content, np.arange(3.0))
    return content.getvalue()


NO_NPZ = {
    "nothing": b"",
    "text": b"loss\n0.5\n",
    "text that begins as a zip": b"PK but no archive\n",
    "one array": plain_npy(),
    "a pickle": b"\x80\x04\x95\x05\x00\x00\x00\x00\x00\x00\x00}\x94.",
}


@pytest.mark.parametrize("content", NO_NPZ.values(), ids=NO_NPZ)
def test_what_is_no_npz_is_named(content, tmp_path):
    assert "is not a .npz file" in refusal(written(content, tmp_path))


NO_NUMBERS = {
    "objects": saved(np.array([{}, None], dtype=object)),
    "text": saved(np.array(["a", "bc"])),
    "bytes": saved(np.array([b"a", b"bc"])),
    "times": saved(np.array(["2020-01-01"], "datetime64[D]")),
    "complex": saved(np.array([1j])),
    "records": saved(np.zeros(2, "i4,f4")),
    "a text among arrays": zipped({"a.npy": plain_npy(), "readme.txt": b"hello"}),
    "what is called an array": zipped({"a.npy": b"hello"}),
}


@pytest.mark.parametrize("content", NO_NUMBERS.values(), ids=NO_NUMBERS)
def test_what_holds_no_numbers_is_named(content, tmp_path):
    assert "numbers" in refusal(written(content, tmp_path))


def test_a_bad_array_is_named_in_one_line_whatever_its_name(tmp_path):
    arrays = {"fine": np.zeros(2), "parameters/P": np.array(["a"])}
    message = refusal(written(npz_bytes(arrays), tmp_path))
    assert "parameters/P" in message
    assert "is not an array of numbers" in message
    refusal(written(npz_bytes({"two\nlines": np.array(["a"])}), tmp_path))


def test_every_cut_is_found(tmp_path):
    for length in [*range(0, 300, 7), *range(300, len(WHOLE), 457), len(WHOLE) - 1]:
        refusal(written(WHOLE[:length], tmp_path))


def test_a_changed_number_is_found(tmp_path):
    place = WHOLE.index(np.array([1198.0, 1199.0]).tobytes())
    refusal(written(WHOLE[:place] + b"\1" + WHOLE[place + 1 :], tmp_path))


# With some version of numpy each of these headers raises, or could raise, another error than
# DataError.
HEADERS = {
    "empty": "",
    "no end": "{'descr': '<f8', 'fortran_order': False, 'shape': (3,)",
    "no end of a text": "{'descr': '''<f8",
    "an indent that does not fit": "  {\n 1",
    "a list": "[]",
    "a key that cannot be one": "{[]: 1}",
    "long numbers": described(shape="(3L,)"),
    "nested": "(" * 300,
    "deep": "(" * 9000,
    "a type without parts": described(descr="()"),
    "a type of no fields": described(descr="[]"),
    "a field without parts": described(descr="[()]"),
    "a number as type": described(descr="5"),
    "a dict as type": described(descr="{'names': 3}"),
    "a comma as type": described(descr="','"),
    "pickled objects": described(descr="'|O'"),
    "nothing of nothing": described(descr="'V0'"),
    "less than nothing": described(shape="(-3,)"),
    "more than there is": described(shape=f"({10**14},)"),
    "more than int64": described(shape=f"({10**30},)"),
    "nothing, and more than int64": described(shape=f"(0, {10**30})"),
    "a product beyond int64": described(shape="(1000000, 1000000, 1000000, 100000)"),
    "too many dimensions": described(shape=f"({'1, ' * 70})"),
    "a shape of truths": described(shape="(True,)"),
    "an order of neither": described(order="2"),
}


class Opened:
    """An object whose pickle creates a file when it is loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_a_pickle_is_not_even_opened(tmp_path):
    path = written(saved(np.array([Opened(tmp_path / "opened")], dtype=object)), tmp_path)
    refusal(path)
    assert [path.name for path in tmp_path.iterdir()] == ["file.npz"]


@pytest.mark.parametrize("length", [2000, 9000, 60000])
def test_long_reasons_are_cut(length, tmp_path):
    path = written(with_header(f"[{'1,' * (length // 2)}]"), tmp_path)
    assert len(refusal(path)) < len(str(path)) + 250


@pytest.mark.filterwarnings("ignore")  # Python warns about invalid numbers
@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0), (9, 9)], ids=str)
def test_whatever_a_header_says_reading_ends_well(version, tmp_path):
    wrong = {}
    for name, header in HEADERS.items():
        try:
            read_or_refused(written(with_header(header, version), tmp_path))
        except Exception as error:
            wrong[name] = repr(error)
    assert not wrong


@pytest.mark.parametrize("method", [1, 8, 9, 12, 14, 93, 99])
def test_a_member_that_is_said_to_be_compressed_ends_well(method, tmp_path):
    central = b"PK\1\2"
    parts = WHOLE.split(central)
    changed = [part[:6] + struct.pack("<H", method) + part[8:] for part in parts[1:]]
    refusal(written(central.join([parts[0], *changed]), tmp_path))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("npz")


@quick
@given(st.binary(max_size=300))
def test_any_bytes_are_refused(folder, content):
    if not content.startswith(b"PK"):
        refusal(written(content, folder))
    # Bytes that begin like an archive can be a valid archive without arrays.
    for start in (b"PK\3\4", b"PK\5\6"):
        read_or_refused(written(start + content, folder))


@quick
@example([(len(WHOLE) - 22 + 10, 1)])
@given(
    st.lists(
        st.tuples(
            # In the headers of the first arrays, in the directory of the archive, or anywhere.
            st.integers(0, 400) | st.integers(-1700, -1) | st.integers(0, len(WHOLE) - 1),
            st.integers(1, 255),
        ),
        min_size=1,
        max_size=3,
    )
)
def test_any_changed_bytes_are_read_or_refused(folder, changes):
    content = bytearray(WHOLE)
    for place, change in changes:
        content[place] ^= change
    read_or_refused(written(bytes(content), folder))


LONG = npz_bytes({"long": ARRAYS["long"]})


@pytest.mark.filterwarnings("ignore")
@quick
@given(st.lists(st.tuples(st.integers(30, 180), st.integers(1, 255)), min_size=1, max_size=2))
def test_any_changed_bytes_of_a_header_are_read_or_refused(folder, changes):
    content = bytearray(LONG)
    for place, change in changes:
        content[place] ^= change
    read_or_refused(written(bytes(content), folder))
