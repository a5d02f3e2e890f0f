"""Where a picture's pixels lie on the grid of logits.

Bilinear resizing is linear and separable, and so are padding, cropping and mirroring. However many
of them lie between the logits and the picture, each pixel's logits are a weighted sum of a few
neighbouring cells, with weights that are a product of one factor per axis. An `Axis` holds those
factors, a `Placement` one axis for the rows and one for the columns.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from segpipe.models import bilinear_weights

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
        """Bilinear resize without corner alignment, with the very weights of torch's `interpolate`.

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
        """T, how many cells a pixel reads at most."""
        return self.weights.shape[1]

    def crop(self, start: int, length: int) -> Axis:
        """Keep `length` pixels from `start` on."""
        kept = slice(start, start + length)
        return Axis(self.cells, self.starts[kept], self.weights[kept])

    def flip(self) -> Axis:
        """For a picture that was mirrored before the network saw it."""
        return Axis(self.cells, self.starts[::-1].copy(), self.weights[::-1].copy())

    def shift(self, offset: int, length: int) -> Axis:
        """For a window at `offset` of `length` pixels: zero weights outside of it."""
        # Outside, the nearest pixel's cells: starts that jump would make `then` read all cells between.
        starts = self.starts[np.clip(np.arange(length) - offset, 0, len(self) - 1)]
        weights = np.zeros((length, self.taps), dtype=np.float32)
        weights[offset : offset + len(self)] = self.weights
        return Axis(self.cells, starts, weights)

    def scale(self, factors: np.ndarray) -> Axis:
        """Multiply each pixel's weights by its factor (n,), as its share among overlapping windows."""
        return Axis(self.cells, self.starts, self.weights * factors[:, None].astype(np.float32))

    def then(self, other: Axis) -> Axis:
        """One axis for two steps: `other` reads the pixels of this one."""
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
    """Both axes: pixel (y, x) of the picture reads rows[y] × columns[x] of the grid."""

    rows: Axis
    columns: Axis

    @property
    def size(self) -> Size:
        """(H, W) of the picture."""
        return len(self.rows), len(self.columns)

    @property
    def grid(self) -> Size:
        """(h, w) of the logits."""
        return self.rows.cells, self.columns.cells

    def flip(self) -> Placement:
        """For a picture that was mirrored left to right before the network saw it."""
        return Placement(self.rows, self.columns.flip())

    def window(self, corner: Size, size: Size) -> Placement:
        """For a window whose top left corner lies at `corner` of a picture of `size`."""
        return Placement(self.rows.shift(corner[0], size[0]), self.columns.shift(corner[1], size[1]))


def place_picture(size: Size, resized: Size, padded: Size, grid: Size, *, upsampling: Upsampling) -> Placement:
    """The placement of a whole picture.

    Args:
        size: (H, W) of the picture.
        resized: what preprocessing made of it.
        padded: what the network's zero pad (right, bottom) made of that.
        grid: (h, w) of the logits.
        upsampling: one-step, from the logits to the picture (Hugging Face); or two-step, from the
            logits to the network's input and from there to the picture (mmsegmentation, EasyCV).
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
