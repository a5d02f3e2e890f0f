"""Sampling of deformable attention as Triton kernels: what the points read is summed up without being written.

Importing this imports Triton; `deformable.py` has the same in plain torch.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

from segpipe.models.fast.choosing import launching_on

Grids = tuple[tuple[int, int], ...]

MAX_BLOCK_FLOATS = 512
"""Queries times channels that a program holds at once."""


def fused_sample_levels(values: Tensor, references: Tensor, offsets: Tensor, weights: Tensor, grids: Grids) -> Tensor:
    """Sample as `deformable.sample_levels`, in float32; the gradient of the values is summed in any order."""
    return _Sampling.apply(values, references, offsets, weights, grids)


class Points(NamedTuple):
    """What both kernels read beside the values, contiguous float32.

    Attributes:
        references: (Q, 2).
        offsets: (B, Q, M, L, P, 2).
        weights: (B, Q, M, L, P).
        levels: (L, 3) int32: height, width and first cell.
    """

    references: Tensor
    offsets: Tensor
    weights: Tensor
    levels: Tensor


class _Sampling(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, references: Tensor, offsets: Tensor, weights: Tensor, grids: Grids) -> Tensor:
        ctx.dtypes = [tensor.dtype for tensor in (values, references, offsets, weights)]
        values, references, offsets, weights = (
            tensor.detach().float().contiguous() for tensor in (values, references, offsets, weights)
        )
        points = Points(references, offsets, weights, _describe_levels(grids, values.device))
        ctx.save_for_backward(values, *points)
        sums = values.new_empty((values.shape[0], references.shape[0], values.shape[2]))
        _launch(_sum_points, values, points, (sums,))
        return sums.to(ctx.dtypes[0])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_sums: Tensor) -> tuple[Tensor | None, ...]:
        values, *saved = ctx.saved_tensors
        points = Points(*saved)
        by_values = torch.zeros_like(values)
        by_offsets, by_weights = torch.empty_like(points.offsets), torch.empty_like(points.weights)
        _launch(_spread_points, values, points, (grad_sums.float().contiguous(), by_values, by_offsets, by_weights))
        by_references = None
        if ctx.needs_input_grad[1]:  # An offset counts cells, a reference whole widths and heights.
            sizes = points.levels[:, [1, 0]].to(by_offsets)[:, None]  # (L, 1, 2), width and height
            by_references = (by_offsets * sizes).sum(dim=(0, 2, 3, 4))
        gradients = (by_values, by_references, by_offsets, by_weights)
        typed = (None if each is None else each.to(dtype) for each, dtype in zip(gradients, ctx.dtypes, strict=True))
        return *typed, None


def _describe_levels(grids: Grids, device: torch.device) -> Tensor:
    """Return (L, 3) int32, height, width and first cell of each level."""
    levels, start = [], 0
    for height, width in grids:
        levels.append((height, width, start))
        start += height * width
    return torch.tensor(levels, dtype=torch.int32).to(device)


def _launch(kernel: Any, values: Tensor, points: Points, tensors: tuple[Tensor, ...]) -> None:
    """Run a kernel over all queries, heads and images."""
    batch, cells, _ = values.shape
    queries, heads, levels, num_points = points.weights.shape[1:]
    channels = values.shape[2] // heads
    channel_block = triton.next_power_of_2(channels)
    query_block = min(32, max(1, MAX_BLOCK_FLOATS // channel_block))
    blocks = triton.cdiv(queries, query_block)
    with launching_on(values):
        kernel[(blocks * heads * batch,)](
            values,
            *points,
            *tensors,
            cells,
            queries,
            blocks,
            HEADS=heads,
            LEVELS=levels,
            POINTS=num_points,
            CHANNELS=channels,
            QUERY_BLOCK=query_block,
            CHANNEL_BLOCK=channel_block,
            enable_fp_fusion=True,
        )


@triton.jit
def _sum_points(
    values,  # (B, N, M, C)
    references,  # (Q, 2)
    offsets,  # (B, Q, M, L, P, 2)
    weights,  # (B, Q, M, L, P)
    levels,  # (L, 3)
    sums,  # (B, Q, M, C)
    cells,
    queries,
    blocks,
    HEADS: tl.constexpr,
    LEVELS: tl.constexpr,
    POINTS: tl.constexpr,
    CHANNELS: tl.constexpr,
    QUERY_BLOCK: tl.constexpr,
    CHANNEL_BLOCK: tl.constexpr,
):
    start, slot, query, inside = _find_work(cells, queries, blocks, HEADS, CHANNELS, QUERY_BLOCK)
    channel = tl.arange(0, CHANNEL_BLOCK)
    center_x = tl.load(references + 2 * query, mask=inside, other=0.0)
    center_y = tl.load(references + 2 * query + 1, mask=inside, other=0.0)
    summed = tl.zeros([QUERY_BLOCK, CHANNEL_BLOCK], dtype=tl.float32)
    for level in range(LEVELS):
        height, width = tl.load(levels + 3 * level), tl.load(levels + 3 * level + 1)
        features = values + start + tl.load(levels + 3 * level + 2).to(tl.int64) * HEADS * CHANNELS
        for number in range(POINTS):
            point = (slot * LEVELS + level) * POINTS + number
            weight = tl.load(weights + point, mask=inside, other=0.0)
            left, above, right_part, lower_part = _locate(offsets, point, center_x, center_y, inside, height, width)
            upper_left = _read(features, left, above, inside, channel, height, width, HEADS, CHANNELS)
            upper_right = _read(features, left + 1, above, inside, channel, height, width, HEADS, CHANNELS)
            lower_left = _read(features, left, above + 1, inside, channel, height, width, HEADS, CHANNELS)
            lower_right = _read(features, left + 1, above + 1, inside, channel, height, width, HEADS, CHANNELS)
            upper = upper_left + right_part[:, None] * (upper_right - upper_left)
            lower = lower_left + right_part[:, None] * (lower_right - lower_left)
            summed += weight[:, None] * (upper + lower_part[:, None] * (lower - upper))
    is_stored = inside[:, None] & (channel < CHANNELS)[None, :]
    tl.store(sums + slot[:, None] * CHANNELS + channel[None, :], summed, mask=is_stored)


@triton.jit
def _spread_points(
    values,  # (B, N, M, C)
    references,  # (Q, 2)
    offsets,  # (B, Q, M, L, P, 2)
    weights,  # (B, Q, M, L, P)
    levels,  # (L, 3)
    grad_sums,  # (B, Q, M, C) of the sums
    by_values,  # (B, N, M, C), zeros at first
    by_offsets,  # (B, Q, M, L, P, 2)
    by_weights,  # (B, Q, M, L, P)
    cells,
    queries,
    blocks,
    HEADS: tl.constexpr,
    LEVELS: tl.constexpr,
    POINTS: tl.constexpr,
    CHANNELS: tl.constexpr,
    QUERY_BLOCK: tl.constexpr,
    CHANNEL_BLOCK: tl.constexpr,
):
    start, slot, query, inside = _find_work(cells, queries, blocks, HEADS, CHANNELS, QUERY_BLOCK)
    channel = tl.arange(0, CHANNEL_BLOCK)
    center_x = tl.load(references + 2 * query, mask=inside, other=0.0)
    center_y = tl.load(references + 2 * query + 1, mask=inside, other=0.0)
    is_read = inside[:, None] & (channel < CHANNELS)[None, :]
    gradient = tl.load(grad_sums + slot[:, None] * CHANNELS + channel[None, :], mask=is_read, other=0.0)
    for level in range(LEVELS):
        height, width = tl.load(levels + 3 * level), tl.load(levels + 3 * level + 1)
        level_start = start + tl.load(levels + 3 * level + 2).to(tl.int64) * HEADS * CHANNELS
        features, by_features = values + level_start, by_values + level_start
        for number in range(POINTS):
            point = (slot * LEVELS + level) * POINTS + number
            weight = tl.load(weights + point, mask=inside, other=0.0)
            left, above, right_part, lower_part = _locate(offsets, point, center_x, center_y, inside, height, width)
            upper_left = _read(features, left, above, inside, channel, height, width, HEADS, CHANNELS)
            upper_right = _read(features, left + 1, above, inside, channel, height, width, HEADS, CHANNELS)
            lower_left = _read(features, left, above + 1, inside, channel, height, width, HEADS, CHANNELS)
            lower_right = _read(features, left + 1, above + 1, inside, channel, height, width, HEADS, CHANNELS)
            # How well each of the four cells agrees with the gradient: (Q,)
            upper_left_gain = tl.sum(gradient * upper_left, axis=1)
            upper_right_gain = tl.sum(gradient * upper_right, axis=1)
            lower_left_gain = tl.sum(gradient * lower_left, axis=1)
            lower_right_gain = tl.sum(gradient * lower_right, axis=1)
            upper_gain = upper_left_gain + right_part * (upper_right_gain - upper_left_gain)
            lower_gain = lower_left_gain + right_part * (lower_right_gain - lower_left_gain)
            upper_step, lower_step = upper_right_gain - upper_left_gain, lower_right_gain - lower_left_gain
            by_x = weight * (upper_step + lower_part * (lower_step - upper_step))
            tl.store(by_offsets + 2 * point, by_x, mask=inside)
            tl.store(by_offsets + 2 * point + 1, weight * (lower_gain - upper_gain), mask=inside)
            tl.store(by_weights + point, upper_gain + lower_part * (lower_gain - upper_gain), mask=inside)
            lower_weight = weight * lower_part
            upper_weight = weight - lower_weight
            part = (upper_weight * (1 - right_part))[:, None] * gradient
            _add(by_features, part, left, above, inside, channel, height, width, HEADS, CHANNELS)
            part = (upper_weight * right_part)[:, None] * gradient
            _add(by_features, part, left + 1, above, inside, channel, height, width, HEADS, CHANNELS)
            part = (lower_weight * (1 - right_part))[:, None] * gradient
            _add(by_features, part, left, above + 1, inside, channel, height, width, HEADS, CHANNELS)
            part = (lower_weight * right_part)[:, None] * gradient
            _add(by_features, part, left + 1, above + 1, inside, channel, height, width, HEADS, CHANNELS)


@triton.jit
def _find_work(cells, queries, blocks, HEADS: tl.constexpr, CHANNELS: tl.constexpr, QUERY_BLOCK: tl.constexpr):
    """Return where the values of this program's head begin, its places in (B, Q, M), its queries and which exist."""
    block = tl.program_id(0) % blocks
    head = tl.program_id(0) // blocks % HEADS
    image = (tl.program_id(0) // blocks // HEADS).to(tl.int64)
    query = block * QUERY_BLOCK + tl.arange(0, QUERY_BLOCK)
    start = (image * cells * HEADS + head) * CHANNELS
    slot = (image * queries + query) * HEADS + head
    return start, slot, query, query < queries


@triton.jit
def _locate(offsets, point, center_x, center_y, inside, height, width):
    """Return a point's cell, column and row in float32, and how far right of it and below it the point lies."""
    x = center_x * width - 0.5 + tl.load(offsets + 2 * point, mask=inside, other=0.0)
    y = center_y * height - 0.5 + tl.load(offsets + 2 * point + 1, mask=inside, other=0.0)
    left, above = tl.floor(x), tl.floor(y)
    return left, above, x - left, y - above


@triton.jit
def _read(features, column, row, inside, channel, height, width, HEADS: tl.constexpr, CHANNELS: tl.constexpr):
    """Return the values (Q, C) of the cells at float32 columns and rows (Q,); zeros beyond the border."""
    pointers, is_cell = _point_at(features, column, row, inside, channel, height, width, HEADS, CHANNELS)
    return tl.load(pointers, mask=is_cell, other=0.0)


@triton.jit
def _add(features, part, column, row, inside, channel, height, width, HEADS: tl.constexpr, CHANNELS: tl.constexpr):
    """Add (Q, C) to the values of those cells."""
    pointers, is_cell = _point_at(features, column, row, inside, channel, height, width, HEADS, CHANNELS)
    tl.atomic_add(pointers, part, mask=is_cell)


@triton.jit
def _point_at(features, column, row, inside, channel, height, width, HEADS: tl.constexpr, CHANNELS: tl.constexpr):
    """Return pointers (Q, C) to a level's cells at float32 columns and rows (Q,), and which of them are cells."""
    # Compared as floats: a point far away, or NaN, has no integer.
    is_cell = inside & (column >= 0) & (column < width) & (row >= 0) & (row < height)
    place = tl.where(is_cell, row, 0.0).to(tl.int64) * width + tl.where(is_cell, column, 0.0).to(tl.int64)
    pointers = features + (place * HEADS * CHANNELS)[:, None] + channel[None, :]
    return pointers, is_cell[:, None] & (channel < CHANNELS)[None, :]
