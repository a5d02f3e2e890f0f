"""What a network saw of a picture: logits with their placement, one or more of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from segpipe.errors import InputError

from .placement import Placement


@dataclass(frozen=True, eq=False)
class View:
    """Logits (K, h, w) on the network's grid and where the picture lies on it."""

    logits: Tensor
    placement: Placement

    def __post_init__(self) -> None:
        if tuple(self.logits.shape[1:]) != self.placement.grid:
            raise InputError(
                f"The logits have the shape {tuple(self.logits.shape)} and the placement is for a grid of "
                f"{self.placement.grid}. Make the placement from the logits' own height and width."
            )

    @property
    def num_classes(self) -> int:
        """K."""
        return self.logits.shape[0]


@dataclass(frozen=True, eq=False)
class Prediction:
    """All views of one picture and how they combine: whole pictures, windows, scales and mirrored ones.

    Where several views cover a pixel, their logits or their probabilities are averaged.
    """

    views: tuple[View, ...]
    combine: Literal["logits", "probabilities"] = "probabilities"

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the picture."""
        return self.views[0].placement.size

    @property
    def num_classes(self) -> int:
        """K."""
        return self.views[0].num_classes
