import json
import re

import pytest

pytest.importorskip("matplotlib")
from d2l_recsys.reproduction.figures import Picture
from d2l_recsys.reproduction.pages import Reproduction, markdown, write_report
from d2l_recsys.reproduction.runs import DescribedData, FinishedRun
from d2l_recsys.settings import Scores
from d2l_recsys.training.history import History

ENVIRONMENT = {"python": "3", "mxnet": "1", "numpy": "1", "platform": "P", "devices": ["cpu(0)"]}
ML100K = {"name": "ml-100k", "source": "here", "sha256": "1" * 64, "substitute": False}
CLICKS = {"name": "some *clicks", "source": "there", "sha256": "2" * 64, "substitute": True}


def run(variant, seed, dataset=ML100K, reported=None, **numbers):
    history = History()
    for epoch in (1, 2):
        value = 1 / epoch + seed / 100
        history.append(
            Scores({"train_loss": value, "test_rmse": value, "train_acc": value}, {}),
            examples=10,
            seconds_train=1.0,
            seconds_evaluate=0.5,
            curve_train_loss=value,
        )
    result = {
        "chapter": variant.partition("-")[0],
        "protocol": "printed",
        "seed": seed,
        "printed": numbers,
        "defined": numbers,
        "reported": reported or {},
        "dataset": dataset,
        "settings": {"lr": 0.1, "num_devices": 2, "cutoff": []},
        "seconds": {"load": 0.1, "train": 2.0, "evaluate": 1.0, "total": 3.1 + seed},
        "examples_per_second": 10.0,
        "environment": ENVIRONMENT,
    }
    stamp = {"variant": variant, "seed": seed, "num_devices": 2, "code": "c" * 64, "jobs": 3}
    return FinishedRun({**stamp, "environment": ENVIRONMENT}, result, history)


def reproduction(seeds=2):
    runs = [run("fm", s, CLICKS, {"test_acc": 0.75}, test_acc=0.5 + s / 10) for s in range(seeds)]
    rmse = {"test_rmse": 1.055, "train_loss": 0.066}
    runs += [run("mf", s, ML100K, rmse, test_rmse=1.05 + s / 100) for s in range(seeds)]
    result = {
        "chapter": "movielens", "printed": {"num_users": 943}, "defined": {"num_users": 943},
        "reported": {"num_users": 943}, "dataset": ML100K, "settings": {}, "ratings": {"5": 9},
    }  # fmt: skip
    return Reproduction({"movielens": DescribedData(result, b"\x89PNG of it")}, runs)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the report of two seeds. It had a figure before."""
    folder = tmp_path_factory.mktemp("report")
    (folder / "figures").mkdir()
    (folder / "figures" / "of-old.png").touch()
    files = write_report(reproduction(), folder)
    assert [path.name for path in files] == ["report.md", "report.html", "numbers.json"]
    return folder


@pytest.fixture(scope="module")
def report(folder):
    return (folder / "report.md").read_text(encoding="utf-8")


def text_of(*reproduction):
    """The report in Markdown, without drawn figures."""
    summaries = Reproduction(*reproduction).summaries()
    figures = {f"{s.name}.png": Picture(b"", "seen", "caption") for s in summaries}
    return markdown(Reproduction(*reproduction), summaries, figures)


def rows(report):
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in report.splitlines()]


def test_each_reported_number_stands_beside_its_distribution(report):
    assert ["[mf](#mf)", "test rmse", "1.055", "1.0550 ± 0.0071", "+0.0", "50 %",
            "1.0550 ± 0.0071"] in rows(report)  # fmt: skip
    assert ["test rmse", "1.055", "1.0550 ± 0.0071", "[1.0500, 1.0600]", "+0.0", "50 %",
            "1.0550 ± 0.0071", "[1.0500, 1.0600]"] in rows(report)  # fmt: skip


def test_a_substitute_is_marked_wherever_its_numbers_stand(report):
    assert r"**Names with an asterisk ran on some \*clicks**, not on the chapter's data" in report
    brief = next(row for row in rows(report) if row[0] == r"[fm\*](#fm)")
    assert brief[2:6] == ["0.750", "0.5500 ± 0.0707", "-", "-"]
    assert r"### fm\*" in report.splitlines()


def test_the_report_says_what_differs_from_the_books_runs(report):
    assert "\n- mf: the book ran with lr 0.002; here it was lr 0.1\n" in report
    assert "\n- fm: the book ran with lr 0.02; here it was lr 0.1\n" in report


def test_the_report_follows_the_book_and_names_what_it_was_made_with(report):
    headings = [line for line in report.splitlines() if line.startswith("#")]
    assert headings == [
        "# The chapter, reproduced over 2 seeds", "## Contents", "## In brief",
        "## 15.2 The MovieLens data set", "### movielens", "## 15.3 Matrix factorization", "### mf",
        "## 15.9 Factorization machines", r"### fm\*", "## Made with", "## Time"]  # fmt: skip
    made_with = dict(row for row in rows(report.partition("## Made with")[2]) if len(row) == 2)
    assert made_with["seeds"] == "0, 1"
    assert made_with["devices"] == "cpu(0)"
    assert made_with["code"] == "SHA-256 " + "c" * 64
    assert made_with["ml-100k"] == "here, SHA-256 " + "1" * 64
    assert ["mf", "0.1", "2.0", "1.0", "3.6", "10"] in rows(report)
    assert "Settings: lr 0.1, num_devices 2." in report


def test_every_figure_is_drawn_and_shown(report, folder):
    shown = set(re.findall(r"\]\(figures/(.*?)\)", report))
    assert shown == {"mf.png", "fm.png", "movielens.png", "standings.png"}
    # The figure of the report before is deleted.
    assert {path.name for path in (folder / "figures").iterdir()} == shown
    assert (folder / "figures" / "mf.png").read_bytes().startswith(b"\x89PNG")


def test_each_figure_has_its_text_and_its_caption(report):
    alt = "Curves of mf over 2 epochs, mean of 2 seeds: the train loss falls from 1.005 to 0.505; "
    alt += "the test RMSE falls from 1.005 to 0.505 (the book reports 1.055)."
    caption = "mf after each epoch: printed numbers, mean of 2 seeds."
    assert f"\n\n![{alt}](figures/mf.png)\n\n*{caption}*\n\n" in report
    assert r"mean of 2 seeds, on some \*clicks, not the chapter's data.*" in report
    assert "occurs in ml-100k, as bars. 5: 9](figures/movielens.png)\n\n*How often" in report


def test_the_contents_link_to_every_heading(report):
    contents = report.partition("## Contents\n\n")[2].partition("\n\n## ")[0]
    assert contents.splitlines() == [
        "- [In brief](#in-brief)",
        "- [15.2 The MovieLens data set](#152-the-movielens-data-set): [movielens](#movielens)",
        "- [15.3 Matrix factorization](#153-matrix-factorization): [mf](#mf)",
        r"- [15.9 Factorization machines](#159-factorization-machines): [fm\*](#fm)",
        "- [Made with](#made-with)",
        "- [Time](#time)",
    ]


def test_one_seed_has_no_distribution(report):
    explained = ["percentile", "standard deviation", "±", "over seeds", "**z**", "min, max", "band"]
    text = text_of(*reproduction(seeds=1))
    assert [(words in report, words in text) for words in explained] == [(True, False)] * 7
    assert text.startswith("# The chapter, reproduced over 1 seed\n")
    assert ["number", "reported", "printed", "defined"] in rows(text)
    assert ["section", "number", "reported", "printed", "defined"] in rows(text)
    assert ["[mf](#mf)", "test rmse", "1.055", "1.050", "1.050"] in rows(text)


def test_without_a_z_score_it_is_not_explained():
    text = text_of({}, [r for r in reproduction().runs if r.stamp["variant"] == "fm"])
    assert "means ± standard deviations" in text
    assert "percentile" not in text
    assert [r"[fm\*](#fm)", "test acc", "0.750", "0.5500 ± 0.0707", "0.5500 ± 0.0707"] in rows(text)


def test_without_a_reported_number_there_is_no_table_of_them():
    text = text_of({}, [run("mf-random", 0, test_rmse=1.0)])
    assert "## In brief\n\nThe book reports no number of these runs.\n" in text


def test_the_times_tell_on_what_they_were_measured(report):
    below = report.splitlines()[-1]
    assert below.startswith(
        "Measured on P, with 1 device (cpu(0)) and 3 runs at a time. Times are seconds of wall "
        "time, medians over seeds. "
    )
    data, runs = reproduction()
    for of_run, model, jobs in zip(runs, ["B <i>", "A*", None, "A*"], [3, 1, 3, 3]):
        of_run.result["processor"] = model
        of_run.stamp["jobs"] = jobs
    below = text_of(data, runs).splitlines()[-1]
    assert below.startswith(r"Measured on P, processor A\* or B \<i>, with 1 device (cpu(0)) and ")
    assert "and 1 run or 3 runs at a time. " in below
    assert "Times are seconds of wall time. Other" in text_of(*reproduction(seeds=1))


def test_the_page_has_every_figure_and_table(folder):
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert page.count('<img src="data:image/png;base64,') == page.count("<figcaption>") == 4
    assert page.count("<table>") == 6
    assert "<title>The chapter, reproduced over 2 seeds</title>" in page
    links = set(re.findall(r'href="#(.*?)"', page))
    assert links == set(re.findall(r'<h[23] id="(.*?)"', page)) - {"contents"}


def test_the_numbers_are_kept_for_others_to_be_held_against(folder):
    text = (folder / "numbers.json").read_text()
    kept = json.loads(text)
    assert kept["seeds"] == [0, 1]
    assert kept["num_devices"] == 2
    assert list(kept["variants"]) == ["mf", "fm"]
    assert kept["variants"]["mf"]["printed"]["test_rmse"]["values"] == [1.05, 1.06]
    # Each list of numbers is on its own line, so a diff shows which numbers changed.
    assert '"values": [1.05, 1.06]\n' in text
