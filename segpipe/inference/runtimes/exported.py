"""A network that another runtime executes from a file, used like the network itself."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from segpipe.models import SegpipeNetwork, as_tuple
from segpipe.registry import load_attribute

from .choices import RUNTIMES


class Session(Protocol):
    """An exported file, opened: images in, the output's tensors out. Any number of threads may run it."""

    def run(self, images: Tensor) -> Sequence[Tensor]:
        """Return the output's tensors in float32 in the order of `SegpipeNetwork.output_names`.

        Both sides are on the session's device; a runtime with tensors of its own can take and give them by DLPack
        (`torch.from_dlpack`), without a copy.

        Args:
            images: (B, 3, H, W), contiguous, in the type that the file was made for.

        Returns:
            Tensors that belong to the caller. Maps have their channels last: (B, h, w, K) logits, (B, K) from a
            classifier.
        """


class ExportedNetwork:
    """Has the same interface as the network that a file was made from, see `inference.network.Network`.

    Args:
        session: the file.
        outline: the network that it was made from; its weights are not read and may be on "meta".
        pixel_mean: (3,) in 0–255 units.
        pixels: the type of the images that the file takes.
        device: where the session takes and gives tensors.
    """

    def __init__(
        self,
        session: Session,
        outline: SegpipeNetwork,
        pixel_mean: tuple[float, ...],
        *,
        pixels: torch.dtype = torch.float32,
        device: torch.device | None = None,
    ) -> None:
        self.session = session
        self.num_classes = outline.num_classes
        self.best_multiple = outline.best_multiple
        self.pixel_mean = torch.tensor(pixel_mean, dtype=torch.float32, device=device or "cpu")
        self.input_size, self.grid_scores = outline.input_size, outline.grid_scores
        self._build_output, self._pixels = outline.build_output, pixels

    def __call__(self, images: Tensor) -> Any:
        """Return the output, maps channels last in memory, of (B, 3, H, W) RGB 0–255, uint8 or float."""
        tensors = self.session.run(pixel_tensor(images, self._pixels))
        return self._build_output([channels_first(tensor) for tensor in tensors])


def open_session(
    path: Path,
    *,
    format: str,
    dtype: str = "float32",
    runtime: str | None = None,
    device: torch.device | None = None,
) -> Session:
    """Open an exported file, ready to run; on a processor with as many threads as torch uses.

    Args:
        path: written by `exporters`.
        format: "onnx", "openvino" or "torch".
        dtype: what the runtime computes in; images and logits stay as they are. "int8" is for files that say which of
            their products are in int8.
        runtime: what executes it. If None, the first of `RUNTIMES` that opens the format.
        device: where it is executed. If None, on the processor.

    Raises:
        MissingExtraError: the runtime is not installed.
        InputError: this processor does not compute in the dtype.
    """
    if format == "torch":
        return TorchSession(torch.export.load(path).module())
    name = runtime or next(name for name in RUNTIMES if RUNTIMES.get(name).format == format)
    session: Session = load_attribute(RUNTIMES.get(name).opener)(path, dtype, device or torch.device("cpu"))
    return session


def pixel_tensor(images: Tensor, pixels: torch.dtype) -> Tensor:
    """Bring (B, 3, H, W) RGB 0–255, uint8 or float, to a contiguous tensor of the type that a file takes."""
    rounded = images.round() if pixels == torch.uint8 else images
    return rounded.to(pixels, memory_format=torch.contiguous_format).contiguous()


def channels_first(tensor: Tensor) -> Tensor:
    """View (B, h, w, C) as (B, C, h, w). What is not a map stays as it is."""
    return tensor.permute(0, 3, 1, 2) if tensor.dim() == 4 else tensor


class TorchSession:
    """One file of torch.export, which computes on the processor in the type that it was made in."""

    def __init__(self, module: nn.Module) -> None:
        self._module = module

    @torch.inference_mode()
    def run(self, images: Tensor) -> tuple[Tensor, ...]:
        return as_tuple(self._module(images))
