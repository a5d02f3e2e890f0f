"""One logger tree, `segpipe`, that stays silent until the application asks for it."""

from __future__ import annotations

import logging

logging.getLogger("segpipe").addHandler(logging.NullHandler())


def get_logger(name: str) -> logging.Logger:
    """The logger of one module; `name` is its `__name__`."""
    return logging.getLogger(name)
