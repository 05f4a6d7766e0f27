import os

import pytest
from conftest import run_script

from d2l_recsys.storage.files import content_of, open_file


def test_a_regular_file_is_read(tmp_path):
    (tmp_path / "file").write_bytes(b"abc")
    assert content_of(tmp_path / "file") == b"abc"
    (tmp_path / "link").symlink_to(tmp_path / "file")
    assert content_of(tmp_path / "link") == b"abc"


@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "nothing"])
def test_what_is_no_regular_file_is_refused_at_once(kind, tmp_path):
    path = tmp_path / "path"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "folder":
        path.mkdir()
    message = {"folder": "Is a directory", "nothing": "No such file"}.get(kind, "not a regular")
    with pytest.raises(OSError, match=message):
        open_file(path)


@pytest.mark.parametrize("name", ["u.data", "u.item"])
def test_a_pipe_in_place_of_data_is_one_line(name, ratings_dir, tmp_path):
    (ratings_dir / name).unlink()
    os.mkfifo(ratings_dir / name)
    done = run_script(
        "d2l_recsys/__main__.py", "recommend", "--model", "popularity", "--like", "Film 7",
        "--data-dir", ratings_dir, "--results", tmp_path,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert f"{name} is not a file" in line or "it is not a regular file" in line


@pytest.mark.parametrize("name", ["result.json", "model.safetensors"])
def test_a_pipe_in_place_of_a_result_is_one_line(name, ratings_dir, run_here, tmp_path):
    options = ["--data-dir", ratings_dir, "--out", tmp_path / "out", "--quiet"]
    assert run_here("run", "popularity", *options)[0] == 0
    (tmp_path / "out" / name).unlink()
    os.mkfifo(tmp_path / "out" / name)
    asked = {
        "result.json": ["report", tmp_path / "out"],
        "model.safetensors": ["recommend", "--model", tmp_path / "out", "--user", 1, *options[:2]],
    }[name]
    code, out, err = run_here(*asked)
    assert (code, out) == (2, "")
    (line,) = err.splitlines()
    assert "it is not a regular file" in line


def test_a_folder_with_other_files_is_not_filled(run_here, tmp_path):
    (tmp_path / "ratings.csv").write_text("user,item,rating\n")
    for command in (["run", "ease"], ["run", "ctr"], ["data", "fetch"]):
        code, _, err = run_here(*command, "--data-dir", tmp_path)
        assert code == 2
        assert (
            f"--data-dir: {tmp_path} has no data set that is known here, but ratings.csv; name a "
            "folder that has the data, or an empty folder to fetch the data into"
        ) in err
        assert "fetching" not in err
    assert run_here("run", "ease", "--data-dir", tmp_path / "ratings.csv")[2] == (
        f"d2l-recsys: error: --data-dir: {tmp_path / 'ratings.csv'} is not a folder; name the "
        "folder that it is in\n"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["ratings.csv"]
