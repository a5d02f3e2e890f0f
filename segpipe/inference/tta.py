"""Test-time augmentation: one image at several scales, mirrored too, whole or through windows."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from segpipe.configuration import InferenceConfig, PreprocessorConfig
from segpipe.errors import InputError
from segpipe.limits import check_limit

from .geometry import Mosaic, Prediction, Size, View, place_image
from .network import Network, padded_size
from .preprocessing import check_enlarged, resize_image, resized_size, scale_preprocessor
from .sliding_window import count_windows, frame_size, predict_windows, windows_of


@torch.inference_mode()
def predict_views(
    network: Network, image: np.ndarray, preprocessor: PreprocessorConfig, inference: InferenceConfig
) -> Prediction:
    """Return the prediction of an image (H, W, 3) uint8, in as many views as the inference asks for.

    All views are kept on the network's grid: scales and flips multiply those, never the image's own pixels.

    Raises:
        InputError: there are more windows, or more pixels in all views together, than `segpipe.limits` allows.
    """
    _check_work(network, image.shape[:2], preprocessor, inference)
    views = []
    for scale in inference.scales:
        scaled = scale_preprocessor(preprocessor, scale, image.shape[:2], rounding=inference.scale_rounding)
        pixels = torch.tensor(resize_image(image, scaled)).permute(2, 0, 1).to(network.pixel_mean.device)
        views.append(_predict_view(network, pixels, image.shape[:2], inference))
        if inference.flip:
            views.append(_predict_view(network, pixels.flip(-1), image.shape[:2], inference).flip())
    return Prediction(tuple(views), inference.combine)


def _check_work(network: Network, size: Size, preprocessor: PreprocessorConfig, inference: InferenceConfig) -> None:
    """Refuse more windows, or more pixels in all views together, than `segpipe.limits` allows."""
    laid, windows, seen = windows_of(inference), 0, 0
    for scale in inference.scales:
        resized = resized_size(size, scale_preprocessor(preprocessor, scale, size))
        check_enlarged(size, resized)
        number, part = 1, resized
        if laid is not None:
            frame = frame_size(resized, laid.size, laid.small_image)
            rows, columns = (count_windows(*lengths) for lengths in zip(frame, laid.size, laid.stride, strict=True))
            number, part = rows * columns, laid.size
        height, width = network.input_size(part)
        windows += number * (1 + inference.flip)
        seen += number * height * width * (1 + inference.flip)
    image = f"An image of {size[0]} × {size[1]} pixels"
    advice = "Choose a larger stride, or fewer or smaller scales"
    check_limit("windows", windows, f"{image} would be seen in", error=InputError, advice=advice)
    check_limit("seen_pixels", seen, f"{image} would be seen in views of together", error=InputError, advice=advice)


def _predict_view(network: Network, pixels: Tensor, size: Size, inference: InferenceConfig) -> Mosaic | View:
    """Return the view of (3, h, w) pixels of an image that was (H, W)."""
    windows, upsampling = windows_of(inference), inference.upsampling
    if windows is not None:
        return predict_windows(network, pixels, size, windows, upsampling=upsampling)
    resized = (pixels.shape[1], pixels.shape[2])
    (cells,), (scoring,) = network.grid_scores(network(pixels[None]))
    grid = (cells.shape[1], cells.shape[2])
    placement = place_image(size, resized, padded_size(network, resized), grid, upsampling=upsampling)
    return View(cells, placement, scoring=scoring)
