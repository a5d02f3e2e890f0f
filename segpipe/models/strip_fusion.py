"""The end of a folded decode head on CPU, in strips of rows, so that the wide fused map never leaves the cache.

A resize is a matrix along each axis: bringing a coarse level to a strip of the fine grid takes small
matrix products of the few source rows and columns that the strip covers; along rows one for all levels.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from .bilinear import bilinear_weights

STRIP_BYTES = 1 << 21
"""Size of a fused strip: about what a core's second-level cache holds."""
TILE_COLUMNS = 64
"""Columns resized at once: few enough that the matrix of a resize stays small."""


class Band(NamedTuple):
    """The part of one axis's resize that a tile needs: which source cells, with which weights (tile, source)."""

    source: slice
    weights: Tensor


class FusionLayers(NamedTuple):
    """Weights (E, D) and bias (E,) of the finest level, weights (K, E) and bias (K,) of the classifier."""

    weight: Tensor
    bias: Tensor
    classifier_weight: Tensor
    classifier_bias: Tensor


def classify_strips(finest: Tensor, coarser: Sequence[Tensor], layers: FusionLayers) -> Tensor:
    """Fuse, ReLU and classify.

    Args:
        finest: (B, h, w, D), not yet projected.
        coarser: (B, h_i, w_i, E) maps, projected.
        layers: weights of the finest level's projection and of the classifier.

    Returns:
        (B, K, h, w) logits, channels last in memory.
    """
    batch, height, width, _ = finest.shape
    logits = finest.new_empty(batch, height, width, len(layers.classifier_weight))
    strip_rows = _strip_rows(finest, layers)
    workspace = finest.new_empty(strip_rows * width, len(layers.weight))
    # The weights of a resize add up to 1, so a bias may come before it; in a matrix product it costs another pass.
    coarser = [*coarser[:-1], coarser[-1] + layers.bias]
    for picture in range(batch):
        levels = [level[picture] for level in coarser]
        for rows in slices(height, strip_rows):
            fused = workspace[: (rows.stop - rows.start) * width]  # (r w, E)
            torch.mm(finest[picture, rows].flatten(0, 1), layers.weight.T, out=fused)
            _add_resized(fused.view(-1, width, fused.shape[1]), levels, height, rows)
            strip = logits[picture, rows].flatten(0, 1)  # (r w, K), a view
            torch.addmm(layers.classifier_bias, fused.relu_(), layers.classifier_weight.T, out=strip)
    return logits.permute(0, 3, 1, 2)


def slices(length: int, step: int) -> Iterator[slice]:
    """Slices of at most `step`, as even as can be, that cover 0 to `length`."""
    step = math.ceil(length / math.ceil(length / step))
    return (slice(start, min(start + step, length)) for start in range(0, length, step))


def _add_resized(fused: Tensor, levels: Sequence[Tensor], height: int, rows: slice) -> None:
    """fused (r, w, E) += rows `rows` of the levels (h_i, w_i, E), each resized bilinearly to (height, w)."""
    width = fused.shape[1]
    stretched = [_stretch(level, height, rows) for level in levels]
    for columns in slices(width, TILE_COLUMNS):
        bands = [_band(level.shape[1], width, columns.start, columns.stop) for level in levels]
        weights = torch.cat([band.weights for band in bands], dim=1).to(fused.dtype)  # (c, Σ w')
        sources = torch.cat([level[:, band.source] for level, band in zip(stretched, bands, strict=True)], dim=1)
        fused[:, columns].baddbmm_(weights.expand(len(fused), -1, -1), sources)


def _stretch(level: Tensor, height: int, rows: slice) -> Tensor:
    """Rows `rows` of the level (h_i, w_i, E) resized to (height, w_i): (r, w_i, E)."""
    down = _band(level.shape[0], height, rows.start, rows.stop)
    source = level[down.source].flatten(1)  # (h', w_i E)
    return torch.mm(down.weights.to(level.dtype), source).view(-1, *level.shape[1:])


@lru_cache(maxsize=512)
def _band(length: int, resized: int, start: int, stop: int) -> Band:
    """What pixels `start` to `stop` of a bilinear resize along one axis read."""
    starts, weights = (values[start:stop] for values in bilinear_weights(length, resized))
    first, last = int(starts.min()), int(starts.max()) + weights.shape[1]
    matrix = np.zeros((stop - start, last - first), dtype=np.float32)
    for tap in range(weights.shape[1]):
        matrix[np.arange(stop - start), starts - first + tap] = weights[:, tap]
    return Band(slice(first, last), torch.from_numpy(matrix))


def _strip_rows(finest: Tensor, layers: FusionLayers) -> int:
    row_bytes = finest.shape[2] * len(layers.weight) * finest.element_size()
    return min(max(1, STRIP_BYTES // row_bytes), finest.shape[1])
