"""What a network saw of a picture: logits with their placement, in one or more views."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, Literal

import torch
from torch import Tensor

from segpipe.errors import InputError

from .placement import Placement, Size


@dataclass(eq=False)
class Fellows:
    """The pictures of one batch that share a placement: a GPU labels them all when the first of them is asked for.

    Attributes:
        logits: (B, K, h, w).
        label_maps: one `LabelMap` for each picture; None until they are made, empty where that failed.
        lock: for who makes them.
    """

    logits: Tensor
    label_maps: list[Any] | None = None
    lock: AbstractContextManager[object] = field(default_factory=Lock)


@dataclass(frozen=True, eq=False)
class View:
    """Logits (K, h, w) on the network's grid and where the picture lies on it.

    Attributes:
        logits: of the picture.
        placement: where it lies.
        fellows: those that it can be labelled with.
        number: which of them it is.
    """

    logits: Tensor
    placement: Placement
    fellows: Fellows | None = None
    number: int = 0

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


def views_of_batch(logits: Tensor, placements: Sequence[Placement]) -> list[View]:
    """The views of a batch's pictures, (B, K, h, w); those that share a placement are fellows."""
    members: dict[Placement, list[int]] = {}
    for index, placement in enumerate(placements):
        members.setdefault(placement, []).append(index)
    views: dict[int, View] = {}
    for placement, indices in members.items():
        fellows = Fellows(logits if len(indices) == len(logits) else logits[indices])
        views |= {index: View(logits[index], placement, fellows, number) for number, index in enumerate(indices)}
    return [views[index] for index in range(len(placements))]


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
