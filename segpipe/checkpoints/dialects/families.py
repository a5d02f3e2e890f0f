"""What a family of networks says of its checkpoints: which it recognises, and what configuration they have."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from segpipe.checkpoints.settings_fields import distinct_names, ignore_index_for, with_nothing
from segpipe.configuration import Configuration, LabelSet
from segpipe.errors import InputError

from ..weight_files import CheckpointMeta
from .binary import is_binary
from .rules import Tensors


@dataclass(frozen=True)
class Checkpoint:
    """A file of weights that comes without a configuration of ours.

    Attributes:
        path: the file.
        tensors: in our names.
        dialect: whose names they had.
        meta: what the file says of its classes.
        architecture: what the user says that it is; None: to be recognised.
    """

    path: Path
    tensors: Tensors
    dialect: str
    meta: CheckpointMeta
    architecture: str | None

    def labels(self, num_classes: int) -> LabelSet | None:
        """The class names that the file has, where they fit."""
        is_one_output = is_binary(self.tensors)
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
        """How many different numbers a pattern's group finds in the keys, as the blocks of a stage."""
        return len({match[1] for key in self.tensors if (match := re.match(pattern, key))})

    def length(self, key: str) -> int:
        """The first dimension of a tensor; 0 where there is none."""
        return self.tensors[key].shape[0] if key in self.tensors else 0

    def shape(self, key: str, dims: int) -> tuple[int, ...]:
        """The shape of a tensor that the network must have, which has so many dimensions."""
        found = tuple(self.tensors[key].shape) if key in self.tensors else None
        if found is None or len(found) != dims:
            raise InputError(
                f"{self.path} has {'no tensor' if found is None else f'the shape {found}'} for {key}, which needs "
                f"{dims} dimensions. Check that it is whole and what its training says that it is."
            )
        return found

    def encoder_alone(self, what: str) -> InputError:
        """To be raised where what makes the network whole is missing."""
        return InputError(
            f"These are weights of an encoder without the {what}, and a model folder holds a whole network. "
            "Convert a checkpoint that has one."
        )


@dataclass(frozen=True)
class Family:
    """One family of networks.

    Attributes:
        architectures: the names that its checkpoints can be given.
        signature: a key in our names that only this family has, as a regular expression.
        describe: the configuration of a checkpoint.
    """

    architectures: tuple[str, ...]
    signature: str
    describe: Callable[[Checkpoint], Configuration]

    def recognises(self, checkpoint: Checkpoint) -> bool:
        """By the keys."""
        return any(re.search(self.signature, key) for key in checkpoint.tensors)
