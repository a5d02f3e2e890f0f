"""Describe how a data set is prepared: archives to fetch, and groups of files to make."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from segpipe.names import listing


@dataclass(frozen=True)
class Archive:
    """A public file, and the folder below a data set's root that it becomes.

    Attributes:
        url: where it is published.
        digest: `sha256:…`, `sha1:…` or `md5:…`, from a public source other than the server.
        top: the folder in the archive that holds what is wanted; empty for a file that is not an archive.
        folder: what `top`, or the file, becomes below the root.
        signs: paths below the root; where one of them exists, nothing is to be fetched.
        size: bytes, where it is published.
    """

    url: str
    digest: str
    top: str
    folder: str
    signs: tuple[str, ...]
    size: int | None = None

    @property
    def name(self) -> str:
        """The file's name."""
        return self.url.rpartition("/")[2]


@dataclass(frozen=True)
class Preparer:
    """How one data set is prepared.

    Attributes:
        plan: lists the files to make below a root; its keyword-only parameters are the options. If None, the data set
            is read as it was published.
        origin: which files are needed and where they come from, in a sentence.
        makes: what training needs and the origin does not have, in a phrase.
        archives: those that can be fetched: public, with a published digest.
        makes_root: whether it begins with nothing; else its root must be there.
    """

    plan: Callable[..., FilePlan] | None = None
    origin: str = ""
    archives: tuple[Archive, ...] = ()
    makes: str = "nothing but the download"
    makes_root: bool = False


Content = np.ndarray | bytes | Path
"""What a file will hold: (H, W), (H, W, 2) or (H, W, 3) uint8, written as PNG; bytes; or those of another file."""


@dataclass(frozen=True)
class FileTask:
    """Files that are made together.

    Attributes:
        files: where they will lie.
        make: gives the content of each. It must pickle, for worker processes.
    """

    files: tuple[Path, ...]
    make: Callable[[], Sequence[Content]]


@dataclass(frozen=True)
class FilePlan:
    """What a data set needs, found out by looking at its files.

    Attributes:
        tasks: the files to make, those included that are there already.
        note: one sentence about what was found, and what the files are good for.
    """

    note: str
    tasks: tuple[FileTask, ...] = field(default=(), repr=False)


@dataclass(frozen=True)
class Prepared:
    """What a preparation did.

    Attributes:
        name: the data set's name.
        root: its folder.
        note: one sentence about what was found.
        written: number of files written in each folder; paths below the root.
        kept: number of files that were there already, and whole.
    """

    name: str
    root: Path
    note: str
    written: dict[str, int]
    kept: int

    @property
    def num_written(self) -> int:
        """Number of files written."""
        return sum(self.written.values())


def shown_content(folder: Path) -> str:
    """List the first names in a folder, for messages."""
    names = sorted(f"{path.name}/" if os.path.isdir(path) else path.name for path in folder.iterdir())
    return listing(names, 8) or "nothing"
