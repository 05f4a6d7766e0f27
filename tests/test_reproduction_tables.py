import pytest

from d2l_recsys.reproduction.differing import CHECKSUM
from d2l_recsys.reproduction.summary import summarise
from d2l_recsys.reproduction.tables import (
    condition_lines,
    data_lines,
    has_other_settings,
    label,
    label_among,
    lines,
    other_settings_lines,
    table,
    without_empty_columns,
)


def result(**changes):
    return {
        "chapter": "mf",
        "printed": {"test_rmse": 1.05349, "score": 3.2},
        "defined": {"test_rmse": 1.037},
        "reported": {"test_rmse": 1.055, "examples_per_sec": 78035.0},
        "dataset": {"name": "ml-100k", "source": "here", "sha256": "0" * 64, "substitute": False},
        "settings": {"split": "seq-aware"},
        "examples_per_second": 350913.3,
        **changes,
    }


def cells(*results, labels=()):
    text = table([summarise(r[0]["chapter"], r) for r in results], labels)
    return [
        [cell.strip() for cell in line.split("  ") if cell.strip()] for line in text.splitlines()
    ]


def test_each_number_stands_beside_the_reported_one():
    rows = cells([result()])
    assert rows[0] == ["section", "number", "reported", "printed", "defined"]
    assert ["mf", "test rmse", "1.055", "1.053", "1.037"] in rows
    assert ["examples per sec", "78035", "-", "350913"] in rows
    assert ["score", "-", "3.200", "-"] in rows


def test_a_label_says_which_variant_it_is():
    first = cells([result()], labels=["seq-aware"])[2]
    assert first == ["mf", "seq-aware", "test rmse", "1.055", "1.053", "1.037"]


def test_over_seeds_there_are_spreads_and_z_scores():
    other = result(printed={"test_rmse": 1.04349, "score": 3.2})
    rows = cells([result(), other])
    assert rows[0] == ["section", "number", "reported", "printed", "z", "defined"]
    assert rows[2] == ["mf", "test rmse", "1.055", "1.0485 ± 0.0071", "+0.9", "1.0370 ± 0.0000"]
    assert ["score", "-", "3.2000 ± 0.0000", "-", "-"] in rows


def test_the_range_and_the_percentile_are_told():
    other = result(printed={"test_rmse": 1.04349, "score": 3.2})
    line = lines(summarise("mf", [result(), other]))[0]
    assert (line.printed_range, line.percentile) == ("[1.0435, 1.0535]", "100 % (above all)")
    below = result(reported={"test_rmse": 1.0})
    assert lines(summarise("mf", [below, other]))[0].percentile == "0 % (below all)"
    within = result(reported={"test_rmse": 1.05})
    assert lines(summarise("mf", [within, other]))[0].percentile == "50 %"


def test_a_substitute_is_marked_in_the_table_and_below_it():
    dataset = dict(result()["dataset"], substitute=True)
    assert cells([result(dataset=dataset)])[2][0] == "mf*"
    assert data_lines([dataset, dataset]) == [
        "data: ml-100k from here, SHA-256 0000000000000000; "
        "* not the chapter's data: do not compare these numbers with the book's"
    ]


def test_chapter_data_is_not_marked():
    assert cells([result()])[2][0] == "mf"
    assert "*" not in data_lines([result()["dataset"]])[0]


def test_counts_are_whole_and_the_speed_comes_last():
    numbers = result(printed={"num_users": 943}, defined={}, reported={"examples_per_sec": 5.0})
    assert cells([numbers])[2:] == [
        ["mf", "num users", "-", "943", "-"],
        ["examples per sec", "5", "-", "350913"],
    ]


def test_the_variant_is_named_by_what_sets_it_apart():
    settings = {"head": "sum", "loss": "bpr", "split": "seq-aware", "lr": 0.01}
    assert label(result(settings=settings)) == "seq-aware, sum, bpr"
    assert label(result(settings={"L": 3, "split": "seq-aware"})) == "seq-aware, L 3"
    settings = {"trained_on": "logits", "dataset": "MovieLens-100K as clicks", "lr": 0.01}
    assert label(result(settings=settings)) == "on logits, MovieLens-100K as clicks"


@pytest.mark.parametrize(
    ("settings", "differs", "expected"),
    [
        ({"split": "random"}, {}, "random"),
        (
            {"split": "random"},
            {"num_factors": 50, "lr": 0.001, "seed": 3},
            "random, num_factors 50, lr 0.001, seed 3",
        ),
        # What the label has is not named again, and a default that the result lacks is named.
        ({"L": 3}, {"split": "seq-aware", "L": 3, "d": 0}, "seq-aware, L 3, d 0"),
        ({"trained_on": "logits"}, {"trained_on": "logits", "protocol": "defined"}, "on logits"),
        ({}, {"protocol": "defined"}, "protocol defined"),
        ({}, {"nums_hiddens": [100, 50], "cutoff": []}, "nums_hiddens 100,50, cutoff none"),
        ({}, {CHECKSUM: "0123456789abcdef" * 4}, f"{CHECKSUM} 0123456789abcdef"),
        ({"loss": None}, {"loss": None}, "loss None"),
        ({}, {"note": "a\nb"}, r"note 'a\nb'"),
        ({}, {}, ""),
    ],
)
def test_a_run_among_others_is_named_by_what_differs(settings, differs, expected):
    assert label_among(result(settings=settings), differs) == expected


@pytest.mark.parametrize(
    ("section", "settings", "expected"),
    [
        ("mf", {"num_factors": 30, "lr": 0.002, "num_devices": 3}, False),
        ("mf", {"num_factors": 31}, True),
        ("mf", {"split": "random"}, True),
        ("caser", {"cutoff": [5]}, False),
        ("neumf", {"nums_hiddens": [10, 10, 10]}, False),
        ("neumf", {"nums_hiddens": [10]}, True),
        # The book has no numbers of these with any settings.
        ("ease", {"l2": 1.0}, False),
        ("of an older version", {"lr": 1.0}, False),
    ],
)
def test_the_books_settings_are_told_from_others(section, settings, expected):
    assert has_other_settings(result(chapter=section, settings=settings)) is expected


def test_a_line_names_up_to_three_runs_without_numbers_in_the_book():
    assert other_settings_lines([]) == []
    one = "a: the book has no numbers for this run, because it has other settings"
    assert other_settings_lines(["a"]) == [one]
    several = "the book has no numbers for these runs, because they have other settings"
    assert other_settings_lines(["a", "b", "c"]) == [f"a, b, c: {several}"]
    assert other_settings_lines(["a", "b", "c", "d"]) == [f"4 runs: {several}"]


def test_without_a_speed_there_is_no_row_for_it():
    rows = cells([result(reported={}, examples_per_second=None)])
    assert not any("examples" in cell for row in rows for cell in row)


@pytest.mark.parametrize("name", ["printed", "defined"])
def test_a_number_of_one_protocol_alone_has_its_row(name):
    other = {"printed": "defined", "defined": "printed"}[name]
    rows = cells([result(**{name: {"only": 1.0}, other: {}, "reported": {}})])
    columns = ["1.000", "-"] if name == "printed" else ["-", "1.000"]
    assert ["mf", "only", "-", *columns] in rows


def test_a_number_that_was_not_finite_has_none():
    rows = cells([result(printed={"test_rmse": None}, defined={"test_rmse": 1.0})])
    assert ["mf", "test rmse", "1.055", "-", "1.000"] in rows


def test_a_column_without_a_value_is_left_out():
    rows = [["x", "-", "", "1"], ["y", "-", "-", "-"]]
    assert without_empty_columns(["name", "z", "blank", "number"], rows) == (
        ["name", "blank", "number"],
        [["x", "", "1"], ["y", "-", "-"]],
    )
    assert without_empty_columns(["name"], []) == ([], [])


def of_section(section, **settings):
    reported = {"test_auc": 0.7} if section in ("neumf", "caser") else {"test_rmse": 0.9}
    return summarise(section, [result(chapter=section, reported=reported, settings=settings)])


def test_conditions_that_differ_from_the_books_are_named_once_for_all_sections_that_share_them():
    assert condition_lines([of_section("mf", num_devices=2), of_section("neumf")]) == []
    summaries = [
        of_section("mf", num_devices=1),
        of_section("neumf", num_devices=1),
        of_section("autorec", num_devices=1, num_epochs=3),
        # The book has no numbers of this one.
        summarise("mf-random", [result(reported={}, settings={"num_devices": 1})]),
    ]
    assert condition_lines(summaries) == [
        "mf, neumf: the book ran on two devices; here it was one device",
        "autorec: the book ran on two devices, with num_epochs 25; here it was one device, "
        "num_epochs 3",
        "neumf: the printed train loss depends on the number of devices (ERRATA.md, D1)",
    ]
    assert condition_lines(summaries[:1], ["results/mf"]) == [
        "results/mf: the book ran on two devices; here it was one device"
    ]
