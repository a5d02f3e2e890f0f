"""Upsampling and cross-entropy as Triton kernels: each pixel's loss, and its gradient on the network's grid.

Neither logits at the image's size nor their gradients are ever written: the gradient's kernel makes them a second
time. No sum depends on the order in which the GPU works, so a step gives the same numbers each time.

Importing this imports Triton; `strip_loss.py` has the same in plain torch.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

from segpipe.inference import Axis, AxisArrays, Placement, class_block, locate_run, read_logits, send_axis
from segpipe.models import launching_on

PIXELS = 16
"""Neighboring pixels of a row whose losses a program computes."""
CELLS = 16
"""Neighboring cells of a row whose gradients a program computes."""
TAPS = 2
"""Cells per axis that a pixel reads."""


def pixel_losses(logits: Tensor, labels: Tensor, placement: Placement, *, ignore_index: int) -> Tensor:
    """Return the cross-entropy of each pixel, computed in float32, under autocast too.

    Args:
        logits: (B, K, h, w), in float32, float16 or bfloat16.
        labels: (B, H, W) integers. What is neither a class nor ignored counts as the nearest class.
        placement: where the labels lie on the grid; each pixel reads at most 2 × 2 cells, as after one resize.
        ignore_index: label of the pixels that do not count.

    Returns:
        (B, H, W) float32 that autograd can go through; 0 where pixels do not count.
    """
    return _PixelLosses.apply(logits, labels, placement, ignore_index)


class Pixels(NamedTuple):
    """The labels and axes that both kernels read beside the logits.

    Attributes:
        labels: (B, H, W).
        rows: where the rows of pixels lie on the grid.
        columns: where the columns do.
    """

    labels: Tensor
    rows: AxisArrays
    columns: AxisArrays


class _PixelLosses(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, labels: Tensor, placement: Placement, ignore_index: int) -> Tensor:
        cells = logits.detach().permute(0, 2, 3, 1).contiguous()  # (B, h, w, K)
        rows, columns = (send_axis(_with_two_taps(axis), cells.device) for axis in (placement.rows, placement.columns))
        pixels = Pixels(labels.contiguous(), rows, columns)
        losses, log_sums = _launch_losses(cells, pixels, ignore_index)
        ctx.save_for_backward(cells, log_sums)
        ctx.pixels, ctx.placement, ctx.ignore_index = pixels, placement, ignore_index
        return losses

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradients: Tensor) -> tuple[Tensor, None, None, None]:
        cells, log_sums = ctx.saved_tensors
        gradients = torch.where(ctx.pixels.labels == ctx.ignore_index, 0.0, gradients.float())
        gradient = _launch_gradient(cells, ctx.pixels, ctx.placement, (log_sums, gradients.contiguous()))
        return gradient.permute(0, 3, 1, 2), None, None, None


def _with_two_taps(axis: Axis) -> Axis:
    missing = TAPS - axis.taps
    return Axis(axis.cells, axis.starts, np.pad(axis.weights, ((0, 0), (0, missing)))) if missing else axis


def _find_readers(axis: Axis, device: torch.device) -> tuple[Tensor, int]:
    """Return the first pixel that reads each cell (c,) int32, and how many do at most: they follow one another."""
    first = np.full(axis.cells, len(axis), dtype=np.int32)
    last = np.full(axis.cells, -1, dtype=np.int32)
    for tap in range(axis.taps):
        pixels = axis.weights[:, tap].nonzero()[0]
        np.minimum.at(first, axis.starts[pixels] + tap, pixels)
        np.maximum.at(last, axis.starts[pixels] + tap, pixels)
    return torch.from_numpy(first).to(device), max(0, int((last - first).max()) + 1)


def _launch_losses(cells: Tensor, pixels: Pixels, ignore_index: int) -> tuple[Tensor, Tensor]:
    """Return (B, H, W) float32 losses, and logarithms of the sums of exponentials."""
    batch, grid_height, grid_width, num_classes = cells.shape
    height, width = pixels.labels.shape[1:]
    losses = torch.empty(pixels.labels.shape, dtype=torch.float32, device=cells.device)
    log_sums = torch.empty_like(losses)
    segments = triton.cdiv(width, PIXELS)
    with launching_on(cells):
        _compute_losses[(batch * height * segments,)](
            cells,
            *pixels.rows,
            *pixels.columns,
            pixels.labels,
            losses,
            log_sums,
            ignore_index,
            grid_height,
            grid_width,
            height,
            width,
            segments,
            NUM_CLASSES=num_classes,
            TAPS=TAPS,
            PIXELS=PIXELS,
            CLASSES=class_block(num_classes),
            enable_fp_fusion=True,
        )
    return losses, log_sums


def _launch_gradient(cells: Tensor, pixels: Pixels, placement: Placement, maps: tuple[Tensor, Tensor]) -> Tensor:
    """Return (B, h, w, K), of the cells' type, from the pixels' logarithms of sums and gradients, (B, H, W) each."""
    batch, grid_height, grid_width, num_classes = cells.shape
    first_rows, most_rows = _find_readers(placement.rows, cells.device)
    first_columns, most_columns = _find_readers(placement.columns, cells.device)
    gradient = torch.empty_like(cells)
    segments, block = triton.cdiv(grid_width, CELLS), class_block(num_classes)
    with launching_on(cells):
        _compute_gradient[(batch * grid_height * segments, triton.cdiv(num_classes, block))](
            cells,
            *pixels.rows,
            *pixels.columns,
            pixels.labels,
            *maps,
            first_rows,
            first_columns,
            gradient,
            most_rows,
            most_columns,
            grid_height,
            grid_width,
            *pixels.labels.shape[1:],
            segments,
            NUM_CLASSES=num_classes,
            CELLS=CELLS,
            CLASSES=block,
            enable_fp_fusion=True,
        )
    return gradient


@triton.jit
def _compute_losses(
    grids,  # (B, h, w, K)
    row_starts,
    row_weights,
    column_starts,
    column_weights,
    labels,  # (B, H, W)
    losses,  # (B, H, W)
    log_sums,  # (B, H, W)
    ignore_index,
    grid_height,
    grid_width,
    height,
    width,
    segments,  # of a row of pixels
    NUM_CLASSES: tl.constexpr,
    TAPS: tl.constexpr,
    PIXELS: tl.constexpr,
    CLASSES: tl.constexpr,
):
    image, line, row, columns, inside = locate_run(height, width, segments, PIXELS)
    cells = grids + image * grid_height * grid_width * NUM_CLASSES
    row_start = tl.load(row_starts + row)
    starts = tl.load(column_starts + columns, mask=inside, other=0)
    place = line.to(tl.int64) * width + columns
    label = tl.load(labels + place, mask=inside, other=0).to(tl.int32)
    counted = inside & (label != ignore_index)
    label = tl.minimum(tl.maximum(label, 0), NUM_CLASSES - 1)
    highest = tl.full([PIXELS], float("-inf"), dtype=tl.float32)
    total = tl.zeros([PIXELS], dtype=tl.float32)
    true = tl.zeros([PIXELS], dtype=tl.float32)
    for first in range(0, NUM_CLASSES, CLASSES):
        classes = first + tl.arange(0, CLASSES)
        logits = read_logits(
            cells,
            row_start,
            row_weights + row * TAPS,
            starts,
            column_weights + columns * TAPS,
            inside,
            classes,
            grid_width,
            NUM_CLASSES,
            TAPS,
            TAPS,
        )
        true += tl.sum(tl.where(classes[None, :] == label[:, None], logits, 0.0), axis=1)
        logits = tl.where((classes < NUM_CLASSES)[None, :], logits, float("-inf"))
        higher = tl.maximum(highest, tl.max(logits, axis=1))
        total = total * tl.exp(highest - higher) + tl.sum(tl.exp(logits - higher[:, None]), axis=1)
        highest = higher
    log_sum = highest + tl.log(total)
    tl.store(losses + place, tl.where(counted, log_sum - true, 0.0), mask=inside)
    tl.store(log_sums + place, log_sum, mask=inside)


@triton.jit
def _compute_gradient(
    grids,  # (B, h, w, K)
    row_starts,
    row_weights,
    column_starts,
    column_weights,
    labels,  # (B, H, W)
    log_sums,  # (B, H, W)
    loss_gradients,  # (B, H, W)
    first_rows,  # (h,) the first row of pixels that reads each row of cells
    first_columns,  # (w,)
    gradient,  # (B, h, w, K)
    most_rows,
    most_columns,
    grid_height,
    grid_width,
    height,
    width,
    segments,  # of a row of cells
    NUM_CLASSES: tl.constexpr,
    CELLS: tl.constexpr,
    CLASSES: tl.constexpr,
):
    image, _line, row, columns, inside = locate_run(grid_height, grid_width, segments, CELLS)
    classes = tl.program_id(1) * CLASSES + tl.arange(0, CLASSES)
    cells = grids + image * grid_height * grid_width * NUM_CLASSES
    first_row = tl.load(first_rows + row)
    first_column = tl.load(first_columns + columns, mask=inside, other=0)
    summed = tl.zeros([CELLS, CLASSES], dtype=tl.float32)
    for row_step in range(most_rows):
        wanted = first_row + row_step  # may lie below the image
        y = tl.minimum(wanted, height - 1)
        row_start = tl.load(row_starts + y)
        above, below = tl.load(row_weights + 2 * y), tl.load(row_weights + 2 * y + 1)
        # Weight of the program's own row of cells; a pixel that does not read it has none.
        row_weight = tl.where(row_start == row, above, tl.where(row_start + 1 == row, below, 0.0))
        # The pixels lie between a cell and one of its two neighbors.
        left = _read_column(cells, row_start, above, below, columns - 1, classes, grid_height, grid_width, NUM_CLASSES)
        middle = _read_column(cells, row_start, above, below, columns, classes, grid_height, grid_width, NUM_CLASSES)
        right = _read_column(cells, row_start, above, below, columns + 1, classes, grid_height, grid_width, NUM_CLASSES)
        for column_step in range(most_columns):
            x = first_column + column_step
            # A block of rows, too: Triton's interpreter refuses masks of single numbers.
            is_pixel = inside & (x < width) & (wanted + 0 * columns < height)
            start = tl.load(column_starts + x, mask=is_pixel, other=-2)
            near = tl.load(column_weights + 2 * x, mask=is_pixel, other=0.0)
            far = tl.load(column_weights + 2 * x + 1, mask=is_pixel, other=0.0)
            is_right, is_left = start == columns, start + 1 == columns
            weight = tl.where(is_right, near, tl.where(is_left, far, 0.0))
            left_weight, right_weight = tl.where(is_left, near, 0.0), tl.where(is_right, far, 0.0)
            logits = left_weight[:, None] * left + weight[:, None] * middle + right_weight[:, None] * right
            place = (image * height + y) * width + x
            is_read = is_pixel & (is_left | is_right)
            factor = row_weight * weight * tl.load(loss_gradients + place, mask=is_read, other=0.0)
            log_sum = tl.load(log_sums + place, mask=is_read, other=float("inf"))
            label = tl.load(labels + place, mask=is_read, other=0).to(tl.int32)
            label = tl.minimum(tl.maximum(label, 0), NUM_CLASSES - 1)
            probabilities = tl.exp(logits - log_sum[:, None])
            summed += factor[:, None] * (probabilities - (classes[None, :] == label[:, None]).to(tl.float32))
    place = (image * grid_height + row) * grid_width + columns
    is_stored = inside[:, None] & (classes < NUM_CLASSES)[None, :]
    pointers = gradient + place[:, None] * NUM_CLASSES + classes[None, :]
    tl.store(pointers, summed.to(gradient.dtype.element_ty), mask=is_stored)


@triton.jit
def _read_column(cells, row_start, above, below, columns, classes, grid_height, grid_width, NUM_CLASSES: tl.constexpr):
    """Return (C, K) float32 logits between two rows of cells, at some columns of cells; 0 beyond the grid."""
    is_read = ((columns >= 0) & (columns < grid_width))[:, None] & (classes < NUM_CLASSES)[None, :]
    place = (row_start * grid_width + columns).to(tl.int64)
    upper = tl.load(cells + place[:, None] * NUM_CLASSES + classes[None, :], mask=is_read, other=0.0)
    # Of a grid with one row, the second has no weight.
    place = (tl.minimum(row_start + 1, grid_height - 1) * grid_width + columns).to(tl.int64)
    lower = tl.load(cells + place[:, None] * NUM_CLASSES + classes[None, :], mask=is_read, other=0.0)
    return above * upper.to(tl.float32) + below * lower.to(tl.float32)
