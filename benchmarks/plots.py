"""The plot of how cost grows: one panel for each way to grow, a line for each contestant."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from .results import Row, spread_of

if TYPE_CHECKING:
    from segpipe.drawing import Curve

PANELS: tuple[tuple[str, str, Callable[[Row], float | None]], ...] = (
    (
        "size",
        "megapixels of the picture, 172 classes",
        lambda row: row.size[0] * row.size[1] / 1e6 if row.what == "size" else None,
    ),
    ("classes", "classes, one picture of 480 by 640", lambda row: _number_before(row, "classes")),
    ("pictures", "pictures of 480 by 640 in one call, 172 classes", lambda row: _number_before(row, "pictures")),
)
"""Way to grow, what its axis says, and a row's place on it; None for rows of another panel."""


def write_plot(rows: Sequence[Row], path: Path) -> Path:
    """A PNG of the rows of the table growth: seconds of a call over what grows, the last value beside the title."""
    from segpipe.drawing import draw_chart

    pages = []
    for way, axis, place in PANELS:
        points = _placed(rows, place)
        if len(points) > 1:
            pages.append(draw_chart([_curves(way, points)], axis=axis))
    if not pages:
        raise SystemExit("A plot needs two points at least. Let two sizes, classes or counts be measured.")
    Image.fromarray(np.concatenate(pages)).save(path)
    return path


def _placed(rows: Sequence[Row], place: Callable[[Row], float | None]) -> list[tuple[float, Row]]:
    """(x, row) in the order of x."""
    found = [(x, row) for row in rows if (x := place(row)) is not None]
    return sorted(found, key=lambda point: point[0])


def _curves(way: str, points: Sequence[tuple[float, Row]]) -> list[Curve]:
    from segpipe.drawing import BLUE, GREEN, ORANGE, Curve

    colors = {"segpipe": BLUE, "transformers": ORANGE, "transformers lean": GREEN}
    return [
        Curve(
            title=f"seconds of a call over {way}",
            points=tuple((x, spread_of(row.runs[name]).median / 1000) for x, row in points if name in row.runs),
            color=color,
            name=name,
        )
        for name, color in colors.items()
    ]


def _number_before(row: Row, word: str) -> float | None:
    """8 of "8 pictures"."""
    number, _, rest = row.what.partition(" ")
    return float(number) if rest == word else None
