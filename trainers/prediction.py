"""Predict one image with a network in the middle of its training: a label map, or probabilities."""

from __future__ import annotations

import numpy as np
import torch

from segpipe.configuration import Configuration
from segpipe.errors import NumericalError
from segpipe.inference import in_evaluation_mode, resize_image, segment
from segpipe.models import SegmentationModel, SegpipeNetwork


def predict_label_map(model: SegmentationModel, pixels: np.ndarray, configuration: Configuration) -> np.ndarray:
    """Return (H, W) uint8, or uint16 with more than 256 classes, for an image (H, W, 3) uint8 RGB.

    The model sees it in evaluation mode and its modules are given back in the modes that they were in.
    """
    with in_evaluation_mode(model):
        [found] = segment(model, [pixels], configuration)
    if isinstance(found, NumericalError):
        raise found
    return found.numpy()


@torch.inference_mode()
def predict_probabilities(model: SegpipeNetwork, pixels: np.ndarray, configuration: Configuration) -> np.ndarray:
    """Return (K,) float32 probabilities of the classes for an image (H, W, 3) uint8 RGB; the model's mode stays."""
    image = torch.from_numpy(resize_image(pixels, configuration.preprocessor).copy()).permute(2, 0, 1)  # (3, h, w)
    with in_evaluation_mode(model):
        probabilities: np.ndarray = model(image[None].to(model.pixel_mean.device))[0].float().softmax(0).cpu().numpy()
    return probabilities
