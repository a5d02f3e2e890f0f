"""Checking data sets before the first training step: files, values, classes, and pictures that are there twice."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

import numpy as np

from segpipe.configuration import LabelSet

from .datasets import Pair, SegmentationDataset
from .findings import ClassCount, Finding, Report, group_findings
from .inspection import Inspection, Stray, digest_picture, inspect_pair

Progress = Callable[[int, int], object]
"""Called with the number of pictures read and that of all, on the thread of the caller."""

_Result = TypeVar("_Result")


def check_dataset(
    dataset: SegmentationDataset,
    *,
    others: Sequence[SegmentationDataset] = (),
    limit: int = 5,
    readers: int | None = None,
    progress: Progress | None = None,
) -> Report:
    """Read every picture and label of a data set once and say what is wrong.

    Found are files that cannot be read or do not fit, values that are no class, classes that never occur, smoothed and
    empty labels, and pictures that are there twice, here or in `others`. Pictures are compared by their pixels.

    Args:
        dataset: of a repeated one, each pair is looked at once.
        others: further splits, whose pictures must not be in this one; of these only pictures are read.
        limit: findings of a kind that are kept; the others are only counted.
        readers: threads; None: one per processor, at most eight.
        progress: is told how far it is.

    Returns:
        What was found. Nothing is raised for what is wrong with the data.
    """
    total = sum(len(each.pairs) for each in (dataset, *others))
    read = _Counter(total, progress)
    inspections = read.map(partial(inspect_pair, labels=dataset.labels), dataset.pairs, readers)
    digests = [(other, read.map(digest_picture, other.pairs, readers)) for other in others]
    leaks = [leak for other, theirs in digests for leak in _leaks(inspections, other, theirs)]
    return _report(dataset, inspections, leaks, limit)


def check_datasets(
    datasets: Sequence[SegmentationDataset],
    *,
    limit: int = 5,
    readers: int | None = None,
    progress: Progress | None = None,
) -> tuple[Report, ...]:
    """`check_dataset` of several splits, each read once; a picture in two of them is a finding of the later one."""
    read = _Counter(sum(len(dataset.pairs) for dataset in datasets), progress)
    reports: list[Report] = []
    before: list[tuple[SegmentationDataset, list[bytes | None]]] = []
    for dataset in datasets:
        inspections = read.map(partial(inspect_pair, labels=dataset.labels), dataset.pairs, readers)
        leaks = [leak for other, theirs in before for leak in _leaks(inspections, other, theirs)]
        reports.append(_report(dataset, inspections, leaks, limit))
        before.append((dataset, [seen.picture_digest for seen in inspections]))
    return tuple(reports)


class _Counter:
    """Counts what was read and tells it."""

    def __init__(self, total: int, progress: Progress | None) -> None:
        self._total, self._done, self._progress = total, 0, progress

    def map(self, function: Callable[[Pair], _Result], pairs: Sequence[Pair], readers: int | None) -> list[_Result]:
        """The function of each pair, by threads, in order."""
        executor = ThreadPoolExecutor(readers or min(8, os.cpu_count() or 1), thread_name_prefix="segpipe-check")
        results = []
        try:
            for result in executor.map(function, pairs):
                results.append(result)
                self._done += 1
                if self._progress is not None:
                    self._progress(self._done, self._total)
        finally:
            executor.shutdown(cancel_futures=True)
        return results


def _report(
    dataset: SegmentationDataset, inspections: Sequence[Inspection], leaks: Sequence[Finding], limit: int
) -> Report:
    labels = dataset.labels
    readable = [seen.pixels for seen in inspections if seen.pixels is not None]
    counts = np.array(readable, np.int64).reshape(-1, len(labels.names))  # (labels, K)
    classes = tuple(
        ClassCount(name, int(pixels), int(pictures))
        for name, pixels, pictures in zip(labels.names, counts.sum(0), (counts > 0).sum(0), strict=True)
    )
    findings = [finding for seen in inspections for finding in seen.findings]
    findings += leaks
    findings += _duplicates(inspections)
    findings += _values(inspections, labels, dataset.name)
    if readable:
        findings += _whole(inspections, classes, labels)
    ignored = sum(seen.ignored for seen in inspections)
    return Report(dataset.name, dataset.split, len(inspections), group_findings(findings, limit), classes, ignored)


def _leaks(
    inspections: Sequence[Inspection], other: SegmentationDataset, digests: Sequence[bytes | None]
) -> Iterator[Finding]:
    """Pictures that are in the other data set too."""
    theirs = {digest: pair.image for digest, pair in zip(digests, other.pairs, strict=True) if digest is not None}
    for seen in inspections:
        if seen.picture_digest in theirs:
            what = f"the same picture is in {other.name} {other.split}: {theirs[seen.picture_digest]}"
            yield Finding("leak", seen.pair.image, what, _FIX_LEAK)


_FIX_LEAK = "Scores on pictures that were trained on say nothing: take it out of one of the two."


def _duplicates(inspections: Sequence[Inspection]) -> Iterator[Finding]:
    """Pictures that are in the data set more than once, but for the first time."""
    first: dict[bytes, Inspection] = {}
    for seen in inspections:
        if seen.picture_digest is None:
            continue
        earlier = first.setdefault(seen.picture_digest, seen)
        if earlier is seen:
            continue
        label = "the same label" if seen.label_digest == earlier.label_digest else "another label"
        what = f"the same picture as {earlier.pair.image}, with {label}"
        yield Finding("duplicate", seen.pair.image, what, "Keep one of the two, the one with the right label.")


_VOID_VALUES = {
    "ade20k": frozenset({0}),
    "camvid": frozenset({11}),
    "pascal-context-59": frozenset({0}),
    "street-scenes": frozenset({11}),
}
"""Raw values that these data sets publish as no class: they are ignored as they should be."""


def _values(inspections: Sequence[Inspection], labels: LabelSet, name: str) -> list[Finding]:
    """Raw values that are no class. With `raw_ids` that may be meant, so they are listed by value, as notes."""
    if labels.raw_ids is not None:
        return _unlisted_values(inspections, _VOID_VALUES.get(name, frozenset()))
    return [_out_of_range(seen, labels) for seen in inspections if seen.strays]


def _out_of_range(seen: Inspection, labels: LabelSet) -> Finding:
    num_classes = len(labels.names)
    shown = "; ".join(_shown(stray) for stray in seen.strays[:3])
    more = f"; and {len(seen.strays) - 3} more values" if len(seen.strays) > 3 else ""
    what = f"{shown}{more}; classes are 0 to {num_classes - 1}, and {labels.ignore_index} is ignored"
    starts_at_one = seen.strays[0].value == num_classes
    fix = f"If the values begin at 1, give raw_ids 1 to {num_classes}. " if starts_at_one else ""
    return Finding("out-of-range", seen.pair.label, what, f"{fix}{_FIX_RANGE}")


_FIX_RANGE = "Add the missing class names, list the values of the classes as raw_ids, or correct the label."


def _unlisted_values(inspections: Sequence[Inspection], void: frozenset[int]) -> list[Finding]:
    found: dict[int, list[tuple[str, Stray]]] = {}
    for seen in inspections:
        for stray in () if seen.is_smoothed else seen.strays:
            found.setdefault(stray.value, []).append((seen.pair.label, stray))
    return [_unlisted(places) for value, places in sorted(found.items()) if value not in void]


def _unlisted(places: Sequence[tuple[str, Stray]]) -> Finding:
    file, first = places[0]
    pixels = sum(stray.pixels for _, stray in places)
    what = (
        f"the value {first.value} is no class and is ignored: {pixels} pixels in {len(places)} labels, here first at "
        f"row {first.row}, column {first.column}"
    )
    return Finding("unlisted-value", file, what, "If it should be one, add its name and the value to raw_ids.")


def _shown(stray: Stray) -> str:
    return f"value {stray.value} on {stray.pixels} pixels, first at row {stray.row}, column {stray.column}"


def _whole(inspections: Sequence[Inspection], classes: Sequence[ClassCount], labels: LabelSet) -> list[Finding]:
    """What only all labels together show."""
    present = [index for index, count in enumerate(classes) if count.pixels]
    values = labels.raw_ids or tuple(range(len(classes)))
    has_void = any(seen.void for seen in inspections)
    has_strays = any(seen.strays and not seen.is_smoothed for seen in inspections)
    if not present:
        return [Finding("all-ignored", None, "no pixel of any label is a class", _FIX_ALL_IGNORED)]
    if [values[index] for index in present] == [0] and has_void and not has_strays:
        return [_ignored_class(classes[present[0]].name, labels)]
    missing = [count.name for count in classes if not count.pixels]
    if not missing:
        return []
    listed = ", ".join(missing[:10]) + (f" and {len(missing) - 10} more" if len(missing) > 10 else "")
    what = f"{len(missing)} of {len(classes)} classes never occur: {listed}"
    return [Finding("missing-class", None, what, _FIX_MISSING)]


_FIX_ALL_IGNORED = "Check names and raw_ids against the values in the label files."
_FIX_MISSING = "Check names and raw_ids against the values in the label files, or give `classes` to leave others out."


def _ignored_class(only: str, labels: LabelSet) -> Finding:
    ignored = labels.ignore_index
    what = f"the labels hold only 0 and {ignored}, and {ignored} is ignored: nothing but {only!r} would be learnt"
    fix = (
        f"If {ignored} is a class, did you mean raw_ids 0, {ignored}? Give two names and "
        f'"raw_ids": [0, {ignored}] in the label set (labels.json of a folder).'
    )
    return Finding("ignored-class", None, what, fix)
