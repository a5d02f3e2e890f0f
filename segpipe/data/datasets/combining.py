"""Make new data sets from old ones: joined, repeated, with fewer classes, or divided in two by the samples' names."""

from __future__ import annotations

import functools
import hashlib
import operator
import os
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from segpipe import advice
from segpipe.errors import InputError

from ..findings import Finding, log_or_collect
from ..label_sets import FileValues, subset_labels
from .dataset import ClassificationDataset, SegmentationDataset, require_label_maps
from .finding_files import normalize_name

_COPY = re.compile(r"\.rf\.[0-9A-Za-z]{16,}$")
"""What Roboflow appends to the name of an image in each of its augmented copies, which must not be on both sides."""


def concat(datasets: Sequence[SegmentationDataset]) -> SegmentationDataset:
    """Join data sets. They need the same classes, raw ids and ignore_index; palettes may differ."""
    if not datasets:
        raise InputError("There are no data sets to join; give at least one.")
    for dataset in datasets:
        require_label_maps(dataset, "which data sets to join need. Choose its folders instead")
    if any(dataset.extras is not None for dataset in datasets):
        raise InputError("A data set to join carries further maps. Join first, then add them, as with_boundaries does.")
    first = datasets[0]
    for dataset in datasets[1:]:
        for field in ("names", "raw_ids", "ignore_index"):
            ours, theirs = getattr(first.labels, field), getattr(dataset.labels, field)
            if ours != theirs:
                raise InputError(
                    f"{first.name} {first.split} and {dataset.name} {dataset.split} differ in their labels' `{field}`: "
                    f"{_shown(ours)} and {_shown(theirs)}; data sets that are joined must agree. Use the same kind of "
                    "label files, or choose the same classes with subset_classes."
                )
    return SegmentationDataset(
        name=_joined([dataset.name for dataset in datasets]),
        split=_joined([dataset.split for dataset in datasets]),
        labels=first.labels,
        pairs=tuple(pair for dataset in datasets for _ in range(dataset.times) for pair in dataset.pairs),
        notes=tuple(dict.fromkeys(note for dataset in datasets for note in dataset.notes)),
        file_values=_joined_values([dataset.file_values for dataset in datasets]),
    )


def repeat(dataset: SegmentationDataset, times: int) -> SegmentationDataset:
    """Repeat the samples of a data set: a longer epoch."""
    if isinstance(times, bool) or not isinstance(times, int) or times < 1:
        raise InputError(f"times is {times!r}; a data set is repeated a whole number of times, 1 or more. Give that.")
    return replace(dataset, times=dataset.times * times)


def subset_classes(dataset: SegmentationDataset, names: Sequence[str]) -> SegmentationDataset:
    """Keep only these classes, numbered in this order; the pixels of all others are ignored."""
    require_label_maps(dataset, "whose pixels could be ignored. Choose its folders instead")
    return replace(dataset, labels=subset_labels(dataset.labels, names))


def hold_out(dataset: Any, share: float) -> tuple[Any, Any]:
    """Return a data set without some of its samples, and a data set of these, whose split is "val".

    Which samples are held out depends on a digest of each sample's own name, its path below the folder that all files
    share. So a sample stays on its side when others are added or taken away, on every machine. Their number is about
    the share of all, and at least one sample is on each side.

    Args:
        dataset: a `SegmentationDataset` or `ClassificationDataset` of two samples or more.
        share: between 0 and 1, both excluded.

    Raises:
        InputError: another share, another kind of data set, or too few samples.
    """
    check_share(share)
    if not isinstance(dataset, SegmentationDataset | ClassificationDataset):
        raise InputError(
            f"val_share is {share}, and {dataset!r} does not name its samples, by which they are held out. Give a data "
            "set to evaluate on as eval_dataset."
        )
    names = _sample_names(dataset)
    if len(set(names)) < 2:
        raise InputError(
            f"val_share is {share}, and {dataset.name} {dataset.split} has one sample; at least two are needed. Add "
            "some, or do without."
        )
    chosen = _choose(names, share)
    kept, held = _take(dataset, ~chosen), replace(_take(dataset, chosen), split="val", times=1)
    what = (
        f"val is {chosen.sum():,} of the {len(chosen):,} samples of {dataset.name} {dataset.split}, held out by a "
        f"digest of their names (val_share {share:g}); {(~chosen).sum():,} are trained on"
    )
    notes = log_or_collect([Finding("assumed", None, what, "")])
    if isinstance(kept, SegmentationDataset):
        return replace(kept, notes=(*kept.notes, *notes)), replace(held, notes=())
    return kept, held


def check_share(share: object) -> None:
    """Raise an InputError unless a share lies between 0 and 1."""
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share < 1:
        raise InputError(
            f"val_share is {share!r}; it is the share of the training data to evaluate on, above 0 and below 1. Give "
            f"e.g. {advice.argument('val_share', 0.1)}."
        )


def _joined_values(parts: Sequence[FileValues | None]) -> FileValues | None:
    """Return the values of all parts; None if those of one are not known."""
    known = [part for part in parts if part is not None]
    return functools.reduce(operator.or_, known) if len(known) == len(parts) else None


def _joined(names: list[str]) -> str:
    return "+".join(dict.fromkeys(names))


def _shown(value: object) -> str:
    text = str(value)
    return text if len(text) <= 120 else f"{text[:120]}…"


def _choose(names: Sequence[str], share: float) -> np.ndarray:
    """Return (N,) bool; samples of one name stay on one side."""
    numbers = np.array([_number(name) for name in names])
    chosen = numbers < share
    if not chosen.any():
        chosen = numbers == numbers.min()
    elif chosen.all():
        chosen = numbers != numbers.max()
    return chosen


def _number(name: str) -> float:
    """Return a number from 0 up to 1 that a name gives, evenly spread."""
    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:6], "big") / 2**48


def _sample_names(dataset: SegmentationDataset | ClassificationDataset) -> list[str]:
    """Return the images' paths below the folder that all images and labels share, without endings."""
    if isinstance(dataset, ClassificationDataset):
        return [_bare(os.fsdecode(path)) for path in dataset.paths]
    images = [pair.image for pair in dataset.pairs]
    files = [path.replace("\\", "/") for pair in dataset.pairs for path in (pair.image, pair.label.partition("#")[0])]
    start = _folder_length(min(files), max(files)) if files else 0
    return [_bare(image[start:]) for image in images]


def _folder_length(first: str, last: str) -> int:
    """Return the length of the folder that two paths share, with the separator behind it."""
    differs = (place for place, letters in enumerate(zip(first, last, strict=False)) if letters[0] != letters[1])
    return first.rfind("/", 0, next(differs, min(len(first), len(last)))) + 1


def _bare(path: str) -> str:
    stem = os.path.splitext(normalize_name(path.replace("\\", "/")))[0]
    return _COPY.sub("", stem)


def _take(dataset: Any, chosen: np.ndarray) -> Any:
    if isinstance(dataset, ClassificationDataset):
        return replace(dataset, paths=dataset.paths[chosen], classes=dataset.classes[chosen])
    return replace(dataset, pairs=tuple(pair for pair, is_in in zip(dataset.pairs, chosen, strict=True) if is_in))
