"""Which files of a folder or of a source are a model's, and which of them hold its weights.

Weights may lie in several files, as Hugging Face shards them; an index says which file holds which tensor.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from segpipe.configuration import Text, decode_document
from segpipe.errors import DownloadError, ModelFolderError, ModelNotFoundError
from segpipe.files import read_file
from segpipe.limits import check_limit, limit
from segpipe.names import listing as listing_of

from .origins import Listing, RemoteFile
from .references import check_relative_paths

SMALL_FILES = (
    "configuration.json",
    "config.json",
    "preprocessor_config.json",
    "README.md",
    "LICENSE*",
    "NOTICE*",
)
WEIGHT_FILES = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.safetensors",
    "pytorch_model.pt",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
"""The usual names, the preferred ones first. An index stands for the files that it names."""
LONE_WEIGHTS = (".pt", ".pth")
INDEX_SUFFIX = ".index.json"
SHARD_SUFFIXES = (".safetensors", ".bin", ".pt", ".pth")
SHARD = re.compile(r"-[0-9]{5}-of-[0-9]{5}\.(?:safetensors|bin)$")
"""The end of a name that is one of several files of weights."""


def select_files(listing: Listing, weights_file: str | None, label: str) -> tuple[RemoteFile, ...]:
    """Return the files that a model needs: configuration, card, license and one weights file; never code."""
    error, advice = partial(DownloadError, key=label), "Check that it is the right model"
    check_limit("listed_files", len(listing.files), f"{label} lists", error=error, advice=advice)
    small = [file for file in listing.files if _is_small(file.path) and file.path != weights_file]
    check_limit("model_files", len(small) + 1, f"{label} needs", error=error, advice=advice)
    return (*small, _select_weights(listing.files, weights_file, label))


def select_shards(listing: Listing, index: RemoteFile, names: Sequence[str], label: str) -> tuple[RemoteFile, ...]:
    """Return the files that an index names, relative to its own folder."""
    listed = {file.path: file for file in listing.files}
    folder = index.path.rpartition("/")[0]
    paths = [f"{folder}/{name}" if folder else name for name in names]
    missing = [path for path in paths if path not in listed]
    if missing:
        raise ModelNotFoundError(
            f"{label} does not offer {listing_of(missing)}, though {index.path} says that weights lie there. "
            "Name another revision, or ask its owner for the missing files.",
            key=label,
        )
    return tuple(listed[path] for path in paths)


def select_weights_name(names: Sequence[str]) -> str | None:
    """Return which of the names holds the weights; None unless there is exactly one candidate."""
    usual = next((name for name in WEIGHT_FILES if name in names), None)
    lone = [name for name in names if "/" not in name and name.endswith(LONE_WEIGHTS)]
    return usual or (lone[0] if len(lone) == 1 else None)


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
            "Download or copy it again.",
            path=path,
        ) from None
    _check_names(set(places.values()), where)
    return places


def shard_names(path: Path, *, origin: str | None = None) -> tuple[str, ...]:
    """Return the names of the files that an index names, in order; see `read_index`."""
    return tuple(sorted(set(read_index(path, origin=origin).values())))


def weight_files(path: Path) -> tuple[Path, ...]:
    """Return the files that hold a model's weights: the file itself, or an index and the files that it names."""
    return (path, *(path.parent / name for name in shard_names(path))) if is_index(path.name) else (path,)


def _is_small(path: str) -> bool:
    return any(fnmatch.fnmatchcase(path, pattern) for pattern in SMALL_FILES) and "/" not in path


def _select_weights(files: Sequence[RemoteFile], weights_file: str | None, label: str) -> RemoteFile:
    names = [file.path for file in files]
    wanted = weights_file or select_weights_name(names)
    if wanted in names:
        return files[names.index(wanted)]
    looked_for = weights_file or f"{', '.join(WEIGHT_FILES)}, or one *.pt or *.pth file"
    offered = ", ".join(sorted(names)[:12]) or "no file at all"
    raise ModelNotFoundError(
        f"{label} has no weights file that segpipe can choose: looked for {looked_for}; it offers {offered}. "
        "Check the name and the revision.",
        key=label,
    )


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
