"""Draw charts with matplotlib: panels of lines over one axis.

matplotlib is imported when a chart is drawn, and through its objects alone: no backend is chosen, no setting changed.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from segpipe.text import columns_of, printable_line

from .lettering import INK, PAPER, QUIET_INK, find_font

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Color = tuple[int, int, int]
Point = tuple[float, float]

BLUE, ORANGE, GREEN = (38, 99, 199), (214, 116, 24), (22, 138, 98)
CHART_COLORS: tuple[Color, ...] = (
    BLUE, ORANGE, GREEN, (150, 72, 176), (196, 44, 76), (110, 92, 70), (24, 146, 166), (86, 98, 112)
)  # fmt: skip
"""Of the lines of one panel."""

WIDTH, PANEL, GAP = 1400, 320, 112
"""Pixels of the image's width, of a panel's height and of the room between two panels."""
LEFT, RIGHT, TOP, BOTTOM = 112, 64, 84, 76
"""Pixels around the panels."""
LEGEND = 44
"""Pixels of a row of names above the first panel."""
_DPI = 100
_GRID = (228, 231, 236)
_LONGEST_NAME = 44
"""Columns of a line's name; a longer one keeps its end, which tells runs apart better than its beginning."""
_MOST_POINTS = 4000
"""More are averaged in groups."""
_MOST_DOTS = 80


@dataclass(frozen=True)
class Curve:
    """One line of a panel.

    Attributes:
        title: what is drawn.
        points: (x, value) by ascending x, the step or what else the axis says; values are finite.
        color: of the line.
        is_smoothed: whether the line is pale, with a running mean over it.
        has_marks: whether each point has a dot, and the highest one a ring.
        name: of the run, where a panel has several.
    """

    title: str
    points: tuple[Point, ...]
    color: Color
    is_smoothed: bool = False
    has_marks: bool = False
    name: str = ""


def draw_chart(panels: Sequence[Sequence[Curve]], *, axis: str = "step") -> np.ndarray:
    """Draw panels below one another, over the same axis from 0 to the last x.

    Args:
        panels: the lines of each; where they have names, these stand above the first panel.
        axis: what x is. Steps are whole numbers; anything else is named below the last panel.

    Returns:
        (H, 1400, 3) uint8 RGB.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(build_figure(panels, axis=axis))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # a letter that no font has is drawn as a box
        canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def build_figure(panels: Sequence[Sequence[Curve]], *, axis: str = "step") -> Figure:
    """Lay out a chart as a matplotlib figure with an Axes for each panel; see `draw_chart`."""
    from matplotlib.figure import Figure

    colors = {curve.name: curve.color for panel in panels for curve in panel if curve.name}
    rows = _legend_rows(colors)
    top = TOP + LEGEND * len(rows)
    bottom = BOTTOM + (0 if axis == "step" else LEGEND // 2)
    height = top + len(panels) * PANEL + (len(panels) - 1) * GAP + bottom
    figure = Figure(figsize=(WIDTH / _DPI, height / _DPI), dpi=_DPI, facecolor=_rgb(PAPER))
    last = max(x for panel in panels for curve in panel for x, _ in curve.points)
    for index, panel in enumerate(panels):
        y = top + index * (PANEL + GAP)
        box = (LEFT / WIDTH, 1 - (y + PANEL) / height, (WIDTH - LEFT - RIGHT) / WIDTH, PANEL / height)
        axes = figure.add_axes(box, facecolor=_rgb(PAPER))
        _style_axes(axes, _steps_up_to(last, is_whole=axis == "step"), _value_ticks(panel))
        _draw_curves(axes, panel)
        _write_heading(axes, panel)
    if axis != "step":
        place = (LEFT + WIDTH - RIGHT) / 2 / WIDTH, 14 / height
        figure.text(*place, axis, va="baseline", ha="center", **_text(axis, 20, QUIET_INK))
    _draw_legend(figure, rows, colors)
    return figure


def _style_axes(axes: Axes, steps: _Ticks, values: _Ticks) -> None:
    """Set limits and ticks: pale lines at the values, short marks at the steps, no box."""
    axes.set_xlim(steps.low, steps.high)
    axes.set_ylim(values.low, values.high)
    axes.set_xticks(steps.places, steps.texts)
    axes.set_yticks(values.places, values.texts)
    for side in ("left", "top", "right"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set(color=_rgb(QUIET_INK), linewidth=_points(1.2))
    axes.grid(axis="y", color=_rgb(_GRID), linewidth=_points(1.0), linestyle="-")
    axes.minorticks_off()
    axes.set_axisbelow(True)
    axes.tick_params(axis="y", length=0, pad=_points(14))
    axes.tick_params(axis="x", direction="out", color=_rgb(QUIET_INK), length=_points(7), width=_points(1.0))
    for label in (*axes.get_xticklabels(), *axes.get_yticklabels()):
        label.set(**_text("", 19, QUIET_INK))


def _draw_curves(axes: Axes, curves: Sequence[Curve]) -> None:
    """Draw the pale lines first, so that they lie under every mean."""
    for curve in curves:
        if curve.is_smoothed:
            x, values = _thinned(curve.points).T
            axes.plot(x, values, color=_pale(curve.color), linewidth=_points(1.4), linestyle="-", marker="", zorder=2.0)
    for curve in curves:
        points = _thinned(curve.points)
        x, values = points.T
        values = _running_mean(values) if curve.is_smoothed else values
        axes.plot(x, values, color=_rgb(curve.color), linewidth=_points(2.6), linestyle="-", marker="", zorder=2.1)
        dot: dict[str, Any] = {"color": _rgb(curve.color), "linestyle": "", "marker": "o", "clip_on": False}
        if len(points) == 1 or (curve.has_marks and len(points) <= _MOST_DOTS):
            axes.plot(x, values, markersize=_points(9), markeredgewidth=0.0, zorder=2.2, **dot)
        if curve.has_marks:
            ring: dict[str, Any] = {
                "markersize": _points(12.5),
                "markeredgewidth": _points(3.5),
                "markerfacecolor": _rgb(PAPER),
            }
            axes.plot(*zip(_highest(curve), strict=True), zorder=2.3, **ring, **dot)


def _write_heading(axes: Axes, curves: Sequence[Curve]) -> None:
    """Write the title to the left and, to the right, a figure for each named curve or a sentence for the only one."""
    title = _shortened(curves[0].title)
    above: dict[str, Any] = {"textcoords": "offset points", "va": "baseline"}
    axes.annotate(
        title, (0, 1), (0, _points(26)), xycoords="axes fraction", ha="left", **above, **_text(title, 25, INK)
    )
    anchor: Any = "axes fraction"
    place, gap = 1.0, 0.0
    for curve in reversed(curves):  # from the right to the left
        text, color = (_headline(curve), curve.color) if curve.name else (_summary(curve), QUIET_INK)
        coordinates = {"xycoords": (anchor, "axes fraction"), "ha": "right", **above, **_text(text, 20, color)}
        anchor = axes.annotate(text, (place, 1.0), (-gap, _points(26)), **coordinates)
        place, gap = 0.0, _points(28)


def _draw_legend(figure: Figure, rows: Sequence[Sequence[str]], colors: Mapping[str, Color]) -> None:
    """Draw a short line and a name for each run, in rows above the first panel."""
    from matplotlib.lines import Line2D

    height = figure.get_figheight() * _DPI
    for number, row in enumerate(rows):
        left, y = LEFT, 1 - (36 + LEGEND * number) / height
        for name in row:
            mark = [left / WIDTH, (left + 34) / WIDTH], [y, y]
            figure.add_artist(Line2D(*mark, color=_rgb(colors[name]), linewidth=_points(5.0), solid_capstyle="butt"))
            text = _shortened(name)
            figure.text((left + 46) / WIDTH, y, text, va="center_baseline", ha="left", **_text(text, 20, INK))
            left += _entry_width(name)


def _legend_rows(names: Iterable[str]) -> list[list[str]]:
    """Return the names of each row of the legend, as many in a row as it has room for."""
    rows: list[list[str]] = []
    room = 0
    for name in names:
        width = _entry_width(name)
        if width > room:
            rows.append([])
            room = WIDTH - LEFT - RIGHT
        rows[-1].append(name)
        room -= width
    return rows


def _entry_width(name: str) -> int:
    """Return the pixels of a mark, a name of usual letters and the room behind it."""
    return 46 + round(12.5 * columns_of(_shortened(name))) + 40


@dataclass(frozen=True)
class _Ticks:
    """The range of an axis and the round numbers on it."""

    low: float
    high: float
    places: list[float]

    @property
    def texts(self) -> list[str]:
        step = self.places[1] - self.places[0] if len(self.places) > 1 else 1.0
        return [_tick_text(place, step) for place in self.places]


def _round_numbers(low: float, high: float, count: int, *, is_whole: bool = False) -> list[float]:
    """Return about `count` numbers, 1, 2 or 5 times a power of ten apart, that cover a range."""
    from matplotlib.ticker import MaxNLocator

    locator = MaxNLocator(nbins=count, steps=[1, 2, 5, 10], integer=is_whole, min_n_ticks=1)
    return [float(place) for place in locator.tick_values(low, high)]


def _steps_up_to(last: float, *, is_whole: bool) -> _Ticks:
    """Return an axis from 0 to exactly the last x."""
    high = last or 1.0
    places = _round_numbers(0.0, high, 8, is_whole=is_whole)
    return _Ticks(0.0, high, [place for place in places if place <= high * (1 + 1e-9)])


def _value_ticks(curves: Sequence[Curve]) -> _Ticks:
    """Return the axis of a panel: a loss and a rate begin at 0, a score where its values do.

    Outliers of a loss are cut off at the top.
    """
    values = np.array([value for curve in curves for _, value in curve.points])
    low, high = float(values.min()), float(values.max())
    if not curves[0].has_marks or len(values) == 1:
        if curves[0].is_smoothed and low >= 0.0:
            high = min(high, 1.5 * float(np.quantile(values, 0.99)))
        low, high = min(low, 0.0), max(high, 0.0)
    if low == high:  # the first interval of a range that is as long as the value
        places = _round_numbers(low, low + (abs(low) or 1.0), 5)[:2]
    else:
        places = _round_numbers(low, high, 5)
    return _Ticks(places[0], places[-1], places)


def _tick_text(value: float, step: float) -> str:
    """Write as few digits as tell ticks apart that lie `step` apart: 0.25, 40, 160,000, 6e-5."""
    if abs(value) < step / 2:
        return "0"
    decade = math.floor(math.log10(step) + 1e-9)
    if step < 1e-3:
        digits = max(0, math.floor(math.log10(abs(value)) + 1e-9) - decade)
        return f"{value:.{digits}e}".replace("e-0", "e-")
    return f"{value:,.{max(0, -decade)}f}"


def _thinned(points: Sequence[Point]) -> np.ndarray:
    """Return (N, 2) points, averaged in groups of neighbors where there are very many."""
    array = np.array(points, dtype=np.float64)
    size = math.ceil(len(array) / _MOST_POINTS)
    starts = np.arange(0, len(array), size)
    counts = np.diff(np.append(starts, len(array)))
    return array if size == 1 else np.add.reduceat(array, starts) / counts[:, None]


def _running_mean(values: np.ndarray) -> np.ndarray:
    """Return the mean over a window of a twenty-fifth of the values, narrower at both ends."""
    places = np.arange(len(values))
    reach = np.minimum(np.minimum(places, places[::-1]), len(values) // 50)
    sums = np.concatenate([[0.0], np.cumsum(values)])
    return (sums[places + reach + 1] - sums[places - reach]) / (2 * reach + 1)


def _highest(curve: Curve) -> Point:
    """Return the first of the highest points."""
    return max(curve.points, key=lambda point: point[1])


def _summary(curve: Curve) -> str:
    """Return a sentence about the only curve of a panel."""
    step, value = curve.points[-1]
    if not curve.has_marks:
        return f"{_number(value)} at step {step:,.0f}"
    best_step, best = _highest(curve)
    end = f", {value:.2f} at the end" if step != best_step else ""
    return f"best {best:.2f} at step {best_step:,.0f}{end}"


def _headline(curve: Curve) -> str:
    """Return the last value, of scores the highest."""
    return f"{_highest(curve)[1]:.2f}" if curve.has_marks else _number(curve.points[-1][1])


def _number(value: float) -> str:
    return "0" if value == 0.0 else f"{value:.3g}".replace("e-0", "e-")


def _shortened(name: str) -> str:
    line = printable_line(name)
    if columns_of(line) <= _LONGEST_NAME:
        return line
    while columns_of(line) >= _LONGEST_NAME:
        line = line[1:]
    return f"…{line}"


def _text(text: str, pixels: int, color: Color) -> dict[str, Any]:
    """Return how a text is written: in matplotlib's own font, or in one of the system that has its letters."""
    style: dict[str, Any] = {"fontsize": _points(pixels), "color": _rgb(color), "parse_math": False, "usetex": False}
    path = getattr(find_font(text, pixels), "path", "")
    is_file = isinstance(path, str) and path
    return style | ({"font": Path(path)} if is_file else {"fontfamily": "DejaVu Sans"})


def _points(pixels: float) -> float:
    """Return the typographic points that matplotlib measures in."""
    return pixels * 72 / _DPI


def _rgb(color: Color) -> tuple[float, float, float]:
    red, green, blue = (channel / 255 for channel in color)
    return red, green, blue


def _pale(color: Color) -> tuple[float, float, float]:
    red, green, blue = (channel + (1.0 - channel) * 0.6 for channel in _rgb(color))
    return red, green, blue
