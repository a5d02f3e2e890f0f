"""One logger tree, `segpipe`: it sets nothing up, so warnings reach stderr and the rest waits for the application."""

from __future__ import annotations

import logging
from collections.abc import Callable

from segpipe.text import printable

_before: set[Callable[[], None]] = set()


def get_logger(name: str) -> logging.Logger:
    """Return the logger of one module; `name` is its `__name__`. Its messages are escaped for a terminal."""
    logger = logging.getLogger(name)
    logger.addFilter(_escape)  # adding it again changes nothing
    return logger


def call_before_messages(act: Callable[[], None]) -> None:
    """Call `act` before each message from now on, as what draws on the terminal needs to make room."""
    _before.add(act)


def _escape(record: logging.LogRecord) -> bool:
    for act in _before:
        act()
    record.msg, record.args = printable(record.getMessage()), None
    return True
