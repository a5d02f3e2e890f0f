"""The label map of one picture from a network as it is in the middle of training."""

from __future__ import annotations

import numpy as np
import torch

from segpipe.configuration import Configuration
from segpipe.inference import label_map, predict
from segpipe.models import SegmentationModel


@torch.inference_mode()
def predict_label_map(model: SegmentationModel, pixels: np.ndarray, configuration: Configuration) -> np.ndarray:
    """(H, W) uint8, or uint16 with more than 256 classes, of a picture (H, W, 3) uint8 RGB.

    The model sees it in evaluation mode and is given back in the mode that it was in.
    """
    was_training = model.training
    model.eval()
    try:
        labels = label_map(predict(model, pixels, configuration.preprocessor, configuration.inference)).labels
    finally:
        model.train(was_training)
    found: np.ndarray = labels.cpu().numpy()
    return found if found.dtype == np.uint8 else found.astype(np.uint16)
