"""From any source of a model to an open folder, its tensors in our names, and the network."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from segpipe import advice
from segpipe.atomic import atomic_folder
from segpipe.configuration import Configuration, encode_configuration, load_preset, read_configuration
from segpipe.devices import parse_device
from segpipe.errors import InputError
from segpipe.hub import Cache, ModelFolder, is_model_folder, read_manifest, seal_folder, touch, weight_files
from segpipe.log import get_logger
from segpipe.models import SegpipeNetwork, build_loaded, build_outline, fit_tensors

from .detecting import DOCUMENTS, IMPLEMENTATIONS, describe_checkpoint
from .implementation import Checkpoint
from .key_map import Tensors
from .model_folders import build_hub, resolve_folder
from .state_dicts import read_weights
from .weight_files import write_tensors

logger = get_logger(__name__)


@dataclass(frozen=True)
class CheckpointFolder(ModelFolder):
    """A file that stands for a model folder, whose weights have been read."""

    tensors: Tensors = field(default_factory=dict, repr=False, compare=False)
    """In our names."""


def load_model(source: str | Path | ModelFolder, *, device: str | torch.device = "cpu") -> SegpipeNetwork:
    """Return a network in evaluation mode, with its weights multiplied out for speed.

    Calling `train()` on it brings the trainable form back.

    Args:
        source: a folder on disk, a preset's name, owner/name on a hub, or an open ModelFolder.
        device: where it will run.
    """
    folder = open_folder(source)
    model = build_loaded(folder.configuration.model, tensors_of(folder), origin=str(folder.weights))
    model.eval().to(parse_device(device))
    model.apply_folding()
    return model


def open_folder(source: str | Path | ModelFolder, revision: str | None = None) -> ModelFolder:
    """Return the folder that a source stands for, in whatever dialect it was written.

    What was downloaded in a foreign dialect is converted to ours, once, in the cache.
    """
    hub = build_hub()
    folder = source if isinstance(source, ModelFolder) else hub.resolve(source, revision)
    is_cached = hub.cache.home.resolve() in folder.path.resolve().parents
    if folder.dialect == "segpipe" or folder.weights is None or not is_cached:
        return folder
    return _converted(folder, hub.cache)


def open_checkpoint(source: str | Path, *, architecture: str | None = None, preset: str | None = None) -> ModelFolder:
    """Open any checkpoint or folder; its configuration is its own, the preset's, or made from its tensors.

    What it takes is what `convert` takes; nothing is written.
    """
    path = _find_checkpoint(Path(source))
    if os.path.isfile(path):
        found = read_weights(path)
        if preset:
            configuration = load_preset(preset)
        elif os.path.isfile(sidecar_of(path)):
            configuration = _read_sidecar(path, architecture)
        else:
            implementation = IMPLEMENTATIONS[found.dialect]
            checkpoint = Checkpoint(path, found.tensors, implementation, found.meta, architecture)
            configuration = describe_checkpoint(checkpoint)
        return CheckpointFolder(path.parent, configuration, path, found.dialect, path.name, tensors=found.tensors)
    folder = resolve_folder(source)
    if folder.weights is None:
        raise InputError(f"{source} has no weights to convert. Name a folder or a file that has.")
    if architecture is not None:
        raise InputError(f"{source} says itself what it is. Leave {advice.argument('architecture', architecture)} out.")
    return replace(folder, configuration=load_preset(preset)) if preset else folder


def tensors_of(folder: ModelFolder) -> Tensors:
    """Return a model folder's tensors in our names; ModelFolderError where it has none."""
    if isinstance(folder, CheckpointFolder):
        return folder.tensors
    return read_weights(folder.require_weights(), folder.dialect).tensors


def own_tensors(folder: ModelFolder) -> Tensors:
    """Return a folder's tensors in our names and in our shapes, all accounted for."""
    return fit_tensors(build_outline(folder.configuration.model), tensors_of(folder), origin=str(folder.weights))


def write_model_folder(source: ModelFolder, path: Path, *, place: str | None = None) -> ModelFolder:
    """Write a folder in our own format from one in any dialect; its network is built to check that all fits.

    Args:
        source: whose weights and configuration are written.
        path: of the new folder.
        place: by which the code in its card finds the model. If None, the source's name.
    """
    write_tensors(own_tensors(source), path / "model.safetensors")
    return seal_folder(path, source.configuration, name=source.name, revision=source.revision, place=place)


def sidecar_of(path: Path) -> Path:
    """Return where `convert_back` writes the configuration of a file of weights."""
    return path.with_name(f"{path.name}.json")


def has_document(path: Path) -> bool:
    """Return whether a document beside a file of weights says how images are resized and seen."""
    names = (sidecar_of(path).name, *(document.name for document in DOCUMENTS))
    return any(os.path.isfile(path.with_name(name)) for name in names)


def _read_sidecar(path: Path, architecture: str | None) -> Configuration:
    if architecture is not None:
        raise InputError(
            f"{sidecar_of(path).name} beside {path} says what it is. Leave "
            f"{advice.argument('architecture', architecture)} out, or move one of the two files."
        )
    return read_configuration(sidecar_of(path))


def _find_checkpoint(path: Path) -> Path:
    """Return the checkpoint in a folder of Segmenter's or LiBai's training, and any other path as it is."""
    if is_model_folder(path):
        return path
    name = next((document.name for document in DOCUMENTS if document.find(path) is not None), None)
    if name is None:
        return path
    found = sorted(file for suffix in (".pth", ".bin", ".safetensors") for file in path.glob(f"*{suffix}"))
    if len(found) > 1 and path / "checkpoint.pth" in found:
        return path / "checkpoint.pth"
    if len(found) != 1:
        raise InputError(f"{path} has {len(found)} checkpoints (.pth) beside {name}. Name the one to convert.")
    return found[0]


def _converted(folder: ModelFolder, cache: Cache) -> ModelFolder:
    final = cache.converted_folder(f"{folder.name}-{_identity(folder)}")
    if not os.path.isfile(final / "manifest.json"):
        logger.info("Converting the weights of %s from %s, once", folder.name, folder.dialect)
        with atomic_folder(final) as folder_in_progress:
            write_model_folder(folder, folder_in_progress)
    touch(final)
    return ModelFolder.open(final, name=folder.name, revision=folder.revision)


def _identity(folder: ModelFolder) -> str:
    """Return a short digest of what the converted folder is made of: the weights' bytes and the configuration."""
    manifest = read_manifest(folder.path)
    digest = hashlib.sha256(encode_configuration(folder.configuration))
    for file in weight_files(folder.require_weights()):
        entry = manifest.entry(file.relative_to(folder.path).as_posix()) if manifest else None
        digest.update((entry.sha256 if entry else str(file)).encode())
    return digest.hexdigest()[:16]
