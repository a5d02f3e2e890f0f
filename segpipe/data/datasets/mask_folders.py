"""Open images and masks of your own, in any of the folders in which they usually lie."""

from __future__ import annotations

import contextlib
import functools
import os
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from segpipe import advice
from segpipe.configuration import LabelSet, read_colors
from segpipe.errors import ImageDecodeError, InputError, MissingSplitError, SegpipeError
from segpipe.log import get_logger
from segpipe.names import listing

from ..findings import Finding, is_collecting, log_or_collect
from ..label_encoding import Color, build_color_table
from ..label_files import LABEL_SUFFIXES, read_color_label, read_label
from ..label_sets import (
    UNNAMED,
    build_label_set,
    find_class_table,
    open_label_set,
    read_class_table,
    read_label_set,
    with_raw_ids,
)
from .dataset import LabelReader, SegmentationDataset
from .finding_files import AnyPath, existing_folder, find_below, folders_in
from .layouts import Layout, build_from_layouts, is_there
from .loading import DATASETS
from .splits import ALL, KNOWN, names_of

logger = get_logger(__name__)
LABEL_SET_FILE = "labels.json"
"""Where a folder says what its classes are."""
_LABELS_READ = 4
"""Labels that are read when a folder is opened, to warn of values that are not a class."""
_IMAGES = ("images", "imgs", "img", "image", "img_dir", "JPEGImages", "pictures", "photos", "rgb", "frames")
_LABELS = (
    *("labels", "masks", "annotations", "label", "mask", "annotation", "ann_dir", "SegmentationClass", "annot"),
    *("gt", "ground_truth", "groundtruth", "seg", "segmentation", "segmentations", "targets"),
)
_LISTS = ("{}.txt", "splits/{}.txt", "{}.csv", "{}.lst", "{}.tsv", "lists/{}.txt", "ImageSets/Segmentation/{}.txt")


@DATASETS.register("folder")
def build_folder(
    root: AnyPath,
    split: str = "train",
    *,
    label_set: LabelSet | AnyPath | dict[str, Any] | None = None,
    names: Any = None,
    raw_ids: Any = None,
    palette: Any = None,
    ignore_colors: Any = (),
    images: str | None = None,
    labels: str | None = None,
    read: str | None = None,
    label_suffix: str | None = None,
    split_file: AnyPath | None = None,
) -> SegmentationDataset:
    """Open images in images/ and masks of the same names in labels/, masks/ or annotations/.

    Splits are sub-folders (images/train and labels/train, train/images and train/labels, or train and train_labels), or
    lists: train.txt beside the folders. Without either, `split="all"` is every image. An image and its mask may lie in
    one folder, where the names of masks have something besides, such as x_mask.png beside x.jpg, or another format.

    Masks hold class indices, or `label_set.raw_ids`; palette PNGs by their indices. Color masks (RGB) are read by
    `label_set.palette`; a palette PNG that draws a class in another class's color is refused. With `palette` it is
    always the colors that count, in palette PNGs too. Colors are compared exactly.

    Args:
        split: train, val, …, or all.
        label_set: the classes, the name of a data set that has them, or a JSON or CSV file with them. If None, `names`,
            labels.json in the root, or a table of another tool, see `segpipe.data.label_sets`.
        names: of the classes, instead of a label set: a list, a text with commas between them, a file with one a line,
            or a mapping of the values in the masks to names, such as {1: "road", 2: "sky"}.
        raw_ids: the value of each class in the masks, where they are not 0, 1, …
        palette: one color per class, for color masks: (R, G, B) or "#rrggbb".
        ignore_colors: colors of pixels that are not a class.
        images: folder of the images below the root. If None, images, imgs, img and other usual names are tried.
        labels: folder of the masks below the root. If None, labels, masks, annotations and other usual names are tried.
        read: "colors" to read palette PNGs by their colors, "indices" by their values, whatever colors these have.
            If None, by their values, where the colors do not contradict them.
        label_suffix: what names of masks add to those of their images, before the ending, such as "_mask". If None, it
            is found where all masks have the same one.
        split_file: a list with an image, or an image and its mask, a line; with commas, tabs or blanks between.
    """
    outer, colors = existing_folder(root), None if palette is None else read_colors(palette)
    folder = find_inner(outer)
    classes = _known_or_collected(folder, split, label_set, names, colors)
    if raw_ids is not None:
        classes = with_raw_ids(classes, raw_ids)
    reader = _reader(classes, colors, read_colors(ignore_colors, "ignore_colors"), read)
    suffix = _bare_suffix(label_suffix or "")
    layout = Layout(
        images or _IMAGES[0],
        labels or _LABELS[0],
        classes,
        label_endings=tuple(f"{suffix}{ending}" for ending in LABEL_SUFFIXES),
        read=reader,
        finds_marks=label_suffix is None,
    )
    kinds = (images,) if images else _IMAGES, (labels,) if labels else _LABELS
    find = functools.partial(find_layouts, folder, usual=layout, images=kinds[0], labels=kinds[1])
    layouts = [*find(split), layout] if images and labels else find(split)
    try:
        dataset = build_from_layouts(folder.resolve().name, folder, split, layouts, split_file=split_file)
    except MissingSplitError as error:
        there = [known for known in (*KNOWN, ALL) if known != split and is_there(folder, find(known))]
        raise MissingSplitError(f"{error} {_other_ways(there)}") from None
    if folder != outer:
        what = f"{folder} is taken for the data set, since it is all that {outer} holds"
        dataset = replace(dataset, notes=(*dataset.notes, *log_or_collect([Finding("assumed", str(folder), what, "")])))
    if classes.raw_ids is None and reader is read_label and not is_collecting():
        _warn_of_strays(dataset)
    return dataset


def find_inner(root: Path) -> Path:
    """Return the folder that a root consists of, as unpacked archives have one; the root where it holds more.

    A folder for images or of a split is never taken for the whole.
    """
    folder = root
    while True:
        entries = [name for name in sorted(os.listdir(folder)) if name[0] != "." and name != "__MACOSX"]
        inner = folder / entries[0] if len(entries) == 1 else folder
        if inner == folder or not os.path.isdir(inner) or not folders_in(inner) or names_of(entries[0])[1:]:
            break
        folder = inner
    return folder


def find_layouts(
    root: Path, split: str, *, usual: Layout, images: Sequence[str], labels: Sequence[str]
) -> list[Layout]:
    """Return the layouts to look for, the usual one first.

    Args:
        usual: all that does not depend on where the files lie.
        images: names of folders for images, below the root or the split's folder.
        labels: the same for masks.
    """
    here = [name for name in (*names_of(split), ".") if split != ALL or name == "."]
    image_folders = _present(root, here, images) or list(images[:1])
    label_folders = _present(root, here, labels) or list(labels[:1])
    lists = tuple(name.format(split) for name in _LISTS)
    mixed = replace(usual, lists=lists, needs_list=split != ALL)
    pairs = [(image, label) for image in image_folders for label in label_folders]
    in_splits = [
        place
        for image, label in pairs
        for place in ((f"{image}/{split}", f"{label}/{split}"), (f"{split}/{image}", f"{split}/{label}"))
    ]
    in_splits += _composed(root, split, images, labels)
    in_splits += [(split, f"{split}/{label}") for label in label_folders]
    in_splits += [(place, place) for place in (split, *(f"{image}/{split}" for image in image_folders))]
    in_all = [
        *pairs,
        *((".", label) for label in label_folders),
        *((image, image) for image in image_folders),
        (".", "."),
    ]
    return [
        *(replace(usual, images=image, labels=label) for image, label in in_splits if split != ALL),
        *(replace(mixed, images=image, labels=label) for image, label in in_all),
    ]


def _known_or_collected(
    root: Path, split: str, label_set: Any, names: Any, palette: tuple[Color, ...] | None
) -> LabelSet:
    """Return the classes, or where none are named and faults are collected for a report, a set that stands for them."""
    try:
        return _label_set(root, split, label_set, names, palette)
    except SegpipeError as error:
        if label_set is not None or names is not None or not is_collecting():
            raise
        log_or_collect([Finding("classes", str(root), str(error), "")])
    return UNNAMED if palette is None else build_label_set([f"colour {color}" for color in palette], palette=palette)


def _label_set(root: Path, split: str, label_set: Any, names: Any, palette: tuple[Color, ...] | None) -> LabelSet:
    if label_set is not None and names is not None:
        raise InputError("Both label_set and names are given; they say the same thing. Give one of them.")
    if names is not None:
        return build_label_set(names, palette=palette)
    if label_set is not None:
        return open_label_set(label_set)
    if os.path.isfile(root / LABEL_SET_FILE):
        return read_label_set(root / LABEL_SET_FILE)
    table = find_class_table([root, *(find_below(root, name) for name in (split, "train", "val", "test"))])
    if table is not None:
        fix = f"If they are others: {advice.option('names', ['road', 'sky'])}"
        log_or_collect([Finding("assumed", str(table), f"the classes are those of {table}", fix)])
        return read_class_table(table)
    raise InputError(
        f"Nothing says what the classes in {root} are; their names are needed, in the order of the masks' values. "
        f"Give {advice.option('names', ['road', 'sky'])}, or write {root / LABEL_SET_FILE}: "
        '{"names": ["road", "sky"]}. They are the values 0, 1, …; for others, such as 1 and 2, add "raw_ids": [1, 2].'
    )


def _reader(
    classes: LabelSet, palette: tuple[Color, ...] | None, ignored: tuple[Color, ...], read: str | None
) -> LabelReader:
    if read not in (None, "colors", "indices"):
        raise InputError(
            f"read is {read!r}; it must be 'colors' or 'indices'. Give {advice.option('read', 'indices')}, or leave "
            "it out."
        )
    colors = classes.palette if palette is None else palette
    if colors is None or (palette is None and len(set(colors)) < len(colors)):  # none, or one color for two classes
        if ignored or read == "colors":
            given = "ignore_colors is" if ignored else "read=colors is"
            example = advice.option("palette", [(0, 0, 0), (255, 0, 0)])
            raise InputError(f"{given} given without colors of the classes. Give one per class, such as {example}.")
        return read_label if read is None else functools.partial(read_label, classes=None)
    table = build_color_table(classes, colors, ignored)
    if read == "colors" or (read is None and palette is not None):
        return functools.partial(read_color_label, colors=table)
    return functools.partial(read_label, colors=table, classes=classes if read is None else None)


def _bare_suffix(suffix: str) -> str:
    """Return what names of masks end in without the ending, which may be given, too."""
    ending = next((ending for ending in LABEL_SUFFIXES if suffix.lower().endswith(ending)), "")
    return suffix[: len(suffix) - len(ending)]


def _present(root: Path, above: Sequence[str], names: Sequence[str]) -> list[str]:
    """Return the names of folders that are there, below the root or a split's folder."""
    tops = {find_below(root, name) for name in above}
    present = {name.lower() for top in tops for name in folders_in(top)}
    return [name for name in names if name.lower() in present]


def _composed(root: Path, split: str, images: Sequence[str], labels: Sequence[str]) -> list[tuple[str, str]]:
    """Return pairs of folders whose names hold the split: train and train_labels, trainannot, or images_train."""
    image_words, label_words = {"", *map(_plain, images)}, set(map(_plain, labels))
    said = {name: _without_split(name, split) for name in folders_in(root)}
    image_folders = [name for name, rests in said.items() if rests & image_words]
    label_folders = [name for name, rests in said.items() if rests & label_words]
    return [(image, label) for image in image_folders for label in label_folders]


def _without_split(name: str, split: str) -> set[str]:
    """Return what a folder's name may say besides the split, without separators; nothing if the split is not in it."""
    low, spellings = name.lower(), [spelling.lower() for spelling in names_of(split)]
    rests = {rest for each in spellings for rest in (low.removeprefix(each), low.removesuffix(each))}
    return {_plain(rest) for rest in rests - {low}}


def _plain(name: str) -> str:
    return re.sub(r"[\W_]", "", name.lower())


def _warn_of_strays(dataset: SegmentationDataset) -> None:
    """Warn where labels hold values that are not a class: names may be missing, and such pixels are ignored."""
    num_classes, ignored = len(dataset.labels.names), dataset.labels.ignore_index
    for pair in dataset.pairs[:: max(1, len(dataset.pairs) // _LABELS_READ)][:_LABELS_READ]:
        with contextlib.suppress(ImageDecodeError):  # raised when its sample is read
            values = np.unique(read_label(pair.label))
            strays = [int(value) for value in values if value >= num_classes and value != ignored]
            if strays:
                logger.warning(
                    "%s has the values %s, and the %d classes are 0 to %d: such pixels are ignored. Name all classes, "
                    "or see what else is wrong: segpipe data check.",
                    pair.label,
                    listing(list(map(str, strays))),
                    num_classes,
                    num_classes - 1,
                )
                return


def _other_ways(splits: Sequence[str]) -> str:
    """Say what else to do where a split was not found, but others were."""
    folders = f"{advice.option('images')} and {advice.option('labels')}"
    named = f"If they are called otherwise, name the folders: {folders}."
    if splits == [ALL]:
        every = advice.either(python='split="all"', command="--split all")
        share = advice.argument("val_share", 0.1)
        return f"{named} Without splits it can be opened: as a whole by {every}, or divided in two by {share}."
    others = [split for split in splits if split != ALL]
    return f"{named} Splits that are there: {', '.join(others)}." if others else named
