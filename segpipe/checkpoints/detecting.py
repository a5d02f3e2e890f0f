"""Find out which implementation wrote a file of weights, and translate its tensors."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from segpipe.configuration import Configuration
from segpipe.errors import CorruptWeightsError, InputError, SegpipeError, UnknownDialectError, UnknownNameError
from segpipe.names import unknown_name_message
from segpipe.text import first_line

from .easycv import EASYCV
from .huggingface import HUGGINGFACE
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
DOCUMENTS = tuple(each.document for each in IMPLEMENTATIONS.values() if each.document is not None)
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
            f"The tensors have the names of {dialect} and shapes that it does not have: {first_line(error)}. "
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
    recognizer = next((each for each in RECOGNIZERS if each.signature in checkpoint.tensors), None)
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
