"""Curves of runs: their logs as charts of losses, learning rates and scores."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np

from segpipe.atomic import write_atomically
from segpipe.drawing import BLUE, CHART_COLORS, GREEN, ORANGE, Color, Curve, draw_chart, encode_image
from segpipe.errors import InputError
from segpipe.log import get_logger
from segpipe.names import unknown_name_message

from .progress import XAxis
from .run_log import LOG, TITLES, counted_lines, main_score, read_log, read_log_if_there

logger = get_logger(__name__)

CURVES = "curves.png"
"""Its name in a work directory and in a model folder."""
_PANEL_TITLES = {"loss": "Loss", "lr": "Learning rate", "grad_norm": "Gradient norm"}
_UNITS = (
    (2 * 86400.0, 86400.0, "days"),
    (2 * 3600.0, 3600.0, "hours"),
    (120.0, 60.0, "minutes"),
    (0.0, 1.0, "seconds"),
)
_Lines = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Run:
    """The log of a run.

    Attributes:
        name: by which people tell it from others.
        lines: those that count, see `counted_lines`.
    """

    name: str
    lines: tuple[Mapping[str, Any], ...]

    @property
    def keys(self) -> tuple[str, ...]:
        """The numbers that can be drawn: those of steps, then those of evaluations."""
        found: dict[str, None] = {}
        for event in ("step", "evaluation"):
            for line in self.lines:
                if line.get("event") == event:
                    found.update((key, None) for key, value in line.items() if _is_number(value))
        return tuple(key for key in found if key not in ("step", "time", "epoch"))


def write_curves(work_dir: Path) -> Path | None:
    """Draw `work_dir/curves.png` from `work_dir/log.jsonl` and return its path.

    If no step was logged, return None; so does, with a warning, a file that cannot be written.
    """
    curves = read_curves(read_log_if_there(work_dir / LOG))
    if not curves:
        return None
    path = work_dir / CURVES
    try:
        write_atomically(path, encode_image(draw_chart([[curve] for curve in curves]), "PNG"))
    except OSError as error:
        logger.warning("Cannot write %s: %s. The run goes on without it.", path, error.strerror or error)
        return None
    return path


def read_curves(lines: _Lines) -> tuple[Curve, ...]:
    """Return the curves of a run that have points: loss, learning rate and the main score in percent, over the steps.

    Of steps that were done again after a resumption the last line counts, and steps that a run went back behind are
    left out, see `counted_lines`; so is what is not a finite number.
    """
    lines = counted_lines(lines)
    steps = _places(lines, "step")
    curves = (
        _curve(lines, steps, "step", "loss", color=BLUE),
        _curve(lines, steps, "step", "lr", color=ORANGE),
        _curve(lines, steps, "evaluation", main_score(lines), color=GREEN),
    )
    return tuple(curve for curve in curves if curve.points)


def read_runs(places: Sequence[str | Path]) -> tuple[Run, ...]:
    """Read runs from their work directories, model folders or logs; names are as short as tells them apart.

    Raises:
        InputError: where there is no log, or no step in it.
    """
    logs = [_find_log(Path(place)) for place in places]
    runs = []
    for name, log in zip(_short_names([log.parent for log in logs]), logs, strict=True):
        run = Run(name, tuple(counted_lines(read_log(log))))
        if not run.keys:
            raise InputError(f"{log} has no logged step. Name a run that has begun.", path=log)
        runs.append(run)
    return tuple(runs)


def compare_runs(runs: Sequence[Run], keys: Sequence[str] | None = None, *, x: XAxis = "step") -> np.ndarray:
    """Draw several runs in one image, each in its color, with a panel for each key.

    Args:
        runs: at least one, at most eight.
        keys: of the logs, such as "loss", "lr", "miou". If None, loss and the main score.
        x: the axis: steps, epochs, or the time that training took, without what lies between an end and a resumption.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        InputError: a key that no run has; too many runs.
    """
    if not 1 <= len(runs) <= len(CHART_COLORS):
        raise InputError(
            f"{len(runs)} runs cannot be told apart in one image; 1 to {len(CHART_COLORS)} can. Choose fewer."
        )
    chosen = tuple(keys) if keys is not None else _usual_keys(runs)
    known = dict.fromkeys(key for run in runs for key in run.keys)
    for key in chosen:
        if key not in known:
            raise InputError(unknown_name_message("key of these logs", key, tuple(known)))
    unit, axis = _time_unit(runs) if x == "time" else (1.0, x)
    places = [[place / unit for place in _places(run.lines, x)] for run in runs]
    panels = [panel for key in chosen if (panel := _panel(runs, places, key))]
    if not panels:
        raise InputError(f"These logs have no finite number of {', '.join(chosen) or 'any key'}. Name another key.")
    return draw_chart(panels, axis=axis)


def _find_log(place: Path) -> Path:
    found = next((path for path in (place, place / LOG, place / "model" / LOG) if os.path.isfile(path)), None)
    if found is None:
        message = f"{place} is neither a log nor a folder with {LOG}. Name the work directory of a run."
        raise InputError(message, path=place)
    return found


def _short_names(folders: Sequence[Path]) -> list[str]:
    """Return the last parts of the paths, as many as make them different."""
    resolved = [folder.resolve() for folder in folders]
    for count in range(1, 1 + max(len(folder.parts) for folder in resolved)):
        names = ["/".join(folder.parts[-count:]) for folder in resolved]
        if len(set(names)) == len(names):
            return names
    return [f"{folder.name} {number}" for number, folder in enumerate(resolved, 1)]


def _usual_keys(runs: Sequence[Run]) -> tuple[str, ...]:
    score = main_score(line for run in runs for line in run.lines)
    return tuple(key for key in ("loss", score) if any(key in run.keys for run in runs))


def _panel(runs: Sequence[Run], places: Sequence[Sequence[float]], key: str) -> list[Curve]:
    """Return the lines of one panel; a run that lacks the key has none."""
    curves = []
    for run, along, color in zip(runs, places, CHART_COLORS, strict=False):
        is_of_steps = any(line.get("event") == "step" and key in line for line in run.lines)
        event = "step" if is_of_steps else "evaluation"
        curves.append(_curve(run.lines, along, event, key, color=color, name=run.name))
    return [curve for curve in curves if curve.points]


def _curve(lines: _Lines, places: Sequence[float], event: str, key: str, *, color: Color, name: str = "") -> Curve:
    """Return the finite values of a key by the step of their lines, scores in percent; of a step the last value."""
    is_score = event == "evaluation" and key != "loss"
    found: dict[int, tuple[float, float]] = {}
    for line, place in zip(lines, places, strict=True):
        value = line.get(key)
        if line.get("event") == event and _is_number(value):
            found[line["step"]] = (place, value * (100.0 if is_score else 1.0))
    points = tuple(found[step] for step in sorted(found) if math.isfinite(found[step][1]))
    title = f"{TITLES.get(key, key)} in percent" if is_score else _PANEL_TITLES.get(key, key)
    return Curve(title, points, color, is_smoothed=event == "step" and key != "lr", has_marks=is_score, name=name)


def _places(lines: _Lines, x: XAxis) -> list[float]:
    """Return where each line lies on the axis, in steps, epochs or seconds."""
    if x == "step":
        return [float(line.get("step", 0)) for line in lines]
    if x == "time":
        return _seconds(lines)
    known = sorted({line["step"]: line["epoch"] for line in lines if "epoch" in line and "step" in line}.items())
    if not known:
        raise InputError("These logs have no epochs. Draw them over steps.")
    steps, epochs = zip((0, 0.0), *known, strict=True)
    return [float(np.interp(line.get("step", 0), steps, epochs)) for line in lines]


def _seconds(lines: Iterable[Mapping[str, Any]]) -> list[float]:
    """Return the seconds of work up to each line; a clock that was set back stands still meanwhile."""
    elapsed, before, found = 0.0, None, []
    for line in lines:
        now = line.get("time")
        if line.get("event") != "start" and before is not None and now is not None:
            elapsed += max(0.0, now - before)
        before = now if now is not None else before
        found.append(elapsed)
    return found


def _time_unit(runs: Sequence[Run]) -> tuple[float, str]:
    longest = max(_seconds(run.lines)[-1] for run in runs)
    return next((seconds, name) for least, seconds, name in _UNITS if longest >= least)


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)
