"""Bad input on the real command line: one line of error, exit code 2, no files written."""

import json
import os
import re
import subprocess

import pytest
from conftest import run_script, some

from d2l_recsys.datasets.movielens import RECBOLE
from d2l_recsys.sections import command_line as cli
from d2l_recsys.sections.registry import SECTIONS


def assert_refused(done, message):
    """Check for exit code 2, one matching line on standard error, and no standard output."""
    lines = done.stderr.strip().splitlines()
    assert done.returncode == 2, done.stderr
    assert len(lines) == 1, done.stderr
    assert re.search(message, lines[0]), lines[0]
    assert done.stdout == ""


@pytest.fixture
def call(capsys):
    """Like ``run_script``, but without the seconds that it takes to start a process."""

    def call_main(section, *options):
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            cli.run(SECTIONS[section].main(), [*map(str, options)])
        return subprocess.CompletedProcess(section, left.value.code, *capsys.readouterr())

    return call_main


GOOD = "1\t1\t3\t0\n2\t2\t4\t0\n1\t2\t5\t1\n2\t1\t1\t1\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", r"u\.data is empty; .*replace it"),
        ("\n\n", r"u\.data is empty"),
        (GOOD + "1\t3\t4\n", r"u\.data, line 5: found 3 columns, expected 4"),
        (GOOD + "1\t3\t4\t0\t9\n", r"u\.data, line 5: found 5 columns, expected 4"),
        ("1\t1\t3\t0\t9\n1\t2\t4\t0\t9\n", r"u\.data, line 1: found 5 columns, expected 4"),
        ("1\t2\t3\n1\t2\t3\t4\t5\n", r"u\.data, line 1: found 3 columns, expected 4"),
        (GOOD + "\n1\t3\t4\t0\n", r"u\.data, line 5: found 1 columns, expected 4"),
        (GOOD + "1\tthree\t4\t0\n", r"u\.data, line 5: item_id is 'three', not a whole number"),
        (GOOD + "1\t3\t4.5\t0\n", r"u\.data, line 5: rating is '4\.5', not a whole number"),
        (GOOD + "1\t3\t6\t0\n", r"u\.data, line 5: the rating 6 is outside 1-5"),
        (GOOD + "1\t3\t0\t0\n", r"u\.data, line 5: the rating 0 is outside 1-5"),
        (GOOD + "2\t2\t1\t9\n", r"line 5: user 2 has already rated item 2, on line 2; keep one"),
        (GOOD + "4\t1\t1\t9\n", r"user_ids must run from 1 without gaps, but 4 .* 3 was expected"),
        (GOOD + "1\t9\t1\t9\n", r"item_ids must run from 1 without gaps, but 9 .* 3 was expected"),
        (GOOD + "0\t1\t1\t9\n", r"user_ids must run from 1 without gaps, but 0 .* 1 was expected"),
    ],
)
def test_damaged_ratings_are_refused_with_the_line(call, tmp_path, content, message):
    (tmp_path / "u.data").write_text(content)
    out = tmp_path / "out"
    assert_refused(call("movielens", "--data-dir", tmp_path, "--out", out), message)
    assert not out.exists()


def test_lines_of_the_wheels_layout_are_counted_with_its_header(call, tmp_path):
    (tmp_path / "ml-100k.inter").write_text(RECBOLE.ratings_header + "\n" + GOOD + "1\t3\t9\t0\n")
    done = call("movielens", "--data-dir", tmp_path, "--out", tmp_path / "out")
    assert_refused(done, r"ml-100k\.inter, line 6: the rating 9 is outside 1-5")


def test_a_missing_folder_is_refused(tmp_path):
    done = run_script("chapters/movielens.py", "--data-dir", tmp_path / "nowhere", cwd=tmp_path)
    assert_refused(done, r"--data-dir: the folder .*nowhere does not exist")
    assert not list(tmp_path.iterdir())


def test_a_wrong_checksum_is_refused(call, tmp_path, monkeypatch):
    """The ratings in a fetched folder have changed since."""
    folder = tmp_path / "ml-100k"
    folder.mkdir()
    (folder / "u.data").write_text(GOOD)
    (folder / "source.json").write_text(json.dumps({"sha256": {"u.data": "0" * 64}}))
    monkeypatch.chdir(tmp_path)
    done = call("movielens", "--data-dir", tmp_path)
    assert_refused(done, r"u\.data has the wrong checksum: .*delete the folder")
    assert not (tmp_path / "results").exists()


def test_where_no_source_answers_the_message_says_where_to_put_the_file(tmp_path):
    unreachable = {name: "http://127.0.0.1:9" for name in ("HTTP_PROXY", "HTTPS_PROXY")}
    done = run_script(
        "chapters/movielens.py",
        *("--data-dir", tmp_path),
        cwd=tmp_path,
        **{**unreachable, **{name.lower(): url for name, url in unreachable.items()}},
        **{"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "", "PIP_CONFIG_FILE": os.devnull},
    )
    *attempts, last = done.stderr.strip().splitlines()
    fetching = f"fetching {tmp_path / 'ml-100k'} from "
    assert [line[: len(fetching)] for line in attempts] == [fetching] * 2
    assert done.returncode == 2
    assert re.search(r"GroupLens: it could not be reached; .*recbole==1\.2\.1' failed", last)
    assert f"by hand into {tmp_path / 'ml-100k'}" in last
    assert [path.name for path in tmp_path.iterdir() if not path.name.endswith(".lock")] == []


@pytest.mark.parametrize(
    "script", some(["chapters/movielens.py", "chapters/mf.py"], ["chapters/mf.py"])
)
def test_an_output_folder_that_cannot_be_written_is_refused(script, ratings_dir, tmp_path):
    (tmp_path / "file").write_text("mine")
    options = ["--data-dir", ratings_dir, "--out", tmp_path / "file" / "out"]
    if script.endswith("mf.py"):
        pytest.importorskip("d2l_recsys.backend")
        options += ["--batch-size", "64"]
    assert_refused(
        run_script(script, *options), r"cannot write to .*choose another folder with --out"
    )
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write to a read-only folder")
def test_a_read_only_folder_is_refused(ratings_dir, tmp_path):
    tmp_path.chmod(0o555)
    done = run_script("chapters/movielens.py", "--data-dir", ratings_dir, "--out", tmp_path / "out")
    tmp_path.chmod(0o755)
    assert_refused(done, r"cannot write to .*choose another folder with --out")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--num-epochs", "0"], r"--num-epochs is 0; it must lie between 1 and"),
        (["--batch-size", "1000"], r"does not fill one batch; choose a smaller --batch-size"),
        (["--num-epochs", "many"], r"Invalid value for '--num-epochs'"),
        (["--protocol", "both"], r"--protocol is 'both'; choose one of: printed, defined"),
        (["--epochs", "3"], r"[Nn]o such option:? .*--epochs"),
        (["--user", "31"], r"--user is 31; the data has users 1 to 30"),
    ],
)
def test_settings_out_of_range_are_refused(call, options, message, ratings_dir, tmp_path):
    pytest.importorskip("d2l_recsys.backend")
    out = tmp_path / "out"
    done = call("mf", "--data-dir", ratings_dir, "--out", out, *options)
    assert_refused(done, message)
    assert not out.exists() or not list(out.iterdir())


@pytest.mark.parametrize(
    ("section", "options", "message"),
    [
        ("autorec", ["--variant", "both"], r"--variant is 'both'; choose one of: item, user"),
        ("neumf", ["--cutoff", "5", "--cutoff", "0"], r"--cutoff is 0; it must lie between 1 and"),
        ("caser", ["--L", "0"], r"--L is 0; it must lie between 1 and"),
    ],
)
def test_settings_of_the_other_sections_are_refused(
    call, section, options, message, ratings_dir, tmp_path
):
    pytest.importorskip("d2l_recsys.backend")
    out = tmp_path / "out"
    done = call(section, "--data-dir", ratings_dir, "--out", out, *options)
    assert_refused(done, message)
    assert not out.exists()


@pytest.mark.parametrize(
    ("section", "content", "message"),
    [
        # User 3 has only one rating, which is held out.
        ("neumf", GOOD + "3\t1\t4\t0\n", r"u\.data: user 3 has one rating, which is held out"),
        # User 1 has rated all items.
        ("caser", GOOD + "1\t3\t4\t9\n2\t3\t4\t0\n", r"user 1 .* has no unseen item to rank .* no"),
    ],
)
def test_users_that_cannot_be_trained_on_or_ranked_are_refused(
    call, section, content, message, tmp_path
):
    pytest.importorskip("d2l_recsys.backend")
    (tmp_path / "u.data").write_text(content)
    out = tmp_path / "out"
    done = call(section, "--data-dir", tmp_path, "--out", out, "--batch-size", 1)
    assert_refused(done, message)
    assert not out.exists() or not list(out.iterdir())


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        ("", [], r"train\.csv is empty; replace it"),
        (
            "1\ta\n" * 9,
            [],
            r"train\.csv has no row with a label and 34 values \(line 1: found 2 columns",
        ),
        (
            None,
            ["--strict"],
            r"train\.csv, line 601: the label is '7', not 0 or 1; correct the line",
        ),
        (
            "1" + "\ta" * 34 + "\n",
            [],
            r"train\.csv: all 1 rows have the label 1; use a file with",
        ),
        (None, ["--dataset", "avazu"], r"train\.csv, line 1: expected the header 'id,click,hour,"),
        (None, ["--dataset", "criteo"], r"there is no train\.txt or train\.txt\.gz in .*clicks"),
        (None, ["--dataset", "web"], r"--dataset is 'web'; choose one of: book, movielens, criteo"),
    ],
)
def test_clicks_that_cannot_be_used_are_refused(
    call, content, options, message, clicks_dir, tmp_path
):
    path = clicks_dir / "train.csv"
    whole = path.read_text()
    path.write_text(whole + "7" + whole.splitlines()[0][1:] + "\n" if content is None else content)
    out = tmp_path / "out"
    done = call("ctr", "--data-dir", clicks_dir, "--out", out, *options)
    assert_refused(done, message)
    assert not out.exists()


def test_rows_left_out_are_named_and_the_run_goes_on(call, clicks_dir, tmp_path):
    pytest.importorskip("d2l_recsys.backend")
    with (clicks_dir / "train.csv").open("a") as file:
        file.write("1\tshort\n")
    options = ["--data-dir", clicks_dir, "--out", tmp_path, "--num-epochs", 1, "--batch-size", 64]
    done = call("fm", *options, "--quiet")
    assert done.returncode == 0
    assert done.stderr == (
        f"{clicks_dir}/train.csv: left out 1 rows that are not valid "
        "(line 601: found 2 columns, expected 35)\n"
    )
    dataset = json.loads((tmp_path / "result.json").read_text())["dataset"]
    assert (dataset["train_rows"], dataset["rows_left_out"]) == (600, 1)


def test_what_an_earlier_run_left_survives_a_refused_one(call, ratings_dir, tmp_path):
    (tmp_path / "result.json").write_text("from before")
    (ratings_dir / "u.data").write_text("x")
    assert call("movielens", "--data-dir", ratings_dir, "--out", tmp_path).returncode == 2
    assert (tmp_path / "result.json").read_text() == "from before"


def test_help_names_every_option_with_its_default():
    pytest.importorskip("d2l_recsys.backend")
    done = run_script("chapters/mf.py", "--help")
    assert done.returncode == 0
    for option, default in (("--num-factors", "30"), ("--lr", "0.002"), ("--split", "seq-aware")):
        assert re.search(rf"{option} .*\[default: {default}\]", " ".join(done.stdout.split()))
    assert "--data-dir" in done.stdout
