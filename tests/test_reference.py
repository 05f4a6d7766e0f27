"""Check the reference run in ``docs``, and compare three fresh seeds with it."""

import json
import math
import re

import numpy as np
import pytest
from conftest import ROOT
from scipy import stats

from d2l_recsys.runs.reported import reported_numbers
from d2l_recsys.sections.registry import SECTIONS, VARIANTS, Kind

FOLDER = ROOT / "docs" / "reference"
FRESH_SEEDS = (101, 102, 103)
# The probability that the test flags a number although the code is correct. The test compares about
# a hundred numbers, so all of them pass for about 99 of 100 choices of three seeds. A mean that
# moves by 3.5 standard deviations of a seed is flagged more often than not; by 5, nearly always.
FALSE_ALARM = 1e-4
# The reference has six digits. This relative tolerance matters if all seeds give the same number.
KEPT = 1e-5


@pytest.fixture(scope="module")
def reference():
    return json.loads((FOLDER / "reference.json").read_text(encoding="utf-8"))


def differs(fresh, of_reference):
    """Whether the means of ``fresh`` and of the reference differ more than chance explains."""
    n, m = len(of_reference["values"]), len(fresh)
    reach = stats.t.ppf(1 - FALSE_ALARM / 2, n - 1) * of_reference["sd"] * math.sqrt(1 / n + 1 / m)
    distance = abs(np.mean(fresh) - of_reference["mean"])
    return not distance <= reach + KEPT * abs(of_reference["mean"])


def test_the_reference_has_twenty_seeds_of_everything(reference):
    assert reference["seeds"] == list(range(20))
    assert list(reference["variants"]) == list(VARIANTS)
    for name, variant in reference["variants"].items():
        assert variant["settings"]["num_devices"] == reference["num_devices"] == 2
        if not variant["dataset"]["substitute"] and not VARIANTS[name].options:
            assert variant["reported"] == reported_numbers(variant["section"])
        for protocol in ("printed", "defined"):
            for number in variant[protocol].values():
                assert len(number["values"]) == 20
                values = [min(number["values"]), max(number["values"])]
                assert [number["min"], number["max"]] == values
                np.testing.assert_allclose(number["mean"], np.mean(number["values"]), rtol=1e-5)
                spread = np.std(number["values"], ddof=1)
                np.testing.assert_allclose(number["sd"], spread, rtol=1e-2, atol=1e-6)


def test_the_report_beside_it_is_of_the_same_run(reference):
    report = (FOLDER / "report.md").read_text(encoding="utf-8")
    assert report.startswith("# The chapter, reproduced over 20 seeds\n")
    told = np.array(re.findall(r"(-?[\d.]+) ± ([\d.]+) \|", report), dtype=float)
    for variant in reference["variants"].values():
        for protocol in ("printed", "defined"):
            for number in variant[protocol].values():
                expected = [number["mean"], number["sd"]]
                assert np.isclose(told, expected, rtol=0, atol=1.01e-4).all(axis=1).any()
    figures = {path.stem for path in (FOLDER / "figures").glob("*.png")}
    data = {name for name, section in SECTIONS.items() if section.kind is Kind.data}
    assert figures == {*VARIANTS, *data, "standings"}


METRICS = {
    "RMSE": "test_rmse",
    "Hit@50": "test_hit_rate",
    "AUC": "test_auc",
    "accuracy": "test_acc",
}


def test_the_readme_quotes_the_reference(reference):
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = [[cell.strip() for cell in row.split("|")[1:-1]] for row in readme.splitlines()]
    quoted, section = {}, None
    for cells in (cells for cells in rows if len(cells) == 7):
        section = cells[2].strip("`").partition("run ")[2] or section
        if cells[3] in METRICS:
            quoted[section, METRICS[cells[3]]] = cells[4:]
    expected = {}
    for section, variant in reference["variants"].items():
        for name in METRICS.values():
            if name in variant["reported"]:
                expected[section, name] = [f"{reported_numbers(section)[name]:.3f}"] + [
                    f"{number['mean']:.3f} ± {number['sd']:.3f}"
                    for number in (variant["printed"][name], variant["defined"][name])
                ]
    assert quoted == expected
    # Two of the metrics of each ranking section, one of each other section.
    assert len(quoted) == 8


def test_the_readme_counts_the_numbers_within_the_range_of_the_seeds(reference):
    outside, within = [], 0
    for section, variant in reference["variants"].items():
        for name, value in (
            {} if variant["dataset"]["substitute"] else variant["reported"]
        ).items():
            if name in variant["printed"]:
                seeds = variant["printed"][name]
                is_within = seeds["min"] <= value <= seeds["max"]
                within += is_within
                outside += [] if is_within else [(section, name)]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert (within, outside) == (10, [("autorec", "train_loss")])
    assert "Ten of the eleven numbers lie within the range of the seeds" in readme


def test_the_example_of_the_three_values_is_seed_0(reference):
    name, variant = "score_user20_item30", reference["variants"]["mf"]
    numbers = [reported_numbers("mf")[name]] + [
        variant[protocol][name]["values"][0] for protocol in ("printed", "defined")
    ]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    errata = (ROOT / "ERRATA.md").read_text(encoding="utf-8")
    for value, number in zip(("reported", "printed", "defined"), numbers):
        (row,) = re.findall(rf"^\| \*\*{value}\*\* \|.*\|$", readme, flags=re.MULTILINE)
        assert f"| {number:.3f}" in row
        assert f"The **{value}** score is {number:.3f}" in errata


def test_a_shift_beyond_the_spread_is_flagged_and_no_other():
    rng = np.random.default_rng(0)
    flagged = {}
    for shift in (0, 5):
        flagged[shift] = 0
        for _ in range(300):
            values, fresh = rng.normal(size=20), rng.normal(shift, size=3)
            of_reference = {"values": values, "mean": values.mean(), "sd": values.std(ddof=1)}
            flagged[shift] += differs(fresh, of_reference)
    assert flagged[0] <= 2
    assert flagged[5] >= 290
    same = {"values": [0.5] * 20, "mean": 0.5, "sd": 0.0}
    assert not differs([0.5] * 3, same)
    assert differs([0.5001] * 3, same)
    assert differs([math.nan] * 3, same)


@pytest.mark.slow
@pytest.mark.parametrize("name", VARIANTS)
def test_three_fresh_seeds_agree_with_the_reference(name, reference, ml100k_dir, tmp_path):
    pytest.importorskip("d2l_recsys.backend")
    variant, expected = VARIANTS[name], reference["variants"][name]
    options = dict(variant.options)
    if variant.section.on_clicks:
        # Use the data of the reference, even if the book's data is available here.
        options["dataset"] = "movielens" if expected["dataset"]["substitute"] else "book"
    results = [
        variant.section.main()(
            seed=seed, num_devices=2, data_dir=ml100k_dir, out=tmp_path, quiet=True, **options
        )
        for seed in FRESH_SEEDS
    ]
    assert results[0]["dataset"]["sha256"] == expected["dataset"]["sha256"]
    assert results[0]["settings"] == expected["settings"]
    wrong = [
        f"{protocol} {number}: {fresh}, expected {of_reference['mean']} ± {of_reference['sd']}"
        for protocol in ("printed", "defined")
        for number, of_reference in expected[protocol].items()
        for fresh in [[result[protocol][number] for result in results]]
        if differs(fresh, of_reference)
    ]
    assert not wrong
