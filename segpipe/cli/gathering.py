"""Many images from a command's arguments: files, folders, patterns, URLs and a list on stdin."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from segpipe.data import is_many, iterate_sources
from segpipe.errors import InputError

REPORT = "report"
"""What is done at a bad image where --on-error says nothing: like skip, but the command has failed in the end."""
_LIST = "-"


def gather_sources(
    inputs: Iterable[str], list_file: Iterable[str], *, recursive: bool = False, output: Path | None = None
) -> list[str]:
    """Return each image of files, folders, patterns and URLs, in order; "-" stands for the lines of `list_file`.

    Args:
        inputs: the arguments.
        list_file: an image a line.
        recursive: whether folders are read with their sub-folders.
        output: a folder that is left out where it is one of those sub-folders.
    """
    sources: list[str] = []
    for name in inputs:
        names = [line.strip() for line in list_file if line.strip()] if name == _LIST else [name]
        for each in names:
            found = iterate_sources(each, recursive=recursive)
            sources.extend(_outside(output, each, found) if recursive and output is not None else found)
    if not sources:
        raise InputError("The list on stdin is empty; it needs one picture a line. Give at least one.")
    return sources


def is_one_image(inputs: Sequence[str]) -> bool:
    """Whether the arguments name a single image, and not what may stand for many."""
    return len(inputs) == 1 and inputs[0] != _LIST and not is_many(inputs[0])


def exit_code(num_done: int, num_skipped: int, on_error: str) -> int:
    """Return 0 where all images were done, or those that were not may be skipped; nothing done is an error, too."""
    return 0 if num_done and (on_error == "skip" or not num_skipped) else 1


def _outside(output: Path, folder: str, found: Iterable[str]) -> list[str]:
    """Return what was found in a folder, but not what an earlier command wrote below it."""
    if not os.path.isdir(folder):
        return [*found]
    inside = os.path.join(os.path.realpath(output), "")
    if os.path.join(os.path.realpath(folder), "").startswith(inside):
        return [*found]
    return [path for path in found if not os.path.realpath(path).startswith(inside)]
