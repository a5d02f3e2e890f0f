"""Exported networks in the cache: made on first use, made again when they are damaged or something changed."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import torch

from segpipe import __version__
from segpipe.atomic import atomic_folder, replaced_folder
from segpipe.checkpoints import load_model
from segpipe.hub import (
    Hub,
    ModelFolder,
    build_manifest,
    check_folder,
    folder_lock,
    read_manifest,
    read_settings,
    sha256_of,
    touch,
    write_manifest,
)
from segpipe.log import get_logger

from .exporting import export_network
from .formats import Format, find_format
from .quantizing import QUANTIZATION_VERSION, Calibration
from .torch_export import GRAPH_VERSION

logger = get_logger(__name__)


def keep_export(folder: ModelFolder, *, format: str, calibration: Calibration | None = None) -> Path:
    """Return the exported file of a model for float32 images in the cache; it is made if it is missing or damaged.

    It stands for the weights' bytes, the model's configuration, the versions of segpipe and of what exports, and of an
    int8 file for the bytes of the images that it was calibrated with.

    Args:
        folder: the model.
        format: see `FORMATS`.
        calibration: images for a file in int8. If None, the file is in float32.
    """
    chosen = find_format(format) if calibration is None else find_format(format).for_int8()
    kind = chosen.name if calibration is None else f"{chosen.name}-int8"
    cache = Hub().cache
    final = cache.converted_folder(f"{Path(folder.name).name}-{kind}-{_identity(folder, chosen, calibration)}")
    if check_folder(final):
        cache.prepare()
        with folder_lock(cache.home / "locks" / final.name, read_settings().lock_timeout):
            _make(folder, final, chosen, calibration)
    touch(final)
    return _file_in(final, chosen)


def _make(folder: ModelFolder, final: Path, format: Format, calibration: Calibration | None) -> None:
    """Fill the folder `final`, unless another process did so meanwhile."""
    is_there = os.path.exists(final)
    if not check_folder(final):
        return
    format.require_packages()
    logger.info(
        "Exporting %s to %s, once; this takes some tens of seconds, or minutes for a large network.",
        folder.name,
        format.name,
    )
    if is_there:
        logger.warning("%s is damaged. Exporting %s again.", final, folder.name)
    with (replaced_folder if is_there else atomic_folder)(final) as unfinished:
        path = _file_in(unfinished, format)
        export_network(load_model(folder), path, format, pixels=torch.float32, calibration=calibration)
        manifest = build_manifest(unfinished, [file.name for file in format.files(path)])
        write_manifest(unfinished, replace(manifest, source=_source_of(folder)))


def _source_of(folder: ModelFolder) -> str | None:
    """Return where the model came from: when that is removed from the cache, its exports go too."""
    manifest = read_manifest(folder.path)
    return manifest.source if manifest else None


def _file_in(folder: Path, format: Format) -> Path:
    return folder / f"network{format.suffix}"


def _identity(folder: ModelFolder, format: Format, calibration: Calibration | None) -> str:
    """Return a short digest of all that the file depends on. The weights are read: a folder's manifest may be old."""
    parts = [
        sha256_of(folder.require_weights()),
        folder.dialect,
        _encode(folder.configuration.model),
        f"segpipe={__version__} graph={GRAPH_VERSION}",
        format.versions(),
    ]
    if calibration is not None:
        configuration = calibration.configuration
        parts += [
            calibration.digest(),
            _encode(configuration.preprocessor),
            _encode(configuration.inference),
            f"quantization={QUANTIZATION_VERSION}",
        ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _encode(section: Any) -> str:
    return msgspec.json.encode(section).decode()
