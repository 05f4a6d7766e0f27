import io

import matplotlib.image
import numpy as np
import pytest
from matplotlib.text import Text

from d2l_recsys.runs.plots import (
    draw_curves,
    draw_field_sizes,
    draw_hits,
    draw_leaderboard,
    draw_predictions,
    draw_rating_histogram,
    draw_standings,
    png,
)

CURVES = [(5.0, 2.0), (0.7, 1.3), (0.5, 1.1)]


def test_the_curve_has_the_chapters_lines_and_limits():
    axes = draw_curves(CURVES, ("train loss", "test RMSE"), (0, 2), reported=[1.055]).axes[0]
    drawn = {line.get_label(): line.get_ydata() for line in axes.lines}
    np.testing.assert_array_equal(drawn["train loss"], [5.0, 0.7, 0.5])
    np.testing.assert_array_equal(drawn["test RMSE"], [2.0, 1.3, 1.1])
    assert axes.get_ylim() == (0, 2)
    assert axes.get_xlim() == (1, 3)
    assert [text.get_text() for text in axes.get_legend().get_texts()] == list(drawn)[1:]
    assert [text.get_text() for text in axes.texts] == ["reported 1.055"]


def test_epochs_without_a_value_are_passed_over_and_every_level_is_named():
    curves = [(np.nan, 0.6), (0.2, 0.7), (np.nan, np.nan), (0.3, 0.8)]
    axes = draw_curves(curves, ("test hit rate", "test AUC"), (0, 1), [0.323, 0.734]).axes[0]
    drawn = {line.get_label(): line.get_xydata().tolist() for line in axes.lines}
    assert drawn["test hit rate"] == [[2, 0.2], [4, 0.3]]
    assert drawn["test AUC"] == [[1, 0.6], [2, 0.7], [4, 0.8]]
    assert [text.get_text() for text in axes.texts] == ["reported 0.323", "reported 0.734"]


@pytest.mark.parametrize("epochs", [1, 3])
def test_the_picture_is_not_empty(epochs):
    picture = png(draw_curves(CURVES[-epochs:], ("train loss", "test RMSE"), (0, 2)))
    pixels = matplotlib.image.imread(io.BytesIO(picture))
    assert pixels.shape[:2] == (500, 700)
    blue = np.all(np.abs(pixels[:, :, :3] - [0.122, 0.467, 0.706]) < 0.02, axis=2)
    assert blue.sum() > 50


def test_the_histogram_has_a_bar_per_rating_with_its_share():
    axes = draw_rating_histogram([6, 11, 27, 34, 22], "these ratings").axes[0]
    assert axes.get_title() == "these ratings"
    assert [bar.get_height() for bar in axes.patches] == [6, 11, 27, 34, 22]
    assert [text.get_text() for text in axes.texts] == ["6%", "11%", "27%", "34%", "22%"]


def test_predictions_are_counted_and_the_mean_of_the_real_ratings_is_marked():
    values = np.linspace(1, 5, 61)
    title = "A title that is much longer than the figure is wide, and a year (1967)"
    figure = draw_predictions(values, "predicted rating", "users", title, 3.25)
    (axes,) = figure.axes
    assert len(axes.patches) == 30
    assert sum(bar.get_height() for bar in axes.patches) == 61
    assert [line.get_xdata()[0] for line in axes.lines] == [3.25]
    (name,) = axes.get_legend().get_texts()
    assert name.get_text() == "mean of the real ratings, 3.25"
    figure.draw_without_rendering()
    box = figure._suptitle.get_window_extent()
    assert 0 <= box.x0 < box.x1 <= figure.bbox.width
    plain = draw_predictions(values, "score", "movies", "title").axes[0]
    assert (len(plain.lines), plain.get_legend()) == (0, None)


def test_field_sizes_are_bars_on_a_logarithmic_scale():
    figure = draw_field_sizes({"user": 944, "gender": 3, "one": 1}, "title")
    (axes,) = figure.axes
    assert [bar.get_height() for bar in axes.patches] == [944, 3, 1]
    assert axes.get_yscale() == "log"
    assert axes.get_ylim()[0] < 1  # a field with one feature is visible
    assert [label.get_text() for label in axes.get_xticklabels()] == ["user", "gender", "one"]
    assert axes.get_title() == "title"
    assert draw_field_sizes({str(i): 1 for i in range(39)}, "").get_size_inches()[0] > 6


def test_several_runs_are_a_mean_in_a_band():
    other = [(np.nan, 1.0), (0.9, 1.1), (0.7, 1.3)]
    axes = draw_curves([CURVES, other], ("train loss", "test RMSE"), (0, 2)).axes[0]
    drawn = {line.get_label(): line.get_xydata() for line in axes.lines}
    # In the first epoch, one run has no training loss, so there is no mean.
    np.testing.assert_allclose(drawn["train loss"], [[2, 0.8], [3, 0.6]])
    np.testing.assert_allclose(drawn["test RMSE"], [[1, 1.5], [2, 1.2], [3, 1.2]])
    bands = [band.get_paths()[0].vertices for band in axes.collections]
    assert [sorted({*band[:, 1].round(9)}) for band in bands] == [[0.5, 0.7, 0.9], [1, 1.1, 1.3, 2]]
    assert len(draw_curves(CURVES, ("train loss", "test RMSE"), (0, 2)).axes[0].collections) == 0


def test_reported_numbers_stand_among_those_of_the_seeds():
    figure = draw_standings([("mf: test rmse", [-1.0, 0.0, 1.0], 2.0), ("same", [0, 0], 0)])
    (axes,) = figure.axes
    seeds, reported, same, level = (line.get_xydata().tolist() for line in axes.lines[:4])
    assert seeds == [[-1, 0], [0, 0], [1, 0]]
    assert reported == [[2, 0]]
    assert (same, level) == ([[0, 1], [0, 1]], [[0, 1]])
    assert [label.get_text() for label in axes.get_yticklabels()] == ["mf: test rmse", "same"]
    low, high = axes.get_xlim()
    assert low == -high
    far = draw_standings([("far", [-1.0, 0.0, 1.0], -12.0)]).axes[0]
    assert far.get_xlim()[1] >= 12
    legend = [text.get_text() for text in axes.get_legend().get_texts()]
    assert legend == ["each of 3 seeds", "reported"]


def test_hits_are_counted_up_to_every_k():
    ranks = {"one": np.array([0.0, 1.5, 3.0, 9.0]), "other": np.array([9.0, 9.0])}
    axes = draw_hits(ranks, 10, "title").axes[0]
    drawn = {line.get_label(): line.get_xydata() for line in axes.lines}
    assert list(drawn) == ["by chance", "one", "other"]
    # Ranks are counted from 0, so a hit among the first k has a rank below k.
    expected = [np.mean([rank < k for rank in ranks["one"]]) for k in range(1, 11)]
    np.testing.assert_array_equal(drawn["one"], np.column_stack([range(1, 11), expected]))
    np.testing.assert_array_equal(drawn["other"][:, 1], [0] * 9 + [1])
    np.testing.assert_allclose(drawn["by chance"][:, 1], np.arange(1, 11) / 10)
    assert (axes.get_xscale(), axes.get_title()) == ("log", "title")


def test_the_leaderboard_has_a_point_for_each_system_and_names_that_do_not_overlap():
    # Twelve systems with nearly the same quality and speed form a cluster.
    points = [(f"system-{i}", 10 + i / 10, 0.05, (0.04, 0.06)) for i in range(12)]
    points += [("popularity", 0.001, 0.03, (0.02, 0.04))]
    figure = draw_leaderboard(points, 0.03)
    (axes,) = figure.axes
    dots = [line for line in axes.lines if line.get_marker() == "o"]
    assert [tuple(dot.get_xydata()[0]) for dot in dots] == [point[1:3] for point in points]
    # Systems that do not exceed the bar are gray.
    assert [dot.get_color() for dot in dots] == ["C0"] * 12 + ["0.6"]
    assert [text.get_text() for text in axes.texts] == [point[0] for point in points]
    figure.draw_without_rendering()
    # Compare the boxes of the names only, without the lines that lead to the points.
    for text in axes.texts:
        text.update_positions(figure._get_renderer())
    boxes = [Text.get_window_extent(text) for text in axes.texts]
    for i, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[i + 1 :])
