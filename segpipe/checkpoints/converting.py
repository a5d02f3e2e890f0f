"""From a foreign checkpoint or folder to a model folder of ours."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from segpipe import advice
from segpipe.atomic import atomic_folder, remove_folder
from segpipe.checkpoints.libai_settings import LIBAI_FILE, is_libai_file
from segpipe.checkpoints.segmenter_settings import VARIANT_FILE
from segpipe.configuration import (
    Configuration,
    LabelSet,
    describe_inference,
    describe_preprocessing,
    load_preset,
    read_configuration,
    read_labels,
)
from segpipe.errors import InputError, SegpipeError, UnknownNameError
from segpipe.files import check_vacant
from segpipe.hub import Hub, ModelFolder, is_model_folder, place_in_card
from segpipe.log import get_logger
from segpipe.names import unknown_name_message

from .dialects.families import Checkpoint, Family
from .dialects.segformer import SEGFORMER_FAMILY
from .dialects.segmenter import SEGMENTER_FAMILY
from .dialects.unept import UNEPT_FAMILY
from .opening import write_model_folder
from .reading import CheckpointFolder, read_weights

logger = get_logger(__name__)

# The first that recognises a checkpoint describes it; UN-EPT's may have Segmenter's encoder.
FAMILIES: tuple[Family, ...] = (SEGFORMER_FAMILY, UNEPT_FAMILY, SEGMENTER_FAMILY)
ARCHITECTURES = tuple(name for family in FAMILIES for name in family.architectures)


def convert(
    source: str | Path,
    to: str | Path,
    *,
    architecture: str | None = None,
    num_classes: int | None = None,
    labels: Any = None,
    preset: str | None = None,
    overwrite: bool = False,
) -> ModelFolder:
    """Write a model folder from any checkpoint or folder whose tensor names are known.

    Args:
        source: a .pth, .pt, .ckpt, .bin or .safetensors file, or the index of several; a folder (ModelScope, Hugging
            Face, Segmenter or ours); or a model's name.
        to: the folder to write; it must not exist yet, or be empty.
        architecture: one of `ARCHITECTURES`; else read from the source's configuration or its tensors.
        num_classes: checked against the weights.
        labels: a label set, or class names in a list, in a text with commas or in a file; else what the source says,
            else "class 0", "class 1", ….
        preset: take the whole configuration from this preset.
        overwrite: whether a model folder that is there is replaced.
    """
    target, given = Path(to), None if labels is None else read_labels(labels)
    if architecture is not None and preset is not None:
        both = f"{advice.argument('architecture', architecture)} and {advice.argument('preset', preset)}"
        raise InputError(f"{both} both say what the model is. Give one.")
    check_target(target, overwrite=overwrite)
    folder = open_checkpoint(source, architecture=architecture, preset=preset)
    if preset is None and folder.weights is not None and not _says_its_procedure(folder.weights, source):
        logger.warning(
            "%s does not say how images are resized and seen. Assumed is what %s does by default. Preprocessing: %s. "
            "Inference: %s. To set them, convert with a preset (%s), or change configuration.json",
            Path(source).name,
            folder.dialect,
            describe_preprocessing(folder.configuration),
            describe_inference(folder.configuration.inference),
            advice.argument("preset"),
        )
    configuration = _with_labels(folder.configuration, given)
    _check_classes(configuration, num_classes, origin=str(source))
    with atomic_folder(target) as in_progress:
        named = replace(folder, configuration=configuration, name=target.name)
        write_model_folder(named, in_progress, place=place_in_card(target))
        if overwrite:
            remove_folder(target)
    return ModelFolder.open(target)


def check_target(target: Path, *, overwrite: bool) -> None:
    """Refuse to write a model folder where something is, unless it may be replaced and is a model folder or empty."""
    if not os.path.lexists(target) or (os.path.isdir(target) and not any(target.iterdir())):
        return
    if not is_model_folder(target):
        raise InputError(f"{target} is not empty and not a model folder. Name a new folder, or remove it first.")
    check_vacant(target, overwrite=overwrite, error=InputError)


def open_checkpoint(source: str | Path, *, architecture: str | None = None, preset: str | None = None) -> ModelFolder:
    """Any checkpoint or folder, in any dialect, with a configuration: its own, the preset's, or one made from tensors.

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
            checkpoint = Checkpoint(path, found.tensors, found.dialect, found.meta, architecture)
            configuration = describe_checkpoint(checkpoint)
        return CheckpointFolder(path.parent, configuration, path, found.dialect, path.name, tensors=found.tensors)
    folder = Hub().resolve(source)
    if folder.weights is None:
        raise InputError(f"{source} has no weights to convert. Name a folder or a file that has.")
    if architecture is not None:
        raise InputError(f"{source} says itself what it is. Leave {advice.argument('architecture', architecture)} out.")
    return replace(folder, configuration=load_preset(preset)) if preset else folder


def sidecar_of(path: Path) -> Path:
    """Where `convert_back` writes the configuration of a file of weights."""
    return path.with_name(f"{path.name}.json")


def _says_its_procedure(weights: Path, source: str | Path) -> bool:
    """Whether a folder, or a document beside a file, says how images are resized and seen."""
    documents = sidecar_of(weights), weights.with_name(VARIANT_FILE), weights.with_name(LIBAI_FILE)
    return not os.path.isfile(source) or any(os.path.isfile(document) for document in documents)


def _read_sidecar(path: Path, architecture: str | None) -> Configuration:
    if architecture is not None:
        raise InputError(
            f"{sidecar_of(path).name} beside {path} says what it is. Leave "
            f"{advice.argument('architecture', architecture)} out, or move one of the two files."
        )
    return read_configuration(sidecar_of(path))


def _find_checkpoint(path: Path) -> Path:
    """The checkpoint in a folder of Segmenter's or LiBai's training; any other path as it is."""
    described_by = VARIANT_FILE if os.path.isfile(path / VARIANT_FILE) else LIBAI_FILE
    if is_model_folder(path) or not os.path.isfile(path / described_by):
        return path
    if described_by == LIBAI_FILE and not is_libai_file(path / LIBAI_FILE):
        return path
    found = sorted(file for suffix in (".pth", ".bin", ".safetensors") for file in path.glob(f"*{suffix}"))
    if len(found) > 1 and path / "checkpoint.pth" in found:
        return path / "checkpoint.pth"
    if len(found) != 1:
        raise InputError(f"{path} has {len(found)} checkpoints (.pth) beside {described_by}. Name the one to convert.")
    return found[0]


def describe_checkpoint(checkpoint: Checkpoint) -> Configuration:
    """A configuration for a bare checkpoint, from its shapes, its dialect and what it says of its classes."""
    if checkpoint.architecture is not None and checkpoint.architecture not in ARCHITECTURES:
        raise UnknownNameError(unknown_name_message("architecture", checkpoint.architecture, ARCHITECTURES))
    family = next((family for family in FAMILIES if family.recognises(checkpoint)), None)
    if family is None:
        raise InputError(
            f"{checkpoint.path} has the tensors of no network that segpipe can describe by itself. "
            "Name a preset that fits, or convert a folder with a configuration."
        )
    if checkpoint.architecture not in (None, *family.architectures):
        raise InputError(
            f"{checkpoint.path} has the tensors of another network than {checkpoint.architecture}: they are those of "
            f"{family.architectures[0]} or its like. Leave architecture out, or name another file."
        )
    try:
        return family.describe(checkpoint)
    except ValueError as error:  # what a configuration of ours does not allow
        if isinstance(error, SegpipeError):
            raise
        raise InputError(f"{checkpoint.path}: {error}. Convert it with a preset that says what it is.") from None


def _with_labels(configuration: Configuration, labels: LabelSet | Sequence[str] | None) -> Configuration:
    """The given labels, else the configuration's, else numbered ones.

    Names alone rename the classes that the configuration has: their colours and raw ids stay.
    """
    if labels is None and configuration.labels is not None:
        return configuration
    outputs = configuration.model.num_classes
    if labels is None:
        labels = [f"class {index}" for index in range(outputs)]
    if not isinstance(labels, LabelSet) and len(labels) != outputs:
        raise InputError(
            f"The labels do not fit: {len(labels)} names for {outputs} outputs of the network. "
            "Give one name for each output, in their order."
        )
    known = configuration.labels
    try:
        if known is not None and len(known.names) == len(_names_of(labels)):
            chosen = _renamed(known, labels)
        else:
            chosen = labels if isinstance(labels, LabelSet) else _named_labels(tuple(labels))
        return msgspec.structs.replace(configuration, labels=chosen)
    except ValueError as error:
        raise InputError(f"The labels do not fit: {error}.") from None


def _names_of(labels: LabelSet | Sequence[str]) -> tuple[str, ...]:
    """The class names of either."""
    return labels.names if isinstance(labels, LabelSet) else tuple(labels)


def _renamed(known: LabelSet, labels: LabelSet | Sequence[str]) -> LabelSet:
    """The known labels under other names; what a label set says itself comes first."""
    if not isinstance(labels, LabelSet):
        return msgspec.structs.replace(known, names=tuple(labels))
    return msgspec.structs.replace(labels, palette=labels.palette or known.palette)


def _named_labels(names: tuple[str, ...]) -> LabelSet:
    """Labels without colours; ignored is 255, or the largest 16-bit value where 255 is a class."""
    return LabelSet(names=names, ignore_index=255 if len(names) <= 255 else 65535)


def _check_classes(configuration: Configuration, num_classes: int | None, *, origin: str) -> None:
    if num_classes is not None and num_classes != configuration.model.num_classes:
        raise InputError(
            f"{origin} has weights for {configuration.model.num_classes} classes, not for {num_classes}. "
            f"Leave {advice.argument('num_classes', num_classes)} out, or train a head for that many."
        )
