"""What COCO's JSON files have in common: pictures, categories, and where their files are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

from segpipe.configuration import LabelSet
from segpipe.errors import InputError

from ..labels import build_label_set
from ..sources import PICTURE_SUFFIXES
from .scanning import find_files

T = TypeVar("T")


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


def read_document(path: Path, kind: type[T]) -> T:
    """The file as `kind`; fields that it does not name are skipped. InputError says what is wrong and where."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not COCO's JSON: {error}. Write it again, or name another file.") from error


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
    return next(number for number in range(len(ids) + 1) if number not in set(ids))


def first_existing(root: Path, candidates: Sequence[str], what: str) -> Path:
    """The first of these files below the root; InputError names all of them."""
    found = next((root / name for name in candidates if (root / name).is_file()), None)
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
    found = next((root / name for name in candidates if (root / name).is_dir()), None)
    if found is None:
        raise InputError(
            f"{root} has no folder with the pictures of {split}. Looked for {', '.join(candidates)}. Give its path "
            "below the root as images=."
        )
    return found


def picture_paths(images: Sequence[Image], folder: Path, document: Path) -> dict[int | str, str]:
    """The path of each picture by its id; InputError lists those that are not in the folder."""
    files = {path.relative_to(folder).as_posix(): str(path) for path in find_files(folder, PICTURE_SUFFIXES).values()}
    missing = [image.file_name for image in images if image.file_name not in files]
    if missing or not images:
        shown = ", ".join(missing[:5]) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
        raise InputError(
            f"{document} names {len(images)} pictures, {len(missing)} of which are not in {folder}: {shown or 'none'}. "
            "All of them are needed. Add them, or give their folder below the root as images=."
        )
    paths = {image.id: files[image.file_name] for image in images}
    if len(paths) < len(images):
        raise InputError(f"{document} has two pictures with one id; each needs its own. Correct the JSON.")
    return paths
