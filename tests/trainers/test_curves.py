"""A run's curves: what is read from the log, where it is drawn, which numbers stand at the axes."""

import json

import numpy as np
import pytest
from PIL import Image

from segpipe.trainers.curves import (
    BLUE,
    GREEN,
    LEFT,
    RIGHT,
    WIDTH,
    Curve,
    Ticks,
    draw_curves,
    read_curves,
    write_curves,
)


def step(number, loss, lr=0.1):
    return {"event": "step", "step": number, "loss": loss, "lr": lr}


def is_color(pixels, color):
    return np.abs(pixels.astype(int) - color).max(axis=-1) < 12


def test_of_steps_that_were_done_again_the_last_line_counts():
    loss, rate = read_curves([step(1, 3.0), step(2, 2.0), step(3, 9.0), step(2, 1.5), step(3, 1.0)])
    assert loss.points == ((1, 3.0), (2, 1.5), (3, 1.0))
    assert rate.points == ((1, 0.1), (2, 0.1), (3, 0.1))


def test_what_is_no_finite_number_is_left_out_and_miou_is_in_percent():
    lines = [step(1, float("nan")), step(2, 2.0), {"event": "evaluation", "step": 2, "miou": 0.25}, {"event": "other"}]
    loss, _, miou = read_curves(lines)
    assert loss.points == ((2, 2.0),)
    assert miou.points == ((2, 25.0),)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.0, 4.2, ["0", "1", "2", "3", "4", "5"]),
        (0.0, 6e-5, ["0", "2e-5", "4e-5", "6e-5"]),
        (0.0, 1.4e-4, ["0", "5e-5", "1.0e-4", "1.5e-4"]),
        (31.0, 38.8, ["30", "32", "34", "36", "38", "40"]),
        (40.0, 40.0, ["40", "50"]),
        (0.0, 0.0, ["0.0", "0.2"]),
    ],
)
def test_axes_have_round_numbers(low, high, expected):
    ticks = Ticks.over(low, high)
    assert [ticks.text(value) for value in ticks.values()] == [text.replace("0.0", "0") for text in expected]
    assert ticks.low <= low
    assert ticks.high >= high


def test_steps_reach_exactly_to_the_last_one():
    ticks = Ticks.up_to(160000)
    assert [ticks.text(value) for value in ticks.values()][-2:] == ["140,000", "160,000"]
    assert Ticks.up_to(3).values() == [0.0, 1.0, 2.0, 3.0]
    assert Ticks.up_to(7).share(7) == 1.0


def test_a_falling_curve_is_drawn_from_the_upper_left_to_the_lower_right():
    curve = Curve("Loss", tuple((number, 100.0 - number) for number in range(101)), BLUE)
    rows, columns = np.nonzero(is_color(draw_curves([curve]), BLUE))
    assert abs(columns.min() - LEFT) <= 2
    assert abs(columns.max() - (WIDTH - RIGHT)) <= 6  # its end is under the axis
    assert np.corrcoef(columns, rows)[0, 1] > 0.999


def test_an_outlier_of_the_loss_does_not_flatten_the_rest():
    points = tuple((number, 1e6 if number == 500 else 1.0) for number in range(1, 1001))
    page = draw_curves([Curve("Loss", points, BLUE, is_smoothed=True)])
    rows = np.nonzero(is_color(page, BLUE))[0]
    flat = draw_curves([Curve("Loss", tuple((number, 1.0) for number in range(1, 1001)), BLUE)])
    bottom = page.shape[0] - np.nonzero(is_color(flat, BLUE))[0].max()
    assert page.shape[0] - rows.max() > bottom / 2


def test_the_picture_is_beside_the_log_and_has_a_panel_for_each_curve(tmp_path):
    lines = [step(number, 1 / number) for number in range(1, 20)] + [{"event": "evaluation", "step": 9, "miou": 0.5}]
    (tmp_path / "log.jsonl").write_text("\n".join(map(json.dumps, lines)) + '\n{"event": "st')
    path = write_curves(tmp_path)
    assert path == tmp_path / "curves.png"
    with_scores = Image.open(path)
    assert is_color(np.asarray(with_scores), GREEN).any()
    assert with_scores.height > draw_curves(read_curves(lines[:-1])).shape[0]


def test_without_a_logged_step_there_is_no_picture(tmp_path):
    assert write_curves(tmp_path) is None
    (tmp_path / "log.jsonl").write_text("")
    assert write_curves(tmp_path) is None
    assert list(tmp_path.iterdir()) == [tmp_path / "log.jsonl"]
