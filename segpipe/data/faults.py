"""What shows when a data set is opened: a fault is raised and a note logged, or both are collected for a report."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple

from segpipe.errors import InputError
from segpipe.log import get_logger

from .findings import SEVERITIES, Finding

logger = get_logger(__name__)

_collected: ContextVar[list[Finding] | None] = ContextVar("segpipe_faults", default=None)


class Fault(NamedTuple):
    """Why a data set cannot be used as it is, although its samples without the fault can."""

    message: str
    """Says it in a sentence or two: what is wrong, what would be right, what to do."""
    findings: tuple[Finding, ...]
    """The same file by file."""


@contextmanager
def collect_faults() -> Iterator[list[Finding]]:
    """Give a list that gets all faults and notes of the data sets that are opened inside; none is raised or logged."""
    found: list[Finding] = []
    token = _collected.set(found)
    try:
        yield found
    finally:
        _collected.reset(token)


def is_collecting() -> bool:
    """Whether faults are collected."""
    return _collected.get() is not None


def raise_or_collect(fault: Fault) -> None:
    """Raise an InputError, or inside `collect_faults` keep what it is about, so that opening goes on without it."""
    found = _collected.get()
    if found is None:
        raise InputError(fault.message)
    found.extend(fault.findings)


def log_or_collect(findings: Iterable[Finding], origin: object = None) -> tuple[Finding, ...]:
    """Log what was found, notes at info and all else as warnings, or collect it; give it back.

    Args:
        findings: of any severity.
        origin: what the lines begin with, such as a file.
    """
    given, found = tuple(findings), _collected.get()
    if found is not None:
        found.extend(given)
        return ()
    for finding in given:
        level = logging.INFO if SEVERITIES[finding.kind] == "note" else logging.WARNING
        text = " ".join(f"{part.rstrip('.')}." for part in (finding.what, finding.fix) if part)
        logger.log(level, "%s", text if origin is None else f"{origin}: {text}")
    return given
