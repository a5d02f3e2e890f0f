"""One picture in whichever way a configuration says: at several scales, mirrored too, whole or through windows."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from segpipe.configuration import InferenceConfig, PreprocessorConfig
from segpipe.errors import InputError
from segpipe.limits import LIMITS, limit

from .network import Network
from .padding import padded_size
from .placement import Size, place_picture
from .resizing import check_enlarged, resize_image, resized_size, scale_preprocessor
from .views import Mosaic, Prediction, View
from .windows import count_windows, frame_size, see_windows


@torch.inference_mode()
def predict(model: Network, image: np.ndarray, preprocessor: PreprocessorConfig, config: InferenceConfig) -> Prediction:
    """The prediction of a decoded picture (H, W, 3) uint8.

    All views are kept on the networks' grids: scales and flips multiply those, never the picture's own pixels.
    """
    _check_work(model, image.shape[:2], preprocessor, config)
    views = []
    for pixels in _scaled(image, preprocessor, config):
        pixels = pixels.to(model.pixel_mean.device)
        views.append(_see(model, pixels, image.shape[:2], config))
        if config.flip:
            views.append(_see(model, pixels.flip(-1), image.shape[:2], config).flip())
    return Prediction(tuple(views), config.combine)


def _check_work(model: Network, size: Size, preprocessor: PreprocessorConfig, config: InferenceConfig) -> None:
    """Refuse more windows, or more pixels in all views together, than `segpipe.limits` allows."""
    windows = seen = 0
    for scale in config.scales:
        resized = resized_size(size, scale_preprocessor(preprocessor, scale, size))
        check_enlarged(size, resized)
        number, part = 1, resized
        if config.mode == "slide" and config.window is not None and config.stride is not None:
            frame = frame_size(resized, config.window, config.small_picture)
            rows, columns = (
                count_windows(*lengths) for lengths in zip(frame, config.window, config.stride, strict=True)
            )
            number, part = rows * columns, config.window
        height, width = model.input_size(part)
        windows += number * (1 + config.flip)
        seen += number * height * width * (1 + config.flip)
    for name, found in (("windows", windows), ("seen_pixels", seen)):
        if found > limit(name):
            raise InputError(
                f"An image of {size[0]} × {size[1]} pixels would be seen in {windows:,} views and windows with "
                f"{seen:,} pixels; at most {limit(name):,} {LIMITS[name].unit} are allowed. Choose a larger stride, or "
                f"fewer or smaller scales, or set {LIMITS[name].variable} to a higher limit."
            )


def _scaled(image: np.ndarray, preprocessor: PreprocessorConfig, config: InferenceConfig) -> Iterator[Tensor]:
    """(3, h, w) uint8 at each scale, resized from the picture itself."""
    for scale in config.scales:
        size, rounding = image.shape[:2], config.scale_rounding
        resized = resize_image(image, scale_preprocessor(preprocessor, scale, size, rounding=rounding))
        yield torch.tensor(resized).permute(2, 0, 1)


def _see(model: Network, pixels: Tensor, size: Size, config: InferenceConfig) -> Mosaic | View:
    """What the network sees of (3, h, w) pixels of a picture that was (H, W)."""
    if config.mode == "slide":
        return see_windows(model, pixels, size, config)
    resized = (pixels.shape[1], pixels.shape[2])
    logits = model(pixels[None])[0]
    grid = (logits.shape[1], logits.shape[2])
    return View(logits, place_picture(size, resized, padded_size(model, resized), grid, upsampling=config.upsampling))
