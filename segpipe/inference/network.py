"""What inference asks of whatever executes a network."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor


class Network(Protocol):
    """A `SegmentationModel` is one, and so is each runtime: windows, scales and flips work with all of them.

    Attributes:
        num_classes: K.
        pixel_mean: (3,) in 0–255 units, what is zero after normalisation; pictures go to the device that it is on.
        best_multiple: the network scores higher where both sides of its input are multiples of it.
    """

    num_classes: int
    pixel_mean: Tensor
    best_multiple: int

    def __call__(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) RGB 0–255, uint8 or float → (B, K, h, w) logits."""

    def input_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """(height, width) that the logits' grid covers, for a picture of `size`."""
