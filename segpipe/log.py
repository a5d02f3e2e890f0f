"""One logger tree, `segpipe`: it sets nothing up, so warnings reach stderr and the rest waits for the application."""

from __future__ import annotations

import logging


def get_logger(name: str) -> logging.Logger:
    """The logger of one module; `name` is its `__name__`."""
    return logging.getLogger(name)
