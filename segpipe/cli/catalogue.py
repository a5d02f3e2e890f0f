"""What is known of a model without loading it: its configuration, its size, whether it is on this disk."""

from __future__ import annotations

import os
from pathlib import Path

from segpipe.configuration import Configuration, ModelConfig, SegformerConfig, load_preset, preset_names
from segpipe.errors import OfflineError
from segpipe.hub import CachedModel, Hub, ModelFolder

# Learnable numbers of SegFormer without its classifier, so that the list of models needs no torch; a test builds them.
_TRUNK_PARAMETERS = {
    ("b0", "mlp"): 3_714_144,
    ("b1", "mlp"): 13_677_248,
    ("b2", "mlp"): 27_346_624,
    ("b3", "mlp"): 47_222_464,
    ("b4", "mlp"): 63_993_024,
    ("b5", "mlp"): 84_593_344,
    ("b0", "conv"): 3_715_168,
    ("b1", "conv"): 13_678_272,
    ("b2", "conv"): 27_349_696,
    ("b3", "conv"): 47_225_536,
    ("b4", "conv"): 63_996_096,
    ("b5", "conv"): 84_596_416,
}


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
    known = _known_parameters(model) if isinstance(model, SegformerConfig) else None
    return known if known is not None else _counted_parameters(model)


def locate(configuration: Configuration, cached: tuple[CachedModel, ...]) -> Path | None:
    """Where a preset's weights lie on this disk, or None.

    Args:
        configuration: the preset.
        cached: what `Hub().cached()` says.
    """
    weights = configuration.weights
    if weights is None:
        return None
    if is_bundled(configuration):
        return _bundled_path(weights.source)
    return next((model.path for model in cached if model.source == weights.source), None)


def is_bundled(configuration: Configuration) -> bool:
    """Whether the weights came with segpipe itself."""
    return configuration.weights is not None and configuration.weights.source.startswith("package:")


def _known_parameters(model: SegformerConfig) -> int | None:
    width = 256 if model.variant in ("b0", "b1") else 768
    encoder = model.encoder
    is_plain = encoder.mlp_ratio == 4 and model.head.channels in (None, width)
    if not is_plain or encoder.dims or encoder.depths or encoder.heads or encoder.reductions:
        return None
    return _TRUNK_PARAMETERS[model.variant, model.head.type] + model.num_classes * (width + 1)


def _counted_parameters(model: ModelConfig) -> int:
    import torch

    from segpipe.models import build_model

    with torch.device("meta"):  # shapes only, no memory
        return sum(parameter.numel() for parameter in build_model(model).parameters())


def _bundled_path(source: str) -> Path:
    from segpipe.hub.client import BUNDLED

    return BUNDLED / source.removeprefix("package:")
