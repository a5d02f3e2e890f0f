"""Charts: where lines are drawn, which numbers stand at the axes, and that nothing outside of the chart changes."""

import subprocess
import sys

import numpy as np
import pytest

from segpipe.drawing.charts import BLUE, CHART_COLORS, LEFT, LEGEND, RIGHT, WIDTH, Curve, build_figure, draw_chart


def is_color(pixels, color):
    return np.abs(pixels.astype(int) - color).max(axis=-1) < 12


def line(*points, color=BLUE, **look):
    return Curve("Loss", tuple(points), color, **look)


def tick_texts(axis):
    return [label.get_text() for label in axis.get_ticklabels()]


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.0, 4.2, ["0", "1", "2", "3", "4", "5"]),
        (0.0, 6e-5, ["0", "2e-5", "4e-5", "6e-5"]),
        (0.0, 1.4e-4, ["0", "5e-5", "1.0e-4", "1.5e-4"]),
        (31.0, 38.8, ["30", "32", "34", "36", "38", "40"]),
        (40.0, 40.0, ["40", "50"]),
        (0.0, 0.0, ["0", "0.2"]),
    ],
)
def test_axes_have_round_numbers(low, high, expected):
    [axes] = build_figure([[line((0.0, low), (1.0, high), has_marks=True)]]).axes
    assert tick_texts(axes.yaxis) == expected
    assert axes.get_ylim()[0] <= low
    assert axes.get_ylim()[1] >= high


def test_steps_reach_exactly_to_the_last_one():
    [axes] = build_figure([[line((1, 1.0), (160000, 0.5))]]).axes
    assert tick_texts(axes.xaxis)[-2:] == ["140,000", "160,000"]
    assert tick_texts(build_figure([[line((3, 1.0))]]).axes[0].xaxis) == ["0", "1", "2", "3"]
    assert build_figure([[line((7, 1.0))]]).axes[0].get_xlim() == (0.0, 7.0)


def test_a_falling_curve_is_drawn_from_the_upper_left_to_the_lower_right():
    curve = Curve("Loss", tuple((number, 100.0 - number) for number in range(101)), BLUE)
    rows, columns = np.nonzero(is_color(draw_chart([[curve]]), BLUE))
    assert abs(columns.min() - LEFT) <= 2
    assert abs(columns.max() - (WIDTH - RIGHT)) <= 6  # its end is under the axis
    assert np.corrcoef(columns, rows)[0, 1] > 0.999


def test_an_outlier_of_the_loss_does_not_flatten_the_rest():
    points = tuple((number, 1e6 if number == 500 else 1.0) for number in range(1, 1001))
    page = draw_chart([[Curve("Loss", points, BLUE, is_smoothed=True)]])
    rows = np.nonzero(is_color(page, BLUE))[0]
    flat = draw_chart([[Curve("Loss", tuple((number, 1.0) for number in range(1, 1001)), BLUE)]])
    bottom = page.shape[0] - np.nonzero(is_color(flat, BLUE))[0].max()
    assert page.shape[0] - rows.max() > bottom / 2


def test_a_single_point_is_a_dot():
    page = draw_chart([[line((1, 2.0))]])
    assert 40 < is_color(page, BLUE).sum() < 90


def test_a_mean_of_neighbors_lies_over_what_is_smoothed():
    up_and_down = line(*((number, number % 2) for number in range(1, 201)), is_smoothed=True)
    [axes] = build_figure([[up_and_down]]).axes
    pale, mean = axes.lines
    assert pale.get_ydata().tolist() == [number % 2 for number in range(1, 201)]
    assert np.abs(mean.get_ydata()[10:-10] - 0.5).max() < 0.08  # 4 or 5 of 9


def test_many_points_are_averaged_in_groups():
    [axes] = build_figure([[line(*((number, number) for number in range(1, 100_001)))]]).axes
    x, values = axes.lines[0].get_data()
    assert len(x) == 4000
    assert np.array_equal(x, values)
    assert x[:2].tolist() == [13.0, 38.0]  # of 25 each


def test_names_of_any_length_stand_above_the_panels_inside_of_the_page():
    names = ["b0", "runs/" + "a-long-name-" * 9 + "seed-3", "$x^2$ $", "_hidden", "天空", "line\nbreak", "g", "h"]
    panel = [line((1, 1.0), (2, 2.0), color=color, name=name) for name, color in zip(names, CHART_COLORS, strict=True)]
    figure = build_figure([panel])
    texts = [text.get_text() for text in figure.texts]
    assert texts[0] == "b0"
    assert texts[1].startswith("…")
    assert texts[1].endswith("seed-3")
    assert texts[2:6] == ["$x^2$ $", "_hidden", "天空", "line\\nbreak"]
    page = draw_chart([panel])
    assert (page[:, :20] == 255).all()
    assert (page[:, -20:] == 255).all()
    assert all(is_color(page[: 2 * LEGEND], color).any() for color in CHART_COLORS)


def test_a_panel_of_several_runs_has_the_last_loss_or_the_best_score_of_each():
    losses = [line((1, 3.0), (2, 0.5), name="a"), line((1, 2.0), (2, 0.25), name="b")]
    scores = [line((1, 30.0), (2, 20.0), name=name, has_marks=True) for name in "ab"]
    figure = build_figure([losses, scores])
    assert [[text.get_text() for text in axes.texts] for axes in figure.axes] == [
        ["Loss", "0.25", "0.5"],
        ["Loss", "30.00", "30.00"],
    ]


def test_a_panel_of_one_run_says_how_it_went():
    scores = line((1000, 30.0), (2000, 20.0), has_marks=True)
    assert [
        build_figure([[curve]]).axes[0].texts[1].get_text() for curve in (line((1, 3.0), (2000, 6e-5)), scores)
    ] == [
        "6e-5 at step 2,000",
        "best 30.00 at step 1,000, 20.00 at the end",
    ]


def test_matplotlib_is_imported_by_a_drawn_chart_alone_and_keeps_its_settings():
    code = """
import sys, segpipe.drawing.charts as charts, segpipe.drawing
assert "matplotlib" not in sys.modules
import matplotlib
settings = lambda: {key: matplotlib.rcParams[key] for key in matplotlib.rcParams if key != "backend"}
before = settings()
charts.draw_chart([[charts.Curve("Loss", ((1, 1.0),), charts.BLUE)]])
assert "matplotlib.pyplot" not in sys.modules
assert settings() == before
"""
    subprocess.run([sys.executable, "-c", code], check=True)
