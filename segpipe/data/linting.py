"""Check data sets before the first training step: files, values, classes, and images that are there twice.

`check_splits` opens and reads all splits of a data set: what cannot be opened or read is a finding. `check_dataset` and
`check_datasets` read those that are open; `look_at` reads some labels in seconds. All follow the same rules.
"""

from __future__ import annotations

import itertools
import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple, TypeVar

import numpy as np

from segpipe import advice
from segpipe.configuration import LabelSet
from segpipe.errors import MissingSplitError, SegpipeError

from .datasets.dataset import Pair, SegmentationDataset, require_label_maps
from .datasets.loading import load_dataset
from .datasets.splits import ALL, canonical
from .findings import ClassCount, Finding, Report, collect_faults, group_findings
from .inspection import Inspection, digest_image, inspect_pair, inspect_sample
from .label_rules import missing_classes, odd_meanings, odd_values
from .label_sets import UNNAMED

Progress = Callable[[int, int], object]
"""Called with the number of images read and that of all, on the thread of the caller."""
LOOKED_AT = 24
"""Labels that `look_at` reads."""
LOOKED_AT_MOST = 240
"""The same where those hold no class, or hardly any, so that more of them decide."""
SECONDS = 5.0
"""How long `look_at` reads at most; a file that is being read is read to its end."""
_Result = TypeVar("_Result")


def check_splits(
    name: str,
    root: str | os.PathLike[str],
    splits: Sequence[str],
    *,
    limit: int = 5,
    readers: int | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> tuple[Report, ...]:
    """Open splits of a data set and read all their images and labels; return a report of each.

    Files without a partner, equal names, wrong lines of lists and splits that are missing are findings like those of
    `check_dataset`, and all other files are read. Where there are no splits, all images are read as the split "all".

    The arguments are those of `load_dataset` and `check_dataset`; each split is checked once.

    Raises:
        SegpipeError: no split can be opened, all for the same reason.
    """
    opened = [_open(name, root, split, options) for split in dict.fromkeys(splits)]
    if all(isinstance(each.error, MissingSplitError) for each in opened) and ALL not in splits:
        whole = _open(name, root, ALL, options)
        opened += [whole] if whole.dataset is not None else []
    reasons = {str(each.error) for each in opened}
    if all(each.dataset is None for each in opened) and len(reasons) == 1 and not any(each.findings for each in opened):
        raise next(each.error for each in opened if each.error is not None)
    opened = _without_repeated(opened, is_divided=options.get("val_share") is not None)
    datasets = [
        replace(each.dataset, notes=(*each.dataset.notes, *each.findings))
        for each in opened
        if each.dataset is not None
    ]
    reports = iter(check_datasets(datasets, limit=limit, readers=readers, progress=progress))
    can_hold_out = options.get("val_share") is None
    return tuple(
        _unopened(name, each, limit, can_hold_out) if each.dataset is None else next(reports) for each in opened
    )


def check_dataset(
    dataset: SegmentationDataset,
    *,
    others: Sequence[SegmentationDataset] = (),
    limit: int = 5,
    readers: int | None = None,
    progress: Progress | None = None,
) -> Report:
    """Read every image and label of a data set once and say what is wrong.

    It finds files that cannot be read or do not fit, values that are not a class, classes that never occur, smoothed
    and empty labels, and images that are there twice, here or in `others`. Images are compared by their pixels.

    Args:
        dataset: the data set; each pair of a repeated one is read once.
        others: further splits, whose images must not be in this one; of these only images are read.
        limit: number of findings of a kind that are kept; the others are only counted.
        readers: number of threads. If None, one per processor, at most eight.
        progress: called after each image.

    Returns:
        What was found. Nothing is raised for what is wrong with the data.
    """
    read = _Counter(sum(len(each.pairs) for each in (dataset, *others)), progress)
    inspections = read.map(partial(inspect_pair, labels=dataset.labels), dataset.pairs, readers)
    digests = [(other, read.map(digest_image, other.pairs, readers)) for other in others]
    return _report(dataset, inspections, _repeated(inspections, digests), limit)


def check_datasets(
    datasets: Sequence[SegmentationDataset],
    *,
    limit: int = 5,
    readers: int | None = None,
    progress: Progress | None = None,
) -> tuple[Report, ...]:
    """Check several splits, each read once; an image in two of them is a finding of the later one."""
    read = _Counter(sum(len(dataset.pairs) for dataset in datasets), progress)
    reports: list[Report] = []
    before: list[tuple[SegmentationDataset, list[bytes | None]]] = []
    for dataset in datasets:
        inspections = read.map(partial(inspect_pair, labels=dataset.labels), dataset.pairs, readers)
        reports.append(_report(dataset, inspections, _repeated(inspections, before), limit))
        before.append((dataset, [seen.image_digest for seen in inspections]))
    return tuple(reports)


def look_at(dataset: Any, *, progress: Progress | None = None) -> Report:
    """Check some labels, spread over the data set: what can be said of it in seconds.

    Each folder with labels has its turn, so that of data that was joined all parts are looked at. Images that are
    there twice are not looked for.

    Args:
        dataset: a `SegmentationDataset`, or any data set that the loader takes.
        progress: called after each label.

    Returns:
        What was found; `num_images` says how many were read. Nothing is raised for what is wrong with the data.
    """
    inspect, places = _inspector(dataset)
    until = time.monotonic() + SECONDS
    readers = min(4, os.cpu_count() or 1)
    seen: list[Inspection] = []
    with ThreadPoolExecutor(readers, thread_name_prefix="segpipe-look") as executor:
        while True:
            for inspection in executor.map(inspect, itertools.islice(places, readers)):
                seen.append(inspection)
                if progress is not None:
                    progress(len(seen), max(len(seen), min(LOOKED_AT, _num_pairs(dataset))))
            report = _report(dataset, seen, (), limit=3)
            is_late = time.monotonic() > until or len(seen) >= LOOKED_AT_MOST
            is_enough = len(seen) >= LOOKED_AT and not _may_change(report)
            if is_late or is_enough or len(seen) == _num_pairs(dataset):
                return report


class _Opened(NamedTuple):
    """A split as far as it could be opened."""

    split: str
    dataset: SegmentationDataset | None
    findings: tuple[Finding, ...]
    error: SegpipeError | None


def _open(name: str, root: str | os.PathLike[str], split: str, options: dict[str, Any]) -> _Opened:
    with collect_faults() as findings:
        try:
            dataset = load_dataset(name, root, split, **options)
        except SegpipeError as error:
            return _Opened(split, None, tuple(findings), error)
    require_label_maps(dataset, "which is what segpipe data looks at. Look at its folders themselves")
    return _Opened(split, dataset, tuple(findings), None)


def _without_repeated(opened: Sequence[_Opened], *, is_divided: bool) -> list[_Opened]:
    """Leave out findings that another split has, too.

    They are those that a split which cannot be opened shares with one that can, and those that the second part of a
    divided split shares with the first.
    """
    said: set[Finding] = set()
    kept: dict[str, _Opened] = {}
    for each in sorted(opened, key=lambda each: each.dataset is None):
        known = said if is_divided or each.dataset is None else set()
        kept[each.split] = each._replace(findings=tuple(finding for finding in each.findings if finding not in known))
        said.update(each.findings)
    return [kept[each.split] for each in opened]


def _unopened(name: str, opened: _Opened, limit: int, can_hold_out: bool) -> Report:
    message, share = str(opened.error), advice.argument("val_share", 0.1)
    can_hold_out &= isinstance(opened.error, MissingSplitError) and canonical(opened.split) == "val"
    fix = f"To hold out some of the training data instead, give {share}."
    why = Finding("layout", None, message, fix if can_hold_out and share not in message else "")
    return Report(name, opened.split, 0, group_findings([why, *opened.findings], limit), (), 0)


def _inspector(dataset: Any) -> tuple[Callable[[int], Inspection], Iterator[int]]:
    """Return what inspects the pair at an index, and all indices in the order in which to inspect them."""
    if not isinstance(dataset, SegmentationDataset):
        return partial(inspect_sample, dataset), iter(_spread(range(len(dataset))))
    folders: dict[str, list[int]] = {}
    for index, pair in enumerate(dataset.pairs):
        folders.setdefault(os.path.dirname(pair.label), []).append(index)
    rounds = itertools.zip_longest(*(_spread(folders[name]) for name in _spread(sorted(folders))))
    places = (place for places in rounds for place in places if place is not None)
    return lambda place: inspect_pair(dataset.pairs[place], dataset.labels), places


def _spread(items: Sequence[_Result]) -> Iterator[_Result]:
    """Yield all items in an order whose every beginning is spread over the whole: in steps of the golden ratio."""
    count = len(items)
    step = max(1, round(count * 0.618))
    while math.gcd(step, count) > 1:
        step += 1
    return (items[place * step % count] for place in range(count))


def _may_change(report: Report) -> bool:
    """Return whether further labels could take the errors so far back."""
    errors = {group.kind for group in report.groups if group.severity == "error"}
    return bool(errors) and errors <= {"all-ignored", "ignored-class", "encoding"}


def _num_pairs(dataset: Any) -> int:
    return len(dataset.pairs) if isinstance(dataset, SegmentationDataset) else len(dataset)


class _Counter:
    """A count of the images read, which is reported as it grows."""

    def __init__(self, total: int, progress: Progress | None) -> None:
        self._total, self._done, self._progress = total, 0, progress

    def map(self, function: Callable[[Pair], _Result], pairs: Sequence[Pair], readers: int | None) -> list[_Result]:
        """Return the function of each pair, computed by threads, in order."""
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


def _report(dataset: Any, inspections: Sequence[Inspection], twice: Iterable[Finding], limit: int) -> Report:
    labels: LabelSet = dataset.labels
    name, split = getattr(dataset, "name", type(dataset).__name__), getattr(dataset, "split", "")
    readable = [seen.pixels for seen in inspections if seen.pixels is not None]
    counts = np.array(readable, np.int64).reshape(-1, len(labels.names))  # (labels, K)
    classes = tuple(
        ClassCount(name, int(pixels), int(images))
        for name, pixels, images in zip(labels.names, counts.sum(0), (counts > 0).sum(0), strict=True)
    )
    findings = [*_basics(inspections, labels), *getattr(dataset, "notes", ())]
    findings += [finding for seen in inspections for finding in seen.findings]
    findings += twice
    values = getattr(dataset, "file_values", None)
    findings += odd_values(inspections, labels, name, values)
    if labels is UNNAMED:
        classes = tuple(count for count in classes if count.pixels)
    elif readable:
        enough = 0 if len(inspections) == _num_pairs(dataset) else LOOKED_AT
        findings += missing_classes(inspections, classes, labels, enough=enough)
        findings += odd_meanings(inspections, counts, labels, values)
    ignored = sum(seen.ignored for seen in inspections)
    return Report(name, split, len(inspections), group_findings(findings, limit), classes, ignored)


def _basics(inspections: Sequence[Inspection], labels: LabelSet) -> Iterator[Finding]:
    """Yield findings that make a data set useless whatever is in its files."""
    if not inspections:
        yield Finding("empty", None, "there are no samples", "Check the folder, the split and the options.")
    if len(labels.names) == 1:
        what = f"{labels.names[0]!r} is the only class, which every pixel has whatever a network says"
        yield Finding("one-class", None, what, "Give two names or more; what is not the class is one too: background.")


def _repeated(
    inspections: Sequence[Inspection], others: Sequence[tuple[SegmentationDataset, Sequence[bytes | None]]]
) -> Iterator[Finding]:
    """Yield findings of images that are in other data sets too, or in this one more than once, from the second on.

    Args:
        others: with the digests of their images, None for those that cannot be read.
    """
    for other, digests in others:
        theirs = {digest: pair.image for digest, pair in zip(digests, other.pairs, strict=True) if digest is not None}
        for seen in inspections:
            if seen.image_digest in theirs:
                what = f"the same image is in {other.name} {other.split}: {theirs[seen.image_digest]}"
                fix = "Scores on images that were trained on say nothing: take it out of one of the two."
                yield Finding("leak", seen.pair.image, what, fix)
    first: dict[bytes, Inspection] = {}
    for seen in inspections:
        if seen.image_digest is None:
            continue
        earlier = first.setdefault(seen.image_digest, seen)
        if earlier is seen:
            continue
        label = "the same label" if seen.label_digest == earlier.label_digest else "another label"
        what = f"the same image as {earlier.pair.image}, with {label}"
        yield Finding("duplicate", seen.pair.image, what, "Keep one of the two, the one with the right label.")
