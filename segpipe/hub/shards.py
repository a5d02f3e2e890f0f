"""Weights in several files, as Hugging Face shards them: the index that says which file holds which tensor."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from segpipe.configuration import Text, decode_document
from segpipe.errors import ModelFolderError
from segpipe.files import read_file
from segpipe.limits import limit

from .paths import check_relative_paths

INDEX_SUFFIX = ".index.json"
SHARD_SUFFIXES = (".safetensors", ".bin", ".pt", ".pth")
_SHARD = re.compile(r"-[0-9]{5}-of-[0-9]{5}\.(?:safetensors|bin)$")


def is_index(name: str) -> bool:
    """Return whether a file name is that of an index, e.g. model.safetensors.index.json."""
    return name.endswith(INDEX_SUFFIX)


def read_index(path: Path, *, origin: str | None = None) -> dict[str, str]:
    """Read an index: the name of each tensor, and of the file that holds it, relative to the index.

    Args:
        origin: what an error calls the file. If None, its path.

    Raises:
        ModelFolderError: it is not an index.
        UnsafePathError: it names a file outside its folder.
    """
    where = origin or str(path)
    data = read_file(path, max_bytes=limit("index_bytes"), error=ModelFolderError)
    try:
        places = decode_document(data, _Index).weight_map
    except ValueError as error:
        raise ModelFolderError(
            f"{where} is not an index of weights: {error}. It needs weight_map, which names a file for each tensor. "
            "Download or copy it again."
        ) from None
    _check_names(set(places.values()), where)
    return places


def shard_names(path: Path, *, origin: str | None = None) -> tuple[str, ...]:
    """Return the names of the files that an index names, in order; see `read_index`."""
    return tuple(sorted(set(read_index(path, origin=origin).values())))


def weight_files(path: Path) -> tuple[Path, ...]:
    """Return the files that hold a model's weights: the file itself, or an index and the files that it names."""
    return (path, *(path.parent / name for name in shard_names(path))) if is_index(path.name) else (path,)


def lone_shards(names: Collection[str]) -> list[str]:
    """Return those of the names that are called as one of several files of weights."""
    return sorted(name for name in names if _SHARD.search(name))


@dataclass(frozen=True)
class _Index:
    """An index as JSON."""

    weight_map: dict[Text, Text]


def _check_names(names: set[str], where: str) -> None:
    if not 0 < len(names) <= limit("model_files"):
        raise ModelFolderError(
            f"{where} names {len(names):,} files; 1 to {limit('model_files'):,} can hold a model's weights. "
            "Check that it is the right file; docs/limits.md says how to raise the limit."
        )
    check_relative_paths(names)
    other = next((name for name in sorted(names) if not name.endswith(SHARD_SUFFIXES)), None)
    if other is not None:
        raise ModelFolderError(
            f"{where} names {other}, which ends in none of {', '.join(SHARD_SUFFIXES)}. Download or copy it again."
        )
