"""Read files of weights as mappings of tensors, with what they say of their classes; write them whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from segpipe.atomic import atomic_file, open_new
from segpipe.errors import CacheError, CorruptWeightsError, WeightsError
from segpipe.hub import is_index, read_index
from segpipe.limits import check_limit, limit
from segpipe.log import get_logger
from segpipe.names import listing
from segpipe.text import first_line

from .archives import check_archive, damaged, open_weights
from .pickles import Stub, first_with_tensor, owners_of_tensors, read_foreign_pickle

logger = get_logger(__name__)

DEPTH = 2
"""Levels below the content of a pickle at which a mapping of tensors may lie."""
Place = tuple[str, ...]
"""The keys that lead to a mapping; () is the content itself."""


@dataclass(frozen=True)
class CheckpointMeta:
    """What a training checkpoint says of its classes beside its tensors."""

    names: tuple[str, ...] = ()
    palette: tuple[tuple[int, int, int], ...] | None = None


@dataclass(frozen=True)
class WeightFile:
    """What a file of weights holds.

    Attributes:
        mappings: each mapping of tensors by where it lies, in the order of the file; there is at least one.
        meta: what the file says of its classes.
        unknown: the classes and functions that it names and that were not run.
    """

    mappings: Mapping[Place, Mapping[str, Any]]
    meta: CheckpointMeta = CheckpointMeta()
    unknown: tuple[str, ...] = ()


def read_weight_file(path: Path) -> WeightFile:
    """Read a .safetensors, .npz or PyTorch file, or the files that an index (.index.json) names, on the CPU.

    Raises:
        CorruptWeightsError: the file is damaged, or asks for more memory than its size warrants.
        WeightsError: it is not a file of weights.
        ModelFolderError, UnsafePathError: an index is not one, or names a file outside its folder.
    """
    if is_index(path.name):
        return WeightFile({(): _read_shards(path)})
    if path.suffix in _PLAIN:
        return WeightFile({(): _PLAIN[path.suffix](path)})
    content, unknown = read_foreign_pickle(path)
    mappings = _find_mappings(content)
    if not mappings:
        raise _without_tensors(content, unknown, path)
    return WeightFile(mappings, _meta_of(content, path), unknown)


def may_be_weight(value: object) -> bool:
    """Return whether a value is a tensor of floating numbers with dimensions, and not a score or a counter."""
    return isinstance(value, Tensor) and value.dtype.is_floating_point and value.ndim > 0


def ordinary_tensors(mapping: Mapping[str, Any], path: Path) -> dict[str, Tensor]:
    """Return the tensors of a mapping, bare; each has its numbers in memory, one for each of its elements.

    Raises:
        WeightsError: a tensor is not an ordinary one, or would need the code of an unknown class.
    """
    owner = first_with_tensor(value for value in mapping.values() if isinstance(value, Stub))
    if owner is not None:
        key = next(key for key, value in mapping.items() if value is owner)
        raise WeightsError(
            f"{path}: {key} holds tensors in an object of {owner.name}, and segpipe runs no code from a file. "
            "Where you trust it, load it with the program that wrote it, and save plain tensors."
        )
    tensors = {}
    for key, value in mapping.items():
        if isinstance(value, Tensor):
            tensors[key] = _bare(value)
            _check_ordinary(key, tensors[key], path)
    return tensors


def write_tensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Write a .safetensors file; each tensor gets memory of its own. See `write_pickle` for the rest."""
    from safetensors.torch import save_file

    own = {key: tensor.detach().cpu().contiguous().clone() for key, tensor in tensors.items()}
    with _refusals_explained(path), atomic_file(path, sync=False) as unfinished:
        save_file(own, str(unfinished))


def write_pickle(content: Mapping[str, Any], path: Path) -> None:
    """Write a file that torch.load opens. One that is there is replaced once the new one is whole.

    Raises:
        CacheError: the file cannot be written, e.g. on a full disk; nothing is left of it.
    """
    with _refusals_explained(path), atomic_file(path, sync=False) as unfinished, open_new(unfinished) as file:
        torch.save(content, file)  # by name, torch's writer would end the process


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    with open_weights(path) as file:
        length = int.from_bytes(file.read(8), "little")
    if length > limit("weights_header_bytes"):
        raise CorruptWeightsError(
            f"{path} ({path.stat().st_size} bytes) is not a safetensors file: its header would have {length:,} bytes; "
            f"at most {limit('weights_header_bytes'):,} are read. Download or copy it again."
        )
    try:
        return load_file(str(path))
    except Exception as error:  # beside SafetensorError: types that this release of torch does not have, memory
        raise damaged(path, "a complete safetensors file", error) from None


def _read_npz(path: Path) -> dict[str, Tensor]:
    """Return the arrays of an archive; those that Python would have to run code for are refused."""
    with open_weights(path) as file:
        check_archive(file, path, may_compress=True)
        file.seek(0)
        try:
            with np.load(file, allow_pickle=False) as archive:
                return {key: torch.from_numpy(np.ascontiguousarray(archive[key])) for key in archive.files}
        except TypeError as error:
            raise WeightsError(
                f"{path} holds an array that is not a tensor: {first_line(error)}. Save numbers alone."
            ) from None
        except Exception as error:  # damaged archives raise nearly anything
            raise damaged(path, "a complete .npz file of numbers", error) from None


_APART = "The files do not belong together: download or copy them all again."
_PLAIN = {".npz": _read_npz, ".safetensors": _read_safetensors}


def _read_shards(index: Path) -> dict[str, Tensor]:
    """Return the tensors of all files that an index names; each lies where the index says, and nowhere else."""
    places = read_index(index)
    names = sorted(set(places.values()))
    _check_shards(index, names)
    tensors: dict[str, Tensor] = {}
    for name in names:
        for key, tensor in _read_shard(index.parent / name).items():
            if places.get(key) != name:
                listed = f"places in {places[key]}" if key in places else "does not list"
                raise CorruptWeightsError(f"{index.parent / name} holds {key}, which {index.name} {listed}. {_APART}")
            tensors[key] = tensor
    missing = [key for key in places if key not in tensors]
    if missing:
        raise CorruptWeightsError(
            f"{index} names {listing(missing)}, which its files do not hold ({places[missing[0]]} should). {_APART}"
        )
    return tensors


def _check_shards(index: Path, names: list[str]) -> None:
    missing = [name for name in names if not os.path.isfile(index.parent / name)]
    if missing:
        raise WeightsError(
            f"{index} names {len(names)} files, of which {len(missing)} are not there: {listing(missing)}. "
            "Download or copy the missing ones."
        )
    size = sum(os.stat(index.parent / name).st_size for name in names)
    check_limit("weights_bytes", size, f"The files that {index} names have", error=WeightsError)


def _read_shard(path: Path) -> dict[str, Tensor]:
    if path.suffix in _PLAIN:
        return _PLAIN[path.suffix](path)
    mapping = _find_mappings(read_foreign_pickle(path)[0]).get(())
    if mapping is None:
        raise WeightsError(f"{path} holds no tensors, though an index says so. Download or copy it again.")
    return ordinary_tensors(mapping, path)


def _find_mappings(content: Any) -> dict[Place, dict[str, Any]]:
    """Return the mappings that hold tensors, the outer ones first; where there are likely weights, only those."""
    found: dict[Place, dict[str, Any]] = {}
    level: dict[Place, Any] = {(): content}
    seen: set[int] = set()
    for _ in range(DEPTH + 1):
        deeper: dict[Place, Any] = {}
        for place, value in level.items():
            if id(value) in seen or not isinstance(value, dict):
                continue
            seen.add(id(value))
            members = {key: member for key, member in dict.items(value) if isinstance(key, str)}
            if any(isinstance(member, Tensor) for member in members.values()):
                found[place] = members
            deeper |= {(*place, key): member for key, member in members.items() if isinstance(member, dict)}
        level = deeper
    likely = {place: members for place, members in found.items() if any(map(may_be_weight, members.values()))}
    return likely or found


def _without_tensors(content: Any, unknown: tuple[str, ...], path: Path) -> WeightsError:
    owners = owners_of_tensors(content)
    if owners:
        return WeightsError(
            f"{path} holds objects with tensors in them ({listing(owners)}), and segpipe runs no code from a file. "
            "Where you trust it, save its state dict alone: torch.save(model.state_dict(), …)."
        )
    if not isinstance(content, dict):
        return WeightsError(f"{path} holds a {type(content).__name__}, not a state dict. Save model.state_dict().")
    keys = listing([str(key)[:80] for key in dict.keys(content)]) or "none"
    others = f" It has objects of {listing(unknown)}." if unknown else ""
    return WeightsError(
        f"{path} holds no tensors at its top or up to {DEPTH} levels below (keys: {keys}).{others} "
        "Save model.state_dict()."
    )


def _meta_of(content: Any, path: Path) -> CheckpointMeta:
    """Return class names and colors from the `meta` of an mmcv or mmengine checkpoint; empty where there are none."""
    meta = _plain(_plain(content).get("meta"))
    described = _plain(meta.get("dataset_meta")) or meta
    try:
        names = described.get("classes") or described.get("CLASSES") or ()
        palette = described.get("palette") or described.get("PALETTE") or ()
        colors = tuple((int(red), int(green), int(blue)) for red, green, blue in palette)
        return CheckpointMeta(tuple(map(str, names)), colors or None)
    except (TypeError, ValueError, RuntimeError) as error:
        logger.warning("The class names and colors in %s cannot be read and are left out: %s", path, error)
        return CheckpointMeta()


def _plain(value: Any) -> dict[str, Any]:
    """Return a mapping as a plain dict, also what a mmengine ConfigDict is made from; an empty one of anything else."""
    if isinstance(value, Stub) and len(value.given) == 1:
        value = value.given[0]
    return dict(dict.items(value)) if isinstance(value, dict) else {}


def _bare(tensor: Tensor) -> Tensor:
    """Return the tensor without the attributes and hooks that a pickle may have given it."""
    return Tensor.detach(tensor) if type(tensor) in (Tensor, nn.Parameter) else tensor


def _check_ordinary(key: str, tensor: Tensor, path: Path) -> None:
    """Refuse a tensor that is not a plain array of numbers in memory."""
    if type(tensor) is not Tensor:
        kind = type(tensor).__name__
    elif tensor.is_nested:
        kind = "nested"
    elif tensor.layout != torch.strided:
        kind = str(tensor.layout).removeprefix("torch.")
    elif tensor.is_quantized:
        kind = f"quantized ({str(tensor.dtype).removeprefix('torch.')})"
    elif tensor.device.type != "cpu":
        kind = f"on the device {tensor.device}, without numbers"
    elif tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        kind = f"a view of {tensor.untyped_storage().nbytes():,} bytes as {tuple(tensor.shape)}"
    else:
        return
    raise WeightsError(
        f"{path}: {key} is {kind}; an ordinary dense tensor is needed. Save it as one: dequantize it, or call "
        "to_dense(), cpu() and clone() on it."
    )


@contextmanager
def _refusals_explained(path: Path) -> Iterator[None]:
    """Raise CacheError where a library cannot write a file."""
    try:
        yield
    except Exception as error:  # torch and safetensors have errors of their own for a full disk
        cause = _refusal_behind(error)
        reason = getattr(cause, "strerror", None) or first_line(cause)
        raise CacheError(
            f"{path} cannot be written: {reason}. Free some space there, or give another place.", path=path
        ) from cause


def _refusal_behind(error: BaseException) -> BaseException:
    """Return the operating system's own error, for which torch has other words, or the error itself."""
    behind: BaseException | None = error
    while behind is not None and not isinstance(behind, OSError):
        behind = behind.__context__
    return behind or error
