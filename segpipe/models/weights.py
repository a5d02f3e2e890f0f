"""Tensors from and to files: safetensors, NumPy's .npz, and pickles under `weights_only=True` alone."""

from __future__ import annotations

import pickle
import re
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from segpipe.errors import CorruptWeightsError, WeightMismatchError, WeightsError
from segpipe.log import get_logger

logger = get_logger(__name__)

# CVE-2026-24747: the restricted unpickler of older releases can be made to corrupt memory.
SAFE_PICKLE_VERSION = (2, 10)
WRAPPERS = ("state_dict", "model_state", "model", "module")
MAX_LISTED = 5


def read_tensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a .safetensors, .pt, .pth, .bin or .npz file, by key, on the CPU.

    Wrappers (`state_dict`, `model`, …) are opened and the prefix `module.` is dropped.
    """
    if not path.is_file():
        raise WeightsError(f"{path} is not a file. Give the path of a .safetensors, .pt, .pth, .bin or .npz file.")
    if path.suffix == ".npz":
        return _read_npz(path)
    tensors = _read_safetensors(path) if path.suffix == ".safetensors" else _unwrap(_read_pickle(path), path)
    return {re.sub(r"^module\.", "", key): tensor for key, tensor in tensors.items()}


@dataclass(frozen=True)
class CheckpointMeta:
    """What a training checkpoint says of its classes beside its tensors."""

    names: tuple[str, ...] = ()
    palette: tuple[tuple[int, int, int], ...] | None = None


def read_meta(path: Path) -> CheckpointMeta:
    """Class names and colours from the `meta` of an mmcv or mmengine checkpoint; empty where there are none."""
    if path.suffix in (".safetensors", ".npz"):
        return CheckpointMeta()
    content = _read_pickle(path)
    meta = content.get("meta") if isinstance(content, dict) else None
    if not isinstance(meta, dict):
        return CheckpointMeta()
    described: dict[str, Any] = meta["dataset_meta"] if isinstance(meta.get("dataset_meta"), dict) else meta
    names = described.get("classes") or described.get("CLASSES") or ()
    palette = described.get("palette") or described.get("PALETTE") or ()
    colors = tuple((int(red), int(green), int(blue)) for red, green, blue in palette)
    return CheckpointMeta(tuple(map(str, names)), colors or None)


def write_tensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Write a .safetensors file; each tensor gets memory of its own."""
    from safetensors.torch import save_file

    save_file({key: tensor.detach().cpu().contiguous().clone() for key, tensor in tensors.items()}, str(path))


def apply_tensors(model: torch.nn.Module, tensors: Mapping[str, Tensor], *, origin: str) -> None:
    """Put tensors into a model; each must be taken and none may be left, see `fit_tensors`."""
    model.load_state_dict(fit_tensors(model, tensors, origin=origin), strict=False)


def fit_tensors(model: torch.nn.Module, tensors: Mapping[str, Tensor], *, origin: str) -> dict[str, Tensor]:
    """The tensors in the shapes of a model's own, all accounted for.

    A linear layer stored as a 1x1 convolution (or the other way round) fits; BatchNorm's counter
    of batches, which some implementations drop, may be missing.

    Raises:
        WeightMismatchError: with the missing, the unexpected and the misshapen tensors by name.
    """
    own = model.state_dict()
    missing = [key for key in own if key not in tensors and not key.endswith("num_batches_tracked")]
    unexpected = [key for key in tensors if key not in own]
    fitted = {key: _fit(tensor, own[key].shape) for key, tensor in tensors.items() if key in own}
    misshapen = [
        f"{key} {tuple(tensor.shape)} for {tuple(own[key].shape)}"
        for key, tensor in fitted.items()
        if tensor.shape != own[key].shape
    ]
    if missing or unexpected or misshapen:
        message = _mismatch_message(origin, missing, unexpected, misshapen, _class_counts(tensors, own))
        raise WeightMismatchError(message)
    return fitted


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(str(path))
    except (SafetensorError, OSError, ValueError) as error:
        raise CorruptWeightsError(
            f"{path} ({path.stat().st_size} bytes) is no whole safetensors file: {error}. Download or copy it again."
        ) from error


def _read_npz(path: Path) -> dict[str, Tensor]:
    """The arrays of an archive; those that Python would have to run code for are refused."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {key: torch.from_numpy(np.ascontiguousarray(archive[key])) for key in archive.files}
    except TypeError as error:
        raise WeightsError(
            f"{path} holds an array that is no tensor: {_first_line(error)}. Save numbers alone."
        ) from error
    except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
        raise CorruptWeightsError(
            f"{path} ({path.stat().st_size} bytes) is no whole .npz file of numbers: {_first_line(error)}. "
            "Download or copy it again."
        ) from error


def _read_pickle(path: Path) -> Any:
    if _torch_version() < SAFE_PICKLE_VERSION:
        raise WeightsError(
            f"{path} is a pickle, and torch {torch.__version__} cannot open pickles safely. "
            "Upgrade to torch 2.10 or newer, or convert the file to safetensors elsewhere."
        )
    with open(path, "rb") as file:
        if file.read(2) not in (b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"):
            raise CorruptWeightsError(
                f"{path} ({path.stat().st_size} bytes) is no PyTorch checkpoint. Give a .safetensors, .pt, .pth or "
                ".bin file; if it should be one, download or copy it again."
            )
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"{path} holds more than tensors and plain values, and segpipe runs no code from a file. "
            "Where you trust it, save its state dict alone: torch.save(model.state_dict(), …)."
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise CorruptWeightsError(
            f"{path} ({path.stat().st_size} bytes) is no whole PyTorch file: {_first_line(error)}. "
            "Download or copy it again."
        ) from error


def _unwrap(content: Any, path: Path) -> dict[str, Tensor]:
    for wrapper in WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
    if not isinstance(content, dict):
        raise WeightsError(f"{path} holds a {type(content).__name__}, not a state dict. Save model.state_dict().")
    tensors = {key: value for key, value in content.items() if isinstance(value, Tensor)}
    if not tensors:
        raise WeightsError(f"{path} holds no tensors (keys: {', '.join(map(str, list(content)[:5])) or 'none'}).")
    return tensors


def _fit(tensor: Tensor, shape: torch.Size) -> Tensor:
    """(E, D) ↔ (E, D, 1, 1); anything else stays as it is."""
    squeezed = tuple(tensor.shape[:2]) == tuple(shape[:2]) and tensor.numel() == shape.numel()
    is_pointwise = {tensor.dim(), len(shape)} == {2, 4}
    return tensor.reshape(shape) if squeezed and is_pointwise else tensor


def _class_counts(tensors: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> tuple[int, int] | None:
    """(classes of the file, classes of the model) if they differ."""
    for key in ("head.classifier.bias", "head.classifier.norm.bias", "classifier.bias"):
        if key in tensors and key in own and tensors[key].shape != own[key].shape:
            return tensors[key].shape[0], own[key].shape[0]
    return None


def _mismatch_message(
    origin: str, missing: list[str], unexpected: list[str], misshapen: list[str], classes: tuple[int, int] | None
) -> str:
    parts = [f"{origin} does not fit the model."]
    for what, keys in (("Missing", missing), ("Unexpected", unexpected), ("Misshapen", misshapen)):
        if keys:
            more = f" and {len(keys) - MAX_LISTED} more" if len(keys) > MAX_LISTED else ""
            parts.append(f"{what} ({len(keys)}): {', '.join(keys[:MAX_LISTED])}{more}.")
    if classes:
        parts.append(f"The file is for {classes[0]} classes, the model has {classes[1]}: set model.num_classes.")
    else:
        parts.append("Check the architecture (variant and head) that the configuration or the preset names.")
    return " ".join(parts)


def _torch_version() -> tuple[int, int]:
    major, minor = torch.__version__.split(".")[:2]
    return int(major), int(minor)


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
