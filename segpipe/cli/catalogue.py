"""What is known of a model without loading it: its configuration, its size, whether it is on this disk."""

from __future__ import annotations

import os
from pathlib import Path

from segpipe.configuration import Configuration, ModelConfig, load_preset, preset_names
from segpipe.errors import OfflineError
from segpipe.hub import CachedModel, Hub, ModelFolder

from .parameter_counts import known_parameters


def find_configuration(name: str) -> Configuration:
    """What a preset, a folder or a cached model says of itself; nothing is downloaded."""
    if is_preset(name):
        return load_preset(name)
    return find_folder(name).configuration


def find_folder(name: str) -> ModelFolder:
    """The folder of a model that is on this disk; OfflineError when it is not."""
    try:
        return Hub(offline=True).resolve(name)
    except OfflineError:
        raise OfflineError(f"{name} is not in the cache. Run segpipe download {name} first.") from None


def is_preset(name: str) -> bool:
    """Whether a name means a preset; a folder of that name in the current directory goes first."""
    return name in preset_names() and not os.path.isdir(name)


def num_parameters(model: ModelConfig) -> int:
    """Learnable numbers of a network; torch is imported only for networks with unusual shapes."""
    known = known_parameters(model)
    return known if known is not None else _counted_parameters(model)


def locate(configuration: Configuration, cached: tuple[CachedModel, ...]) -> Path | None:
    """Where a preset's weights lie on this disk, or None.

    Args:
        configuration: the preset.
        cached: what `Hub().cached()` says.
    """
    weights = configuration.weights
    if weights is None or weights.source is None:
        return None
    if is_bundled(configuration):
        return _bundled_path(weights.source)
    return next((model.path for model in cached if model.source == weights.source), None)


def is_bundled(configuration: Configuration) -> bool:
    """Whether the weights came with segpipe itself."""
    weights = configuration.weights
    return weights is not None and weights.source is not None and weights.source.startswith("package:")


def has_weights(configuration: Configuration) -> bool:
    """Whether its weights come from somewhere; a preset without is trained from scratch."""
    return configuration.weights is not None and configuration.weights.source is not None


def _counted_parameters(model: ModelConfig) -> int:
    from segpipe.models import build_outline

    return sum(parameter.numel() for parameter in build_outline(model).parameters())


def _bundled_path(source: str) -> Path:
    from segpipe.hub import BUNDLED

    return BUNDLED / source.removeprefix("package:")
