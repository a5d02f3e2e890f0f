"""Read the weights of an encoder alone, as ImageNet training leaves them, to begin training with."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from segpipe.errors import InputError, WeightMismatchError
from segpipe.hub import ModelFolder
from segpipe.models import SegpipeNetwork, fit_tensors, mistyped_tensors

from .opening import open_folder
from .state_dicts import read_weights

ENCODER = "encoder."
WEIGHTS_SUFFIXES = (".safetensors", ".pth", ".pt", ".bin", ".npz", ".ckpt")


def encoder_tensors(source: str | Path | ModelFolder, network: SegpipeNetwork) -> dict[str, Tensor]:
    """Return what a file or a model has for a network's encoder, in the network's own names.

    Every tensor is accounted for. A ViT's table of positions is brought to the network's grid: bicubic from .npz
    files, as timm since 0.4.9, else as the network's encoder says. What belongs to heads is left out, and so is a last
    norm that the encoder does not have.

    Args:
        source: .npz of the augreg series, a .pth of DeiT or timm, NVlabs' mit_b0.pth or another checkpoint whose
            encoder is the network's; or a folder or the name of such a model.
        network: has an `encoder`.

    Returns:
        "encoder.…" → tensor, all that the encoder has: `{**network.state_dict(), **encoder_tensors(…)}` is whole.

    Raises:
        WeightMismatchError: with the missing, the unexpected and the misshapen tensors by name.
    """
    path, encoder = _find_weights(source), getattr(network, "encoder", None)
    if not isinstance(encoder, nn.Module):
        raise InputError(f"{type(network).__name__} has no encoder that {source} could be for. Name another model.")
    found = read_weights(path)
    tensors = {key.removeprefix(ENCODER): value for key, value in found.tensors.items() if key.startswith(ENCODER)}
    mistyped = mistyped_tensors(tensors)
    if mistyped:
        raise WeightMismatchError(
            f"{path} has no floating numbers for {', '.join(mistyped[:3])}. Save them as float32, e.g. tensor.float()."
        )
    adapt: Any = getattr(encoder, "adapt_tensors", None)
    if adapt is not None:
        tensors = adapt(tensors, mode="bicubic" if found.dialect == "augreg" else None, origin=str(path))
    fitted = fit_tensors(encoder, tensors, origin=str(path))
    return {f"{ENCODER}{key}": tensor for key, tensor in fitted.items()}


def _find_weights(source: str | Path | ModelFolder) -> Path:
    """Return the file of weights that a path, a folder or a model's name stands for."""
    if not isinstance(source, ModelFolder) and (os.path.isfile(source) or Path(source).suffix in WEIGHTS_SUFFIXES):
        return Path(source)
    folder = open_folder(source)
    if folder.weights is None:
        raise InputError(f"{folder.name} has no weights, only a configuration. Name a model or a file that has.")
    return folder.weights
