"""The ways in which people lay images and masks of their own in folders."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from .places import find_below
from .scanning import Layout
from .splits import ALL, names_of

_LISTS = ("{}.txt", "splits/{}.txt", "{}.csv", "{}.lst", "{}.tsv", "lists/{}.txt", "ImageSets/Segmentation/{}.txt")


def find_inner(root: Path) -> Path:
    """Return the folder that a root consists of, as unpacked archives have one; the root where it holds more.

    A folder for images or of a split is never taken for the whole.
    """
    folder = root
    while True:
        entries = [name for name in sorted(os.listdir(folder)) if name[0] != "." and name != "__MACOSX"]
        inner = folder / entries[0] if len(entries) == 1 else folder
        if inner == folder or not os.path.isdir(inner) or not _folders_in(inner) or names_of(entries[0])[1:]:
            break
        folder = inner
    return folder


def find_layouts(
    root: Path, split: str, *, usual: Layout, images: Sequence[str], labels: Sequence[str]
) -> list[Layout]:
    """Return the layouts to look for, the usual one first.

    Args:
        root: the folder.
        split: train, val, …, or all.
        usual: all that does not depend on where the files lie.
        images: names of folders for images, below the root or the split's folder.
        labels: the same for masks.
    """
    here = [name for name in (*names_of(split), ".") if split != ALL or name == "."]
    pictures = _present(root, here, images) or list(images[:1])
    masks = _present(root, here, labels) or list(labels[:1])
    lists = tuple(name.format(split) for name in _LISTS)
    mixed = replace(usual, lists=lists, needs_list=split != ALL)
    pairs = [(picture, mask) for picture in pictures for mask in masks]
    in_splits = [
        place
        for picture, mask in pairs
        for place in ((f"{picture}/{split}", f"{mask}/{split}"), (f"{split}/{picture}", f"{split}/{mask}"))
    ]
    in_splits += _composed(root, split, images, labels)
    in_splits += [(split, f"{split}/{mask}") for mask in masks]
    in_splits += [(place, place) for place in (split, *(f"{picture}/{split}" for picture in pictures))]
    in_all = [*pairs, *((".", mask) for mask in masks), *((picture, picture) for picture in pictures), (".", ".")]
    return [
        *(replace(usual, images=picture, labels=mask) for picture, mask in in_splits if split != ALL),
        *(replace(mixed, images=picture, labels=mask) for picture, mask in in_all),
    ]


def _present(root: Path, above: Sequence[str], names: Sequence[str]) -> list[str]:
    """Return the names of folders that are there, below the root or a split's folder."""
    tops = {find_below(root, name) for name in above}
    present = {name.lower() for top in tops for name in _folders_in(top)}
    return [name for name in names if name.lower() in present]


def _folders_in(folder: Path) -> list[str]:
    if not os.path.isdir(folder):
        return []
    return sorted(entry.name for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith("."))


def _composed(root: Path, split: str, images: Sequence[str], labels: Sequence[str]) -> list[tuple[str, str]]:
    """Return pairs of folders whose names hold the split: train and train_labels, trainannot, or images_train."""
    image_words, label_words = {"", *map(_plain, images)}, set(map(_plain, labels))
    said = {name: _without_split(name, split) for name in _folders_in(root)}
    pictures = [name for name, rests in said.items() if rests & image_words]
    masks = [name for name, rests in said.items() if rests & label_words]
    return [(picture, mask) for picture in pictures for mask in masks]


def _without_split(name: str, split: str) -> set[str]:
    """Return what a folder's name may say besides the split, without signs: nothing where it does not name it."""
    low, spellings = name.lower(), [spelling.lower() for spelling in names_of(split)]
    rests = {rest for each in spellings for rest in (low.removeprefix(each), low.removesuffix(each))}
    return {_plain(rest) for rest in rests - {low}}


def _plain(name: str) -> str:
    return re.sub(r"[\W_]", "", name.lower())
