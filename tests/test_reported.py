"""The numbers in the book, and what a run says about them."""

import json

import pytest
from conftest import ROOT, run_script

from d2l_recsys.runs.reported import (
    all_reported,
    beside_the_book,
    differing_conditions,
    note_on_loss,
    reported_decimals,
    reported_numbers,
)
from d2l_recsys.sections.registry import SECTIONS
from d2l_recsys.settings import Protocol

FILE = json.loads((ROOT / "d2l_recsys" / "runs" / "reported.json").read_text(encoding="utf-8"))
TRAINED = [name for name in all_reported() if SECTIONS[name].trains]


def as_in_the_book(section):
    """The settings of a section's result if it runs as in the book."""
    options = SECTIONS[section].options().parameters
    return {**{name: option.default for name, option in options.items()}, "num_devices": 2}


def result(section="neumf", **changes):
    numbers = dict(reported_numbers(section))
    return {
        "chapter": section,
        "protocol": "printed",
        "printed": {name: 0.0 for name in numbers if name != "examples_per_sec"},
        "reported": numbers,
        "dataset": {"substitute": False},
        "settings": as_in_the_book(section),
        **changes,
    }


def test_the_numbers_are_those_of_the_file():
    assert all_reported() == {name: FILE[name] for name in FILE if name != "note"}
    assert set(all_reported()) <= set(SECTIONS)
    assert reported_numbers("mf") == FILE["mf"]


def test_decimals_are_counted_as_the_book_prints_them():
    assert reported_decimals("mf") == {
        "train_loss": 3,
        "test_rmse": 3,
        "score_user20_item30": 7,
        "examples_per_sec": 1,
    }
    # Its last digit is a zero, which a float does not keep.
    assert reported_decimals("fm")["test_acc"] == 3


@pytest.mark.parametrize("section", all_reported())
def test_a_run_as_in_the_book_differs_in_nothing(section):
    assert differing_conditions(section, as_in_the_book(section)) == ("", "")
    assert note_on_loss(section, as_in_the_book(section)) == ""


@pytest.mark.parametrize("section", TRAINED)
@pytest.mark.parametrize(("num_devices", "words"), [(1, "one device"), (3, "3 devices")])
def test_another_number_of_devices_is_named(section, num_devices, words):
    settings = {**as_in_the_book(section), "num_devices": num_devices}
    assert differing_conditions(section, settings) == ("on two devices", words)
    # Only the losses of the ranking sections are sums over devices.
    assert bool(note_on_loss(section, settings)) == (section in ("neumf", "caser"))


def test_every_changed_setting_is_named():
    settings = {**as_in_the_book("neumf"), "nums_hiddens": [10], "lr": 0.1, "num_devices": 1}
    assert differing_conditions("neumf", settings) == (
        "on two devices, with nums_hiddens [10, 10, 10], lr 0.01",
        "one device, nums_hiddens [10], lr 0.1",
    )


def test_values_are_compared_as_the_file_has_them():
    settings = {**as_in_the_book("neumf"), "nums_hiddens": [10, 10, 10], "head": "sum"}
    assert differing_conditions("neumf", settings) == ("", "")


def test_cutoffs_and_unknown_settings_do_not_count():
    settings = {**as_in_the_book("caser"), "cutoff": [5], "split": "seq-aware", "unknown": 1}
    assert differing_conditions("caser", settings) == ("", "")


def test_the_line_has_the_books_numbers_and_no_speed():
    numbers = "the book: train loss 4.381, test hit rate 0.323, test AUC 0.734"
    assert beside_the_book(result()) == numbers
    settings = {**as_in_the_book("neumf"), "num_devices": 1}
    assert beside_the_book(result(settings=settings)) == (
        f"{numbers}, on two devices; this run had one device; the printed train loss depends on "
        "the number of devices (ERRATA.md, D1)"
    )


def test_the_line_names_only_what_was_measured():
    printed = {"train_loss": 0.1, "score_user1_item1": 3.0}
    line = beside_the_book(result("mf", printed=printed))
    assert line == "the book: train loss 0.066"


def test_the_line_says_that_data_is_a_substitute():
    line = beside_the_book(result("fm", dataset={"substitute": True}))
    assert line == ("the book: train loss 0.504, train acc 0.762, test acc 0.750, on its own data")


def test_beside_defined_numbers_the_line_points_to_the_printed_ones():
    line = beside_the_book(result("autorec", protocol=Protocol.defined))
    assert line.endswith("test RMSE 0.900; compare it with the printed numbers in result.json")
    # A section on data has no training: its printed numbers are its defined numbers.
    assert "compare" not in beside_the_book(result("movielens", protocol="defined"))


def test_a_variant_without_numbers_in_the_book_has_no_line():
    assert beside_the_book(result(reported={})) == ""


def test_a_run_prints_the_line(ratings_dir, tmp_path):
    options = ["--data-dir", ratings_dir, "--num-epochs", 1, "--batch-size", 64, "--out", tmp_path]
    done = run_script("chapters/neumf.py", *options)
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("the book: ")]
    assert line == (
        "the book: train loss 4.381, test hit rate 0.323, test AUC 0.734, on its own data, on two "
        "devices, with num_epochs 10, batch_size 1024; this run had one device, num_epochs 1, "
        "batch_size 64; the printed train loss depends on the number of devices (ERRATA.md, D1)"
    )


def test_a_run_that_is_not_the_books_or_is_quiet_prints_no_line(ratings_dir, tmp_path, capsys):
    pytest.importorskip("d2l_recsys.backend")
    main = SECTIONS["neumf"].main()
    options = {"data_dir": ratings_dir, "num_epochs": 1, "batch_size": 64, "out": tmp_path}
    main(**options, head="linear")
    assert "test AUC" in (printed := capsys.readouterr().out)
    assert "the book:" not in printed
    main(**options, quiet=True, force=True)
    assert capsys.readouterr().out == ""
