"""A network that another runtime executes from a file, used like the network itself."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from segpipe.models import SegpipeNetwork


class Session(Protocol):
    """An exported file, opened: pictures in, logits out. Any number of threads may run it."""

    def run(self, images: np.ndarray) -> np.ndarray:
        """(B, 3, H, W), contiguous, in the type that the file was made for → float32 logits, channels last.

        What comes back belongs to the caller: (B, h, w, K), or (B, K) from a classifier.
        """


class ExportedNetwork:
    """Quacks as the network that a file was made from, see `inference.network.Network`.

    Args:
        session: the file.
        outline: the network that it was made from; its weights are not looked at and may be on "meta".
        pixel_mean: (3,) in 0–255 units.
        pixels: the type of the pictures that the file takes.
    """

    def __init__(
        self,
        session: Session,
        outline: SegpipeNetwork,
        pixel_mean: tuple[float, ...],
        *,
        pixels: torch.dtype = torch.float32,
    ) -> None:
        self.session = session
        self.num_classes = outline.num_classes
        self.best_multiple = outline.best_multiple
        self.pixel_mean = torch.tensor(pixel_mean, dtype=torch.float32)
        self._outline, self._pixels = outline, pixels

    def input_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """(height, width) that the logits' grid covers, for a picture of `size`."""
        return self._outline.input_size(size)

    def __call__(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) RGB 0–255, uint8 or float → (B, K, h, w) float32 logits, channels last in memory."""
        logits = torch.from_numpy(self.session.run(pixel_array(images, self._pixels)))
        return logits.permute(0, 3, 1, 2) if logits.dim() == 4 else logits


def pixel_array(images: Tensor, pixels: torch.dtype) -> np.ndarray:
    """(B, 3, H, W) RGB 0–255, uint8 or float → contiguous, in the type that a file takes."""
    whole = images.round() if pixels == torch.uint8 else images
    array: np.ndarray = whole.to(pixels, memory_format=torch.contiguous_format).contiguous().numpy()
    return array
