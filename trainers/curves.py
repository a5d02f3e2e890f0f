"""A run in one picture: loss, learning rate and mIoU over the steps, drawn with Pillow from the run's log."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from .run_log import read_log

CURVES = "curves.png"

PAPER, INK, QUIET_INK, EDGE = (255, 255, 255), (38, 42, 51), (124, 130, 142), (228, 231, 236)
BLUE, ORANGE, GREEN = (38, 99, 199), (214, 116, 24), (22, 138, 98)
Color = tuple[int, int, int]
Point = tuple[float, float]

WIDTH, PANEL, GAP = 1400, 320, 112
"""Pixels: of the picture, the height of a panel, the room between two."""
LEFT, RIGHT, TOP, BOTTOM = 112, 64, 84, 76
"""Pixels around the panels."""
FINE = 3
"""Lines are drawn at this many times their size, since Pillow's have hard edges."""
MOST_POINTS = 4000
"""More are averaged in groups."""


@dataclass(frozen=True)
class Curve:
    """One panel.

    Attributes:
        title: what is drawn.
        points: (step, value), by step; values are finite.
        color: of the line.
        is_smoothed: pale, with a running mean over it.
        has_marks: a dot at each point and the highest one named.
    """

    title: str
    points: tuple[Point, ...]
    color: Color
    is_smoothed: bool = False
    has_marks: bool = False


def write_curves(work_dir: Path) -> Path | None:
    """Draw `work_dir/curves.png` from `work_dir/log.jsonl` and give its path; None where no step was logged."""
    log = work_dir / "log.jsonl"
    curves = read_curves(read_log(log)) if log.is_file() else ()
    if not curves:
        return None
    path = work_dir / CURVES
    Image.fromarray(draw_curves(curves)).save(path, format="PNG")
    return path


def read_curves(lines: Sequence[Mapping[str, Any]]) -> tuple[Curve, ...]:
    """Loss, learning rate and mIoU in percent, those that have points.

    Of steps that were done again after a resumption the last line counts; what is not a finite number is left out.
    """
    curves = (
        Curve("Loss", _points(lines, "step", "loss"), BLUE, is_smoothed=True),
        Curve("Learning rate", _points(lines, "step", "lr"), ORANGE),
        Curve("mIoU in percent", _points(lines, "evaluation", "miou", factor=100.0), GREEN, has_marks=True),
    )
    return tuple(curve for curve in curves if curve.points)


def draw_curves(curves: Sequence[Curve]) -> np.ndarray:
    """(H, W, 3) uint8: the panels below one another, over the same steps."""
    height = TOP + len(curves) * PANEL + (len(curves) - 1) * GAP + BOTTOM
    last = max(step for curve in curves for step, _ in curve.points)
    panels = [
        _Panel(curve, Ticks.up_to(last), _value_ticks(curve), TOP + index * (PANEL + GAP))
        for index, curve in enumerate(curves)
    ]
    fine = Image.new("RGB", (WIDTH * FINE, height * FINE), PAPER)
    for panel in panels:
        panel.draw_lines(ImageDraw.Draw(fine))
    page = fine.reduce(FINE)
    for panel in panels:
        panel.draw_texts(ImageDraw.Draw(page))
    return np.asarray(page).copy()


@dataclass(frozen=True)
class Ticks:
    """The range of an axis and the round numbers on it."""

    low: float
    high: float
    step: float

    @classmethod
    def over(cls, low: float, high: float, count: int = 5) -> Ticks:
        """About `count` ticks, 1, 2 or 5 times a power of ten apart; the range is widened to whole ticks."""
        span = high - low if high > low else abs(high) or 1.0
        rough = span / count
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(factor * power for factor in (1.0, 2.0, 5.0, 10.0) if factor * power >= rough * 0.999)
        first = math.floor(low / step + 1e-9)
        return cls(step * first, step * max(math.ceil(high / step - 1e-9), first + 1), step)

    @classmethod
    def up_to(cls, last: float) -> Ticks:
        """For steps: from 0 to exactly the last one, whole numbers."""
        step = max(cls.over(0.0, last, 8).step, 1.0)
        return cls(0.0, last, step)

    def values(self) -> list[float]:
        """The numbers on the axis, ascending."""
        count = math.floor((self.high - self.low) / self.step + 1e-6)
        return [self.low + index * self.step for index in range(count + 1)]

    def share(self, value: float) -> float:
        """0 at the low end, 1 at the high end."""
        return (value - self.low) / (self.high - self.low)

    def text(self, value: float) -> str:
        """As few digits as tell the ticks apart: 0.25, 40, 160,000, 6e-05."""
        if value == 0.0:
            return "0"
        if self.step < 1e-3:
            digits = max(0, math.floor(math.log10(abs(value))) - math.floor(math.log10(self.step) + 1e-9))
            return f"{value:.{digits}e}".replace("e-0", "e-")
        return f"{value:,.{max(0, -math.floor(math.log10(self.step) + 1e-9))}f}"


@dataclass(frozen=True)
class _Panel:
    """A curve in its place on the page; `y` is the upper edge."""

    curve: Curve
    steps: Ticks
    values: Ticks
    y: int

    def place(self, point: Point) -> Point:
        """Where a point lies on the page; values beyond the axis lie on its end."""
        x = LEFT + self.steps.share(point[0]) * (WIDTH - LEFT - RIGHT)
        return x, self.y + (1.0 - min(max(self.values.share(point[1]), 0.0), 1.0)) * PANEL

    def draw_lines(self, drawing: ImageDraw.ImageDraw) -> None:
        """Everything but text, on the fine page."""
        for value in self.values.values():
            _line(drawing, [self.place((0.0, value)), self.place((self.steps.high, value))], EDGE, 1.0)
        for step in self.steps.values():
            x = self.place((step, self.values.low))[0]
            _line(drawing, [(x, self.y + PANEL), (x, self.y + PANEL + 7)], QUIET_INK, 1.0)
        points = _thinned(self.curve.points)
        if self.curve.is_smoothed:
            _line(drawing, [self.place(point) for point in points], _pale(self.curve.color), 1.4)
            points = _smoothed(points)
        _line(drawing, [self.place(point) for point in points], self.curve.color, 2.6)
        bottom = self.y + PANEL
        _line(drawing, [(LEFT, bottom), (WIDTH - RIGHT, bottom)], QUIET_INK, 1.2)
        self._draw_marks(drawing)

    def draw_texts(self, drawing: ImageDraw.ImageDraw) -> None:
        """Title and numbers, on the page itself."""
        drawing.text((LEFT, self.y - 26), self.curve.title, fill=INK, font=_font(25), anchor="ls")
        drawing.text((WIDTH - RIGHT, self.y - 26), self._summary(), fill=QUIET_INK, font=_font(20), anchor="rs")
        for value in self.values.values():
            left = LEFT - 14, self.place((0.0, value))[1]
            drawing.text(left, self.values.text(value), fill=QUIET_INK, font=_font(19), anchor="rm")
        for step in self.steps.values():
            below = self.place((step, self.values.low))[0], self.y + PANEL + 12
            drawing.text(below, self.steps.text(step), fill=QUIET_INK, font=_font(19), anchor="mt")

    def _draw_marks(self, drawing: ImageDraw.ImageDraw) -> None:
        """A dot at each point, or at the only one."""
        points = self.curve.points
        if len(points) == 1 or (self.curve.has_marks and len(points) <= 80):
            for point in points:
                _dot(drawing, self.place(point), 4.5, self.curve.color)
        if self.curve.has_marks:
            _dot(drawing, self.place(_highest(points)), 8.0, self.curve.color)
            _dot(drawing, self.place(_highest(points)), 4.5, PAPER)

    def _summary(self) -> str:
        """What to know of the curve, in words."""
        step, value = self.curve.points[-1]
        if not self.curve.has_marks:
            return f"{_figure(value)} at step {step:,.0f}"
        best_step, best = _highest(self.curve.points)
        end = f", {value:.2f} at the end" if step != best_step else ""
        return f"best {best:.2f} at step {best_step:,.0f}{end}"


def _points(lines: Sequence[Mapping[str, Any]], event: str, key: str, *, factor: float = 1.0) -> tuple[Point, ...]:
    found: dict[float, float] = {}
    for line in lines:
        value = line.get(key)
        if line.get("event") == event and isinstance(value, int | float) and isinstance(line.get("step"), int):
            found[line["step"]] = value * factor
    return tuple((step, value) for step, value in sorted(found.items()) if math.isfinite(value))


def _value_ticks(curve: Curve) -> Ticks:
    """A loss and a rate begin at 0, the mIoU where its values do; outliers of a loss are cut off at the top."""
    values = np.array([value for _, value in curve.points])
    low = float(values.min())
    if curve.has_marks and len(values) > 1:
        return Ticks.over(low, float(values.max()))
    high = float(values.max())
    if curve.is_smoothed:
        high = min(high, 1.5 * float(np.quantile(values, 0.99)) if low >= 0.0 else high)
    return Ticks.over(min(low, 0.0), max(high, 0.0))


def _thinned(points: Sequence[Point]) -> list[Point]:
    """The points, averaged in groups of neighbours where there are very many."""
    size = math.ceil(len(points) / MOST_POINTS)
    if size == 1:
        return list(points)
    groups = [np.array(points[start : start + size]) for start in range(0, len(points), size)]
    return [(float(group[:, 0].mean()), float(group[:, 1].mean())) for group in groups]


def _smoothed(points: Sequence[Point]) -> list[Point]:
    """The mean over a window of a twenty-fifth of the points, narrower at both ends."""
    values = np.array([value for _, value in points])
    sums = np.concatenate([[0.0], np.cumsum(values)])
    smooth = []
    for index, (step, _) in enumerate(points):
        reach = min(len(points) // 50, index, len(points) - 1 - index)
        smooth.append((step, float(sums[index + reach + 1] - sums[index - reach]) / (2 * reach + 1)))
    return smooth


def _highest(points: Sequence[Point]) -> Point:
    """The first of the highest."""
    return max(points, key=lambda point: point[1])


def _figure(value: float) -> str:
    return "0" if value == 0.0 else f"{value:.3g}".replace("e-0", "e-")


def _pale(color: Color) -> Color:
    red, green, blue = (round(channel + (255 - channel) * 0.6) for channel in color)
    return red, green, blue


def _line(drawing: ImageDraw.ImageDraw, points: Sequence[Point], color: Color, width: float) -> None:
    fine = [(x * FINE, y * FINE) for x, y in points]
    drawing.line(fine, fill=color, width=max(1, round(width * FINE)), joint="curve")


def _dot(drawing: ImageDraw.ImageDraw, center: Point, radius: float, color: Color) -> None:
    x, y = center
    drawing.ellipse([(x - radius) * FINE, (y - radius) * FINE, (x + radius) * FINE, (y + radius) * FINE], fill=color)


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
