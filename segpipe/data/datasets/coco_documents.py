"""What COCO's JSON files have in common: pictures, categories, where their files are, and what is wrong with them."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from segpipe.configuration import LabelSet
from segpipe.errors import InputError
from segpipe.log import get_logger
from segpipe.names import listing

from ..annotation_files import check_size
from ..findings import SEVERITIES, Finding
from ..labels import build_label_set
from ..sources import PICTURE_SUFFIXES
from .scanning import find_files

logger = get_logger(__name__)


class Image(msgspec.Struct):
    """A picture."""

    id: int | str
    file_name: str
    height: int
    width: int


class Category(msgspec.Struct):
    """A class of objects."""

    id: int
    name: str
    color: tuple[int, int, int] | None = None


def label_set_of(categories: Sequence[Category], path: Path, *, background: str | None = None) -> LabelSet:
    """The categories as classes, in the order of their ids, after the background where there is one.

    The background's raw id is the least number that is no category.
    """
    ordered = sorted(categories, key=lambda category: category.id)
    ids = [category.id for category in ordered]
    if not ids or ids[0] < 0 or ids[-1] > 65535 or len(set(ids)) < len(ids):
        raise InputError(f"{path} has categories {ids[:10]}…; ids are different numbers in 0–65535. Correct the JSON.")
    colors = [category.color for category in ordered]
    names = [category.name for category in ordered]
    if background is None:
        known = [color for color in colors if color is not None]
        return build_label_set(names, palette=known if len(known) == len(ids) else None, raw_ids=ids)
    return build_label_set([background, *names], raw_ids=[background_id(ids), *ids])


def background_id(ids: Sequence[int]) -> int:
    """The least number that is no category's id."""
    known = set(ids)
    return next(number for number in range(len(ids) + 1) if number not in known)


def first_existing(root: Path, candidates: Sequence[str], what: str) -> Path:
    """The first of these files below the root; InputError names all of them."""
    found = next((root / name for name in candidates if os.path.isfile(root / name)), None)
    if found is None:
        raise InputError(
            f"{root} does not hold {what}. Looked for {', '.join(candidates)}. Give its path below the root as "
            "annotations=."
        )
    return found


def image_folder(root: Path, split: str, images: str | None) -> Path:
    """The folder of a split's pictures; InputError names the folders that were looked for."""
    usual = (f"images/{split}2017", f"{split}2017", f"images/{split}", split, "images")
    candidates = usual if images is None else (images,)
    found = next((root / name for name in candidates if os.path.isdir(root / name)), None)
    if found is None:
        raise InputError(
            f"{root} has no folder with the pictures of {split}. Looked for {', '.join(candidates)}. Give its path "
            "below the root as images=."
        )
    return found


def picture_paths(images: Sequence[Image], folder: Path, document: Path) -> dict[str, str]:
    """The path of each picture by its id as text.

    Raises:
        InputError: pictures that are not in the folder, an id or a file that is there twice, or an impossible size.
    """
    for image in images:
        check_size(image.height, image.width, origin=f"{document}: {image.file_name}")
    for what, values in (("id", [str(image.id) for image in images]), ("file", [each.file_name for each in images])):
        twice = next((value for value, count in Counter(values).items() if count > 1), None)
        if twice is not None:
            raise InputError(
                f"{document} has two pictures with the {what} {twice!r}; each needs its own. Correct the JSON."
            )
    paths = paths_below(folder, [image.file_name for image in images], PICTURE_SUFFIXES, document)
    return {str(image.id): path for image, path in zip(images, paths, strict=True)}


def paths_below(folder: Path, names: Sequence[str], endings: Sequence[str], document: Path) -> list[str]:
    """The files of these names in a folder. Names are looked up among its files, so none can lead out of it.

    Raises:
        InputError: a list of those that are not there.
    """
    files = {path.relative_to(folder).as_posix(): str(path) for path in find_files(folder, endings).values()}
    missing = [name for name in names if name not in files]
    if missing or not names:
        raise InputError(
            f"{document} names {len(names)} pictures, {len(missing)} of which are not in {folder}: "
            f"{listing(distinct(missing)) or 'none'}. All of them are needed. Add them, or give their folder below the "
            "root as images= or masks=."
        )
    return [files[name] for name in names]


def warn(document: Path, findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Log what was found in a document, one line each, and give it back."""
    for finding in findings:
        level = logging.INFO if SEVERITIES[finding.kind] == "note" else logging.WARNING
        logger.log(level, "%s: %s. %s", document, finding.what, finding.fix)
    return tuple(findings)


def distinct(names: Iterable[object]) -> list[str]:
    """Each name once, in their order."""
    return list(dict.fromkeys(map(str, names)))
