"""Every door through which something from outside comes: valid seeds, how they are damaged, and what reads them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import strategies as st


@dataclass(frozen=True)
class Door:
    """What comes in, and what takes it."""

    inputs: st.SearchStrategy[Any]
    read: Callable[[Any], object]


DOORS: dict[str, Callable[[Path], Door]] = {}
"""Kind → what makes its door in an empty folder."""


def door(make: Callable[[Path], Door]) -> Callable[[Path], Door]:
    DOORS[make.__name__] = make
    return make


def file_reader(path: Path, read: Callable[[Path], object]) -> Callable[[bytes], object]:
    """What writes the input to a file and reads it from there."""

    def write_and_read(data: bytes) -> object:
        path.write_bytes(data)
        return read(path)

    return write_and_read
