"""One logger tree, `segpipe`: it sets nothing up, so warnings reach stderr and the rest waits for the application."""

from __future__ import annotations

import logging

from segpipe.names import printable


def get_logger(name: str) -> logging.Logger:
    """Return the logger of one module; `name` is its `__name__`. Its messages are escaped for a terminal."""
    logger = logging.getLogger(name)
    logger.addFilter(_escape)  # adding it again changes nothing
    return logger


def _escape(record: logging.LogRecord) -> bool:
    record.msg, record.args = printable(record.getMessage()), None
    return True
