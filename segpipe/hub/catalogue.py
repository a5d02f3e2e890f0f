"""What is known of a model without loading it: whether it is a preset, whether it is on this disk, its size there."""

from __future__ import annotations

import os
from pathlib import Path

from segpipe.configuration import Configuration, preset_names

from .cache import CachedModel
from .client import BUNDLED
from .folder import ModelFolder

BUNDLED_MODEL = "segformer-b0-camvid"
"""A preset whose weights come with the package."""


def is_preset(name: str) -> bool:
    """Return whether a name means a preset. A folder of that name in the current directory goes first."""
    return name in preset_names() and not os.path.isdir(name)


def has_weights(configuration: Configuration) -> bool:
    """Return whether a preset's weights come from somewhere. One without is trained from scratch."""
    return configuration.weights is not None and configuration.weights.source is not None


def is_bundled(configuration: Configuration) -> bool:
    """Return whether a preset's weights came with segpipe itself."""
    weights = configuration.weights
    return weights is not None and weights.source is not None and weights.source.startswith("package:")


def locate_weights(configuration: Configuration, cached: tuple[CachedModel, ...]) -> Path | None:
    """Return where a preset's weights lie on this disk, or None.

    Args:
        configuration: the preset.
        cached: what `Hub().cached()` says.
    """
    weights = configuration.weights
    if weights is None or weights.source is None:
        return None
    if is_bundled(configuration):
        return BUNDLED / weights.source.removeprefix("package:")
    return next((model.path for model in cached if model.source == weights.source), None)


def folder_bytes(folder: ModelFolder) -> int:
    """Return the size of a model's files; of the weights alone for a model that came with segpipe."""
    if folder.weights is not None and not os.path.isfile(folder.path / "manifest.json"):
        return folder.weights.stat().st_size
    return sum(path.stat().st_size for path in folder.path.rglob("*") if os.path.isfile(path))
