"""Open data sets by their layout: which files of a root are images and labels, and which belong together."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

from segpipe import advice
from segpipe.configuration import LabelSet
from segpipe.errors import MissingSplitError, UnknownNameError
from segpipe.log import get_logger
from segpipe.names import listing, unknown_name_message

from ..findings import Fault, Finding, log_or_collect, raise_or_collect
from ..image_folders import IMAGE_SUFFIXES, list_formats, split_readable
from ..label_files import LABEL_SUFFIXES, read_label
from ..label_sets import FileValues
from .dataset import LabelReader, Pair, SegmentationDataset
from .finding_files import AnyPath, existing_folder, find_below, group_files, has_files, same_name, walk
from .lists import Row, find_list, find_listed, once_each, read_rows, resolve_list, select
from .pairing import Mark, apply_mark, find_marks, other_suffixes, tell_apart
from .splits import canonical

logger = get_logger(__name__)
Files = dict[str, str]
"""Paths of files by their paths below a folder, without the ending."""


@dataclass(frozen=True)
class Layout:
    """One way in which the files of a split may lie below the root.

    Files are paired by their path below the two folders, without the ending and without what the names of all images
    or labels have besides, such as "_mask".

    Attributes:
        images: folder of the images; sub-folders are searched too.
        labels: folder of the labels; where it is that of the images, names or formats must tell them apart.
        label_set: what the values in these label files mean.
        image_endings: endings of the names of images.
        label_endings: endings of the names of labels.
        read: reads a label. Only `read_label` also compares palettes with the label set's.
        lists: text files that name the images of the split, one a line, perhaps with their labels; the first that
            exists counts.
        needs_list: whether the layout holds only where there is such a file, because its folders mix the splits.
        needs_all: whether a later layout is tried where images have no label here, because there may be labels of this
            kind for some images only.
        finds_marks: whether to find what names of labels have besides; for names of images that is always done.
    """

    images: str
    labels: str
    label_set: LabelSet
    image_endings: tuple[str, ...] = IMAGE_SUFFIXES
    label_endings: tuple[str, ...] = LABEL_SUFFIXES
    read: LabelReader = read_label
    lists: tuple[str, ...] = ()
    needs_list: bool = False
    needs_all: bool = False
    finds_marks: bool = True

    @property
    def reader(self) -> LabelReader:
        """What reads a label, with the label set where its palette is compared."""
        return partial(read_label, classes=self.label_set) if self.read is read_label else self.read


class _Scan(NamedTuple):
    """What a layout holds."""

    where: Path
    label_set: LabelSet
    pairs: tuple[Pair, ...]
    faults: tuple[Fault, ...] = ()
    notes: tuple[Finding, ...] = ()


def build_from_layouts(
    name: str,
    root: AnyPath,
    split: str,
    layouts: Sequence[Layout],
    *,
    split_file: AnyPath | None = None,
    values: FileValues | None = None,
) -> SegmentationDataset:
    """Open the data set of the first layout that has images and labels below the root.

    Args:
        split: train, val, …, for messages.
        layouts: the ways in which its files may lie, the usual one first.
        split_file: a list with an image, or an image and its label, a line, which counts instead of the layout's own;
            absolute, or below the current folder or the root.
        values: what the label files hold as they were published.

    Raises:
        MissingSplitError: no layout fits.
        InputError: an image has no label, or two files have one name.
    """
    folder = existing_folder(root)
    read: Callable[[Path], tuple[Row, ...]] = cache(read_rows)
    reasons: list[str] = []
    chosen: _Scan | None = None
    for layout in layouts:
        path = find_list(folder, layout.lists) if split_file is None else resolve_list(split_file, folder)
        rows = () if path is None else read(path)
        found = _scan(folder, layout, path, rows)
        if isinstance(found, str):
            reasons.append(found)
            continue
        chosen = found if chosen is None or not found.faults else chosen
        if not (found.faults and layout.needs_all):
            break
    if chosen is None:
        raise MissingSplitError(_nothing_found(name, folder, split, layouts[0], reasons))
    for fault in chosen.faults:
        raise_or_collect(fault)
    notes = log_or_collect(chosen.notes)
    logger.info("%s %s: %d images in %s", name, split, len(chosen.pairs), chosen.where)
    return SegmentationDataset(name, split, chosen.label_set, chosen.pairs, notes=notes, file_values=values)


def is_there(root: Path, layouts: Sequence[Layout]) -> bool:
    """Return whether a root holds something of one of the layouts."""
    return any(not isinstance(_scan(root, layout, None, ()), str) for layout in layouts)


def resolve_split(dataset: str, split: str, known: Sequence[str]) -> str:
    """Return the data set's own name of a split: "validation" is val; UnknownNameError has the list."""
    resolved = split if split in known else canonical(split)
    if resolved not in known:
        raise UnknownNameError(unknown_name_message(f"split of {dataset}", split, known))
    return resolved


def _scan(folder: Path, layout: Layout, path: Path | None, rows: Sequence[Row]) -> _Scan | str:
    """Look for the images and labels of a layout.

    Args:
        path: of the list that names them, if there is one.
        rows: what it says.

    Returns:
        What was found, or why there is nothing of this layout.
    """
    if path is not None and rows[0].label is not None:
        return _scan_listed(folder, layout, path, rows)
    places = find_below(folder, layout.images), find_below(folder, layout.labels)
    missing = _missing(layout, places, path)
    if missing is not None:
        return missing
    images, labels, faults = _sort(layout, *places)
    if not labels:
        return f"{layout.images} (no labels that names or formats tell from the images)"
    if path is not None:
        kept, twice = once_each(rows, path)
        images, wrong = select(images, kept, path)
        faults += twice + wrong
    return _pair(layout, places, images, labels, faults, is_part=path is not None)


def _missing(layout: Layout, places: tuple[Path, Path], path: Path | None) -> str | None:
    parts = (layout.images, layout.image_endings), (layout.labels, layout.label_endings)
    for (part, endings), place in zip(parts, places, strict=True):
        if not os.path.isdir(place):
            return f"{part} (no such folder)"
        if has_files(place, endings):
            continue
        if places[0] == places[1]:
            return f"{layout.images} (no images with labels beside them)"
        lossy = ", whose compression changes the values of labels" if part == layout.labels else ""
        return f"{part} (no files *{endings[0]}{_what_else(place, lossy)})"
    if layout.needs_list and path is None:
        return f"{', '.join(layout.lists)} (no such list)"
    return None


def _what_else(place: Path, lossy: str) -> str:
    """Say which files a folder holds by their most frequent ending; `lossy` is what to say of JPEGs."""
    counts = Counter(os.path.splitext(name)[1] for _, _, files in walk(place) for name in files if name[0] != ".")
    ending, count = counts.most_common(1)[0] if counts else ("", 0)
    why = lossy if ending.lower() in (".jpg", ".jpeg") else ""
    return f", but {count:,} *{ending}{why}" if ending else ""


def _sort(layout: Layout, image_place: Path, label_place: Path) -> tuple[Files, Files, list[Fault]]:
    """Return the images and the labels of two folders, which may be one, and a fault where two have one name."""
    images = group_files(image_place, layout.image_endings)
    labels = group_files(label_place, layout.label_endings)
    if image_place == label_place and layout.finds_marks:
        apart = tell_apart(images, labels)
        labels = {key: here for key, paths in labels.items() if (here := [path for path in paths if path in apart])}
    if image_place == label_place or image_place in label_place.parents:
        taken = {path for paths in labels.values() for path in paths}
        images = {key: here for key, paths in images.items() if (here := [path for path in paths if path not in taken])}
    groups = [paths for files in (images, labels) for paths in files.values() if len(paths) > 1]
    findings = tuple(
        Finding("same-name", paths[0], f"the same name as {', '.join(paths[1:])}", "Keep one file of each name.")
        for paths in groups
    )
    faults = [Fault(same_name(groups[0]), findings)] if groups else []
    return {key: paths[0] for key, paths in images.items()}, {key: paths[0] for key, paths in labels.items()}, faults


def _pair(
    layout: Layout,
    places: tuple[Path, Path],
    images: Files,
    labels: Files,
    faults: list[Fault],
    *,
    is_part: bool,
) -> _Scan:
    """Give each image the label of its name.

    Args:
        is_part: whether labels may belong to other images than these.
    """
    marks = find_marks(images, labels, of_labels=layout.finds_marks)
    by_core = apply_mark(labels, marks[1])
    cores = {key: marks[0].take_off(key) or "" for key in images}
    missing = [key for key in images if cores[key] not in by_core]
    read = layout.reader
    pairs = [Pair(images[key], by_core[core], read) for key, core in cores.items() if core in by_core]
    notes = _spelt_otherwise(layout, places)
    notes += [_assumed(marks, places[1])] if any(map(str, marks)) else []
    used = {pair.label for pair in pairs}
    unused = [key for key, file in labels.items() if file not in used]
    if unused and not is_part:
        notes.append(_unused(unused, places))
    unlabeled = _derived(missing, images) if places[0] == places[1] and layout.finds_marks else []
    if unlabeled:
        what = f"{listing(unlabeled)}: named after another image and without a label, {len(unlabeled)} in {places[0]}"
        notes.append(Finding("left-out", str(places[0]), what, "Add labels for them to use them as images"))
        missing = [key for key in missing if key not in set(unlabeled)]
    if missing:
        expected = [places[1] / f"{marks[1].put_on(cores[key])}{layout.label_endings[0]}" for key in missing]
        suffixes = other_suffixes(missing, labels) if layout.finds_marks else []
        where = f"{len(missing)} of {len(images)} images in {places[0]}"
        faults = [*faults, _no_labels(where, [images[key] for key in missing], missing, expected, suffixes)]
    return _Scan(places[0], layout.label_set, tuple(pairs), tuple(faults), tuple(notes))


def _derived(missing: Sequence[str], images: Files) -> list[str]:
    """Return those of a folder's images that are another one with something behind its name, the same for all."""
    suffixes = other_suffixes(images, missing)
    return [key for key in missing if key.endswith(suffixes[0])] if len(suffixes) == 1 else []


def _spelt_otherwise(layout: Layout, places: tuple[Path, Path]) -> list[Finding]:
    """Say where a folder was found by another spelling of its split."""
    pairs = zip((layout.images, layout.labels), map(Path.as_posix, places), strict=True)
    others = {expected: found for expected, found in pairs if not f"/{found}".lower().endswith(f"/{expected}".lower())}
    what = ", ".join(f"{found} is taken for {expected}" for expected, found in others.items() if expected != ".")
    return [Finding("assumed", None, what, "")] if what else []


def _assumed(marks: tuple[Mark, Mark], labels: Path) -> Finding:
    kinds = zip(("images", "labels"), marks, strict=True)
    what = ", ".join(f"names of {kind} {mark}" for kind, mark in kinds if str(mark))
    fix = "If these do not belong together, say what names of labels end in: " + advice.option("label_suffix")
    return Finding("assumed", str(labels), f"{what}, which is left out when they are paired", fix)


def _unused(unused: Sequence[str], places: tuple[Path, Path]) -> Finding:
    """Say which labels no image was found for, and which files of other formats lie where their images would."""
    files = (os.path.join(parent, name) for parent, _, names in walk(places[0]) for name in names)
    passed_by = split_readable(files)[1]
    others = (
        f", beside which {list_formats(passed_by)} are passed by, since segpipe does not read them" if passed_by else ""
    )
    what = f"{len(unused)} labels in {places[1]} belong to no image in {places[0]}{others}, and are left out"
    return Finding(
        "unpaired-label", str(places[1]), f"{what}: {listing(unused)}", "Add their images, or take them away"
    )


def _no_labels(
    where: str, images: Sequence[str], names: Sequence[str], expected: Sequence[Path], suffixes: Sequence[str]
) -> Fault:
    """Return the fault of images without a label, which may have several of other names."""
    choice = (
        f"Names of labels end in {listing(list(map(repr, suffixes)))}: choose the labels, such as "
        f"{advice.option('label_suffix', suffixes[0])}. "
        if suffixes
        else ""
    )
    fix = f"{choice}Add the labels, or name the images in {advice.option('split_file')}"
    message = f"{where} have no label: {listing(names)}. Each needs one of its name, such as {expected[0]}. {fix}."
    findings = (
        Finding("missing-label", image, f"there is no {label}", f"{fix}.")
        for image, label in zip(images, expected, strict=True)
    )
    return Fault(message, tuple(findings))


def _scan_listed(folder: Path, layout: Layout, path: Path, rows: Sequence[Row]) -> _Scan:
    """Take the images and labels that a list of two columns names."""
    kept, faults = once_each(rows, path)
    places = find_below(folder, layout.images), find_below(folder, layout.labels)
    found, wrong = find_listed(kept, path, folder, places)
    read = layout.reader
    pairs = tuple(Pair(image, label, read) for image, label in found)
    return _Scan(path, layout.label_set, pairs, tuple(faults + wrong))


def _nothing_found(name: str, folder: Path, split: str, usual: Layout, reasons: Sequence[str]) -> str:
    looked = "; ".join(dict.fromkeys(reasons))
    listed = f" and the list {usual.lists[0]}" if usual.needs_list else ""
    return (
        f"There are no images of {name} {split} in {folder}. Looked into: {looked}. Right would be images in "
        f"{usual.images} (*{usual.image_endings[0]}) and labels in {usual.labels} (*{usual.label_endings[0]}){listed}. "
        "Give the folder that holds these as the root."
    )
