"""Find what the values of many labels show together: values and classes that are wrong, missing or encoded oddly."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from segpipe import advice
from segpipe.configuration import LabelSet
from segpipe.names import listing

from .findings import ClassCount, Finding
from .inspection import Inspection, Stray
from .label_sets import FileValues

_MOST_LISTED = 12
"""Values that a fix lists."""


def odd_values(
    inspections: Sequence[Inspection], labels: LabelSet, name: str, values: FileValues | None
) -> list[Finding]:
    """Return findings of raw values that are not a class.

    With `raw_ids` that may be meant, so they are listed by value, as notes. A published data set has no unknown values.

    Args:
        name: of the data set.
        values: what its files hold as they were published. If None, they may hold anything.
    """
    if labels.raw_ids is None:
        return [_out_of_range(seen, labels) for seen in inspections if seen.strays]
    if values is None:
        return _unlisted_values(inspections, frozenset())
    known = values.classes | values.void
    foreign = [(seen, [stray for stray in seen.strays if stray.value not in known]) for seen in inspections]
    found = [_foreign(seen, strays, name) for seen, strays in foreign if strays and not seen.is_smoothed]
    return found or _unlisted_values(inspections, values.void)


def _foreign(seen: Inspection, strays: Sequence[Stray], name: str) -> Finding:
    shown = "; ".join(_shown(stray) for stray in strays[:3])
    what = f"{shown}, and {len(strays)} such values in all: the labels of {name} have none of these"
    return Finding(
        "out-of-range", seen.pair.label, what, f"Check that these are the labels of {name}, and that release."
    )


def _out_of_range(seen: Inspection, labels: LabelSet) -> Finding:
    num_classes = len(labels.names)
    shown = "; ".join(_shown(stray) for stray in seen.strays[:3])
    more = f"; and {len(seen.strays) - 3} more values" if len(seen.strays) > 3 else ""
    what = f"{shown}{more}; classes are 0 to {num_classes - 1}, and {labels.ignore_index} is ignored"
    starts_at_one = seen.strays[0].value == num_classes
    values = advice.option("raw_ids", list(range(1, num_classes + 1)))
    fix = f"If the values begin at 1, give {values}. " if starts_at_one and num_classes <= _MOST_LISTED else ""
    fix += f"Name all classes, give the value of each in the labels ({advice.option('raw_ids')}), or correct the label."
    return Finding("out-of-range", seen.pair.label, what, fix)


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
        f"the value {first.value} is not a class and is ignored: {pixels} pixels in {len(places)} labels, here first "
        f"at row {first.row}, column {first.column}"
    )
    return Finding(
        "unlisted-value", file, what, "If it should be one, add its name, and its value to the label set's raw_ids."
    )


def _shown(stray: Stray) -> str:
    return f"value {stray.value} on {stray.pixels} pixels, first at row {stray.row}, column {stray.column}"


def missing_classes(
    inspections: Sequence[Inspection], classes: Sequence[ClassCount], labels: LabelSet, *, enough: int
) -> list[Finding]:
    """Return findings of classes without a pixel, which only all labels together show, or many of them.

    Args:
        enough: 0 where these are all labels. Of a part, at least as many labels are needed to say that classes are
            missing, and then more than three quarters of the classes must be.
    """
    present = [index for index, count in enumerate(classes) if count.pixels]
    values = labels.raw_ids or tuple(range(len(classes)))
    has_void = any(seen.void for seen in inspections)
    has_strays = any(seen.strays and not seen.is_smoothed for seen in inspections)
    if not present:
        return [_all_ignored(inspections, labels)]
    if [values[index] for index in present] == [0] and has_void and not has_strays:
        return [_ignored_class(classes[present[0]].name, labels)]
    missing = [count.name for count in classes if not count.pixels]
    if not missing or (enough and (len(inspections) < enough or 4 * len(present) >= len(classes))):
        return []
    where = "never occur" if not enough else f"do not occur in the {len(inspections)} labels that were looked at"
    what = f"{len(missing)} of {len(classes)} classes {where}: {listing(missing, 10)}"
    return [Finding("missing-class", None, what, _fix_missing([classes[index].name for index in present]))]


def _all_ignored(inspections: Sequence[Inspection], labels: LabelSet) -> Finding:
    values = {stray.value for seen in inspections for stray in seen.strays}
    values |= {labels.ignore_index for seen in inspections if seen.void}
    held = ", ".join(map(str, sorted(values)[:10])) or "none that is a class"
    what = f"no pixel of any label is a class; the values are {held}, and {labels.ignore_index} is ignored"
    return Finding("all-ignored", None, what, _FIX_ALL_IGNORED)


def odd_meanings(
    inspections: Sequence[Inspection], counts: np.ndarray, labels: LabelSet, values: FileValues | None
) -> Iterator[Finding]:
    """Yield findings of labels that are readable and hold classes, but not the intended ones."""
    num_classes, raw_ids = len(labels.names), labels.raw_ids
    if raw_ids is not None:
        present = {raw_ids[index] for index in np.flatnonzero(counts.sum(0))}
        strays = {stray.value for seen in inspections if not seen.is_smoothed for stray in seen.strays}
        above = [value for value in raw_ids if value >= num_classes]
        if strays and max(present | strays) < num_classes and 2 * len(above) >= num_classes:
            what = (
                f"the labels hold values up to {max(present | strays)} alone, such as {min(strays)}, which is not a "
                f"class, and none of the {len(above)} classes whose values are {min(above)} or more"
            )
            yield Finding("encoding", None, what, _FIX_ENCODING)
    if values is not None and not values.has_ignored and any(seen.void for seen in inspections):
        what = f"there are pixels of {labels.ignore_index}, which the published labels, 0 to 150, do not have"
        yield Finding("shifted", None, what, _FIX_SHIFTED)
    if raw_ids is None and num_classes >= 10 and _are_numbered(counts):
        what = f"each of {len(counts)} labels holds 1, 2, … up to the number of its objects, as numbers of objects do"
        yield Finding("instances", None, what, _FIX_INSTANCES)


_FIX_ENCODING = (
    "They look like class indices (train ids) already: leave raw_ids out, or give the files the name of such labels, "
    "e.g. *_labelTrainIds.png."
)
_FIX_SHIFTED = (
    "If they were made smaller by one before (0 to 149, and 255), every class is taken for the one before it: take the "
    "original labels, or a folder with the names of the classes."
)
_FIX_INSTANCES = "Take the labels of classes instead, e.g. SegmentationClass and not SegmentationObject."


def _are_numbered(counts: np.ndarray) -> bool:
    """Return whether the classes of at least eight labels are 1, 2, …, n without a gap, with n of 3 or more in one.

    Args:
        counts: (labels, K) pixels of each class.
    """
    objects = counts[:, 1:] > 0
    numbers = objects.sum(1)
    has_gap = (objects[:, 1:] > objects[:, :-1]).any()
    return len(counts) >= 8 and not has_gap and bool((numbers >= 2).mean() >= 0.5) and bool(numbers.max() >= 3)


_FIX_ALL_IGNORED = "Check names and raw_ids against the values in the label files."


def _fix_missing(present: list[str]) -> str:
    fix = "Check names and raw_ids against the values in the label files"
    if len(present) < 2 or len(present) > _MOST_LISTED:
        return f"{fix}."
    return f"{fix}, or leave the others out: {advice.option('classes', present)}."


def _ignored_class(only: str, labels: LabelSet) -> Finding:
    ignored = labels.ignore_index
    what = f"the labels hold only 0 and {ignored}, and {ignored} is ignored: nothing but {only!r} would be learned"
    others = [name for name in labels.names if name != only]
    both = advice.option("names", {0: only, ignored: others[0] if others else "object"})
    fix = f'If {ignored} is a class, give {both}, or both names and "raw_ids": [0, {ignored}] in labels.json.'
    return Finding("ignored-class", None, what, fix)
