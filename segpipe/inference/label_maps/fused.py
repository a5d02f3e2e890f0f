"""Upsampling and argmax as one Triton kernel, which writes nothing of an image's logits but the label map.

Importing this imports Triton; `exact.py` has the same in plain torch.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from segpipe.models import launching_on

from ..geometry import Placement
from .cells import check_finite, class_scores, count_classes, find_winners, label_dtype
from .fused_upsampling import class_block, locate_run, read_logits, send_axis

PIXELS = 16
"""Neighboring pixels of a row that a program labels."""


def label_fused(logits: Tensor, placement: Placement) -> tuple[Tensor, Tensor]:
    """Return the labels (B, H, W) of (B, K, h, w) logits and the scores (B, K) of their classes, see `LabelMap`."""
    cells = logits.detach().permute(0, 2, 3, 1).contiguous()  # (B, h, w, K), which is how networks lay them out
    winners = find_winners(cells.flatten(0, 1))
    labels = fused_label_map(cells, placement)
    present = torch.stack([count_classes(one, cells.shape[-1]) for one in labels]) > 0
    return labels, class_scores(cells, winners, placement, present)


def fused_label_map(cells: Tensor, placement: Placement) -> Tensor:
    """Return the winning class at each pixel; the lowest class index where several are equal.

    Args:
        cells: (h, w, K) or (B, h, w, K) logits, in float32, float16 or bfloat16; computed in float32.
        placement: where the image lies on the grid; of a batch, where all its images do.

    Returns:
        (H, W) or (B, H, W) uint8, or int32 with more than 256 classes.

    Raises:
        NumericalError: a logit that a pixel reads is not a finite number, or all classes of a pixel are minus infinity.
    """
    grids = cells.contiguous().view(-1, *cells.shape[-3:])
    labels, finiteness = _launch(grids, placement)
    check_finite(finiteness)
    return labels.view(*cells.shape[:-3], *placement.size)


def _launch(grids: Tensor, placement: Placement) -> tuple[Tensor, Tensor]:
    """Return (B, H, W) labels of (B, h, w, K), and (1,) float32: NaN where the best logit of a pixel is not finite."""
    num_classes, (height, width) = grids.shape[-1], placement.size
    labels = torch.empty((len(grids), height, width), dtype=label_dtype(num_classes), device=grids.device)
    finiteness = torch.zeros(1, device=grids.device)
    rows, columns = (send_axis(axis, grids.device) for axis in (placement.rows, placement.columns))
    segments = triton.cdiv(width, PIXELS)
    with launching_on(grids):
        _label_pixels[(len(grids) * height * segments,)](
            grids,
            *rows,
            *columns,
            labels,
            finiteness,
            *placement.grid,
            height,
            width,
            segments,
            NUM_CLASSES=num_classes,
            ROW_TAPS=placement.rows.taps,
            COLUMN_TAPS=placement.columns.taps,
            PIXELS=PIXELS,
            CLASSES=class_block(num_classes),
            enable_fp_fusion=True,
        )
    return labels, finiteness


@triton.jit
def _label_pixels(
    grids,  # (B, h, w, K)
    row_starts,
    row_weights,
    column_starts,
    column_weights,
    labels,  # (B, H, W)
    finiteness,  # (1,)
    grid_height,
    grid_width,
    height,
    width,
    segments,  # of a row of pixels
    NUM_CLASSES: tl.constexpr,
    ROW_TAPS: tl.constexpr,
    COLUMN_TAPS: tl.constexpr,
    PIXELS: tl.constexpr,
    CLASSES: tl.constexpr,
):
    image, line, row, columns, inside = locate_run(height, width, segments, PIXELS)
    cells = grids + image * grid_height * grid_width * NUM_CLASSES
    row_start = tl.load(row_starts + row)
    starts = tl.load(column_starts + columns, mask=inside, other=0)
    # For each place in a block of classes, the best one so far.
    best = tl.full([PIXELS, CLASSES], float("-inf"), dtype=tl.float32)
    winners = tl.zeros([PIXELS, CLASSES], dtype=tl.int32)
    for first in range(0, NUM_CLASSES, CLASSES):
        classes = first + tl.arange(0, CLASSES)
        logits = read_logits(
            cells,
            row_start,
            row_weights + row * ROW_TAPS,
            starts,
            column_weights + columns * COLUMN_TAPS,
            inside,
            classes,
            grid_width,
            NUM_CLASSES,
            ROW_TAPS,
            COLUMN_TAPS,
        )
        logits = tl.where((classes < NUM_CLASSES)[None, :], logits, float("-inf"))
        # NaN takes its place and keeps it, since nothing is greater.
        is_better = (logits > best) | (logits != logits)
        best = tl.where(is_better, logits, best)
        winners = tl.where(is_better, classes[None, :], winners)
    top = tl.max(best, axis=1)
    lowest = tl.min(tl.where(best == top[:, None], winners, NUM_CLASSES - 1), axis=1)
    tl.store(labels + line.to(tl.int64) * width + columns, lowest.to(labels.dtype.element_ty), mask=inside)
    num_missing = tl.max((best != best).to(tl.int32), axis=1)
    is_finite = (num_missing == 0) & (top > float("-inf")) & (top < float("inf"))
    if tl.max((inside & (is_finite == 0)).to(tl.int32), axis=0) > 0:
        tl.store(finiteness, float("nan"))
