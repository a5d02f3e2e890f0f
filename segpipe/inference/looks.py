"""One picture in whichever way a configuration says: at several scales, mirrored too, whole or through windows."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from segpipe.configuration import InferenceConfig, PreprocessorConfig

from .network import Network
from .placement import Size, place_picture
from .resizing import resize_image, scale_preprocessor
from .views import Mosaic, Prediction, View
from .windows import see_windows


@torch.inference_mode()
def predict(model: Network, image: np.ndarray, preprocessor: PreprocessorConfig, config: InferenceConfig) -> Prediction:
    """The prediction of a decoded picture (H, W, 3) uint8.

    All views are kept on the networks' grids: scales and flips multiply those, never the picture's own pixels.
    """
    views = []
    for pixels in _scaled(image, preprocessor, config):
        pixels = pixels.to(model.pixel_mean.device)
        views.append(_see(model, pixels, image.shape[:2], config))
        if config.flip:
            views.append(_see(model, pixels.flip(-1), image.shape[:2], config).flip())
    return Prediction(tuple(views), config.combine)


def _scaled(image: np.ndarray, preprocessor: PreprocessorConfig, config: InferenceConfig) -> Iterator[Tensor]:
    """(3, h, w) uint8 at each scale, resized from the picture itself."""
    for scale in config.scales:
        resized = resize_image(image, scale_preprocessor(preprocessor, scale, image.shape[:2]))
        yield torch.tensor(resized).permute(2, 0, 1)


def _see(model: Network, pixels: Tensor, size: Size, config: InferenceConfig) -> Mosaic | View:
    """What the network sees of (3, h, w) pixels of a picture that was (H, W)."""
    if config.mode == "slide":
        return see_windows(model, pixels, size, config)
    resized = (pixels.shape[1], pixels.shape[2])
    logits = model(pixels[None])[0]
    grid = (logits.shape[1], logits.shape[2])
    return View(logits, place_picture(size, resized, model.input_size(resized), grid, upsampling=config.upsampling))
