"""What a preparation is: files to write, each group of them independent of the others."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from segpipe.errors import InputError
from segpipe.names import listing

Content = np.ndarray | bytes | Path
"""What a file will hold: (H, W), (H, W, 2) or (H, W, 3) uint8, written as PNG; bytes; or those of another file."""


@dataclass(frozen=True)
class Task:
    """Files that are made together.

    Attributes:
        files: where they will lie.
        make: gives the content of each. It must pickle, for worker processes.
    """

    files: tuple[Path, ...]
    make: Callable[[], Sequence[Content]]


@dataclass(frozen=True)
class Plan:
    """What a data set needs, found out by looking at its files.

    Attributes:
        tasks: what is to be made; tasks whose files are there already belong to it.
        note: one sentence about what was found, and what the files are good for.
    """

    note: str
    tasks: tuple[Task, ...] = field(default=(), repr=False)


@dataclass(frozen=True)
class Prepared:
    """What a preparation did.

    Attributes:
        name: of the data set.
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
    """The first names in a folder, for messages."""
    names = sorted(f"{path.name}/" if os.path.isdir(path) else path.name for path in folder.iterdir())
    return listing(names, 8) or "nothing"


def first_folder(root: Path, tops: Sequence[str], wanted: str, advice: str) -> Path:
    """The first of `tops` below the root that holds `wanted`; InputError says what lies there and what to do."""
    found = next((root / top for top in tops if os.path.exists(root / top / wanted)), None)
    if found is None:
        places = ", ".join(f"{top}/{wanted}" if top else wanted for top in tops)
        raise InputError(f"{root} has no {wanted}: it holds {shown_content(root)}. Right would be {places}. {advice}")
    return found
