"""Tensors into networks: by name, shape and type, every one accounted for."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from segpipe import advice
from segpipe.errors import WeightMismatchError
from segpipe.names import listing

WEIGHT_TYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
"""What a parameter may be stored as. float8 is not among them, since its numbers need a scale stored elsewhere."""


def fit_tensors(model: torch.nn.Module, tensors: Mapping[str, Tensor], *, origin: str) -> dict[str, Tensor]:
    """Return the tensors in the shapes of a model's own, all accounted for.

    A linear layer stored as a 1x1 convolution (or the other way round) fits. A parameter or a buffer of floating
    numbers takes one of `WEIGHT_TYPES`. BatchNorm's counter of batches may be missing, as some implementations drop
    it; it is left out where it is not stored as integers.

    Raises:
        WeightMismatchError: with the missing, the unexpected, the misshapen and the mistyped tensors by name.
    """
    own = model.state_dict()
    tensors = {key: tensor for key, tensor in tensors.items() if not _is_odd_counter(key, tensor)}
    missing = [key for key in own if key not in tensors and not _is_counter(key)]
    unexpected = [key for key in tensors if key not in own]
    fitted = {key: _fit(tensor, own[key].shape) for key, tensor in tensors.items() if key in own}
    misshapen = [
        f"{key} {tuple(tensor.shape)} for {tuple(own[key].shape)}"
        for key, tensor in fitted.items()
        if tensor.shape != own[key].shape
    ]
    mistyped = mistyped_tensors({key: tensor for key, tensor in fitted.items() if own[key].is_floating_point()})
    if missing or unexpected or misshapen or mistyped:
        listed = {
            "Missing": missing,
            "Unexpected": unexpected,
            "Misshapen": misshapen,
            "Not of floating type": mistyped,
        }
        raise WeightMismatchError(_mismatch_message(origin, listed, _class_counts(tensors, own)))
    return fitted


def mistyped_tensors(tensors: Mapping[str, Tensor]) -> list[str]:
    """Return the names and types of tensors whose type is not in `WEIGHT_TYPES`, except for counters of batches."""
    return [
        f"{key} ({str(tensor.dtype).removeprefix('torch.')})"
        for key, tensor in tensors.items()
        if tensor.dtype not in WEIGHT_TYPES and not _is_counter(key)
    ]


def _is_counter(key: str) -> bool:
    return key.endswith("num_batches_tracked")


def _is_odd_counter(key: str, tensor: Tensor) -> bool:
    return _is_counter(key) and tensor.dtype not in (torch.int64, torch.int32)


def _fit(tensor: Tensor, shape: torch.Size) -> Tensor:
    """(E, D) ↔ (E, D, 1, 1); anything else stays as it is."""
    squeezed = tuple(tensor.shape[:2]) == tuple(shape[:2]) and tensor.numel() == shape.numel()
    is_pointwise = {tensor.dim(), len(shape)} == {2, 4}
    return tensor.reshape(shape) if squeezed and is_pointwise else tensor


def _class_counts(tensors: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> tuple[int, int] | None:
    """Return (classes of the file, classes of the model) if they differ."""
    for key in ("head.classifier.bias", "head.classifier.norm.bias", "classifier.bias"):
        if key in tensors and key in own and tensors[key].shape != own[key].shape and tensors[key].dim() == 1:
            return tensors[key].shape[0], own[key].shape[0]
    return None


def _mismatch_message(origin: str, listed: Mapping[str, list[str]], classes: tuple[int, int] | None) -> str:
    parts = [f"{origin} does not fit the model."]
    for what, keys in listed.items():
        if keys:
            parts.append(f"{what} ({len(keys)}): {listing(keys)}.")
    if classes:
        parts.append(
            f"The file is for {classes[0]} classes, the model has {classes[1]}: give "
            f"{advice.setting('model.num_classes', classes[0])}, or load it with its own configuration."
        )
    elif set(filter(listed.get, listed)) == {"Not of floating type"}:
        parts.append("Save them as float32, e.g. tensor.float(); float8 needs its scales multiplied in before.")
    else:
        parts.append("Check the architecture (variant and head) that the configuration or the preset names.")
    return " ".join(parts)
