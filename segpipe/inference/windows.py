"""A picture seen through overlapping windows: where they lie and what each one's share is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from segpipe.configuration import InferenceConfig

from .network import Network
from .padding import padded_size
from .placement import Axis, Placement, Size, place_picture
from .resizing import check_enlarged
from .views import Mosaic, View

WINDOW_BATCH = 8
"""How many windows a GPU sees at once."""


def see_windows(model: Network, pixels: Tensor, size: Size, config: InferenceConfig) -> Mosaic | View:
    """What the network sees of a picture through windows.

    Their logits are brought to the network's input size, averaged there, and brought to the picture's
    size, as in mmsegmentation, Segmenter and UN-EPT.

    Args:
        model: the network.
        pixels: (3, h, w), after preprocessing.
        size: (H, W) of the picture before it.
        config: has a `window` and a `stride`.
    """
    assert config.window is not None
    assert config.stride is not None
    frame = _fit_window(pixels, config.window, config.small_picture)
    grid = WindowGrid.over(_size_of(frame), config.window, config.stride)
    if config.small_picture == "pad":
        frame = _pad(frame, config.window, model)
    logits = list(_run_windows(model, frame, grid, config.window))
    seen = (min(config.window[0], frame.shape[-2]), min(config.window[1], frame.shape[-1]))
    one = place_picture(
        grid.window, grid.window, padded_size(model, seen), _size_of(logits[0]), upsampling=config.upsampling
    )
    rows = share_windows(one.rows, grid.tops, grid.frame[0], size[0])
    columns = share_windows(one.columns, grid.lefts, grid.frame[1], size[1])
    placements = [Placement(*axes) for axes in product(rows, columns)]
    views = tuple(View(*pair) for pair in zip(logits, placements, strict=True))
    return Mosaic(views) if len(views) > 1 else views[0]


def window_starts(length: int, window: int, stride: int) -> list[int]:
    """The first pixel of each window along an axis; the last window is moved back to end with the picture."""
    last = max(length - window, 0)
    return [*range(0, last, stride), last]


def count_windows(length: int, window: int, stride: int) -> int:
    """How many starts `window_starts` has."""
    return -(-max(length - window, 0) // stride) + 1


def frame_size(size: Size, window: Size, small_picture: Literal["keep", "pad", "enlarge"]) -> Size:
    """(h, w) of the picture that windows are laid over: enlarged, its ratio kept, where that is the rule."""
    height, width = size
    if small_picture != "enlarge" or (height >= window[0] and width >= window[1]):
        return size
    if window[0] * width >= window[1] * height:  # the height needs the larger factor
        return window[0], max(window[1], int(width / height * window[0]))
    return max(window[0], int(height / width * window[1])), window[1]


def share_windows(axis: Axis, starts: list[int], frame: int, length: int) -> list[Axis]:
    """One axis for each window; at every pixel their weights add up to 1, shared equally where windows overlap.

    Args:
        axis: of a window by itself.
        starts: where the windows begin.
        frame: pixels along the picture that the windows lie in.
        length: pixels along the picture that is asked for, to which the frame is resized.
    """
    counts = np.zeros(frame)
    for start in starts:
        counts[start : start + len(axis)] += 1
    shares = [axis.shift(start, frame).scale(1 / counts) for start in starts]
    if frame == length:
        return shares
    resize = Axis.resize(frame, length)
    return [share.then(resize) for share in shares]


@dataclass(frozen=True)
class WindowGrid:
    """Windows in rows and columns over a picture.

    Attributes:
        frame: (h, w) of the picture.
        window: (height, width) of each window, no larger than the picture.
        tops: first row of the windows, top to bottom.
        lefts: first column of the windows, left to right.
    """

    frame: Size
    window: Size
    tops: list[int]
    lefts: list[int]

    @classmethod
    def over(cls, frame: Size, window: Size, stride: Size) -> WindowGrid:
        """The fewest windows at most a stride apart that cover a picture."""
        tops, lefts = (window_starts(*lengths) for lengths in zip(frame, window, stride, strict=True))
        return cls(frame, (min(frame[0], window[0]), min(frame[1], window[1])), tops, lefts)


def _size_of(maps: Tensor) -> Size:
    return maps.shape[-2], maps.shape[-1]


def _fit_window(pixels: Tensor, window: Size, small_picture: Literal["keep", "pad", "enlarge"]) -> Tensor:
    """Enlarge a picture (3, h, w) that a window does not fit into, where that is the rule; the ratio is kept."""
    size = frame_size(_size_of(pixels), window, small_picture)
    if size == _size_of(pixels):
        return pixels
    check_enlarged(_size_of(pixels), size)
    return functional.interpolate(pixels[None].float(), size=size, mode="bilinear", align_corners=False)[0]


def _pad(pixels: Tensor, window: Size, model: Network) -> Tensor:
    """Fill up to the window, right and bottom, with what is zero after normalisation."""
    height, width = _size_of(pixels)
    if height >= window[0] and width >= window[1]:
        return pixels
    size = max(height, window[0]), max(width, window[1])
    check_enlarged((height, width), size)
    padded = model.pixel_mean.view(3, 1, 1).repeat(1, *size)
    padded[:, :height, :width] = pixels
    return padded


def _run_windows(model: Network, frame: Tensor, grid: WindowGrid, window: Size) -> Iterator[Tensor]:
    """Logits (K, h, w) of each window, row by row."""
    corners = list(product(grid.tops, grid.lefts))
    step = 1 if frame.device.type == "cpu" else WINDOW_BATCH
    for start in range(0, len(corners), step):
        parts = [
            frame[:, top : top + window[0], left : left + window[1]] for top, left in corners[start : start + step]
        ]
        yield from model(torch.stack(parts))
