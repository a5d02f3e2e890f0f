"""A network that another runtime executes from a file, used like the network itself."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from segpipe.models import SegpipeNetwork

from .choices import RUNTIMES


class Session(Protocol):
    """An exported file, opened: images in, logits out. Any number of threads may run it."""

    def run(self, images: np.ndarray) -> np.ndarray:
        """Return float32 logits, channels last, of (B, 3, H, W), contiguous, in the type that the file was made for.

        The array belongs to the caller: (B, h, w, K), or (B, K) from a classifier.
        """


class ExportedNetwork:
    """Has the same interface as the network that a file was made from, see `inference.network.Network`.

    Args:
        session: the file.
        outline: the network that it was made from; its weights are not read and may be on "meta".
        pixel_mean: (3,) in 0–255 units.
        pixels: the type of the images that the file takes.
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
        """Return (height, width) that the logits' grid covers, for an image of `size`."""
        return self._outline.input_size(size)

    def __call__(self, images: Tensor) -> Tensor:
        """Return (B, K, h, w) float32 logits, channels last in memory, of (B, 3, H, W) RGB 0–255, uint8 or float."""
        logits = torch.from_numpy(self.session.run(pixel_array(images, self._pixels)))
        return logits.permute(0, 3, 1, 2) if logits.dim() == 4 else logits


def open_session(path: Path, *, format: str, dtype: str = "float32") -> Session:
    """Open an exported file, ready to run on the processor with as many threads as torch uses.

    Args:
        path: written by `exporters`.
        format: "onnx", "openvino" or "torch".
        dtype: what the runtime computes in; images and logits stay as they are. "int8" is for files that say which of
            their products are in int8.

    Raises:
        MissingExtraError: the runtime is not installed.
        InputError: this processor does not compute in the dtype.
    """
    openers = {runtime.format: runtime.opener for runtime in RUNTIMES.values()} | {"torch": "exported:open_torch"}
    module, _, name = openers[format].partition(":")
    session: Session = getattr(import_module(f"{__package__}.{module}"), name)(path, dtype)
    return session


def pixel_array(images: Tensor, pixels: torch.dtype) -> np.ndarray:
    """Bring (B, 3, H, W) RGB 0–255, uint8 or float, to a contiguous array of the type that a file takes."""
    rounded = images.round() if pixels == torch.uint8 else images
    array: np.ndarray = rounded.to(pixels, memory_format=torch.contiguous_format).contiguous().numpy()
    return array


def open_torch(path: Path, dtype: str) -> TorchSession:
    """Open a session on the processor; a file of torch.export computes in the type that it was made in."""
    assert dtype == "float32"
    return TorchSession(torch.export.load(path).module())


class TorchSession:
    """One file in torch."""

    def __init__(self, module: nn.Module) -> None:
        self._module = module

    @torch.inference_mode()
    def run(self, images: np.ndarray) -> np.ndarray:
        """See `Session.run`."""
        logits: np.ndarray = self._module(torch.from_numpy(images)).numpy()
        return logits
