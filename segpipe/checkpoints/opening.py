"""From a model's name or folder to a network with its weights."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import torch

from segpipe.atomic import atomic_folder
from segpipe.configuration import encode_configuration
from segpipe.hub import Hub, ModelFolder, read_manifest, seal_folder, touch, weight_files
from segpipe.log import get_logger
from segpipe.models import SegmentationModel, SegpipeNetwork, build_loaded, build_outline, fit_tensors

from .reading import tensors_of
from .tensor_files import write_tensors

logger = get_logger(__name__)


def load_model(source: str | Path | ModelFolder, *, device: str | torch.device = "cpu") -> SegpipeNetwork:
    """A network in evaluation mode, with its weights multiplied out for speed.

    Calling `train()` on it brings the trainable form back.

    Args:
        source: a folder on disk, a preset's name, owner/name on a hub, or an open ModelFolder.
        device: where it shall run.
    """
    folder = open_folder(source)
    model = build_loaded(folder.configuration.model, tensors_of(folder), origin=str(folder.weights))
    model.eval().to(device)
    if isinstance(model, SegmentationModel):
        model.apply_folding()
    return model


def open_folder(source: str | Path | ModelFolder) -> ModelFolder:
    """The folder that a source stands for.

    What was downloaded in a foreign dialect is converted to ours, once, in the cache.
    """
    hub = Hub()
    folder = source if isinstance(source, ModelFolder) else hub.resolve(source)
    if folder.dialect == "segpipe" or folder.weights is None or not _is_cached(folder, hub):
        return folder
    return _converted(folder, hub)


def _is_cached(folder: ModelFolder, hub: Hub) -> bool:
    return hub.cache.home.resolve() in folder.path.resolve().parents


def _converted(folder: ModelFolder, hub: Hub) -> ModelFolder:
    final = hub.cache.converted_folder(f"{folder.name}-{_identity(folder)}")
    if not os.path.isfile(final / "manifest.json"):
        logger.info("Converting the weights of %s from %s, once", folder.name, folder.dialect)
        with atomic_folder(final) as folder_in_progress:
            write_model_folder(folder, folder_in_progress)
    touch(final)
    return ModelFolder.open(final, name=folder.name, revision=folder.revision)


def write_model_folder(source: ModelFolder, path: Path, *, place: str | None = None) -> ModelFolder:
    """Write a folder in our own format from one in any dialect; its network is built to check that all fits.

    Args:
        source: whose weights and configuration are written.
        path: of the new folder.
        place: by which the code in its card finds the model. If None, the source's name.
    """
    fitted = fit_tensors(build_outline(source.configuration.model), tensors_of(source), origin=str(source.weights))
    write_tensors(fitted, path / "model.safetensors")
    return seal_folder(path, source.configuration, name=source.name, revision=source.revision, place=place)


def _identity(folder: ModelFolder) -> str:
    """A short digest of what the converted folder is made of: the weights' bytes and the configuration."""
    assert folder.weights is not None
    manifest = read_manifest(folder.path)
    digest = hashlib.sha256(encode_configuration(folder.configuration))
    for file in weight_files(folder.weights):
        entry = manifest.entry(file.relative_to(folder.path).as_posix()) if manifest else None
        digest.update((entry.sha256 if entry else str(file)).encode())
    return digest.hexdigest()[:16]
