"""Curves of runs: what of a log counts, what is read from it, and one or several runs in one image."""

import json

import numpy as np
import pytest
from PIL import Image

from segpipe.drawing.charts import (
    CHART_COLORS as COLORS,
    GAP,
    GREEN,
    LEFT,
    LEGEND,
    PANEL,
    RIGHT,
    TOP,
    WIDTH,
    draw_chart,
)
from segpipe.errors import InputError
from segpipe.trainers.run.curves import Run, compare_runs, read_curves, read_runs, write_curves
from segpipe.trainers.run.run_log import counted_lines


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


def test_the_picture_is_beside_the_log_and_has_a_panel_for_each_curve(tmp_path):
    lines = [step(number, 1 / number) for number in range(1, 20)] + [{"event": "evaluation", "step": 9, "miou": 0.5}]
    (tmp_path / "log.jsonl").write_text("\n".join(map(json.dumps, lines)) + '\n{"event": "st')
    path = write_curves(tmp_path)
    assert path == tmp_path / "curves.png"
    with_scores = Image.open(path)
    assert is_color(np.asarray(with_scores), GREEN).any()
    assert with_scores.height > draw_chart([[curve] for curve in read_curves(lines[:-1])]).shape[0]


def test_without_a_logged_step_there_is_no_picture(tmp_path):
    assert write_curves(tmp_path) is None
    (tmp_path / "log.jsonl").write_text("")
    assert write_curves(tmp_path) is None
    assert list(tmp_path.iterdir()) == [tmp_path / "log.jsonl"]


def start(step, time=0.0):
    return {"event": "start", "step": step, "time": time}


def logged(step, loss, time=0.0):
    return {"event": "step", "step": step, "loss": loss, "lr": 0.1, "epoch": step / 10, "time": time}


def scored(step, miou, time=0.0):
    return {"event": "evaluation", "step": step, "miou": miou, "iou.road": miou / 2, "time": time}


def run(name, height=1.0, steps=100):
    lines = [start(0), *(logged(step, height * (2 - step / steps)) for step in range(1, steps + 1))]
    return Run(name, (*lines, scored(steps // 2, 0.3 * height), scored(steps, 0.5 * height)))


def pixels_of(page, color):
    return np.argwhere((np.abs(page.astype(int) - color) < 12).all(axis=-1))


def test_what_a_run_went_back_behind_is_void():
    old = [start(0), logged(1, 1.0), logged(2, 2.0), scored(2, 0.2), logged(3, 3.0), scored(4, 0.4), logged(9, 9.0)]
    again = [start(2), logged(3, 3.5)]
    assert counted_lines([*old, *again]) == [*old[:4], *again]


def test_a_run_begun_anew_has_nothing_of_the_one_given_up():
    assert counted_lines([start(0), logged(1, 1.0), logged(50, 2.0), start(0), logged(1, 7.0)])[2:] == [logged(1, 7.0)]


def test_a_run_that_only_goes_on_loses_nothing():
    lines = [start(0), logged(1, 1.0), scored(2, 0.1), start(2), logged(3, 1.0)]
    assert counted_lines(lines) == lines


def test_each_run_has_its_own_line_in_every_panel():
    page = compare_runs([run("first"), run("second", 0.8)], ["loss", "miou"])
    middle = page.shape[0] // 2
    for color in COLORS[:2]:
        rows = pixels_of(page, color)[:, 0]
        assert (rows < middle).sum() > 100
        assert (rows > middle).sum() > 100
    assert len(pixels_of(page, COLORS[2])) == 0


def test_a_shorter_run_ends_earlier_on_the_same_axis():
    page = compare_runs([run("short", steps=50), run("long")], ["loss"])
    panel = page[TOP + LEGEND :]  # without names and figures, which are coloured too
    shorter, longer = (pixels_of(panel, color)[:, 1].max() for color in COLORS[:2])
    assert abs(longer - shorter - (WIDTH - LEFT - RIGHT) / 2) < 8


def test_the_time_between_an_end_and_a_resumption_is_left_out():
    lines = (start(0, 100.0), logged(1, 1.0, 110.0), start(1, 9000.0), logged(2, 1.0, 9010.0))
    page, plain = (
        compare_runs([Run("run", each)], ["loss"], x="time")
        for each in (lines, (start(0, 0.0), logged(1, 1.0, 10.0), logged(2, 1.0, 20.0)))
    )
    assert np.array_equal(page, plain)


def test_epochs_of_evaluations_lie_between_those_of_steps():
    lines = (start(0), logged(10, 1.0), logged(30, 1.0), scored(20, 0.5))
    page = compare_runs([Run("run", lines)], ["loss", "miou"], x="epoch")
    columns = pixels_of(page[TOP + LEGEND + PANEL + GAP :], COLORS[0])[:, 1]
    assert abs(columns.mean() - (LEFT + (WIDTH - LEFT - RIGHT) * 2 / 3)) < 2


def test_runs_are_read_from_folders_and_named_as_shortly_as_tells_them_apart(tmp_path):
    for name in ("a/run", "b/run"):
        (tmp_path / name).mkdir(parents=True)
        text = "\n".join(json.dumps(line) for line in run("").lines)
        (tmp_path / name / "log.jsonl").write_text(f'{text}\n{{"event": "st')
    runs = read_runs([tmp_path / "a" / "run", tmp_path / "b" / "run" / "log.jsonl"])
    assert [each.name for each in runs] == ["a/run", "b/run"]
    assert runs[0].keys == ("loss", "lr", "miou", "iou.road")


def test_what_cannot_be_drawn_says_why(tmp_path):
    with pytest.raises(InputError, match=r"log\.jsonl"):
        read_runs([tmp_path])
    (tmp_path / "log.jsonl").write_text("")
    with pytest.raises(InputError, match="no logged step"):
        read_runs([tmp_path])
    with pytest.raises(InputError, match="miuo"):
        compare_runs([run("run")], ["miuo"])
    with pytest.raises(InputError, match="9 runs"):
        compare_runs([run(str(number)) for number in range(9)])


@pytest.mark.parametrize(
    "values",
    ['"loss": {}, "lr": 1', '"loss": 1e300, "lr": "x"', '"loss": 1, "lr": [], "epoch": 0', '"loss": null', '"lr": -1'],
)
def test_a_log_of_somebody_elses_is_drawn_or_refused(tmp_path, values):
    (tmp_path / "log.jsonl").write_text(f'{{"event": "step", "step": 0, {values}}}\n[]\nnull\n"x"\n{{"event": 3}}\n')
    for axis in ("step", "epoch", "time"):
        try:
            assert compare_runs(read_runs([tmp_path]), x=axis).dtype == "uint8"
        except InputError as error:
            assert "log" in str(error)  # noqa: PT017
