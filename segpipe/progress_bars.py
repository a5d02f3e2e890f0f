"""Progress of long work for people: a bar in terminals and notebooks, a line now and then where stderr is a file."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
import warnings
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from types import TracebackType
from typing import Any, TypeVar

from segpipe.log import call_before_messages, get_logger
from segpipe.text import printable, printable_line

logger = get_logger(__name__)
Item = TypeVar("Item")

SHORTEST, LONGEST = 10.0, 300.0
"""Seconds between two lines: at least, and at most. Between, a tenth of the time that has passed."""
_FORMAT = "{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt}{unit} [{elapsed}<{remaining}{postfix}]"
_UNSEEN = (logging.FileHandler, logging.NullHandler)
_bars: weakref.WeakSet[Any] = weakref.WeakSet()
_LOCK = threading.RLock()
"""Of the set, which one thread must not change while another one reads it. A signal may come in between."""


class ProgressBar:
    """Counts work that is done and shows it; a context manager.

    Args:
        title: what is done, in a word or two.
        total: how much there is to do. If None, it is unknown.
        unit: what is counted, in the plural.
        start: how much was done before.
        is_shown: whether to show anything. `SEGPIPE_PROGRESS=0` switches every bar off.
        stays: whether the full bar, or a last line, stays at the end.
    """

    def __init__(
        self, title: str, total: int | None, unit: str, *, start: int = 0, is_shown: bool = True, stays: bool = False
    ) -> None:
        self.done = self._start = start
        self._title, self._total, self._unit = title, total, unit
        self._is_shown = is_shown and _is_wanted()
        self._stays = stays
        self._bar: Any = None
        self._note = ""
        self._begun = self._told = time.monotonic()

    def __enter__(self) -> ProgressBar:
        self._begun = self._told = time.monotonic()
        if self._is_shown and is_watched():
            self._bar = new_bar(
                desc=self._title,
                total=self._total,
                initial=self._start,
                unit=f" {self._unit}",
                leave=self._stays,
                bar_format=_FORMAT,
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()
        elif self._is_shown and self._stays and kind is None:
            tell(logger, f"{self._text()} in {_duration(time.monotonic() - self._begun)}{self._note}")

    def update(self, count: int = 1, note: str = "") -> None:
        """Count work as done; the note stands behind the numbers."""
        self.done += count
        self._note = f", {note}" if note else ""
        if self._bar is not None:
            self._bar.set_postfix_str(note, refresh=False)
            self._bar.update(count)
        elif self._is_shown:
            self._tell_if_due()

    def move_to(self, done: int, total: int) -> None:
        """Set how much is done and how much there is to do."""
        self._total = total
        if self._bar is not None:
            self._bar.total = total
        self.update(done - self.done)

    def _tell_if_due(self) -> None:
        now = time.monotonic()
        if now - self._told >= min(max(SHORTEST, (now - self._begun) / 10), LONGEST):
            self._told = now
            tell(logger, f"{self._text()}{self._left(now - self._begun)}{self._note}")

    def _text(self) -> str:
        total = f" of {self._total:,}" if self._total is not None else ""
        return f"{self._title}: {self.done:,}{total} {self._unit}"

    def _left(self, elapsed: float) -> str:
        """Return how long the rest takes at the pace so far."""
        done = self.done - self._start
        if self._total is None or done <= 0:
            return ""
        return f", {_duration(elapsed / done * (self._total - self.done))} left"


def track(items: Iterable[Item], title: str, total: int | None, unit: str, *, is_shown: bool = True) -> Iterator[Item]:
    """Yield the items and show how many were taken; see `ProgressBar`."""
    with ProgressBar(title, total, unit, is_shown=is_shown) as bar:
        for item in items:
            yield item
            bar.update()


@contextmanager
def byte_bar(title: str, total: int | None, *, is_shown: bool = True) -> Iterator[Callable[[int], object]]:
    """Show a bar where bars are seen, and yield a function that counts bytes, from any thread.

    Negative bytes are those that were thrown away.
    """
    if not (is_shown and are_bars_seen()):
        yield lambda count: None
        return
    lock = threading.Lock()
    with new_bar(desc=printable_line(title), total=total, unit="B", unit_scale=True, leave=False) as bar:

        def add(count: int) -> None:
            with lock:
                bar.update(count)

        yield add


def are_bars_seen() -> bool:
    """Return whether bars are wanted, see `ProgressBar`, and a person sees them move."""
    return _is_wanted() and is_watched()


def is_watched() -> bool:
    """Return whether stderr is shown to a person who sees a bar move: in a terminal or a notebook."""
    return sys.stderr is not None and (sys.stderr.isatty() or is_notebook())


def is_notebook() -> bool:
    """Return whether a kernel runs this code, which shows images and bars; a terminal's IPython does not."""
    get_ipython = getattr(sys.modules.get("IPython"), "get_ipython", None)
    shell = get_ipython() if get_ipython else None
    return getattr(shell, "kernel", None) is not None


def new_bar(**options: Any) -> Any:
    """Return a bar of tqdm that suits the place, and that messages of the log do not run into."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a notebook without ipywidgets gets a bar of letters
        from tqdm.auto import tqdm

    call_before_messages(clear_bars)
    # The mean pace: what is left then counts the evaluations between the steps.
    bar = tqdm(**{"dynamic_ncols": True, "smoothing": 0, **options})
    find_size = getattr(bar, "dynamic_ncols", None)
    if callable(find_size):
        bar.dynamic_ncols = lambda stream: _with_room(*find_size(stream))
    with _LOCK:
        _bars.add(bar)
    return bar


def _with_room(columns: int | None, rows: int | None) -> tuple[int | None, int | None]:
    """Leave room behind a bar for what the terminal writes at Ctrl-C, so that it does not break the line."""
    return columns and max(columns - 3, 1), rows


def tell(source: logging.Logger, text: str, *, is_shown: bool = True) -> None:
    """Log a line at INFO, and where no handler shows that to people, write it above the bars of the moment."""
    source.info("%s", text)
    if is_shown and _is_wanted() and not _is_shown_by_handlers(source):
        _write_line(printable(text))


def clear_bars() -> None:
    """Empty the lines of all bars, which draw themselves again below what is printed next."""
    with _LOCK:
        bars = list(_bars)
    for bar in bars:
        if not bar.disable:
            with suppress(OSError, ValueError):
                bar.clear()


def _write_line(text: str) -> None:
    # A notebook shows stderr as if something were wrong.
    stream = sys.stdout if is_notebook() else sys.stderr
    with suppress(OSError, ValueError):  # the reader has gone; the work goes on
        if _bars:
            from tqdm import tqdm

            tqdm.write(text, file=stream)
        else:
            print(text, file=stream, flush=True)


def _is_wanted() -> bool:
    return sys.stderr is not None and os.environ.get("SEGPIPE_PROGRESS") != "0"


def _is_shown_by_handlers(source: logging.Logger) -> bool:
    """Return whether a handler of a logger or of one above it shows INFO, other than in a file."""
    if not source.isEnabledFor(logging.INFO):
        return False
    place: logging.Logger | None = source
    while place is not None:
        if any(each.level <= logging.INFO and not isinstance(each, _UNSEEN) for each in place.handlers):
            return True
        place = place.parent if place.propagate else None
    return False


def _duration(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
