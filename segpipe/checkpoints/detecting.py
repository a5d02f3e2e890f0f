"""Whose a file of weights or a folder is: the implementations by name, and what is recognized as whose."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from segpipe.configuration import MODELS, Configuration, Dialect, read_json
from segpipe.errors import (
    ConfigurationError,
    CorruptWeightsError,
    InputError,
    SegpipeError,
    UnknownDialectError,
    UnknownNameError,
)
from segpipe.names import unknown_name_message

from .easycv import EASYCV, configuration_from_easycv, is_easycv
from .huggingface import CONFIG_FILE, HUGGINGFACE, PREPROCESSOR_FILE, configuration_from_huggingface
from .implementation import Checkpoint, Implementation, Recognizer
from .key_map import KeyMap, Tensors
from .libai import LIBAI
from .mmseg import MMSEG, RESNET
from .nvlabs import NVLABS
from .segformer_shapes import MIT_WEIGHT, SEGFORMER_SHAPES
from .segmenter_official import SEGMENTER, SEGMENTER_SHAPES
from .timm import AUGREG, VIT, VIT_WEIGHT
from .unept_official import UNEPT, UNEPT_SHAPES

if TYPE_CHECKING:
    from torch import Tensor

OWN_FILE = "configuration.json"

OWN = Implementation(KeyMap(signature=(MIT_WEIGHT, VIT_WEIGHT, RESNET.key_map.needs)))
# The first that recognizes a file has made it.
IMPLEMENTATIONS: dict[str, Implementation] = {
    "segpipe": OWN,
    "nvlabs": NVLABS,
    "mmseg": MMSEG,
    "huggingface": HUGGINGFACE,
    "libai": LIBAI,
    "easycv": EASYCV,
    "segmenter": SEGMENTER,
    "unept": UNEPT,
    "vit": VIT,
    "augreg": AUGREG,
    "resnet": RESNET,
}
WRITTEN_DIALECTS = tuple(name for name, implementation in IMPLEMENTATIONS.items() if implementation.key_map.needs)

# The first that recognizes a checkpoint describes it; UN-EPT's may have Segmenter's encoder.
RECOGNIZERS: tuple[Recognizer, ...] = (SEGFORMER_SHAPES, UNEPT_SHAPES, SEGMENTER_SHAPES)
ARCHITECTURES = tuple(name for recognizer in RECOGNIZERS for name in recognizer.architectures)


def find_dialect(names: Collection[str], dialects: Collection[str] = tuple(IMPLEMENTATIONS)) -> str | None:
    """Return the first of the dialects that a file's names are written in, if there is one."""
    return next((dialect for dialect in dialects if IMPLEMENTATIONS[dialect].key_map.recognizes(names)), None)


def detect_dialect(names: Collection[str], *, origin: str) -> str:
    """Return the dialect that a file's names are written in ("mmseg" stands for EasyCV too)."""
    found = find_dialect(names)
    if found is None:
        raise UnknownDialectError(
            f"{origin} names its tensors like no implementation that segpipe knows "
            f"(first: {', '.join(list(names)[:3]) or 'none'}). "
            f"Known: {', '.join(IMPLEMENTATIONS)}. Is it a checkpoint of a network that segpipe has?"
        )
    return found


def translate(tensors: Mapping[str, Tensor], dialect: str) -> Tensors:
    """Return a foreign state dict in our names; keys that no rule knows keep theirs and are reported when loading."""
    try:
        return IMPLEMENTATIONS[dialect].key_map.read(tensors)
    except (RuntimeError, IndexError, ValueError, TypeError) as error:  # shapes that cannot be cut or joined
        raise CorruptWeightsError(
            f"The tensors have the names of {dialect} and shapes that it does not have: {str(error).splitlines()[0]}. "
            "Check that the file is whole."
        ) from None


def write_dialect(tensors: Mapping[str, Tensor], dialect: str) -> Tensors:
    """Return our tensors under a dialect's names; `translate` brings them back, bit for bit.

    LiBai's files do not have BatchNorm's counter of batches; "vit" and "resnet" are files of an encoder alone.

    Raises:
        InputError: the dialect is unknown, or has no such network.
    """
    if dialect == "segpipe":
        return dict(tensors)
    if dialect not in WRITTEN_DIALECTS:
        raise InputError(unknown_name_message("dialect to write", dialect, ("segpipe", *WRITTEN_DIALECTS)))
    refusal = IMPLEMENTATIONS[dialect].key_map.refusal(tensors)
    if refusal:
        fitting = [name for name in WRITTEN_DIALECTS if not IMPLEMENTATIONS[name].key_map.refusal(tensors)]
        raise InputError(
            f"This network cannot be written in the names of {dialect}: {refusal}. "
            f"What fits it: {', '.join(fitting) or 'none'}."
        )
    return IMPLEMENTATIONS[dialect].key_map.write(tensors)


def describe_checkpoint(checkpoint: Checkpoint) -> Configuration:
    """Return a configuration for a bare checkpoint, from its shapes, its dialect and what it says of its classes."""
    if checkpoint.architecture is not None and checkpoint.architecture not in ARCHITECTURES:
        raise UnknownNameError(unknown_name_message("architecture", checkpoint.architecture, ARCHITECTURES))
    recognizer = next((each for each in RECOGNIZERS if each.recognizes(checkpoint)), None)
    if recognizer is None:
        raise InputError(
            f"{checkpoint.path} has the tensors of no network that segpipe can describe by itself. "
            "Name a preset that fits, or convert a folder with a configuration."
        )
    if checkpoint.architecture not in (None, *recognizer.architectures):
        raise InputError(
            f"{checkpoint.path} has the tensors of another network than {checkpoint.architecture}: they are those of "
            f"{recognizer.architectures[0]} or its like. Leave architecture out, or name another file."
        )
    try:
        return recognizer.describe(checkpoint)
    except ValueError as error:  # what a configuration of ours does not allow
        if isinstance(error, SegpipeError):
            raise
        raise InputError(f"{checkpoint.path}: {error}. Convert it with a preset that says what it is.") from None


class ForeignSettings(NamedTuple):
    """What another library's folder says, in our words."""

    configuration: Configuration
    dialect: Dialect
    """Whose names the tensors in the folder have."""


def read_foreign_settings(folder: Path) -> ForeignSettings | None:
    """Read the settings of another library's folder.

    The documents are read as data: `plugins`, `allow_remote`, `auto_map` and the like are ignored.

    Returns:
        None where the folder is our own, or has no document of a library that segpipe reads.

    Raises:
        ConfigurationError: names the key that asks for something that segpipe does not have.
    """
    own = folder / OWN_FILE
    document = read_json(own) if os.path.isfile(own) else None
    if is_easycv(document):
        return ForeignSettings(configuration_from_easycv(document, origin=str(own)), "easycv")
    if _is_own(document):
        return None
    # ModelScope's mirrors of Hugging Face models have a short configuration.json beside config.json.
    if os.path.isfile(folder / CONFIG_FILE):
        return ForeignSettings(_read_huggingface(folder), "huggingface")
    model_type = _model_type(document)
    if model_type is not None:
        raise ConfigurationError(
            f"{own}: model.type: {model_type!r} is no model that segpipe reads; allowed are "
            f"{', '.join(MODELS)} in its own folders and Segformer in EasyCV's. Use a SegFormer model."
        )
    return None


def _model_type(document: Any) -> Any:
    model = document.get("model") if isinstance(document, dict) else None
    return model.get("type") if isinstance(model, dict) else None


def _is_own(document: Any) -> bool:
    return isinstance(document, dict) and ("format_version" in document or _model_type(document) in MODELS)


def _read_huggingface(folder: Path) -> Configuration:
    config, preprocessor = folder / CONFIG_FILE, folder / PREPROCESSOR_FILE
    return configuration_from_huggingface(
        read_json(config),
        read_json(preprocessor) if os.path.isfile(preprocessor) else {},
        origin=str(config),
        preprocessor_origin=str(preprocessor),
    )
