"""Where an image's pixels lie on the grid of logits, and the logits that lie there.

Bilinear resizing is linear and separable, and so are padding, cropping and mirroring. However many of them lie between
the logits and the image, each pixel's logits are a weighted sum of a few neighboring cells, with weights that are a
product of one factor per axis. An `Axis` holds those factors, a `Placement` one axis for the rows and one for the
columns. A `View` is logits with their placement, a `Prediction` all views of an image.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from segpipe.errors import InputError
from segpipe.models import Scoring, bilinear_weights

Size = tuple[int, int]
Upsampling = Literal["one-step", "two-step"]


@dataclass(frozen=True, eq=False)
class Axis:
    """How each of n pixels reads a row of cells.

    Attributes:
        cells: length of the row of cells.
        starts: (n,) the first cell that each pixel reads.
        weights: (n, T) float32, of the T cells from there. A pixel outside a window has zeros.
    """

    cells: int
    starts: np.ndarray = field(repr=False)
    weights: np.ndarray = field(repr=False)

    @classmethod
    def resize(cls, cells: int, length: int, *, scale: float | None = None) -> Axis:
        """Return a bilinear resize without corner alignment, with exactly the weights of torch's `interpolate`.

        Args:
            cells: length before.
            length: length after.
            scale: cells per pixel where it is not cells / length, as after cropping.
        """
        return cls(cells, *bilinear_weights(cells, length, scale=scale))

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def taps(self) -> int:
        """T, the cells that a pixel reads at most."""
        return self.weights.shape[1]

    def crop(self, start: int, length: int) -> Axis:
        """Keep `length` pixels from `start` on."""
        kept = slice(start, start + length)
        return Axis(self.cells, self.starts[kept], self.weights[kept])

    def flip(self) -> Axis:
        """Return the axis of an image that was mirrored before the network saw it."""
        return Axis(self.cells, self.starts[::-1].copy(), self.weights[::-1].copy())

    def shift(self, offset: int, length: int) -> Axis:
        """Return the axis of a window at `offset` along `length` pixels, with zero weights outside of it."""
        # Outside, the nearest pixel's cells: starts that jump would make `then` read all cells between.
        starts = self.starts[np.clip(np.arange(length) - offset, 0, len(self) - 1)]
        weights = np.zeros((length, self.taps), dtype=np.float32)
        weights[offset : offset + len(self)] = self.weights
        return Axis(self.cells, starts, weights)

    def scale(self, factors: np.ndarray) -> Axis:
        """Multiply each pixel's weights by its factor (n,), as its part among overlapping windows."""
        return Axis(self.cells, self.starts, self.weights * factors[:, None].astype(np.float32))

    def then(self, other: Axis) -> Axis:
        """Join two steps into one axis: `other` reads the pixels of this one."""
        first, last = self.starts[other.starts], self.starts[other.starts + other.taps - 1]
        taps = min(int((last - first).max()) + self.taps, self.cells)
        starts = np.minimum(first, self.cells - taps)
        weights = np.zeros((len(other), taps))
        pixels = np.arange(len(other))
        for middle in range(other.taps):
            source = other.starts + middle
            for tap in range(self.taps):
                weights[pixels, self.starts[source] - starts + tap] += (
                    other.weights[:, middle].astype(np.float64) * self.weights[source, tap]
                )
        return Axis(self.cells, starts, weights.astype(np.float32))

    @cached_property
    def matrix(self) -> Tensor:
        """(n, cells) float32, the whole axis as a matrix. For slow references and small strips."""
        matrix = np.zeros((len(self), self.cells), dtype=np.float32)
        for tap in range(self.taps):
            matrix[np.arange(len(self)), self.starts + tap] += self.weights[:, tap]
        return torch.from_numpy(matrix)

    @cached_property
    def read_cells(self) -> Tensor:
        """(cells,) bool: which cells any pixel reads; those of a zero pad are left out."""
        read = np.zeros(self.cells, dtype=bool)
        for tap in range(self.taps):
            read[(self.starts + tap)[self.weights[:, tap] > 0]] = True
        return torch.from_numpy(read)

    @cached_property
    def span(self) -> slice:
        """The pixels that read any cell: all of them, or those of the window; none where it shrank to nothing."""
        covered = self.weights.any(axis=1).nonzero()[0]
        return slice(int(covered[0]), int(covered[-1]) + 1) if len(covered) else slice(0, 0)


@dataclass(frozen=True, eq=False)
class Placement:
    """Both axes: pixel (y, x) of the image reads rows[y] × columns[x] of the grid."""

    rows: Axis
    columns: Axis

    @property
    def size(self) -> Size:
        """(H, W) of the image."""
        return len(self.rows), len(self.columns)

    @property
    def grid(self) -> Size:
        """(h, w) of the logits."""
        return self.rows.cells, self.columns.cells

    def flip(self) -> Placement:
        """Return the same for an image that was mirrored left to right before the network saw it."""
        return Placement(self.rows, self.columns.flip())

    def window(self, corner: Size, size: Size) -> Placement:
        """Return the placement of a window whose top left corner lies at `corner` of an image of `size`."""
        return Placement(self.rows.shift(corner[0], size[0]), self.columns.shift(corner[1], size[1]))


@dataclass(frozen=True, eq=False)
class View:
    """What a network gives for an image on its grid, and where the image lies on it.

    Attributes:
        cells: (C, h, w), see `GridScores`.
        placement: where the image lies.
        batch: (B, C, h, w) of which the cells are a slice, so that a GPU can label the batch at once. If None, the
            image is labelled alone.
        index: of the slice.
        scoring: from cells to class scores. If None, the cells are class logits.
    """

    cells: Tensor
    placement: Placement
    batch: Tensor | None = None
    index: int = 0
    scoring: Scoring | None = None

    def __post_init__(self) -> None:
        if tuple(self.cells.shape[1:]) != self.placement.grid:
            raise InputError(
                f"The logits have the shape {tuple(self.cells.shape)} and the placement is for a grid of "
                f"{self.placement.grid}. Make the placement from the logits' own height and width."
            )

    @property
    def num_classes(self) -> int:
        """K."""
        return len(self.cells) if self.scoring is None else self.scoring.num_classes

    @property
    def channels(self) -> int:
        """How many numbers a pixel takes at most, in cells or in scores."""
        return max(len(self.cells), self.num_classes)

    @property
    def size(self) -> Size:
        """(H, W) of the image."""
        return self.placement.size

    @property
    def device(self) -> torch.device:
        """Where the cells are."""
        return self.cells.device

    @property
    def windows(self) -> tuple[View, ...]:
        """The view itself, as the one window of a `Mosaic`."""
        return (self,)

    def flip(self) -> View:
        """Return the same for an image that was mirrored left to right before the network saw it."""
        return View(self.cells, self.placement.flip(), scoring=self.scoring)


@dataclass(frozen=True, eq=False)
class Mosaic:
    """Windows over an image that together are like one view of it: a pixel's scores are the sum over the windows.

    The placements hold the weights of overlapping windows, see `share_windows`, so the sum is an average.
    """

    windows: tuple[View, ...]

    def flip(self) -> Mosaic:
        """Return the same for an image that was mirrored left to right before the network saw it."""
        return Mosaic(tuple(window.flip() for window in self.windows))


@dataclass(frozen=True, eq=False)
class Prediction:
    """All views of one image and how they combine: several scales and mirrored ones, each whole or in windows.

    Where several views cover a pixel, their logits (of a family without logits: its class scores) or their
    probabilities are averaged. The windows of a mosaic always average their logits: that is one view.
    """

    views: tuple[View | Mosaic, ...]
    combine: Literal["logits", "probabilities"] = "probabilities"

    @property
    def first(self) -> View:
        """The first view or its first window; all have its size, classes, channels and device."""
        return self.views[0].windows[0]

    @property
    def size(self) -> Size:
        """(H, W) of the image."""
        return self.first.size

    @property
    def num_classes(self) -> int:
        """K."""
        return self.first.num_classes


def place_image(size: Size, resized: Size, padded: Size, grid: Size, *, upsampling: Upsampling) -> Placement:
    """Return the placement of an image that the network sees as a whole.

    Args:
        size: (H, W) of the image.
        resized: what preprocessing made of it.
        padded: what the network's zero pad (right, bottom) made of that.
        grid: (h, w) of the logits.
        upsampling: one-step, from the logits to the image (Hugging Face); or two-step, from the
            logits to the network's input and from there to the image (mmsegmentation, EasyCV).
    """
    place = _place_in_one_step if upsampling == "one-step" else _place_in_two_steps
    rows, columns = (place(*lengths) for lengths in zip(size, resized, padded, grid, strict=True))
    return Placement(rows, columns)


def _place_in_one_step(length: int, resized: int, padded: int, cells: int) -> Axis:
    if resized == padded:
        return Axis.resize(cells, length)
    return Axis.resize(cells, length, scale=cells / padded * (resized / length))


def _place_in_two_steps(length: int, resized: int, padded: int, cells: int) -> Axis:
    to_input = Axis.resize(cells, padded).crop(0, resized)
    return to_input if length == resized else to_input.then(Axis.resize(resized, length))
