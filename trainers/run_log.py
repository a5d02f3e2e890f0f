"""What a run says of itself: one JSON document a line in a file, and a progress bar."""

from __future__ import annotations

import io
import json
import math
import os
import time
from collections.abc import Iterable, Mapping
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from segpipe import distributed
from segpipe.log import get_logger

logger = get_logger(__name__)

LOG = "log.jsonl"
"""Its name in a work directory and in a model folder."""


class RunLog:
    """Writes `log.jsonl` and shows progress, in the main process alone.

    A resumed run appends; lines of steps that are done again appear again, with their time. What is no finite number,
    such as the score of a class that no picture has, is null: JSON has no word for it.

    Args:
        path: the file.
        total: steps of the run, for the progress bar.
        start: steps done before.
    """

    def __init__(self, path: Path, *, total: int, start: int) -> None:
        self._is_main = distributed.is_main()
        self._path = path
        self._file: TextIO | None = _open_for_lines(path) if self._is_main else None
        self._total = total
        self._start = self._done = start
        self._bar: Any = None
        self._begun = time.monotonic()

    def __enter__(self) -> RunLog:
        from tqdm import tqdm

        # None: no bar where stderr is no terminal.
        self._bar = tqdm(total=self._total, initial=self._start, unit=" steps", disable=None if self._is_main else True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()
        if self._file is not None:
            self._file.close()

    def advance(self) -> None:
        """One step is done."""
        self._done += 1
        self._bar.update()

    def write(self, event: str, values: Mapping[str, Any]) -> None:
        """One line: {"event": …, "time": seconds since 1970, …}.

        Numbers also go behind the progress bar, or to the logger where stderr is no terminal and there is no bar.
        """
        if self._file is None:
            return
        line = {"event": event, "time": round(time.time(), 3), **values}
        if not self._path.exists():
            self._begin_again()
        self._file.write(json.dumps(_finite(line), allow_nan=False) + "\n")
        self._file.flush()
        shown = {key: f"{value:.4g}" for key, value in values.items() if isinstance(value, float)}
        if self._bar.disable:
            numbers = ", ".join(f"{key} {value}" for key, value in shown.items())
            logger.info("Step %s of %s%s: %s %s", values.get("step"), self._total, self._left(), event, numbers)
        self._bar.set_postfix(shown)

    def _left(self) -> str:
        """How long the run still takes at its pace so far, once there is one."""
        done = self._done - self._start
        if not done:
            return ""
        seconds = (time.monotonic() - self._begun) / done * (self._total - self._done)
        return f", {timedelta(seconds=round(seconds))} left"

    def _begin_again(self) -> None:
        """Somebody deleted the file, which would take further lines and show them to nobody."""
        logger.warning("%s was deleted during the run; it begins anew, without its earlier lines", self._path)
        assert self._file is not None
        self._file.close()
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = _open_for_lines(self._path)


def read_log(path: Path) -> list[dict[str, Any]]:
    """The lines of a run's log; those that were cut off by a kill are left out. A number that is null becomes NaN."""
    lines = []
    for text in path.read_text(encoding="utf-8").splitlines():
        try:
            lines.append(_with_nan(json.loads(text)))
        except ValueError:
            continue
    return lines


def counted_lines(lines: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The lines of a log that say how the run went: where it began again at a step, what came after that step is void.

    So it is after a resumption from an older checkpoint, and where a longer run was given up and begun anew.
    """
    counted: list[Mapping[str, Any]] = []
    for line in lines:
        step = line.get("step")
        if line.get("event") == "start" and isinstance(step, int):
            counted = [old for old in counted if old.get("event") == "start" or old.get("step", 0) <= step]
        counted.append(line)
    return counted


def _open_for_lines(path: Path) -> TextIO:
    """Append to a file; a last line that was cut off stays alone in its line."""
    file = open(path, "a+b")  # noqa: SIM115
    if file.tell():
        file.seek(-1, os.SEEK_END)
        if file.read(1) != b"\n":
            file.write(b"\n")
    return io.TextIOWrapper(file, encoding="utf-8")


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(member) for key, member in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _with_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _with_nan(member) for key, member in value.items()}
    return math.nan if value is None else value
