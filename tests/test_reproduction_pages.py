import html.parser
import json
import re

import numpy as np
import pytest

pytest.importorskip("matplotlib")
from d2l_recsys.reproduction import pages
from d2l_recsys.reproduction.pages import Reproduction, html_page, write_report
from d2l_recsys.reproduction.runs import DescribedData, FinishedRun
from d2l_recsys.runs.plots import draw_curves, draw_standings
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


@pytest.fixture
def reproduction():
    runs = [run("fm", s, CLICKS, {"test_acc": 0.75}, test_acc=0.5 + s / 10) for s in (0, 1)]
    rmse = {"test_rmse": 1.055, "train_loss": 0.066}
    runs += [run("mf", s, ML100K, rmse, test_rmse=1.05 + s / 100) for s in (0, 1)]
    result = {
        "chapter": "movielens", "printed": {"num_users": 943}, "defined": {"num_users": 943},
        "reported": {"num_users": 943}, "dataset": ML100K, "settings": {},
    }  # fmt: skip
    return Reproduction({"movielens": DescribedData(result, b"\x89PNG of it")}, runs)


@pytest.fixture
def report(reproduction, tmp_path):
    files = write_report(reproduction, tmp_path)
    assert [path.name for path in files] == ["report.md", "report.html", "numbers.json"]
    return (tmp_path / "report.md").read_text(encoding="utf-8")


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
        "# The chapter, reproduced over 2 seeds", "## In brief", "## 15.2 The MovieLens data set",
        "### movielens", "## 15.3 Matrix factorization", "### mf", "## 15.9 Factorization machines",
        r"### fm\*", "## Made with", "## Time"]  # fmt: skip
    made_with = dict(row for row in rows(report.partition("## Made with")[2]) if len(row) == 2)
    assert made_with["seeds"] == "0, 1"
    assert made_with["devices"] == "cpu(0)"
    assert made_with["code"] == "SHA-256 " + "c" * 64
    assert made_with["ml-100k"] == "here, SHA-256 " + "1" * 64
    assert ["mf", "0.1", "2.0", "1.0", "3.6", "10"] in rows(report)
    assert "3 runs at once" in report
    assert "Settings: lr 0.1, num_devices 2." in report


def test_every_figure_is_drawn_and_shown(report, tmp_path):
    shown = set(re.findall(r"\]\(figures/(.*?)\)", report))
    assert shown == {"mf.png", "fm.png", "movielens.png", "standings.png"}
    assert {path.name for path in (tmp_path / "figures").iterdir()} == shown
    assert (tmp_path / "figures" / "mf.png").read_bytes().startswith(b"\x89PNG")


def test_what_is_drawn_are_the_runs_and_levels_that_compare(reproduction, tmp_path, monkeypatch):
    drawn, stood = {}, []

    def record(curves, legend, ylim, reported, title):
        drawn[legend[-1]] = np.shape(curves), curves[1][0][1], reported, title
        return draw_curves(curves, legend, ylim, reported, title)

    def stand(standings):
        stood.extend(standings)
        return draw_standings(standings)

    monkeypatch.setattr(pages, "draw_curves", record)
    monkeypatch.setattr(pages, "draw_standings", stand)
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "of-old.png").touch()
    write_report(reproduction, tmp_path)
    # The shape of the curves is (runs, epochs, lines). The training loss has no level, and
    # substitute data has no levels at all.
    assert drawn["test RMSE"] == ((2, 2, 2), 1.01, [1.055], "")
    assert drawn["test acc"][2:] == ([], "some *clicks, not the chapter's data")
    ((name, distances, z),) = stood
    assert name == "mf: test rmse"
    # The standard deviation of two values is their distance divided by sqrt(2), so each value is
    # sqrt(1/2) standard deviations from their mean.
    np.testing.assert_allclose(distances, [-(0.5**0.5), 0.5**0.5], rtol=2e-3)
    assert z == pytest.approx(0, abs=1e-9)
    assert not (tmp_path / "figures" / "of-old.png").exists()


def test_one_seed_has_no_distribution(reproduction, tmp_path):
    alone = Reproduction({}, [run for run in reproduction.runs if run.stamp["seed"] == 0])
    write_report(alone, tmp_path)
    text = (tmp_path / "report.md").read_text()
    assert text.startswith("# The chapter, reproduced over 1 seed\n")
    assert ["test rmse", "1.055", "1.050", "1.050"] in rows(text)
    assert "standings.png" not in text
    assert not (tmp_path / "figures" / "standings.png").exists()


class Parsed(html.parser.HTMLParser):
    """Collects the open tags, references and headings of a page."""

    def __init__(self, text):
        super().__init__()
        self.open, self.references, self.ids = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.references += [attributes[name] for name in ("src", "href") if name in attributes]
        self.ids += [attributes["id"]] if "id" in attributes else []
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_needs_no_other_file(report, tmp_path):
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    parsed = Parsed(page)
    assert parsed.open == []
    images = [reference for reference in parsed.references if reference.startswith("data:image")]
    links = [reference for reference in parsed.references if reference.startswith("#")]
    assert len(images) == 4
    assert len(images) + len(links) == len(parsed.references)
    assert {link[1:] for link in links} <= set(parsed.ids)
    assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in page
    assert "<title>The chapter, reproduced over 2 seeds</title>" in page
    assert page.count('<div class="wide"><table>') == page.count("</table></div>") == 6


def test_text_is_no_markup():
    assert "<title>A &amp; &lt;b&gt;</title>" in html_page("# A & <b>\n", {})


def test_the_numbers_are_kept_for_others_to_be_held_against(report, tmp_path):
    text = (tmp_path / "numbers.json").read_text()
    kept = json.loads(text)
    assert kept["seeds"] == [0, 1]
    assert kept["num_devices"] == 2
    assert list(kept["variants"]) == ["mf", "fm"]
    assert kept["variants"]["mf"]["printed"]["test_rmse"]["values"] == [1.05, 1.06]
    # Each list of numbers is on its own line, so a diff shows which numbers changed.
    assert '"values": [1.05, 1.06]\n' in text
