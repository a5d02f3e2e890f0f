"""Find COCO's JSON files and their images in the folders and under the names that tools use."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from segpipe import advice
from segpipe.errors import InputError, MissingSplitError
from segpipe.names import listing

from ..findings import Fault, Finding, log_or_collect, raise_or_collect
from ..image_folders import IMAGE_SUFFIXES
from .coco_documents import Image, refuse_twice
from .finding_files import AnyPath, NamedFiles, find_below, list_files
from .splits import ALL, KNOWN, canonical, names_of

_FOLDERS = ("images/{}2017", "{}2017", "images/{}", "{}", "images")
_OTHER_KINDS = {"captions", "keypoints", "info"}
"""Words in the names of COCO's files that have no masks of classes."""
_LETTERS = re.compile(r"[a-z]+")


def find_document(root: Path, split: str, patterns: Sequence[str], what: str, *, given: AnyPath | None = None) -> Path:
    """Return the JSON of a split: the given one, or one that is found.

    Looked for are the patterns, with each spelling of the split in place of {}, in the root and below. If none of these
    exists, the only other JSON file whose name or folder has such a spelling is taken, as coco_train.json, or for train
    and all the only one whose name has no split at all, as CVAT's instances_default.json.

    Args:
        patterns: paths below the root, the usual one first.
        what: the kind of file for messages.
        given: its path below the root, the split's folder or the current folder, if the caller names one.

    Raises:
        MissingSplitError: there is no such file.
        InputError: the given one is not there, or there is more than one that is not in the patterns.
    """
    usual = (find_below(root, pattern.format(name)) for pattern in patterns for name in names_of(split))
    places = usual if given is None else (place_below(root, given, split),)
    found = next((path for path in places if os.path.isfile(path)), None)
    if found is not None:
        return found
    is_panoptic = "panoptic" in patterns[0]
    how = f"Give its path below the root as {advice.option('annotations')}."
    if given is not None:
        raise InputError(f"{root} does not hold {what} of {split}. Looked for {os.fspath(given)}. {how}")
    candidates, why = _others(root, split, is_panoptic=is_panoptic)
    if not candidates:
        looked_for = _spelt(patterns, split)
        raise MissingSplitError(f"{root} does not hold {what} of {split}. Looked for {looked_for}. {how}")
    if len(candidates) > 1:
        several = listing([path.relative_to(root).as_posix() for path in candidates])
        raise InputError(f"{root} has several JSON files that may be {what} of {split}: {several}. {how}")
    text = f"{candidates[0]} is taken for {split}: it is the only JSON in {root} that {why}"
    log_or_collect([Finding("assumed", str(candidates[0]), text, f"If it is another: {advice.option('annotations')}")])
    return candidates[0]


def place_below(root: Path, given: AnyPath, split: str) -> Path:
    """Return a path that the caller gives: below the root, the split's folder or the current folder."""
    path = Path(os.path.expanduser(given))
    places = [root, *(find_below(root, name) for name in names_of(split)), Path()]
    return next((place / path for place in places if os.path.exists(place / path)), root / path)


def _spelt(patterns: Sequence[str], split: str) -> str:
    """Return the paths that are looked for, as a message has them."""
    first, *others = names_of(split)
    also = f", or with {', '.join(others)} instead" if others else ""
    return ", ".join(pattern.format(first) for pattern in patterns) + also


def _others(root: Path, split: str, *, is_panoptic: bool) -> tuple[list[Path], str]:
    """Return the other JSON files that may be meant, and why."""
    names = set(names_of(split))
    files = [
        path
        for path in _json_files(root, names)
        if ("panoptic" in _words(path, root)) == is_panoptic and not _OTHER_KINDS & _words(path, root)
    ]
    named = [path for path in files if _words(path, root) & names]
    if named or split not in ("train", "all"):
        return named, f"has {split} in its name"
    every = {name for known in KNOWN for name in names_of(known)}
    return [path for path in files if not _words(path, root) & every], "has no split in its name"


def _json_files(root: Path, folders: set[str]) -> Iterator[Path]:
    for place in dict.fromkeys(find_below(root, name) for name in ("annotations", ".", *sorted(folders))):
        files = next(os.walk(place), ("", [], []))[2]
        yield from (place / file for file in sorted(files) if file.lower().endswith(".json") and file[0] != ".")


def _words(path: Path, root: Path) -> set[str]:
    """Return the words in a file's name and in those of its folders."""
    return set(_LETTERS.findall(path.relative_to(root).with_suffix("").as_posix().lower()))


def locate_images(
    images: Sequence[Image], root: Path, split: str, *, document: Path, folder: AnyPath | None = None
) -> dict[str, str]:
    """Return the path of each image by its key; inside `collect_faults`, of those that are there.

    They lie in one of the usual folders, beside the document, or anywhere below the root except in folders of other
    splits; it is the first of these that has all of them.

    Args:
        folder: where the images lie, below the same places. If None, it is looked for.

    Raises:
        InputError: images that are not there, or an id or a file that is there twice.
    """
    for what, values in (("id", [image.key for image in images]), ("file", [each.file_name for each in images])):
        refuse_twice(f"{document} has two images with the {what}", values)
    usual = (find_below(root, pattern.format(name)) for pattern in _FOLDERS for name in names_of(split))
    candidates = usual if folder is None else (place_below(root, folder, split),)
    existing = [path for path in dict.fromkeys(candidates) if os.path.isdir(path)]
    others = [path for path in (document.parent, root) if folder is None and path not in existing]
    names = [image.file_name for image in images]
    place, paths = _best_place([*existing, *others], names, split)
    if not any(paths):
        looked_for = _spelt(_FOLDERS, split) if folder is None else os.fspath(folder)
        raise InputError(_nothing_there(names, existing, looked_for, root, split, document))
    missing = [name for name, path in zip(names, paths, strict=True) if path is None]
    if missing:
        raise_or_collect(_not_there(names, missing, place, document))
    found = {image.key: (image.file_name, path) for image, path in zip(images, paths, strict=True) if path is not None}
    refuse_twice(f"{document} has two names for the image", [path for _, path in found.values()])
    moved = [f"{name} is {path}" for name, path in found.values() if not path.endswith(name)]
    if moved:
        text = f"{len(moved)} images are found by the end of their names: {moved[0]}"
        fix = f"If they are others, {_how_to_say('images')}"
        log_or_collect([Finding("assumed", str(document), text, fix)], document)
    return {key: path for key, (_, path) in found.items()}


def _best_place(places: Sequence[Path], names: Sequence[str], split: str) -> tuple[Path, list[str | None]]:
    """Return the first folder that has all files of these names, else the one that has most, and the files."""
    others = set() if split == ALL else {known for known in KNOWN if known != canonical(split)}
    best: tuple[Path, list[str | None]] = (places[0], [None for _ in names])
    for place in places:
        files = NamedFiles(list_files(place, IMAGE_SUFFIXES, is_other=lambda name: canonical(name) in others))
        paths = [files.find(name) for name in names]
        if None not in paths:
            return place, paths
        best = (place, paths) if paths.count(None) < best[1].count(None) else best
    return best


def _nothing_there(
    names: Sequence[str], existing: Sequence[Path], looked_for: str, root: Path, split: str, document: Path
) -> str:
    if not names:
        return f"{document} lists no images; at least one is needed. Name another file."
    if existing:
        return _not_there(names, names, existing[0], document).message
    return (
        f"{root} has no folder with the images of {split} that {document} lists. Looked for {looked_for}. Put them "
        f"there, or {_how_to_say('images')}."
    )


def _not_there(names: Sequence[str], missing: Sequence[str], place: Path, document: Path) -> Fault:
    message = (
        f"{document} names {len(names)} images, {len(missing)} of which are not in {place}: {listing(missing)}. "
        f"All of them are needed. Add them, or {_how_to_say('images')}."
    )
    fix = f"Add them, or {_how_to_say('images')}"
    return Fault(message, tuple(Finding("list", str(document), f"{name} is not in {place}", fix) for name in missing))


def _how_to_say(option: str) -> str:
    return f"give their folder below the root as {advice.option(option)}"


def locate_labels(names: Sequence[str], folder: Path, document: Path) -> list[str]:
    """Return the PNGs of these names in a folder.

    Raises:
        InputError: a list of those that are not there.
    """
    files = NamedFiles(list_files(folder, (".png",)))
    paths = [files.find(name) for name in names]
    missing = [name for name, path in zip(names, paths, strict=True) if path is None]
    if missing or not names:
        raise InputError(
            f"{document} names {len(names)} labels, {len(missing)} of which are not in {folder}: "
            f"{listing(missing) or 'none'}. All of them are needed. Add them, or {_how_to_say('masks')}."
        )
    return [str(path) for path in paths]
