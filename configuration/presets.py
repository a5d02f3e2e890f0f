"""Presets: the documents of published models and recipes that come with segpipe."""

from __future__ import annotations

import functools
from pathlib import Path

from segpipe.errors import UnknownNameError
from segpipe.names import unknown_name_message

from .codec import read_configuration
from .schema import Configuration

_FOLDER = Path(__file__).parent / "presets"


@functools.lru_cache(maxsize=1)
def preset_names() -> tuple[str, ...]:
    """Return the names of all presets, sorted; no document is read."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.json")))


@functools.lru_cache(maxsize=64)
def load_preset(name: str) -> Configuration:
    """Return the configuration of a preset; UnknownNameError has the nearest names."""
    if name not in preset_names():
        raise UnknownNameError(unknown_preset_message(name), key=name)
    return read_configuration(_FOLDER / f"{name}.json")


def unknown_preset_message(name: str) -> str:
    """Return a sentence for a preset that does not exist, with those that come nearest."""
    return unknown_name_message("preset", name, preset_names(), listed_by="segpipe models list")
