"""The log of a run: one JSON document a line, and what its scores are called."""

from __future__ import annotations

import errno
import io
import json
import math
import os
import stat
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from segpipe import advice, distributed
from segpipe.configuration import decode_document
from segpipe.errors import InputError
from segpipe.files import read_file
from segpipe.hub import RUN_LOG
from segpipe.limits import limit
from segpipe.log import get_logger

from .call_again import unused_folder
from .progress import MOST_STEPS

logger = get_logger(__name__)
LOG = RUN_LOG
"""Its name in a work directory and in a model folder."""
TITLES = {
    "miou": "mIoU",
    "acc1": "Acc@1",
    "acc5": "Acc@5",
    "pixel_accuracy": "pixel accuracy",
    "mean_accuracy": "mean accuracy",
}
_MAIN = ("miou", "acc1")
MOST_NUMBER = 1e12
"""The greatest number that is read from a log: beyond it, ticks of a curve could not be told apart."""
_NUMBERS = frozenset({"loss", "lr", "grad_norm", "epoch", "time", *TITLES})
"""Values that are numbers, and not numbers by name."""


class RunLog:
    """Writes `log.jsonl`, in the main process alone.

    A resumed run appends; lines of steps that are done again appear again, with their time. A number that is not
    finite, such as the score of a class that no image has, is null: JSON has no word for it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._is_failing = False
        self._file: TextIO | None = _open_for_lines(path) if distributed.is_main() else None

    def __enter__(self) -> RunLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            with suppress(OSError):
                self._file.close()

    def write(self, event: str, values: Mapping[str, Any]) -> None:
        """Write one line: {"event": …, "time": seconds since 1970, …}.

        Where the disk refuses a line, the run goes on without it, and the first time says so.
        """
        if self._file is None:
            return
        line = {"event": event, "time": round(time.time(), 3), **values}
        try:
            if not os.path.exists(self._path):
                self._begin_again()
            self._file.write(json.dumps(_finite(line), allow_nan=False) + "\n")
            self._file.flush()
        except (OSError, InputError) as error:
            if not self._is_failing:
                logger.warning("Cannot write %s: %s. Training goes on without these lines.", self._path, error)
            self._is_failing = True

    def _begin_again(self) -> None:
        """Begin a new file, since the old one was deleted and would take further lines with it."""
        logger.warning("%s was deleted during the run; it begins anew, without its earlier lines", self._path)
        assert self._file is not None
        with suppress(OSError):
            self._file.close()
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = _open_for_lines(self._path)


def read_log(path: Path) -> list[dict[str, Any]]:
    """Read the lines of a run's log as if a stranger had written it. A number that is null becomes NaN.

    Lines that a kill cut off, and those that are not a run's, are left out, and so are values that are not numbers,
    texts or numbers by name. Each line has an event and a step, which is 0 where the file says none.

    Raises:
        InputError: it cannot be read, or has more bytes than `limit("run_state_bytes")`.
    """
    data = read_file(path, max_bytes=limit("run_state_bytes"), error=InputError)
    lines = (_read_line(text) for text in data.split(b"\n"))
    return [line for line in lines if line is not None]


def read_log_if_there(path: Path) -> list[dict[str, Any]]:
    """Read a log as `read_log` does; an empty list, with a warning, where it cannot be read."""
    if not os.path.lexists(path):
        return []
    try:
        return read_log(path)
    except InputError as error:
        logger.warning("%s", error)
        return []


def counted_lines(lines: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the lines of a log that count: where a run began again at a step, what came after that step is void.

    So it is after a resumption from an older checkpoint, and where a longer run was given up and begun anew.
    """
    counted: list[Mapping[str, Any]] = []
    for line in lines:
        step = line.get("step")
        if line.get("event") == "start" and isinstance(step, int):
            counted = [old for old in counted if old.get("event") == "start" or old.get("step", 0) <= step]
        counted.append(line)
    return counted


def main_score(lines: Iterable[Mapping[str, Any]]) -> str:
    """Return the key of the score that the evaluations of a run's log are about; mIoU where there are none."""
    keys = {key for line in lines if line.get("event") == "evaluation" for key in line}
    return next((key for key in _MAIN if key in keys), _MAIN[0])


def _open_for_lines(path: Path) -> TextIO:
    """Append to a file; a last line that was cut off stays alone in its line. InputError where that cannot be done."""
    try:
        file = open(path, "a+b", opener=_open_regular)  # noqa: SIM115
        if file.tell():
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                file.write(b"\n")
    except OSError as error:
        raise InputError(
            f"The log {path} cannot be written: {error.strerror or error}. It must be a regular file, old or new, that "
            "you may write to. Move it away, or give another folder: "
            f"{advice.argument('work_dir', unused_folder(path.parent))}.",
            path=path,
        ) from None
    return io.TextIOWrapper(file, encoding="utf-8")


def _open_regular(path: str, flags: int) -> int:
    """Open for writing without waiting for the reader of a named pipe. OSError for what is not a regular file."""
    descriptor = os.open(path, flags | getattr(os, "O_NONBLOCK", 0), 0o666)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise OSError(errno.EINVAL, "It is not a regular file", path)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(member) for key, member in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _read_line(text: bytes) -> dict[str, Any] | None:
    try:
        document = decode_document(text, dict[str, Any])
    except ValueError:
        return None
    event, step = document.get("event"), document.get("step", 0)
    if not isinstance(event, str) or type(step) is not int or not 0 <= step <= MOST_STEPS:
        return None
    line = {"event": event, "step": step}
    for key, value in document.items():
        read = value if key in line or isinstance(value, str) else _read_value(value)
        if read is not None and (key not in _NUMBERS or isinstance(read, int | float)):
            line[key] = read
    return line


def _read_value(value: Any) -> int | float | dict[str, float] | None:
    """Return a number, NaN for null, or a flat mapping of them; None for anything else."""
    if value is None:
        return math.nan
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value if abs(value) <= MOST_NUMBER else None
    if not isinstance(value, dict):
        return None
    members = {key: _read_value(member) for key, member in value.items()}
    return {key: member for key, member in members.items() if isinstance(member, int | float)}
