import json
import re

import pytest
from conftest import run_script, some, write_ratings

pytest.importorskip("d2l_recsys.backend")
from d2l_recsys.cli.rerun import rerun as repeat
from d2l_recsys.errors import DataError
from d2l_recsys.runs.again import options_of
from d2l_recsys.sections.registry import SECTIONS, SYSTEMS


@pytest.mark.parametrize(
    "section", some(["movielens", "mf", "neumf", "fm", "ease", "als"], ["movielens", "neumf", "fm"])
)
def test_a_result_says_how_it_was_made(section, ratings_dir, clicks_dir, tmp_path):
    """Options that are not the defaults come back, and those that no number depends on do not."""
    data_dir = clicks_dir if SYSTEMS[section].on_clicks else ratings_dir
    given = {
        "mf": {"split": "random", "wd": 0.5, "batch_size": 16, "num_epochs": 1},
        "neumf": {"loss": "hinge", "cutoff": [3], "batch_size": 16, "num_epochs": 1},
        "fm": {"protocol": "defined", "batch_size": 64, "num_epochs": 1, "min_threshold": 9},
        "ease": {"l2": 3.0, "split": "validation"},
        "als": {"num_factors": 4, "seed": 5},
    }.get(section, {})
    if "num_epochs" in given:
        given.update(seed=3, num_devices=2, device="cpu")
    result = SYSTEMS[section].main()(data_dir=data_dir, out=tmp_path / "one", quiet=True, **given)
    one = tmp_path / "one"
    found, options = options_of(one, json.loads((one / "result.json").read_text()))
    assert found.name == section
    assert given.items() <= options.items()
    assert not {"data_dir", "out", "quiet", "force", "resume"} & set(options)
    again = found.main()(data_dir=data_dir, out=tmp_path / "two", quiet=True, **options)
    for key in ("printed", "defined", "settings", "seed", "protocol", "dataset"):
        assert again[key] == result[key]


def test_the_same_run_is_the_same_and_a_change_is_told(ratings_dir, run_here, tmp_path):
    folder, data = tmp_path / "run", ["--data-dir", ratings_dir]
    SECTIONS["mf"].main()(
        data_dir=ratings_dir, out=folder, batch_size=16, num_epochs=1, seed=2, quiet=True
    )
    done = run_script("d2l_recsys/__main__.py", "rerun", folder, *data)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{folder}-again has the same numbers and weights as {folder}\n"
    path = folder / "result.json"
    result = json.loads(path.read_text())
    result["printed"]["test_rmse"], result["settings"]["lr"] = 0.5, 0.004
    path.write_text(json.dumps(result))
    code, _, err = run_here("rerun", folder, *data, "--json")
    assert code == 2
    assert "has the result of another run (lr 0.002, not 0.004)" in err
    for file in (tmp_path / "run-again").iterdir():
        file.unlink()
    code, out, _ = run_here("rerun", folder, *data, "--json")
    assert code == 1
    document = json.loads(out)
    assert (document["same"], document["environment"]) == (False, [])
    told = "\n".join(document["differences"])
    assert "printed test_rmse: 0.5 became " in told
    assert re.search(r"^weights P\.weight: differ by up to 0\.0\d", told, re.MULTILINE)


def test_other_ratings_are_refused_before_the_run(ratings, ratings_dir, tmp_path):
    SYSTEMS["popularity"].main()(data_dir=ratings_dir, out=tmp_path / "run", quiet=True)
    (tmp_path / "data").mkdir()
    other = write_ratings(tmp_path / "data", ratings[ratings["user_id"] < 30])
    with pytest.raises(DataError, match=r"other ratings; name their folder with --data-dir$"):
        repeat(tmp_path / "run", data_dir=other)
    assert not (tmp_path / "run-again").exists()


def test_what_cannot_be_repeated_is_told(run_here, tmp_path):
    code, out, err = run_here("rerun", tmp_path)
    assert (code, out) == (2, "")
    assert "result.json does not exist" in err
    with pytest.raises(DataError, match=r"a/result\.json is of tower, which is no section"):
        options_of("a", {"chapter": "tower", "settings": {}})


@pytest.mark.parametrize(
    "setting",
    [{"l2": "abc"}, {"l2": None}, {"l2": True}, {"l2": [1]}, {"cutoff": 5}, {"cutoff": ["a"]},
     {"split": "last"}, {"nosuch": 1}],
)  # fmt: skip
def test_a_setting_that_is_none_is_told_before_the_run(setting, ratings_dir, run_here, tmp_path):
    run_here("run", "ease", "--data-dir", ratings_dir, "--out", "one")
    path = tmp_path / "one" / "result.json"
    result = json.loads(path.read_text())
    path.write_text(json.dumps({**result, "settings": {**result["settings"], **setting}}))
    code, out, err = run_here("rerun", "one", "--data-dir", ratings_dir)
    assert (code, out) == (2, "")
    (line,) = err.splitlines()
    (name,) = setting
    assert f"one/result.json has the setting {name} " in line
    assert not (tmp_path / "one-again").exists()


def test_without_weights_only_numbers_are_compared(ratings_dir, run_here, tmp_path):
    run_here("run", "popularity", "--data-dir", ratings_dir, "--out", "one")
    (tmp_path / "one" / "model.safetensors").write_bytes(b"damaged")
    assert run_here("rerun", "one", "--data-dir", ratings_dir)[0] == 2
    assert not (tmp_path / "one-again").exists()
    (tmp_path / "one" / "model.safetensors").unlink()
    # The file can be named in place of its folder.
    code, out, err = run_here("rerun", "one/result.json", "--data-dir", ratings_dir)
    assert (code, err) == (0, "")
    assert out == "one-again has the same numbers as one, which has no weights\n"
