"""Tensors from files: safetensors, NumPy's .npz, and pickles under `weights_only=True` alone."""

from __future__ import annotations

import os
import pickle
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor, nn

from segpipe.errors import CorruptWeightsError, WeightsError
from segpipe.files import open_regular
from segpipe.limits import limit
from segpipe.log import get_logger

logger = get_logger(__name__)

WRAPPERS = ("state_dict", "model_state", "model", "module")


def read_tensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a .safetensors, .pt, .pth, .bin or .npz file, by key, on the CPU.

    Wrappers (`state_dict`, `model`, …) are opened and the prefix `module.` is dropped. Each tensor has its numbers in
    memory, one for each of its elements.

    Raises:
        CorruptWeightsError: the file is damaged, or asks for more memory than its size warrants.
        WeightsError: it is not a file of weights, or a tensor is not an ordinary one.
    """
    read = {".npz": _read_npz, ".safetensors": _read_safetensors}.get(path.suffix, _read_state_dict)
    tensors = read(path)
    for key, tensor in tensors.items():
        _check_ordinary(key, tensor, path)
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
    content = read_pickle(path)
    meta = content.get("meta") if isinstance(content, dict) else None
    if not isinstance(meta, dict):
        return CheckpointMeta()
    described: dict[str, Any] = meta["dataset_meta"] if isinstance(meta.get("dataset_meta"), dict) else meta
    try:
        names = described.get("classes") or described.get("CLASSES") or ()
        palette = described.get("palette") or described.get("PALETTE") or ()
        colors = tuple((int(red), int(green), int(blue)) for red, green, blue in palette)
        return CheckpointMeta(tuple(map(str, names)), colors or None)
    except (TypeError, ValueError, RuntimeError) as error:
        logger.warning("The class names and colours in %s cannot be read and are left out: %s", path, error)
        return CheckpointMeta()


def _open(path: Path) -> BinaryIO:
    """The file, of at most `weights_bytes`."""
    file = open_regular(path, error=WeightsError)
    size, most = os.fstat(file.fileno()).st_size, limit("weights_bytes")
    if size > most:
        file.close()
        raise WeightsError(
            f"{path} has {size:,} bytes; at most {most:,} are read. Check that it is the right file; docs/limits.md "
            "says how to raise the limit."
        )
    try:
        file.read(1)
        file.seek(0)
    except OSError as error:  # a failing disk
        file.close()
        raise WeightsError(f"{path} cannot be read: {error.strerror or error}. Check its disk.") from None
    return file


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    with _open(path) as file:
        length = int.from_bytes(file.read(8), "little")
    if length > limit("weights_header_bytes"):
        raise CorruptWeightsError(
            f"{path} ({path.stat().st_size} bytes) is not a safetensors file: its header would have {length:,} bytes; "
            f"at most {limit('weights_header_bytes'):,} are read. Download or copy it again."
        )
    try:
        return load_file(str(path))
    except Exception as error:  # beside SafetensorError: types that this release of torch does not have, memory
        raise _damaged(path, "a complete safetensors file", error) from None


def _read_npz(path: Path) -> dict[str, Tensor]:
    """The arrays of an archive; those that Python would have to run code for are refused."""
    with _open(path) as file:
        _check_archive(file, path, may_compress=True)
        file.seek(0)
        try:
            with np.load(file, allow_pickle=False) as archive:
                return {key: torch.from_numpy(np.ascontiguousarray(archive[key])) for key in archive.files}
        except TypeError as error:
            raise WeightsError(
                f"{path} holds an array that is not a tensor: {_first_line(error)}. Save numbers alone."
            ) from None
        except Exception as error:  # damaged archives raise nearly anything
            raise _damaged(path, "a complete .npz file of numbers", error) from None


def _read_state_dict(path: Path) -> dict[str, Tensor]:
    content = read_pickle(path)
    for wrapper in WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
    if not isinstance(content, dict):
        raise WeightsError(f"{path} holds a {type(content).__name__}, not a state dict. Save model.state_dict().")
    tensors = {key: value for key, value in content.items() if isinstance(key, str) and isinstance(value, Tensor)}
    if not tensors:
        raise WeightsError(f"{path} holds no tensors (keys: {', '.join(map(str, list(content)[:5])) or 'none'}).")
    return tensors


def read_pickle(path: Path) -> Any:
    """What torch saved in a file, of tensors and plain values alone, on the CPU; no code is run.

    Raises:
        CorruptWeightsError, WeightsError: see `read_tensors`.
    """
    with _open(path) as file:
        start = file.read(4)
        if start[:2] not in (b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"):
            raise CorruptWeightsError(
                f"{path} ({path.stat().st_size} bytes) is not a PyTorch checkpoint. Give a .safetensors, .pt, .pth or "
                ".bin file; if it should be one, download or copy it again."
            )
        if start[:2] == b"PK":
            _check_archive(file, path, may_compress=False)
        file.seek(0)
        try:
            return torch.load(file, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError:
            raise WeightsError(
                f"{path} holds more than tensors and plain values, and segpipe runs no code from a file. "
                "Where you trust it, save its state dict alone: torch.save(model.state_dict(), …)."
            ) from None
        except Exception as error:  # damaged pickles raise nearly anything
            raise _damaged(path, "a complete PyTorch file", error) from None


def _check_archive(file: BinaryIO, path: Path, *, may_compress: bool) -> None:
    """Refuse a zip archive whose members unpack to more than its size warrants.

    PyTorch and numpy.savez store members as they are; numpy.savez_compressed compresses weights by a tenth.
    """
    size = os.fstat(file.fileno()).st_size
    try:
        members = zipfile.ZipFile(file).infolist()
    except Exception as error:  # damaged archives raise nearly anything
        raise _damaged(path, "a complete archive", error) from None
    if any(member.filename.endswith("/constants.pkl") for member in members):
        raise WeightsError(
            f"{path} is a TorchScript archive, which holds code. Save its state dict alone: "
            "torch.save(torch.jit.load(…).state_dict(), …)."
        )
    compressed = next((each.filename for each in members if each.compress_type != zipfile.ZIP_STORED), None)
    if compressed is not None and not may_compress:
        raise CorruptWeightsError(
            f"{path} has compressed members ({compressed}), which torch.save does not write. Save it with torch.save."
        )
    unpacked, ratio = sum(member.file_size for member in members), limit("weights_ratio")
    if unpacked > size * (1 if compressed is None else ratio):
        raise CorruptWeightsError(
            f"{path} has {size:,} bytes and would unpack to {unpacked:,}; weights shrink {ratio} times at most. "
            "Download or copy it again."
        )


def _check_ordinary(key: str, tensor: Tensor, path: Path) -> None:
    """Refuse a tensor that is not a plain array of numbers in memory."""
    if type(tensor) not in (Tensor, nn.Parameter):
        kind = type(tensor).__name__
    elif tensor.is_nested:
        kind = "nested"
    elif tensor.layout != torch.strided:
        kind = str(tensor.layout).removeprefix("torch.")
    elif tensor.is_quantized:
        kind = f"quantised ({str(tensor.dtype).removeprefix('torch.')})"
    elif tensor.device.type != "cpu":
        kind = f"on the device {tensor.device}, without numbers"
    elif tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        kind = f"a view of {tensor.untyped_storage().nbytes():,} bytes as {tuple(tensor.shape)}"
    else:
        return
    raise WeightsError(
        f"{path}: {key} is {kind}; an ordinary dense tensor is needed. Save it as one: dequantise it, or call "
        "to_dense(), cpu() and clone() on it."
    )


def _damaged(path: Path, what: str, error: BaseException) -> CorruptWeightsError:
    return CorruptWeightsError(
        f"{path} ({path.stat().st_size} bytes) is not {what}: {_first_line(error)}. Download or copy it again."
    )


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
