"""A run in one picture: loss, learning rate and the main score over the steps, drawn with Pillow from the run's log."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from segpipe.atomic import write_atomically
from segpipe.drawing import BLUE, GREEN, LEFT, ORANGE, RIGHT, WIDTH, Curve, Point, Ticks, draw_page
from segpipe.log import get_logger

from .main_score import TITLES, main_score
from .run_log import LOG, counted_lines, read_log_if_there

logger = get_logger(__name__)

__all__ = [
    "BLUE",
    "CURVES",
    "GREEN",
    "LEFT",
    "RIGHT",
    "WIDTH",
    "Curve",
    "Ticks",
    "draw_curves",
    "read_curves",
    "write_curves",
]

CURVES = "curves.png"


def write_curves(work_dir: Path) -> Path | None:
    """Draw `work_dir/curves.png` from `work_dir/log.jsonl` and return its path.

    None where no step was logged, or with a warning where it cannot be written.
    """
    curves = read_curves(read_log_if_there(work_dir / LOG))
    if not curves:
        return None
    path, content = work_dir / CURVES, io.BytesIO()
    Image.fromarray(draw_curves(curves)).save(content, format="PNG")
    try:
        write_atomically(path, content.getvalue())
    except OSError as error:
        logger.warning("Cannot write %s: %s. The run goes on without it.", path, error.strerror or error)
        return None
    return path


def read_curves(lines: Sequence[Mapping[str, Any]]) -> tuple[Curve, ...]:
    """Loss, learning rate and the main score (mIoU or Acc@1) in percent, those that have points.

    Of steps that were done again after a resumption the last line counts, and steps that a run went back behind are
    left out, see `counted_lines`; so is what is not a finite number.
    """
    lines = counted_lines(lines)
    key = main_score(lines)
    curves = (
        Curve("Loss", _points(lines, "step", "loss"), BLUE, is_smoothed=True),
        Curve("Learning rate", _points(lines, "step", "lr"), ORANGE),
        Curve(f"{TITLES[key]} in percent", _points(lines, "evaluation", key, factor=100.0), GREEN, has_marks=True),
    )
    return tuple(curve for curve in curves if curve.points)


def draw_curves(curves: Sequence[Curve]) -> np.ndarray:
    """(H, W, 3) uint8: the panels below one another, over the same steps."""
    return draw_page([[curve] for curve in curves])


def _points(lines: Sequence[Mapping[str, Any]], event: str, key: str, *, factor: float = 1.0) -> tuple[Point, ...]:
    found: dict[float, float] = {}
    for line in lines:
        value = line.get(key)
        if line.get("event") == event and isinstance(value, int | float) and isinstance(line.get("step"), int):
            found[line["step"]] = value * factor
    return tuple((step, value) for step, value in sorted(found.items()) if math.isfinite(value))
