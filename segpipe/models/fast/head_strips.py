"""The end of a folded decode head on CPU, in strips of rows, so that the wide fused map is never whole.

A resize is a matrix along each axis. The few source rows of each coarse level that a strip covers are widened to the
fine grid's columns; then one matrix product takes all of them, of all levels, to the strip's rows and adds them up.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..bilinear import bilinear_weights

MOST_ROWS = 16
"""The most rows of a strip: enough that few source rows are widened twice."""
STRIP_BYTES = 1 << 24
"""The most bytes of a strip, unless one row has more: of wide images it has fewer rows."""
TILE_COLUMNS = 64
"""Columns resized at once: few enough that the matrix of a resize stays small."""


class Band(NamedTuple):
    """The part of one axis's resize that gives n cells: which source cells it reads, with which weights (n, source)."""

    source: slice
    weights: Tensor


class FusionLayers(NamedTuple):
    """Weights (E, D) and bias (E,) of the finest level, weights (K, E) and bias (K,) of the classifier."""

    weight: Tensor
    bias: Tensor
    classifier_weight: Tensor
    classifier_bias: Tensor


class Strip(NamedTuple):
    """Some rows of the fine grid, and for each coarser level which of its rows they read."""

    rows: slice
    bands: tuple[Band, ...]

    @property
    def num_rows(self) -> int:
        """r."""
        return self.rows.stop - self.rows.start

    @property
    def num_sources(self) -> int:
        """Rows that it reads, of all levels together."""
        return sum(band.weights.shape[1] for band in self.bands)


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
    channels = len(layers.weight)
    logits = finest.new_empty(batch, height, width, len(layers.classifier_weight))
    at_least_float = torch.promote_types(finest.dtype, torch.float32)  # small products are slow in half precision
    strips = _divide(height, [level.shape[1] for level in coarser], width * channels * at_least_float.itemsize)
    most_rows, most_sources = max(strip.num_rows for strip in strips), max(strip.num_sources for strip in strips)
    workspace = finest.new_empty(most_rows, width, channels, dtype=at_least_float)
    widened = finest.new_empty(most_sources, width, channels, dtype=at_least_float)
    # The weights of a resize add up to 1, so a bias may come before it; in a matrix product it costs another pass.
    coarser = [*coarser[:-1], coarser[-1] + layers.bias]
    for image in range(batch):
        levels = [level[image] for level in coarser]
        for strip in strips:
            resized = workspace[: strip.num_rows]  # (r, w, E)
            _sum_resized(levels, strip, widened[: strip.num_sources], out=resized)
            fused = resized.flatten(0, 1).to(finest.dtype)  # (r w, E)
            fused.addmm_(finest[image, strip.rows].flatten(0, 1), layers.weight.T).relu_()
            classified = logits[image, strip.rows].flatten(0, 1)  # (r w, K), a view
            torch.addmm(layers.classifier_bias, fused, layers.classifier_weight.T, out=classified)
    return logits.permute(0, 3, 1, 2)


def slices(length: int, step: int) -> Iterator[slice]:
    """Return slices of at most `step`, as even as can be, that cover 0 to `length`."""
    step = math.ceil(length / math.ceil(length / step))
    return (slice(start, min(start + step, length)) for start in range(0, length, step))


def _divide(height: int, heights: Sequence[int], row_bytes: int) -> list[Strip]:
    """Return the strips of a fine grid of `height` rows of `row_bytes`, with coarser levels of `heights` rows."""
    return [
        Strip(rows, tuple(_band(length, height, rows.start, rows.stop) for length in heights))
        for rows in slices(height, max(1, min(MOST_ROWS, STRIP_BYTES // row_bytes)))
    ]


def _sum_resized(levels: Sequence[Tensor], strip: Strip, widened: Tensor, *, out: Tensor) -> None:
    """Compute the strip's rows of the sum of all levels, each resized bilinearly.

    Args:
        levels: (h_i, w_i, E) each.
        strip: which rows.
        widened: (n, w, E) memory for the n rows that the strip reads.
        out: (r, w, E), what is written.
    """
    parts = widened.split([band.weights.shape[1] for band in strip.bands])
    for level, band, part in zip(levels, strip.bands, parts, strict=True):
        _widen(level[band.source].to(part.dtype), out=part)
    down = torch.cat([band.weights for band in strip.bands], dim=1).to(out.dtype)  # (r, n)
    torch.mm(down, widened.flatten(1), out=out.flatten(1))


def _widen(source: Tensor, *, out: Tensor) -> None:
    """Resize rows (h', w', E) along their columns to (h', w, E)."""
    width = out.shape[1]
    for columns in slices(width, TILE_COLUMNS):
        band = _band(source.shape[1], width, columns.start, columns.stop)
        across = band.weights.to(source.dtype).expand(len(source), -1, -1)  # (h', c, w'')
        out[:, columns] = torch.bmm(across, source[:, band.source])


@lru_cache(maxsize=512)
def _band(length: int, resized: int, start: int, stop: int) -> Band:
    """Return what pixels `start` to `stop` of a bilinear resize along one axis read."""
    starts, weights = (values[start:stop] for values in bilinear_weights(length, resized))
    first, last = int(starts.min()), int(starts.max()) + weights.shape[1]
    matrix = np.zeros((stop - start, last - first), dtype=np.float32)
    for tap in range(weights.shape[1]):
        matrix[np.arange(stop - start), starts - first + tap] = weights[:, tap]
    return Band(slice(first, last), torch.from_numpy(matrix))
