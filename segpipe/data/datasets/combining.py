"""New data sets from old ones: joined, repeated, with fewer classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from segpipe.errors import InputError

from ..labels import subset_labels
from .dataset import SegmentationDataset


def concat(datasets: Sequence[SegmentationDataset]) -> SegmentationDataset:
    """One after the other. They need the same classes, raw ids and ignore_index; palettes may differ."""
    if not datasets:
        raise InputError("There are no data sets to join; give at least one.")
    _check_have_labels(datasets, "joined")
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
    )


def repeat(dataset: SegmentationDataset, times: int) -> SegmentationDataset:
    """The same samples, several times over: a longer epoch."""
    if isinstance(times, bool) or not isinstance(times, int) or times < 1:
        raise InputError(f"times is {times!r}; a data set is repeated a whole number of times, 1 or more. Give that.")
    return replace(dataset, times=dataset.times * times)


def subset_classes(dataset: SegmentationDataset, names: Sequence[str]) -> SegmentationDataset:
    """The same pictures with only these classes, numbered in this order; pixels of all others are ignored."""
    _check_have_labels([dataset], "made smaller by their classes")
    return replace(dataset, labels=subset_labels(dataset.labels, names))


def _check_have_labels(datasets: Sequence[object], what: str) -> None:
    other = next((dataset for dataset in datasets if not isinstance(dataset, SegmentationDataset)), None)
    if other is not None:
        raise InputError(
            f"{other!r} has no label maps; only data sets that have are {what}. Choose its folders instead."
        )


def _joined(names: list[str]) -> str:
    return "+".join(dict.fromkeys(names))


def _shown(value: object) -> str:
    text = str(value)
    return text if len(text) <= 120 else f"{text[:120]}…"
