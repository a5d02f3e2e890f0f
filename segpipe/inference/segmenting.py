"""Segment images with a network: the one way that pipelines, evaluation and the trainer take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from segpipe.configuration import InferenceConfig, PreprocessorConfig
from segpipe.errors import NumericalError

from .geometry import Prediction, Size, View, place_image
from .label_maps.labelling import LabelMap, label_predictions
from .network import Network, padded_size
from .preprocessing import resize_image
from .tta import predict_views


class SegmentingOptions(Protocol):
    """The parts of a `Configuration` that say how images are segmented."""

    @property
    def preprocessor(self) -> PreprocessorConfig: ...
    @property
    def inference(self) -> InferenceConfig: ...


@dataclass(frozen=True, eq=False)
class PreparedImage:
    """An image as `predict` takes it.

    Attributes:
        pixels: (h, w, 3) uint8 RGB.
        size: (H, W) before preprocessing, which is the size of the label map.
    """

    pixels: np.ndarray
    size: Size

    @property
    def input_size(self) -> Size:
        """(h, w): images of equal input size share a batch."""
        return self.pixels.shape[:2]


@torch.inference_mode()
def segment(
    network: Network, images: Sequence[np.ndarray], options: SegmentingOptions
) -> list[LabelMap | NumericalError]:
    """Return the label map of each image, or the error of one whose logits are not finite.

    Args:
        network: in evaluation mode.
        images: (H, W, 3) uint8 RGB, of any sizes; those of one input size share a batch.
        options: the preprocessing and the inference.
    """
    prepared = [prepare_image(image, options) for image in images]
    found: dict[int, LabelMap | NumericalError] = {}
    for size in dict.fromkeys(image.input_size for image in prepared):
        members = [index for index, image in enumerate(prepared) if image.input_size == size]
        predictions = predict(network, [prepared[index] for index in members], options)
        found |= zip(members, label_predictions(predictions), strict=True)
    return [found[index] for index in range(len(images))]


def prepare_image(image: np.ndarray, options: SegmentingOptions) -> PreparedImage:
    """Resize an image (H, W, 3) uint8; several views resize it themselves, and then it stays as it is."""
    if _is_single_view(options.inference):
        return PreparedImage(resize_image(image, options.preprocessor), image.shape[:2])
    return PreparedImage(image, image.shape[:2])


@torch.inference_mode()
def predict(network: Network, images: Sequence[PreparedImage], options: SegmentingOptions) -> list[Prediction]:
    """Return the predictions of images of one input size, on the network's grid.

    A GPU takes them as one batch. On a CPU one image keeps all cores busy and its maps stay in the caches, so that four
    at once take a fifth longer: there they go one after another.
    """
    inference = options.inference
    if not _is_single_view(inference):
        return [predict_views(network, image.pixels, options.preprocessor, inference) for image in images]
    batch = _stack_pixels(images, network.pixel_mean.device)
    split = batch.split(1 if batch.device.type == "cpu" else len(batch))
    parts = [network.grid_scores(network(part)) for part in split]
    resized, grid = images[0].input_size, (parts[0].cells.shape[-2], parts[0].cells.shape[-1])
    padded = padded_size(network, resized)
    placements = {
        size: place_image(size, resized, padded, grid, upsampling=inference.upsampling)
        for size in {image.size for image in images}
    }
    waiting = iter(images)
    return [
        Prediction((View(cells[index], placements[next(waiting).size], cells, index, scoring),), inference.combine)
        for cells, scorings in parts
        for index, scoring in enumerate(scorings)
    ]


def _is_single_view(inference: InferenceConfig) -> bool:
    """Return whether the network sees the image once and as a whole, so that images can share a batch."""
    return inference.mode == "whole" and inference.scales == (1.0,) and not inference.flip


def _stack_pixels(images: Sequence[PreparedImage], device: torch.device) -> Tensor:
    """Return (B, 3, h, w) uint8; to a GPU through pinned memory, so that the copy does not block the caller."""
    is_pinned = device.type == "cuda"
    batch = torch.empty((len(images), *images[0].pixels.shape), dtype=torch.uint8, pin_memory=is_pinned)
    np.stack([image.pixels for image in images], out=batch.numpy())
    return batch.permute(0, 3, 1, 2).to(device, non_blocking=is_pinned)
