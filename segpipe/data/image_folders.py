"""List the image files of folders and patterns, and log which files and folders are passed by."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Iterable, Iterator

from segpipe import advice
from segpipe.errors import ImageDecodeError, InputError
from segpipe.files import open_regular
from segpipe.log import get_logger
from segpipe.names import listing

from .image_formats import BYTES_LOOKED_AT, FOREIGN_SUFFIXES, foreign_format, image_format

logger = get_logger(__name__)
IMAGE_SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".dib", ".tif", ".tiff", ".gif"),
    *(".jp2", ".j2k", ".jpf", ".jpx", ".avif"),
)
"""What is taken from folders and patterns, in lower or upper case."""
_RAW_SUFFIXES = (".dng", ".cr2", ".nef", ".nrw", ".arw", ".pef", ".srw")
"""TIFFs, of which the first image is a thumbnail."""
_MOST_FOLDERS = 1000
"""Sub-folders that are searched for an image; if none of them has one, it is assumed to be farther down."""


def files_of(text: str, recursive: bool) -> list[str]:
    """Return the image files of a folder or a pattern and, if `recursive`, of its sub-folders, sorted.

    The log names what is passed by: files of formats that are not read as a warning, sub-folders as information.

    Raises:
        InputError: there are none, or the folder cannot be read.
    """
    paths = _children(text) if os.path.isdir(text) else glob.glob(text, recursive=True)
    folders = _folders_among(paths, text)
    below = (path for folder in folders for path in _below(folder)) if recursive else ()
    files, passed_by = split_readable(sorted({*paths, *below}))
    if files and passed_by:
        logger.warning("%s: passed by, since segpipe does not read them: %s.", text, list_formats(passed_by))
    if not files:
        others = f"; it holds {list_formats(passed_by)}, which is not read" if passed_by else ""
        raise InputError(
            f"The folder {text} holds no image ({', '.join(IMAGE_SUFFIXES)}){others}. "
            + ("Check the path." if recursive else f"For its sub-folders give {_way_down(text)}.")
        )
    if not recursive and "**" not in text:
        _tell_of_folders(text, folders)
    return files


def split_readable(paths: Iterable[str]) -> tuple[list[str], Counter[str]]:
    """Return the image files, and how many others of each format hold images or films that are not read."""
    files: list[str] = []
    passed_by: Counter[str] = Counter()
    for path in paths:
        suffix = os.path.splitext(path)[1].lower()
        if os.path.basename(path).startswith(".") or not os.path.isfile(path):
            continue
        if suffix in IMAGE_SUFFIXES:
            files.append(path)
        elif suffix in FOREIGN_SUFFIXES:
            found = _content_of(path, suffix)
            files += [path] if found is None else []
            passed_by.update([] if found is None else [found])
    return files, passed_by


def list_formats(passed_by: Counter[str]) -> str:
    """Return what `split_readable` counted, for a message: "2 HEIC image, 1 MP4 film"."""
    return ", ".join(f"{count} {name}" for name, count in passed_by.most_common())


def _content_of(path: str, suffix: str) -> str | None:
    """Return what a file is that cannot be read, or None for one that can, such as a JPEG with the name of a HEIC."""
    try:
        with open_regular(path, error=ImageDecodeError) as file:
            start = file.read(BYTES_LOOKED_AT)
    except (ImageDecodeError, OSError):
        start = b""
    if image_format(start) is not None and suffix not in _RAW_SUFFIXES:
        return None
    foreign = foreign_format(start)
    name = suffix[1:].upper() if foreign is None else foreign[0]
    return name.removeprefix("a camera's ").removeprefix("an ").removeprefix("a ")


def _children(folder: str) -> list[str]:
    try:
        return [os.path.join(folder, name) for name in os.listdir(folder)]
    except OSError as error:
        raise InputError(f"The folder {folder} cannot be read: {error.strerror}. Check its permissions.") from None


def _folders_among(paths: Iterable[str], top: str) -> list[str]:
    """Return the folders that are not hidden, without links that lead up again."""
    inside = os.path.join(os.path.realpath(top), "")
    return sorted(
        path
        for path in paths
        if os.path.isdir(path)
        and not os.path.basename(path).startswith(".")
        and not inside.startswith(os.path.join(os.path.realpath(path), ""))
    )


def _below(folder: str) -> Iterator[str]:
    """Yield the paths of files in a folder and below, without hidden folders and those behind links."""
    for place, folders, names in os.walk(folder, onerror=_warn_of_folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (os.path.join(place, name) for name in names)


def _warn_of_folder(error: OSError) -> None:
    logger.warning("The folder %s cannot be read: %s.", error.filename, error.strerror)


def _tell_of_folders(text: str, folders: Iterable[str]) -> None:
    """Log which sub-folders hold images that are not read, and how to read them."""
    names = [os.path.join(os.path.basename(folder), "") for folder in folders if _holds_image(folder)]
    if names:
        logger.info("%s: left out its sub-folders %s. To read them, give %s.", text, listing(names), _way_down(text))


def _holds_image(folder: str) -> bool:
    """Return whether an image lies in a folder or below it; True, too, if that would be a long search."""
    for count, (_, folders, names) in enumerate(os.walk(folder)):
        if count == _MOST_FOLDERS or any(is_image_name(name) for name in names):
            return True
        folders[:] = [name for name in folders if not name.startswith(".")]
    return False


def is_image_name(name: str) -> bool:
    """Return whether a file of this name is taken for an image; hidden files are not."""
    return name.lower().endswith(IMAGE_SUFFIXES) and not name.startswith(".")


def _way_down(folder: str) -> str:
    """Return how to read sub-folders, as the caller writes it; a pattern does it everywhere."""
    switch = advice.argument("recursive", True)
    inside = glob.escape(folder) if os.path.isdir(folder) else os.path.dirname(folder)
    return switch if switch.startswith("--") else f"the pattern {os.path.join(inside, '**', '*')!r}"
