"""Convert any checkpoint or folder to a model folder of ours, and back to another implementation's weights."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from segpipe import advice
from segpipe.atomic import atomic_folder, replaced_folder
from segpipe.configuration import (
    Configuration,
    LabelSet,
    WeightsConfig,
    describe_inference,
    describe_preprocessing,
    read_labels,
    write_configuration,
)
from segpipe.errors import InputError
from segpipe.files import check_vacant
from segpipe.hub import ModelFolder, is_model_folder, place_in_card
from segpipe.log import get_logger

from .detecting import IMPLEMENTATIONS, write_dialect
from .foreign_document import ignore_index_for, numbered_names
from .huggingface import CONFIG_FILE, PREPROCESSOR_FILE, huggingface_config, huggingface_preprocessor
from .opening import has_document, open_checkpoint, own_tensors, sidecar_of, write_model_folder
from .weight_files import write_pickle, write_tensors

logger = get_logger(__name__)

PICKLES = (".pth", ".pt", ".bin")


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
        overwrite: whether to replace a model folder that is there.
    """
    target, given = Path(to), None if labels is None else read_labels(labels)
    if architecture is not None and preset is not None:
        both = f"{advice.argument('architecture', architecture)} and {advice.argument('preset', preset)}"
        raise InputError(f"{both} both say what the model is. Give one.")
    check_target(target, overwrite=overwrite)
    folder = open_checkpoint(source, architecture=architecture, preset=preset)
    if preset is None:
        _warn_of_assumptions(folder, source)
    configuration = _with_labels(folder.configuration, given)
    _check_classes(configuration, num_classes, origin=str(source))
    with (replaced_folder if overwrite else atomic_folder)(target) as in_progress:
        named = replace(folder, configuration=configuration, name=target.name)
        write_model_folder(named, in_progress, place=place_in_card(target))
    return ModelFolder.open(target)


def convert_back(source: str | Path, to: str | Path, *, dialect: str, overwrite: bool = False) -> Path:
    """Write a model's weights in another implementation's names.

    A .safetensors file has the tensors alone. In a .pth file they lie where that implementation looks for them:
    under "state_dict", with class names and colors in "meta" (NVlabs, mmsegmentation, EasyCV, UN-EPT), under "model"
    (Segmenter), or as they are (LiBai, Hugging Face, timm).

    No such file says how images are resized, seen and labelled. The whole configuration is written beside it, as
    FILE.json (in Hugging Face's folder as configuration.json), from which `convert` makes the same model again.

    Args:
        source: a folder, a model's name or a file, in any dialect.
        to: the file to write, .safetensors, .pth, .pt or .bin; it must not exist yet. For "huggingface" also a folder,
            which `from_pretrained` opens.
        dialect: "nvlabs", "mmseg", "easycv", "huggingface", "libai", "segmenter", "unept"; "vit" and "resnet" for the
            encoder alone.
        overwrite: whether to replace files that are there.
    """
    target = Path(to)
    if dialect == "huggingface" and not target.suffix:
        return _write_huggingface_folder(source, target, overwrite=overwrite)
    if target.suffix not in (*PICKLES, ".safetensors"):
        raise InputError(f"{target} ends in none of .safetensors, {', '.join(PICKLES)}. Name a file that does.")
    beside = sidecar_of(target)
    for path in (target, beside):
        check_vacant(path, overwrite=overwrite, error=InputError)
    folder = open_checkpoint(source)
    tensors = write_dialect(own_tensors(folder), dialect)
    _warn_of_eps(folder.configuration, dialect)
    if target.suffix == ".safetensors":
        write_tensors(tensors, target)
    else:
        own = {key: tensor.contiguous().clone() for key, tensor in tensors.items()}
        write_pickle(IMPLEMENTATIONS[dialect].pickled(own, folder.configuration), target)
    if IMPLEMENTATIONS[dialect].key_map.has_head:
        write_configuration(msgspec.structs.replace(folder.configuration, weights=None), beside)
    return target


def check_target(target: Path, *, overwrite: bool) -> None:
    """Refuse to write a model folder where something is, unless it may be replaced and is a model folder or empty."""
    if not os.path.lexists(target) or (os.path.isdir(target) and not any(target.iterdir())):
        return
    if not is_model_folder(target):
        raise InputError(f"{target} is not empty and not a model folder. Name a new folder, or remove it first.")
    check_vacant(target, overwrite=overwrite, error=InputError)


def _warn_of_assumptions(folder: ModelFolder, source: str | Path) -> None:
    """Warn where a bare file does not say how images are resized and seen."""
    if folder.weights is None or not os.path.isfile(source) or has_document(folder.weights):
        return
    logger.warning(
        "%s does not say how images are resized and seen. Assumed is what %s does by default. Preprocessing: %s. "
        "Inference: %s. To set them, convert with a preset (%s), or change configuration.json",
        Path(source).name,
        folder.dialect,
        describe_preprocessing(folder.configuration),
        describe_inference(folder.configuration.inference),
        advice.argument("preset"),
    )


def _with_labels(configuration: Configuration, labels: LabelSet | tuple[str, ...] | None) -> Configuration:
    """Return the configuration with the given labels, else its own, else numbered ones.

    Names alone rename the classes that the configuration has: their colors and raw ids stay.
    """
    known, outputs = configuration.labels, configuration.model.num_classes
    if labels is None and known is not None:
        return configuration
    if labels is None:
        labels = numbered_names(outputs)
    if not isinstance(labels, LabelSet) and len(labels) != outputs:
        raise InputError(
            f"The labels do not fit: {len(labels)} names for {outputs} outputs of the network. "
            "Give one name for each output, in their order."
        )
    try:
        if not isinstance(labels, LabelSet):
            if known is None or len(known.names) != outputs:
                known = LabelSet(names=labels, ignore_index=ignore_index_for(outputs))
            labels = msgspec.structs.replace(known, names=labels)
        elif known is not None and len(known.names) == len(labels.names):
            labels = msgspec.structs.replace(labels, palette=labels.palette or known.palette)
        return msgspec.structs.replace(configuration, labels=labels)
    except ValueError as error:
        raise InputError(f"The labels do not fit: {error}.") from None


def _check_classes(configuration: Configuration, num_classes: int | None, *, origin: str) -> None:
    if num_classes is not None and num_classes != configuration.model.num_classes:
        raise InputError(
            f"{origin} has weights for {configuration.model.num_classes} classes, not for {num_classes}. "
            f"Leave {advice.argument('num_classes', num_classes)} out, or train a head for that many."
        )


def _write_huggingface_folder(source: str | Path, target: Path, *, overwrite: bool) -> Path:
    """Write the weights with Hugging Face's two documents, and ours beside them."""
    check_target(target, overwrite=overwrite)
    folder = open_checkpoint(source)
    documents = {
        CONFIG_FILE: huggingface_config(folder.configuration),
        PREPROCESSOR_FILE: huggingface_preprocessor(folder.configuration),
    }
    tensors = write_dialect(own_tensors(folder), "huggingface")
    _warn_of_eps(folder.configuration, "huggingface")
    with (replaced_folder if overwrite else atomic_folder)(target) as in_progress:
        write_tensors(tensors, in_progress / "model.safetensors")
        for name, document in documents.items():
            (in_progress / name).write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        weights = WeightsConfig(source=None, file="model.safetensors", dialect="huggingface")
        write_configuration(
            msgspec.structs.replace(folder.configuration, weights=weights), in_progress / "configuration.json"
        )
    return target


def _warn_of_eps(configuration: Configuration, dialect: str) -> None:
    """Warn where an implementation computes with another LayerNorm eps, of which tensor names say nothing."""
    theirs = IMPLEMENTATIONS[dialect].norm_eps
    ours = getattr(getattr(configuration.model, "encoder", None), "norm_eps", None)
    if theirs is not None and ours != theirs:
        logger.warning(
            "These weights were made for other LayerNorm eps than %s computes with: its logits will differ a little",
            dialect,
        )
