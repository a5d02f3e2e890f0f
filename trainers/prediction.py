"""The answer for one picture from a network as it is in the middle of training: a label map, or probabilities."""

from __future__ import annotations

import numpy as np
import torch

from segpipe.configuration import Configuration
from segpipe.evaluation import in_evaluation_mode
from segpipe.inference import label_map, predict, resize_image
from segpipe.models import SegmentationModel, SegpipeNetwork


@torch.inference_mode()
def predict_label_map(model: SegmentationModel, pixels: np.ndarray, configuration: Configuration) -> np.ndarray:
    """(H, W) uint8, or uint16 with more than 256 classes, of a picture (H, W, 3) uint8 RGB.

    The model sees it in evaluation mode and its modules are given back in the modes that they were in.
    """
    with in_evaluation_mode(model):
        labels = label_map(predict(model, pixels, configuration.preprocessor, configuration.inference)).labels
    found: np.ndarray = labels.cpu().numpy()
    return found if found.dtype == np.uint8 else found.astype(np.uint16)


@torch.inference_mode()
def predict_probabilities(model: SegpipeNetwork, pixels: np.ndarray, configuration: Configuration) -> np.ndarray:
    """(K,) float32 probabilities of the classes of a picture (H, W, 3) uint8 RGB; the model's mode stays."""
    image = torch.from_numpy(resize_image(pixels, configuration.preprocessor).copy()).permute(2, 0, 1)  # (3, h, w)
    with in_evaluation_mode(model):
        probabilities: np.ndarray = model(image[None].to(model.pixel_mean.device))[0].float().softmax(0).cpu().numpy()
    return probabilities
