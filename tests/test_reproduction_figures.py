import math

import numpy as np
import pytest

pytest.importorskip("matplotlib")
from test_reproduction_pages import CLICKS, ML100K, run

from d2l_recsys.reproduction import figures
from d2l_recsys.reproduction.figures import OF_DATA, course_of, draw_figures
from d2l_recsys.reproduction.runs import DescribedData
from d2l_recsys.reproduction.summary import summarise
from d2l_recsys.runs.plots import draw_curves, draw_standings
from d2l_recsys.sections.registry import SECTIONS, Kind


@pytest.fixture(autouse=True)
def no_files(monkeypatch):
    """Making the PNG files takes most of the time; the tests of the pages make them."""
    monkeypatch.setattr(figures, "png", lambda figure: b"PNG")


RMSE = {"test_rmse": 1.055, "train_loss": 0.066}


def runs(count):
    mf = [run("mf", s, ML100K, RMSE, test_rmse=1.05 + s / 100) for s in range(count)]
    clicks = [run("fm", s, CLICKS, {"test_acc": 0.75}, test_acc=0.5) for s in range(count)]
    return {"mf": mf, "fm": clicks}


def drawn(by_variant, data):
    summaries = [summarise(n, [run.result for run in found]) for n, found in by_variant.items()]
    return draw_figures(data, by_variant, summaries)


def test_what_is_drawn_are_the_runs_and_levels_that_compare(monkeypatch):
    seen, stood = {}, []

    def record(curves, legend, ylim, reported, title):
        seen[legend[-1]] = np.shape(curves), curves[1][0][1], reported, title
        return draw_curves(curves, legend, ylim, reported, title)

    def stand(standings):
        stood.extend(standings)
        return draw_standings(standings)

    monkeypatch.setattr(figures, "draw_curves", record)
    monkeypatch.setattr(figures, "draw_standings", stand)
    assert set(drawn(runs(2), {})) == {"mf.png", "fm.png", "standings.png"}
    # The shape of the curves is (runs, epochs, lines). The training loss has no level, and
    # substitute data has no levels at all.
    assert seen["test RMSE"] == ((2, 2, 2), 1.01, [1.055], "")
    assert seen["test acc"][2:] == ([], "some *clicks, not the chapter's data")
    names, distances, z = zip(*stood)
    assert names == ("mf: test rmse",)
    # The standard deviation of two values is their distance divided by sqrt(2), so each value is
    # sqrt(1/2) standard deviations from their mean.
    np.testing.assert_allclose(distances, [[-(0.5**0.5), 0.5**0.5]], rtol=2e-3)
    assert z == pytest.approx((0,), abs=1e-9)


def test_texts_say_what_is_seen():
    shown = drawn(runs(2), {})
    assert shown["mf.png"].alt == (
        "Curves of mf over 2 epochs, mean of 2 seeds: the train loss falls from 1.005 to 0.505; "
        "the test RMSE falls from 1.005 to 0.505 (the book reports 1.055)."
    )
    assert shown["mf.png"].caption == "mf after each epoch: printed numbers, mean of 2 seeds."
    assert shown["standings.png"].alt == (
        "Distance of each number in the book from the mean of 2 seeds, in standard deviations. "
        "mf: test rmse +0.0"
    )
    assert shown["standings.png"].caption == (
        "The numbers in the book among the printed numbers of 2 seeds."
    )
    assert {picture.content for picture in shown.values()} == {b"PNG"}


def test_texts_of_one_seed_name_no_mean_and_no_number_of_the_book_for_other_data():
    shown = drawn(runs(1), {})
    assert set(shown) == {"mf.png", "fm.png"}
    assert shown["fm.png"].alt == (
        "Curves of fm over 2 epochs, one seed, on some *clicks, not the chapter's data: the train "
        "loss falls from 1.000 to 0.500; the train acc falls from 1.000 to 0.500; the test acc is "
        "missing."
    )
    assert shown["mf.png"].caption == "mf after each epoch: printed numbers, one seed."


@pytest.mark.parametrize(
    ("values", "course"),
    [
        ([[1.5, 1.2, 1.1]], "falls from 1.500 to 1.100"),
        ([[0.1, 0.2], [0.3, 0.4]], "rises from 0.200 to 0.300"),
        ([[3.0, 1.2, 0.9, 1.0]], "falls from above 2 to 1.000, lowest 0.900"),
        ([[0.2, 0.1, 0.4, 0.3]], "rises from 0.200 to 0.300, lowest 0.100, highest 0.400"),
        ([[0.5, 0.50001]], "begins and ends at 0.500"),
        ([[math.nan, 0.5, math.nan, 0.4, math.nan]], "falls from 0.500 to 0.400"),
        ([[0.5, 0.4, 0.3], [0.5, 0.4, math.nan]], "falls from 0.500 to 0.400"),
        ([[math.nan]], "is missing"),
    ],
)
def test_the_course_of_a_curve_in_words(values, course):
    assert course_of(np.array(values), 2) == course


def test_the_figure_of_a_section_on_data_tells_its_bars():
    assert set(OF_DATA) == {n for n, section in SECTIONS.items() if section.kind is Kind.data}
    result = {"dataset": ML100K, "ratings": {"1": 6110, "2": 11370}}
    picture = drawn({}, {"movielens": DescribedData(result, b"PNG")})["movielens.png"]
    assert picture == (
        b"PNG",
        "How often each rating occurs in ml-100k, as bars. 1: 6,110; 2: 11,370",
        "How often each rating occurs in ml-100k.",
    )
    result = {"dataset": CLICKS, "fields": {"zip area": 20}}
    picture = drawn({}, {"ctr": DescribedData(result, b"PNG")})["ctr.png"]
    assert picture.alt == "How many features each field of some *clicks has, as bars. zip area: 20"
