"""What a network saw of a picture: logits with their placement, in one or more views."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from segpipe.errors import InputError

from .placement import Placement, Size


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

    @property
    def size(self) -> Size:
        """(H, W) of the picture."""
        return self.placement.size

    @property
    def device(self) -> torch.device:
        """Where the logits are."""
        return self.logits.device

    def flip(self) -> View:
        """For a picture that was mirrored left to right before the network saw it."""
        return View(self.logits, self.placement.flip())


@dataclass(frozen=True, eq=False)
class Mosaic:
    """Windows over a picture that together are like one view of it: a pixel's logits are the sum over the windows.

    The placements hold the shares of overlapping windows, see `share_windows`, so the sum is an average.
    """

    windows: tuple[View, ...]

    @property
    def num_classes(self) -> int:
        """K."""
        return self.windows[0].num_classes

    @property
    def size(self) -> Size:
        """(H, W) of the picture."""
        return self.windows[0].size

    @property
    def device(self) -> torch.device:
        """Where the logits are."""
        return self.windows[0].device

    def flip(self) -> Mosaic:
        """For a picture that was mirrored left to right before the network saw it."""
        return Mosaic(tuple(window.flip() for window in self.windows))


@dataclass(frozen=True, eq=False)
class Prediction:
    """All views of one picture and how they combine: several scales and mirrored ones, each whole or in windows.

    Where several views cover a pixel, their logits or their probabilities are averaged. The windows
    of a mosaic always average their logits: that is one view.
    """

    views: tuple[View | Mosaic, ...]
    combine: Literal["logits", "probabilities"] = "probabilities"

    @property
    def size(self) -> Size:
        """(H, W) of the picture."""
        return self.views[0].size

    @property
    def num_classes(self) -> int:
        """K."""
        return self.views[0].num_classes
