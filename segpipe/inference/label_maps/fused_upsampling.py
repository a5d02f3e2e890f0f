"""Logits at an image's pixels inside a Triton kernel, and the arrays that tell it what each pixel reads.

Importing this imports Triton.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..geometry import Axis

MAX_CLASS_BLOCK = 64
"""Classes that a program holds at once; with fewer classes, the next power of two."""


class AxisArrays(NamedTuple):
    """An axis on the GPU.

    Attributes:
        starts: (n,) int32.
        weights: (n, T) float32.
    """

    starts: Tensor
    weights: Tensor


def send_axis(axis: Axis, device: torch.device) -> AxisArrays:
    """Return the arrays of an axis on a device."""
    starts, weights = torch.from_numpy(axis.starts).to(torch.int32), torch.from_numpy(axis.weights)
    return AxisArrays(starts.to(device), weights.contiguous().to(device))


def class_block(num_classes: int) -> int:
    """Return how many classes a program takes at once."""
    return min(MAX_CLASS_BLOCK, max(16, triton.next_power_of_2(num_classes)))


@triton.jit
def locate_run(height, width, segments, RUN: tl.constexpr):
    """Return the image, its line among those of all images, the row and the columns of a program, and which exist."""
    line = tl.program_id(0) // segments
    columns = tl.program_id(0) % segments * RUN + tl.arange(0, RUN)
    return (line // height).to(tl.int64), line, line % height, columns, columns < width


@triton.jit
def read_logits(
    cells,  # pointer to the (h, w, K) of one image
    row_start,  # first row that the pixels read
    row_weights,  # pointer to its T weights
    column_starts,  # (P,) first columns
    column_weights,  # (P,) pointers to T weights each
    inside,  # (P,) which of them are pixels
    classes,  # (C,)
    grid_width,
    NUM_CLASSES: tl.constexpr,
    ROW_TAPS: tl.constexpr,
    COLUMN_TAPS: tl.constexpr,
):
    """Return (P, C) float32 interpolated logits; 0 outside of the pixels and the classes."""
    logits = tl.zeros([column_starts.shape[0], classes.shape[0]], dtype=tl.float32)
    for row_tap in tl.static_range(ROW_TAPS):
        row_weight = tl.load(row_weights + row_tap)
        line = tl.zeros([column_starts.shape[0], classes.shape[0]], dtype=tl.float32)
        for column_tap in tl.static_range(COLUMN_TAPS):
            weight = tl.load(column_weights + column_tap, mask=inside, other=0.0)
            # Cells without weight are not read: what is infinite there belongs to no pixel.
            is_read = row_weight * weight != 0.0
            place = ((row_start + row_tap) * grid_width + column_starts + column_tap).to(tl.int64)
            pointers = cells + place[:, None] * NUM_CLASSES + classes[None, :]
            values = tl.load(pointers, mask=is_read[:, None] & (classes < NUM_CLASSES)[None, :], other=0.0)
            line += weight[:, None] * values.to(tl.float32)
        logits += row_weight * line
    return logits
