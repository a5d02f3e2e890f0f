"""Sliding windows: where overlapping windows lie on an image, and how what the network gives for each is averaged."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from segpipe.configuration import InferenceConfig
from segpipe.models import Scoring

from .geometry import Axis, Mosaic, Placement, Size, Upsampling, View, place_image
from .network import Network, padded_size
from .preprocessing import check_enlarged

SmallImage = Literal["keep", "pad", "enlarge"]

WINDOW_BATCH = 8
"""A GPU takes this many windows at once."""


class Windows(NamedTuple):
    """How windows are laid over an image.

    Attributes:
        size: (height, width) of each.
        stride: from one to the next, down and to the right.
        small_image: what becomes of an image that a window does not fit into.
    """

    size: Size
    stride: Size
    small_image: SmallImage


def windows_of(inference: InferenceConfig) -> Windows | None:
    """Return the windows that an inference asks for. If None, the network sees the image as a whole."""
    if inference.mode != "slide" or inference.window is None or inference.stride is None:
        return None
    return Windows(inference.window, inference.stride, inference.small_picture)


def predict_windows(
    network: Network, pixels: Tensor, size: Size, windows: Windows, *, upsampling: Upsampling
) -> Mosaic | View:
    """Return what the network gives for an image through windows.

    Their logits are brought to the network's input size, averaged there, and brought to the image's size, as in
    mmsegmentation, Segmenter and UN-EPT. Class scores that are not linear in a family's output are averaged at the
    image's size.

    Args:
        network: what is run.
        pixels: (3, h, w), after preprocessing.
        size: (H, W) of the image before it.
        windows: how they are laid.
        upsampling: see `place_image`.
    """
    image = _fit_window(pixels, windows)
    frame = _size_of(image)
    tops, lefts = (window_starts(*lengths) for lengths in zip(frame, windows.size, windows.stride, strict=True))
    window = _common_part(windows.size, frame)
    if windows.small_image == "pad":
        image = _pad(image, windows.size, network)
    outputs = list(_run_windows(network, image, list(product(tops, lefts)), windows.size))
    padded = padded_size(network, _common_part(windows.size, _size_of(image)))
    one = place_image(window, window, padded, _size_of(outputs[0][0]), upsampling=upsampling)
    rows = share_windows(one.rows, tops, frame[0], size[0])
    columns = share_windows(one.columns, lefts, frame[1], size[1])
    placements = [Placement(*axes) for axes in product(rows, columns)]
    views = tuple(
        View(cells, placement, scoring=scoring) for (cells, scoring), placement in zip(outputs, placements, strict=True)
    )
    return Mosaic(views) if len(views) > 1 else views[0]


def window_starts(length: int, window: int, stride: int) -> list[int]:
    """Return the first pixel of each window along an axis; the last window is moved back to end with the image."""
    last = max(length - window, 0)
    return [*range(0, last, stride), last]


def count_windows(length: int, window: int, stride: int) -> int:
    """Return how many starts `window_starts` has."""
    return -(-max(length - window, 0) // stride) + 1


def frame_size(size: Size, window: Size, small_image: SmallImage) -> Size:
    """Return (h, w) of the image that windows are laid over: enlarged, its ratio kept, where that is the rule."""
    height, width = size
    if small_image != "enlarge" or (height >= window[0] and width >= window[1]):
        return size
    if window[0] * width >= window[1] * height:  # the height needs the larger factor
        return window[0], max(window[1], int(width / height * window[0]))
    return max(window[0], int(height / width * window[1])), window[1]


def share_windows(axis: Axis, starts: list[int], frame: int, length: int) -> list[Axis]:
    """Return an axis for each window; at every pixel their weights add up to 1, in equal parts where windows overlap.

    Args:
        axis: of a window by itself.
        starts: where the windows begin.
        frame: pixels along the image that the windows lie in.
        length: pixels along the image that is asked for, to which the frame is resized.
    """
    counts = np.zeros(frame)
    for start in starts:
        counts[start : start + len(axis)] += 1
    parts = [axis.shift(start, frame).scale(1 / counts) for start in starts]
    if frame == length:
        return parts
    resize = Axis.resize(frame, length)
    return [part.then(resize) for part in parts]


def _size_of(maps: Tensor) -> Size:
    return maps.shape[-2], maps.shape[-1]


def _common_part(one: Size, other: Size) -> Size:
    return min(one[0], other[0]), min(one[1], other[1])


def _fit_window(pixels: Tensor, windows: Windows) -> Tensor:
    """Enlarge an image (3, h, w) that a window does not fit into, where that is the rule; the ratio is kept."""
    size = frame_size(_size_of(pixels), windows.size, windows.small_image)
    if size == _size_of(pixels):
        return pixels
    check_enlarged(_size_of(pixels), size)
    return functional.interpolate(pixels[None].float(), size=size, mode="bilinear", align_corners=False)[0]


def _pad(pixels: Tensor, window: Size, network: Network) -> Tensor:
    """Fill up to the window, right and bottom, with what is zero after normalization."""
    height, width = _size_of(pixels)
    if height >= window[0] and width >= window[1]:
        return pixels
    size = max(height, window[0]), max(width, window[1])
    check_enlarged((height, width), size)
    padded = network.pixel_mean.view(3, 1, 1).repeat(1, *size)
    padded[:, :height, :width] = pixels
    return padded


def _run_windows(
    network: Network, image: Tensor, corners: list[tuple[int, int]], window: Size
) -> Iterator[tuple[Tensor, Scoring | None]]:
    """Yield the cells (C, h, w) of the window at each corner, and how class scores come from them."""
    step = 1 if image.device.type == "cpu" else WINDOW_BATCH
    for start in range(0, len(corners), step):
        parts = [
            image[:, top : top + window[0], left : left + window[1]] for top, left in corners[start : start + step]
        ]
        yield from zip(*network.grid_scores(network(torch.stack(parts))), strict=True)
