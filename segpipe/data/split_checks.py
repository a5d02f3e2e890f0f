"""Checking the splits of a data set in one go: what cannot be opened or read is a finding, and all else is read."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from segpipe import advice
from segpipe.errors import InputError, MissingSplitError, SegpipeError

from .datasets import ClassificationDataset, SegmentationDataset, load_dataset
from .datasets.splits import ALL, canonical
from .faults import collect_faults
from .findings import Finding, Report, group_findings
from .linter import Progress, check_datasets


class _Opened(NamedTuple):
    """A split as far as it could be opened."""

    split: str
    dataset: SegmentationDataset | None
    findings: tuple[Finding, ...]
    error: SegpipeError | None


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
    `check_dataset`, and what is not concerned by them is read. Where there are no splits, all images are read as the
    split "all".

    Args:
        name: of the data set, see `load_dataset`.
        root: its folder.
        splits: each is checked once.
        limit: see `check_dataset`.
        readers: see `check_dataset`.
        progress: see `check_dataset`.
        options: of the data set, see `load_dataset`.

    Raises:
        SegpipeError: no split can be opened, for one and the same reason.
    """
    opened = [_open(name, root, split, options) for split in dict.fromkeys(splits)]
    if all(isinstance(each.error, MissingSplitError) for each in opened) and ALL not in splits:
        whole = _open(name, root, ALL, options)
        opened += [whole] if whole.dataset is not None else []
    reasons = {str(each.error) for each in opened}
    if all(each.dataset is None for each in opened) and len(reasons) == 1 and not any(each.findings for each in opened):
        raise next(each.error for each in opened if each.error is not None)
    opened = _without_repeated(opened, is_divided=options.get("val_share") is not None)
    datasets = [_with_findings(each.dataset, each.findings) for each in opened if each.dataset is not None]
    reports = iter(check_datasets(datasets, limit=limit, readers=readers, progress=progress))
    can_hold_out = options.get("val_share") is None
    return tuple(
        _unopened(name, each, limit, can_hold_out) if each.dataset is None else next(reports) for each in opened
    )


def _open(name: str, root: str | os.PathLike[str], split: str, options: dict[str, Any]) -> _Opened:
    with collect_faults() as findings:
        try:
            dataset = load_dataset(name, root, split, **options)
        except SegpipeError as error:
            return _Opened(split, None, tuple(findings), error)
    if isinstance(dataset, ClassificationDataset):
        raise InputError(
            f"{dataset!r} has no label maps, which is what segpipe data looks at. Look at its folders themselves."
        )
    return _Opened(split, dataset, tuple(findings), None)


def _without_repeated(opened: Sequence[_Opened], *, is_divided: bool) -> list[_Opened]:
    """Leave out what is said of another split already.

    That is what a split which cannot be opened has in common with one that can, and, where one split was divided in
    two, what the second part has in common with the first.
    """
    said: set[Finding] = set()
    kept: dict[str, _Opened] = {}
    for each in sorted(opened, key=lambda each: each.dataset is None):
        known = said if is_divided or each.dataset is None else set()
        kept[each.split] = each._replace(findings=tuple(finding for finding in each.findings if finding not in known))
        said.update(each.findings)
    return [kept[each.split] for each in opened]


def _with_findings(dataset: SegmentationDataset, findings: tuple[Finding, ...]) -> SegmentationDataset:
    return replace(dataset, notes=(*dataset.notes, *findings))


def _unopened(name: str, opened: _Opened, limit: int, can_hold_out: bool) -> Report:
    message, share = str(opened.error), advice.argument("val_share", 0.1)
    can_hold_out &= isinstance(opened.error, MissingSplitError) and canonical(opened.split) == "val"
    fix = f"To hold out some of the training data instead, give {share}."
    why = Finding("layout", None, message, fix if can_hold_out and share not in message else "")
    return Report(name, opened.split, 0, group_findings([why, *opened.findings], limit), (), 0)
