"""Many pictures: gathering them, and naming the files that are written for each."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath
from urllib.parse import unquote

from segpipe.data.sources import describe_source, iterate_sources
from segpipe.errors import InputError


def gather_sources(inputs: Iterable[str], list_file: Iterable[str]) -> list[str]:
    """Each picture of files, folders, patterns and URLs, in order; "-" stands for the lines of `list_file`."""
    sources: list[str] = []
    for name in inputs:
        names = [line.strip() for line in list_file if line.strip()] if name == "-" else [name]
        for each in names:
            sources.extend(iterate_sources(each))
    if not sources:
        raise InputError("The list on stdin is empty; it needs one picture a line. Give at least one.")
    return sources


def unique_stems(sources: Sequence[str]) -> list[str]:
    """One file name without suffix per source; a second "street" becomes "street-2", whatever the letters' case."""
    taken: set[str] = set()
    stems = []
    plain = [_stem(source, index) for index, source in enumerate(sources)]
    reserved = {stem.lower() for stem in plain}
    for stem in plain:
        chosen, number = stem, 1
        # A numbered name must not be another picture's own.
        while chosen.lower() in taken or (number > 1 and chosen.lower() in reserved):
            number += 1
            chosen = f"{stem}-{number}"
        taken.add(chosen.lower())
        stems.append(chosen)
    return stems


def _stem(source: str, index: int) -> str:
    name = unquote(describe_source(source, index)).replace("\\", "/").rstrip("/")
    stem = PurePosixPath(name).stem
    return re.sub(r"[^\w.-]+", "-", stem).strip("-.")[:100] or f"picture-{index}"
