"""Pages of panels with lines over one axis, drawn with Pillow."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

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


LEGEND = 44
"""Pixels above the first panel for the names of the lines."""


@dataclass(frozen=True)
class Curve:
    """One line of a panel.

    Attributes:
        title: what is drawn.
        points: (x, value), by x; x is the step, or what else the axis says; values are finite.
        color: of the line.
        is_smoothed: pale, with a running mean over it.
        has_marks: a dot at each point and the highest one named.
        name: of the run, where a panel has those of several.
    """

    title: str
    points: tuple[Point, ...]
    color: Color
    is_smoothed: bool = False
    has_marks: bool = False
    name: str = ""


def draw_page(panels: Sequence[Sequence[Curve]], *, axis: str = "step") -> np.ndarray:
    """(H, W, 3) uint8: panels below one another, over the same axis from 0 to the last x.

    Args:
        panels: the lines of each; where they have names, these stand above the first panel.
        axis: what x is. Steps are whole numbers; anything else is named below the last panel.
    """
    names = {curve.name: curve.color for panel in panels for curve in panel if curve.name}
    top = TOP + (LEGEND if names else 0)
    height = top + len(panels) * PANEL + (len(panels) - 1) * GAP + BOTTOM + (0 if axis == "step" else LEGEND // 2)
    last = max(x for panel in panels for curve in panel for x, _ in curve.points)
    steps = Ticks.up_to(last) if axis == "step" else Ticks(0.0, last or 1.0, Ticks.over(0.0, last, 8).step)
    placed = [
        Panel(tuple(panel), steps, _value_ticks(panel), top + index * (PANEL + GAP), axis)
        for index, panel in enumerate(panels)
    ]
    fine = Image.new("RGB", (WIDTH * FINE, height * FINE), PAPER)
    for panel in placed:
        panel.draw_lines(ImageDraw.Draw(fine))
    _draw_legend_marks(ImageDraw.Draw(fine), names)
    page = fine.reduce(FINE)
    for panel in placed:
        panel.draw_texts(ImageDraw.Draw(page))
    _draw_legend_names(ImageDraw.Draw(page), names)
    if axis != "step":
        place = (LEFT + WIDTH - RIGHT) / 2, height - 14
        ImageDraw.Draw(page).text(place, axis, fill=QUIET_INK, font=_font(20), anchor="ms")
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
        return (value - self.low) / (self.high - self.low) if self.high > self.low else 0.0

    def text(self, value: float) -> str:
        """As few digits as tell the ticks apart: 0.25, 40, 160,000, 6e-05."""
        if value == 0.0:
            return "0"
        if self.step < 1e-3:
            digits = max(0, math.floor(math.log10(abs(value))) - math.floor(math.log10(self.step) + 1e-9))
            return f"{value:.{digits}e}".replace("e-0", "e-")
        return f"{value:,.{max(0, -math.floor(math.log10(self.step) + 1e-9))}f}"


@dataclass(frozen=True)
class Panel:
    """Lines in their place on the page; `y` is the upper edge."""

    curves: tuple[Curve, ...]
    steps: Ticks
    values: Ticks
    y: int
    axis: str

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
        for curve in self.curves:  # pale ones first, so that they lie under every mean
            if curve.is_smoothed:
                _line(drawing, [self.place(point) for point in _thinned(curve.points)], _pale(curve.color), 1.4)
        for curve in self.curves:
            points = _thinned(curve.points)
            points = _smoothed(points) if curve.is_smoothed else points
            _line(drawing, [self.place(point) for point in points], curve.color, 2.6)
        bottom = self.y + PANEL
        _line(drawing, [(LEFT, bottom), (WIDTH - RIGHT, bottom)], QUIET_INK, 1.2)
        for curve in self.curves:
            self._draw_marks(drawing, curve)

    def draw_texts(self, drawing: ImageDraw.ImageDraw) -> None:
        """Titles and numbers, on the page itself."""
        drawing.text((LEFT, self.y - 26), self.curves[0].title, fill=INK, font=_font(25), anchor="ls")
        right = float(WIDTH - RIGHT)
        for curve in reversed(self.curves):  # from the right to the left
            color = curve.color if curve.name else QUIET_INK
            text = _figure_of(curve) if curve.name else self._summary(curve)
            drawing.text((right, self.y - 26), text, fill=color, font=_font(20), anchor="rs")
            right -= drawing.textlength(text, font=_font(20)) + 28
        for value in self.values.values():
            left = LEFT - 14, self.place((0.0, value))[1]
            drawing.text(left, self.values.text(value), fill=QUIET_INK, font=_font(19), anchor="rm")
        for step in self.steps.values():
            below = self.place((step, self.values.low))[0], self.y + PANEL + 12
            drawing.text(below, self.steps.text(step), fill=QUIET_INK, font=_font(19), anchor="mt")

    def _draw_marks(self, drawing: ImageDraw.ImageDraw, curve: Curve) -> None:
        """A dot at each point, or at the only one."""
        if len(curve.points) == 1 or (curve.has_marks and len(curve.points) <= 80):
            for point in curve.points:
                _dot(drawing, self.place(point), 4.5, curve.color)
        if curve.has_marks:
            _dot(drawing, self.place(_highest(curve.points)), 8.0, curve.color)
            _dot(drawing, self.place(_highest(curve.points)), 4.5, PAPER)

    def _summary(self, curve: Curve) -> str:
        """What to know of the curve, in words."""
        step, value = curve.points[-1]
        if not curve.has_marks:
            return f"{_figure(value)} at step {step:,.0f}"
        best_step, best = _highest(curve.points)
        end = f", {value:.2f} at the end" if step != best_step else ""
        return f"best {best:.2f} at step {best_step:,.0f}{end}"


def _draw_legend_marks(drawing: ImageDraw.ImageDraw, names: dict[str, Color]) -> None:
    for x, (_, color) in zip(_legend_places(names), names.items(), strict=True):
        _line(drawing, [(x, 36.0), (x + 34, 36.0)], color, 5.0)


def _draw_legend_names(drawing: ImageDraw.ImageDraw, names: dict[str, Color]) -> None:
    for x, name in zip(_legend_places(names), names, strict=True):
        drawing.text((x + 46, 36), _shortened(name, _room(names)), fill=INK, font=_font(20), anchor="lm")


def _legend_places(names: dict[str, Color]) -> list[float]:
    """Where each mark begins: one after the other, or evenly where the names are too long for that."""
    widths = [46 + _font(20).getlength(name) + 48 for name in names]
    if sum(widths) > WIDTH - LEFT - RIGHT:
        return [LEFT + index * (WIDTH - LEFT - RIGHT) / len(names) for index in range(len(names))]
    return [LEFT + sum(widths[:index]) for index in range(len(names))]


def _room(names: dict[str, Color]) -> float:
    """Pixels that a name may take where all share the width evenly."""
    widths = [46 + _font(20).getlength(name) + 48 for name in names]
    is_even = sum(widths) > WIDTH - LEFT - RIGHT
    return (WIDTH - LEFT - RIGHT) / len(names) - 62 if is_even else math.inf


def _shortened(name: str, room: float) -> str:
    """The name's end, which tells runs apart better than its beginning."""
    if _font(20).getlength(name) <= room:
        return name
    while name and _font(20).getlength(f"…{name}") > room:
        name = name[1:]
    return f"…{name}"


def _figure_of(curve: Curve) -> str:
    """The last value, of scores the highest."""
    value = _highest(curve.points)[1] if curve.has_marks else curve.points[-1][1]
    return f"{value:.2f}" if curve.has_marks else _figure(value)


def _value_ticks(curves: Sequence[Curve]) -> Ticks:
    """A loss and a rate begin at 0, a score where its values do; outliers of a loss are cut off at the top."""
    values = np.array([value for curve in curves for _, value in curve.points])
    low, high = float(values.min()), float(values.max())
    if curves[0].has_marks and len(values) > 1:
        return Ticks.over(low, high)
    if curves[0].is_smoothed and low >= 0.0:
        high = min(high, 1.5 * float(np.quantile(values, 0.99)))
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


def _font(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size)
    assert isinstance(font, ImageFont.FreeTypeFont)
    return font
