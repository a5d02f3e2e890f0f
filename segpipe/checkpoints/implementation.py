"""What the file of each other implementation declares: its tensor names, and what its checkpoints do not say."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segpipe.configuration import Configuration, InferenceConfig, LabelSet, ShortSideResize
from segpipe.errors import InputError
from segpipe.models import LEVEL_STRIDE, NormEps

from .foreign_document import distinct_names, ignore_index_for, with_nothing
from .key_map import KeyMap, Tensors, has_one_output

if TYPE_CHECKING:
    from .weight_files import CheckpointMeta


@dataclass(frozen=True)
class Procedure:
    """How an implementation brings images to SegFormer where nothing beside the weights says it.

    Attributes:
        inference: how logits become a label map.
        resize: of the images. If None, they keep their size.
        size_multiple: to what they are padded.
    """

    inference: InferenceConfig
    resize: ShortSideResize | None = None
    size_multiple: int = 1


def with_meta(tensors: Tensors, configuration: Configuration) -> dict[str, Any]:
    """Return the content of a pickle as mmcv writes it, with the classes' names and colors."""
    labels = configuration.labels
    meta: dict[str, Any] = {"CLASSES": list(labels.names)} if labels is not None else {}
    if labels is not None and labels.palette is not None:
        meta["PALETTE"] = [list(color) for color in labels.palette]
    return {"meta": meta, "state_dict": tensors}


@dataclass(frozen=True)
class Document:
    """A file that an implementation's training leaves beside a checkpoint, which says what it is.

    Attributes:
        name: of the file.
        read: the configuration that one describes.
        is_theirs: whether a file of this name is one.
    """

    name: str
    read: Callable[[Path], Configuration]
    is_theirs: Callable[[Path], bool] = os.path.isfile

    def find(self, folder: Path) -> Path | None:
        """Return the document in a folder, if it has one."""
        return folder / self.name if self.is_theirs(folder / self.name) else None


@dataclass(frozen=True)
class Implementation:
    """Another implementation of networks that segpipe has.

    Attributes:
        key_map: its tensor names.
        document: what its training leaves beside a checkpoint.
        procedure: for its SegFormer; by default that of weights in our own names.
        norm_eps: the LayerNorm eps that its SegFormer computes with. If None, it has no such network, or computes with
            any that a configuration names.
        pickled: the content of a pickle, from tensors in its names, as it looks for them; else the tensors alone.
    """

    key_map: KeyMap
    document: Document | None = None
    procedure: Procedure = Procedure(InferenceConfig(upsampling="one-step"), size_multiple=LEVEL_STRIDE)
    norm_eps: NormEps | None = None
    pickled: Callable[[Tensors, Configuration], dict[str, Any]] = lambda tensors, configuration: dict(tensors)


@dataclass(frozen=True)
class Checkpoint:
    """A file of weights that comes without a configuration of ours.

    Attributes:
        path: the file.
        tensors: in our names.
        implementation: whose names they had.
        meta: what the file says of its classes.
        architecture: what the user says that it is. If None, it is recognized.
    """

    path: Path
    tensors: Tensors
    implementation: Implementation
    meta: CheckpointMeta
    architecture: str | None

    def labels(self, num_classes: int) -> LabelSet | None:
        """Return the class names that the file has, where they fit."""
        is_one_output = has_one_output(self.tensors)
        names, palette = self.meta.names or (("class 1",) if is_one_output else ()), self.meta.palette
        if not names or len(names) > num_classes:
            return None
        if len(names) == 1 and is_one_output:
            names, palette = with_nothing(names[0]), ((0, 0, 0), *palette) if palette is not None else None
        if palette is not None and (
            len(palette) != len(names) or not 0 <= min(map(min, palette)) <= max(map(max, palette)) < 256
        ):
            palette = None
        return LabelSet(names=distinct_names(names), palette=palette, ignore_index=ignore_index_for(len(names)))

    def count(self, pattern: str) -> int:
        """Count the different numbers that a pattern's group finds in the keys, as the blocks of a stage."""
        return len({match[1] for key in self.tensors if (match := re.match(pattern, key))})

    def length(self, key: str) -> int:
        """Return the first dimension of a tensor, or 0 where there is none."""
        return next(iter(self.tensors[key].shape), 0) if key in self.tensors else 0

    def shape(self, key: str, dims: int) -> tuple[int, ...]:
        """Return the shape of a tensor that the network must have, with this number of dimensions."""
        found = tuple(self.tensors[key].shape) if key in self.tensors else None
        if found is None or len(found) != dims:
            raise InputError(
                f"{self.path} has {'no tensor' if found is None else f'the shape {found}'} for {key}, which needs "
                f"{dims} dimensions. Check that it is whole and what its training says that it is."
            )
        return found

    def square(self, what: str, cells: int, *, advice: str) -> int:
        """Return the side of a table of this many cells, which must be square: its shape says no more."""
        side = math.isqrt(max(cells, 0))
        if side * side != cells or not side:
            raise InputError(
                f"{self.path} has a table of {what} with {cells} cells, and only a square one says its sides by "
                f"itself. {advice}."
            )
        return side

    def encoder_alone(self, what: str) -> InputError:
        """Return the error for a checkpoint that lacks what makes the network whole."""
        return InputError(
            f"These are weights of an encoder without the {what}, and a model folder holds a whole network. "
            "Convert a checkpoint that has one."
        )

    def check_architecture(self, found: str) -> None:
        """Refuse a checkpoint that is another network than the user says."""
        if self.architecture not in (None, found):
            raise InputError(
                f"{self.path} holds weights of {found}, not of {self.architecture}. "
                "Leave architecture out, or name another file."
            )


@dataclass(frozen=True)
class Recognizer:
    """How the checkpoints of one family of networks are described by their shapes.

    Attributes:
        architectures: the names that they can be given.
        signature: a name in ours that only this family has.
        describe: a checkpoint's configuration.
    """

    architectures: tuple[str, ...]
    signature: str
    describe: Callable[[Checkpoint], Configuration]
