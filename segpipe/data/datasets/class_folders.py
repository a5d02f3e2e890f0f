"""Open ImageNet, and images of your own that lie like it: a folder for each class, or lists of images and classes."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from segpipe import advice
from segpipe.configuration import LabelSet, read_class_names
from segpipe.errors import InputError, MissingSplitError
from segpipe.log import get_logger
from segpipe.names import listing, unknown_name_message

from ..image_folders import is_image_name
from ..label_sets import build_label_set
from .dataset import ClassificationDataset
from .finding_files import AnyPath, existing_folder, find_below, folders_in
from .lists import find_list, read_names, resolve_list
from .loading import DATASETS
from .splits import ALL, names_of

logger = get_logger(__name__)
NAME_FILES = ("classes.txt", "LOC_synset_mapping.txt", "synset_words.txt")
"""Where a folder may say what its classes are called; the first that is there counts."""
LISTS = ("{}.txt", "meta/{}.txt", "splits/{}.txt")
"""Where lists of images are looked for."""
ClassIndices = Mapping[str, int]
"""What a folder or a list calls a class → class index."""


@DATASETS.register("imagenet")
def build_imagenet(
    root: AnyPath,
    split: str = "train",
    *,
    names: Any = None,
    split_file: AnyPath | None = None,
) -> ClassificationDataset:
    """Open ImageNet-1k as it is unpacked; see `build_class_folders`, whose arguments are the same."""
    return replace(build_class_folders(root, split, names=names, split_file=split_file), name="imagenet")


@DATASETS.register("class-folders")
def build_class_folders(
    root: AnyPath,
    split: str = "train",
    *,
    names: Any = None,
    split_file: AnyPath | None = None,
) -> ClassificationDataset:
    """Open images in SPLIT/CLASS/, or listed in SPLIT.txt with their classes.

    Classes are numbered in the order of the file of names, else of the names of train/'s folders. A line of that file
    is a folder's name, then perhaps a blank and what the class is called, as in ImageNet's LOC_synset_mapping.txt; of
    several words for a class the first counts, and where two classes share it, the folder's name is added.

    A line of a list is a path below root/SPLIT or the root, a blank, and the class: its index or its folder's name.
    Lists are looked for where there are no folders.

    Args:
        split: train, val, …, or all, where the folders of the classes lie in the root.
        names: the file of names, or the names of the classes in the order of their folders. If None, classes.txt or
            ImageNet's own file, if there is one.
        split_file: a list of images with their classes, instead of the folders.
    """
    folder = existing_folder(root)
    list_file = _find_list(folder, split, split_file)
    base = _base(folder, split)
    if list_file is None and not folders_in(base):
        raise MissingSplitError(_nothing_found(folder, split))
    below = base if os.path.isdir(base) else folder
    labels, classes = _classes(folder, base, list_file, names)
    images = _in_folders(base, classes) if list_file is None else _in_list(list_file, below, folder, classes)
    logger.info("%s: %d images of %d classes in %s", split, len(images), len(labels.names), below)
    _warn_of_empty_classes(labels.names, images, below)
    paths = np.array([os.fsencode(path) for path, _ in images], np.bytes_)
    indices = np.array([index for _, index in images], np.int32)
    return ClassificationDataset(folder.resolve().name, split, labels, below, paths, indices)


def _base(root: Path, split: str) -> Path:
    """Return the folder that has those of the classes."""
    return root if split == ALL else find_below(root, split)


def _warn_of_empty_classes(names: Sequence[str], images: Sequence[tuple[str, int]], below: Path) -> None:
    used = {index for _, index in images}
    empty = [name for index, name in enumerate(names) if index not in used]
    if empty:
        logger.warning("%d of %d classes have no image in %s: %s", len(empty), len(names), below, listing(empty))


def _find_list(folder: Path, split: str, split_file: AnyPath | None) -> Path | None:
    """Return the list that counts: the one that was named, else one beside a split without class folders."""
    if split_file is not None:
        return resolve_list(split_file, folder)
    return None if folders_in(_base(folder, split)) else find_list(folder, [name.format(split) for name in LISTS])


def _classes(root: Path, base: Path, list_file: Path | None, names: Any) -> tuple[LabelSet, ClassIndices]:
    """Return the label set, and the class index of each folder's name."""
    folders = folders_in(find_below(root, "train"))
    if not folders and list_file is None:
        folders = folders_in(base)
    if names is None:
        path = next((root / name for name in NAME_FILES if os.path.isfile(root / name)), None)
    else:
        path = _names_file(root, names)
        if path is None:
            return _named(list(read_class_names(names)), folders)
    if path is not None:
        return _from_file(path, folders)
    if folders:
        return _named(folders, folders)
    lists = [*([] if list_file is None else [list_file]), *_all_lists(root)]
    count = 1 + max(_highest_class(root / name) for name in dict.fromkeys(lists))
    return _named([f"class {index}" for index in range(count)], [])


def _names_file(root: Path, names: Any) -> Path | None:
    """Return the text file of names that an argument is, from the current folder or the root, or None."""
    if not isinstance(names, str | os.PathLike):
        return None
    path = resolve_list(names, root)
    return path if os.path.isfile(path) else None


def _named(names: list[str], folders: Sequence[str]) -> tuple[LabelSet, ClassIndices]:
    if folders and len(names) != len(folders):
        raise InputError(
            f"There are {len(names)} names for {len(folders)} folders of classes ({', '.join(folders[:3])}, …). "
            "Give one for each, in the order of the folders' names."
        )
    keys = folders or names
    return build_label_set(names), {key: index for index, key in enumerate(keys)}


def _from_file(path: Path, folders: Sequence[str]) -> tuple[LabelSet, ClassIndices]:
    lines = read_names(path)
    known = set(folders)
    pairs = [_folder_and_name(line, known) for line in lines]
    missing = sorted(known - {folder for folder, _ in pairs})
    if missing:
        raise InputError(
            f"{path} does not name the class {missing[0]!r}, which has a folder, nor {len(missing) - 1} others. Each "
            "line is a folder's name and what the class is called. Add them, or remove the file."
        )
    counts = Counter(name for _, name in pairs)
    names = [name if counts[name] == 1 else f"{name} ({folder})" for folder, name in pairs]
    return build_label_set(names), {folder: index for index, (folder, _) in enumerate(pairs)}


def _folder_and_name(line: str, folders: set[str]) -> tuple[str, str]:
    """Split "n01440764 tench, Tinca tinca" into ("n01440764", "tench"); a folder's whole name stands for both."""
    folder, _, words = line.partition(" ")
    is_whole = line in folders or (not folders and not folder[-8:].isdecimal())
    if is_whole or not words:
        return line, line
    return folder, words.partition(",")[0].strip() or folder


def _in_folders(base: Path, classes: ClassIndices) -> list[tuple[str, int]]:
    """Return the images of a split's class folders, by class and name; their sub-folders are not searched."""
    images = []
    for name in folders_in(base):
        if name not in classes:
            raise InputError(
                f"{base / name} is the folder of a class that train/ or the file of names does not have. "
                f"{unknown_name_message('class', name, list(classes)[:20])}"
            )
        files = sorted(entry.name for entry in os.scandir(base / name) if is_image_name(entry.name))
        images += [(f"{name}/{file}", classes[name]) for file in files]
    return images


def _in_list(list_file: Path, base: Path, root: Path, classes: ClassIndices) -> list[tuple[str, int]]:
    """Return the images of a list. Only the first is looked for, since asking for a million files takes minutes."""
    images = []
    for line in read_names(list_file):
        path, label = _path_and_label(line, list_file)
        index = int(label) if label not in classes and label.isdecimal() else classes.get(label, -1)
        if not 0 <= index < len(classes):
            raise InputError(f"{list_file}: {path}. {unknown_name_message('class', label, list(classes)[:20])}")
        images.append((path, index))
    first = images[0][0]
    if not os.path.isfile(base / first) and os.path.isfile(root / first):
        above = os.path.relpath(root, base)
        images = [(os.path.normpath(os.path.join(above, path)), index) for path, index in images]
    elif not os.path.isfile(base / first):
        raise InputError(f"{list_file} names {first}, which is neither in {base} nor in {root}. Correct the paths.")
    return images


def _path_and_label(line: str, list_file: Path) -> tuple[str, str]:
    parts = line.rsplit(None, 1)
    if len(parts) != 2:
        raise InputError(f"{list_file}: {line!r} has no class. A line is a path, a blank and a class. Add it.")
    return parts[0], parts[1]


def _highest_class(list_file: Path) -> int:
    """Return the highest class index of a list; InputError if it has names, which nothing numbers."""
    labels = [_path_and_label(line, list_file)[1] for line in read_names(list_file)]
    name = next((label for label in labels if not label.isdecimal()), None)
    if name is not None:
        raise InputError(
            f"{list_file} has the class {name!r}, and nothing says how the classes are numbered. Write {NAME_FILES[0]} "
            f"beside it, a class a line, or give {advice.option('names')}."
        )
    return max(map(int, labels))


def _all_lists(root: Path) -> list[Path]:
    """Return the lists of training and evaluation, so that both splits have the same classes."""
    paths = [find_below(root, name.format(split)) for name in LISTS for split in ("train", "val")]
    return [path for path in paths if os.path.isfile(path)]


def _nothing_found(folder: Path, split: str) -> str:
    where = [str(_base(folder, split))] if split == ALL else [str(folder / name) for name in names_of(split)]
    lists = [name.format(split) for name in LISTS]
    return (
        f"There are no images of classes for {split} in {folder}. Looked into: {', '.join([*where, *lists])}. Right "
        f"would be {folder / split}/CLASS/*.jpg, or {lists[0]} with lines of a path and a class. Give the folder that "
        "holds these as the root."
    )
