"""What a network family says of itself, in one object. `MODELS`, in `configuration/model_section.py`, lists them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, cast

import msgspec

from segpipe.configuration import MODELS, ModelConfig, change_model, model_type
from segpipe.errors import InputError
from segpipe.registry import load_attribute

if TYPE_CHECKING:
    from .base import SegpipeNetwork

PIXEL_LOSSES = frozenset({"cross_entropy", "ohem", "dice", "focal"})
"""The losses that compare class logits with the label at each pixel."""

Part = Literal["encoder", "decoder"]
"""Of a network, whose attention is asked for."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Family:
    """A network family.

    Attributes:
        config: the struct of its model section, importable without torch. Its tag is the family's name in `MODELS`.
        network: the class that is called with such a section, or `module:attribute` of it.
        variants: the sizes that papers name, each with its numbers.
        losses: the values of `train.loss.type` that it can be trained with.
        best_multiple: the network scores higher where both sides of an image are multiples of it; what a run makes
            pads to it.
        count_parameters: section → learnable numbers, without torch. If None, or where it returns None, the network is
            built without memory and counted.
    """

    config: type[msgspec.Struct]
    network: Callable[[Any], SegpipeNetwork] | str
    variants: Mapping[Any, Any] = field(default_factory=dict)
    losses: frozenset[str] = PIXEL_LOSSES
    best_multiple: int = 1
    count_parameters: Callable[[Any], int | None] | None = None

    def __post_init__(self) -> None:
        needed = ("variant", "num_classes", "pixel_mean", "pixel_std", "size_multiple")
        missing = [name for name in needed if not hasattr(self.config, name)]
        if missing:
            raise InputError(
                f"{self.config.__name__} lacks {', '.join(missing)}. A family's section has {', '.join(needed)}, each "
                "a field or a property."
            )

    @property
    def network_class(self) -> Callable[[Any], SegpipeNetwork]:
        """The class, imported if it was named as text."""
        return load_attribute(self.network) if isinstance(self.network, str) else self.network

    def build(self, config: ModelConfig) -> SegpipeNetwork:
        """Return a network with freshly initialized weights; `build_model` checks its size before."""
        return self.network_class(config)


def family_of(config: ModelConfig) -> Family:
    """Return the family that a model section belongs to."""
    return cast(Family, MODELS.get(model_type(config)))


def pad_to_best(config: ModelConfig) -> ModelConfig:
    """Return a section whose network pads images to its family's best multiple; the same one where it does already."""
    best = family_of(config).best_multiple
    return config if config.size_multiple % best == 0 else change_model(config, size_multiple=best)
