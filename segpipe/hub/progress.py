"""One progress bar for all files of a model, in terminals and notebooks alone."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Any

from segpipe.progress_bars import is_watched, new_bar
from segpipe.text import printable_line


class Progress:
    """Counts bytes from several threads; shows them when it is switched on and somebody watches."""

    def __init__(self, title: str, total: int | None, is_wanted: bool) -> None:
        self._title = printable_line(title)
        self._total = total
        self._is_shown = is_wanted and is_watched()
        self._lock = threading.Lock()
        self._bar: Any = None

    def add(self, count: int) -> None:
        """Count bytes; negative ones were thrown away."""
        if self._bar is not None and count:
            with self._lock:
                self._bar.update(count)

    def __enter__(self) -> Progress:
        if self._is_shown:
            self._bar = new_bar(desc=self._title, total=self._total, unit="B", unit_scale=True, leave=False)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()
