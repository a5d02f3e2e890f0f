"""Define findings about a data set, which a check reports and which are raised, logged or collected on opening one.

A `Fault` is why a data set cannot be used as it is. It is raised where the data set is used; inside `collect_faults`
its findings are kept instead, and opening goes on without the samples at fault.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Literal, NamedTuple

from segpipe.errors import InputError
from segpipe.log import get_logger

logger = get_logger(__name__)
Severity = Literal["error", "warning", "note"]
Kind = str
"""One of `KINDS`."""
KINDS: dict[Kind, tuple[Severity, str]] = {
    "layout": ("error", "a split that cannot be opened"),
    "classes": ("error", "classes that are not known"),
    "empty": ("error", "nothing to learn from"),
    "one-class": ("error", "a single class"),
    "list": ("error", "lists that do not fit the files"),
    "same-name": ("error", "files of the same name"),
    "missing-label": ("error", "images without a label"),
    "unreadable-picture": ("error", "images that cannot be read"),
    "unreadable-label": ("error", "labels that cannot be read"),
    "size": ("error", "labels of another size than their image"),
    "out-of-range": ("error", "labels with values that are not a class"),
    "encoding": ("error", "labels that are encoded in another way"),
    "ignored-class": ("error", "a class that is ignored"),
    "all-ignored": ("error", "no labeled pixels"),
    "leak": ("error", "images that are in two splits"),
    "no-mask": ("warning", "objects without a mask"),
    "dropped": ("warning", "parts of the annotations that are not used"),
    "unpaired-label": ("warning", "labels without an image"),
    "cut-picture": ("warning", "images that end early"),
    "smoothed": ("warning", "labels that were smoothed or compressed"),
    "ignored-label": ("warning", "labels with ignored pixels only"),
    "orientation": ("warning", "images whose label may not be turned with them"),
    "duplicate": ("warning", "images that are there twice"),
    "missing-class": ("warning", "classes that never occur"),
    "shifted": ("warning", "values that look shifted by one"),
    "instances": ("warning", "labels that look like numbers of objects"),
    "unlisted-value": ("note", "values that are not a class"),
    "left-out": ("note", "files that are left out"),
    "assumed": ("note", "what was assumed"),
}
"""How bad each kind is, and what its findings are, in the order of reports.

error: training would fail, or teach or score something wrong.
"""
SEVERITIES: dict[Kind, Severity] = {kind: severity for kind, (severity, _) in KINDS.items()}
TITLES: dict[Kind, str] = {kind: title for kind, (_, title) in KINDS.items()}


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it should be."""

    kind: Kind
    file: str | None
    """Where it is. If None, in the data set as a whole."""
    what: str
    """What is wrong, with its value."""
    fix: str
    """What to do."""

    def __str__(self) -> str:
        return self.what if self.file is None or self.file in self.what else f"{self.file}: {self.what}"


@dataclass(frozen=True)
class FindingGroup:
    """The findings of one kind, of which only the first are kept."""

    kind: Kind
    severity: Severity
    total: int
    """How many there are, kept or not."""
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class ClassCount:
    """How often a class occurs."""

    name: str
    pixels: int
    images: int


@dataclass(frozen=True)
class Report:
    """What was found in one data set.

    Attributes:
        name: of the data set.
        split: train, val, …
        num_images: how many pairs were looked at.
        groups: findings by kind, errors first.
        classes: by class index.
        ignored_pixels: pixels of labels that are not a class.
    """

    name: str
    split: str
    num_images: int
    groups: tuple[FindingGroup, ...]
    classes: tuple[ClassCount, ...]
    ignored_pixels: int

    @property
    def is_ok(self) -> bool:
        """Whether there are no errors; there may be warnings."""
        return self.count("error") == 0

    def count(self, severity: Severity) -> int:
        """Count the findings of a severity, those included that were not kept."""
        return sum(group.total for group in self.groups if group.severity == severity)


def group_findings(findings: Iterable[Finding], limit: int) -> tuple[FindingGroup, ...]:
    """Group findings by kind, at most `limit` of each, in the order of `SEVERITIES`."""
    found: dict[Kind, list[Finding]] = {kind: [] for kind in SEVERITIES}
    for finding in findings:
        found[finding.kind].append(finding)
    return tuple(
        FindingGroup(kind, SEVERITIES[kind], len(members), tuple(members[:limit]))
        for kind, members in found.items()
        if members
    )


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
    """Return whether faults are collected."""
    return _collected.get() is not None


def raise_or_collect(fault: Fault) -> None:
    """Raise an InputError, or inside `collect_faults` keep what it is about, so that opening goes on without it."""
    found = _collected.get()
    if found is None:
        raise InputError(fault.message)
    found.extend(fault.findings)


def log_or_collect(findings: Iterable[Finding], origin: object = None) -> tuple[Finding, ...]:
    """Log what was found, notes at info and all else as warnings, and return it; inside `collect_faults` keep it.

    Args:
        findings: findings of any severity.
        origin: what the lines begin with, such as a file.

    Returns:
        The findings; none where they were collected, so that they are not reported twice.
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


_collected: ContextVar[list[Finding] | None] = ContextVar("segpipe_faults", default=None)
