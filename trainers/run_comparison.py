"""Several runs in one picture: each key of their logs in a panel, each run in a colour of its own."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeGuard

import numpy as np

from segpipe.drawing import BLUE, GREEN, ORANGE, Curve, Point, draw_page
from segpipe.errors import InputError
from segpipe.names import unknown_name_message

from .main_score import TITLES, main_score
from .run_log import LOG, counted_lines, read_log

XAxis = Literal["step", "epoch", "time"]
COLORS = (BLUE, ORANGE, GREEN, (150, 72, 176), (196, 44, 76), (110, 92, 70), (24, 146, 166), (86, 98, 112))
_PANEL_TITLES = {"loss": "Loss", "lr": "Learning rate", "grad_norm": "Gradient norm"}
_UNITS = (
    (2 * 86400.0, 86400.0, "days"),
    (2 * 3600.0, 3600.0, "hours"),
    (120.0, 60.0, "minutes"),
    (0.0, 1.0, "seconds"),
)


@dataclass(frozen=True)
class Run:
    """What a run's log says.

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


def read_runs(places: Sequence[str | Path]) -> tuple[Run, ...]:
    """Runs from their work directories, model folders or logs; names are as short as tells them apart.

    Raises:
        InputError: where there is no log, or no step in it.
    """
    logs = [_find_log(Path(place)) for place in places]
    names = _short_names([log.parent for log in logs])
    runs = []
    for name, log in zip(names, logs, strict=True):
        run = Run(name, tuple(counted_lines(read_log(log))))
        if not run.keys:
            raise InputError(f"{log} has no logged step. Name a run that has begun.")
        runs.append(run)
    return tuple(runs)


def compare_runs(runs: Sequence[Run], keys: Sequence[str] | None = None, *, x: XAxis = "step") -> np.ndarray:
    """(H, W, 3) uint8: a panel for each key, over steps, epochs, or the time that training took.

    Args:
        runs: at least one, at most eight.
        keys: of the logs, such as "loss", "lr", "miou"; None: loss and the main score.
        x: time leaves out what lies between an end and a resumption.

    Raises:
        InputError: a key that no run has; too many runs.
    """
    if not 1 <= len(runs) <= len(COLORS):
        raise InputError(f"{len(runs)} runs cannot be told apart in one picture; 1 to {len(COLORS)} can. Choose fewer.")
    chosen = tuple(keys) if keys is not None else _usual_keys(runs)
    known = dict.fromkeys(key for run in runs for key in run.keys)
    for key in chosen:
        if key not in known:
            raise InputError(unknown_name_message("key of these logs", key, tuple(known)))
    unit, axis = _time_unit(runs) if x == "time" else (1.0, x)
    panels = [_panel(runs, key, x, unit) for key in chosen]
    drawn = [panel for panel in panels if panel]
    if not drawn:
        raise InputError(f"These logs have no finite number of {', '.join(chosen) or 'any key'}. Name another key.")
    return draw_page(drawn, axis=axis)


def _find_log(place: Path) -> Path:
    found = next((path for path in (place, place / LOG, place / "model" / LOG) if os.path.isfile(path)), None)
    if found is None:
        raise InputError(f"{place} is neither a log nor a folder with {LOG}. Name the work directory of a run.")
    return found


def _short_names(folders: Sequence[Path]) -> list[str]:
    """The last parts of the paths, as many as make them different."""
    resolved = [folder.resolve() for folder in folders]
    for count in range(1, 1 + max(len(folder.parts) for folder in resolved)):
        names = ["/".join(folder.parts[-count:]) for folder in resolved]
        if len(set(names)) == len(names):
            return names
    return [f"{folder.name} {number}" for number, folder in enumerate(resolved, 1)]


def _usual_keys(runs: Sequence[Run]) -> tuple[str, ...]:
    score = main_score(line for run in runs for line in run.lines)
    return tuple(key for key in ("loss", score) if any(key in run.keys for run in runs))


def _panel(runs: Sequence[Run], key: str, x: XAxis, unit: float) -> list[Curve]:
    """The lines of one panel; a run that lacks the key has none."""
    curves = []
    for run, color in zip(runs, COLORS, strict=False):
        event = "step" if any(line.get("event") == "step" and key in line for line in run.lines) else "evaluation"
        is_score = event == "evaluation" and key != "loss"
        points = _points(run, event, key, x=x, unit=unit, factor=100.0 if is_score else 1.0)
        if points:
            title = f"{TITLES.get(key, key)} in percent" if is_score else _PANEL_TITLES.get(key, key)
            smoothed = event == "step" and key != "lr"
            curves.append(Curve(title, points, color, is_smoothed=smoothed, has_marks=is_score, name=run.name))
    return curves


def _points(run: Run, event: str, key: str, *, x: XAxis, unit: float, factor: float) -> tuple[Point, ...]:
    """(x, value) in the order of the steps; of steps that come twice the last."""
    places = _places(run.lines, x)
    found: dict[int, Point] = {}
    for line, place in zip(run.lines, places, strict=True):
        value = line.get(key)
        if line.get("event") == event and _is_number(value) and math.isfinite(value):
            found[line["step"]] = (place / unit, value * factor)
    return tuple(found[step] for step in sorted(found))


def _places(lines: Sequence[Mapping[str, Any]], x: XAxis) -> list[float]:
    """Where each line lies on the axis, in steps, epochs or seconds."""
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
    """Seconds of work up to each line; a clock that was set back stands still meanwhile."""
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
