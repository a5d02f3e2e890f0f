"""A picture divided into tiles, whose pixels all read the same block of cells, and the labels of some of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..placement import Axis
from .candidates import Candidates, true_places
from .cell_winners import chunk_size, label_dtype

LONGEST_SPAN = 8
"""Pixels of a span at most, so that many tiles are worked on at once also where cells are large."""


@dataclass(frozen=True, eq=False)
class Spans:
    """An axis divided into s spans of p pixels that read the same cells.

    Attributes:
        starts: (s,) the first cell that its pixels read.
        pixels: (p, s) its pixels; a shorter span repeats its last one.
        weights: (T, p, s) their weights.
    """

    starts: Tensor
    pixels: Tensor
    weights: Tensor

    def __len__(self) -> int:
        return len(self.starts)

    def select(self, chosen: Tensor) -> Spans:
        """Some of the spans."""
        return Spans(*(part.index_select(-1, chosen) for part in (self.starts, self.pixels, self.weights)))


@dataclass(frozen=True, eq=False)
class Tiles:
    """Some of the tiles that the spans of the rows and those of the columns make.

    Attributes:
        rows: (m,) which span of the rows.
        columns: (m,) which span of the columns.
        blocks: (m,) which of the candidates' blocks the pixels read.
    """

    rows: Tensor
    columns: Tensor
    blocks: Tensor

    def __len__(self) -> int:
        return len(self.blocks)

    def __getitem__(self, chosen: Tensor) -> Tiles:
        return Tiles(*(part.index_select(0, chosen) for part in (self.rows, self.columns, self.blocks)))


def split_axis(axis: Axis, device: torch.device) -> Spans:
    """Spans as long as most runs of pixels that read the same cells; long runs are divided."""
    changes = np.flatnonzero(np.diff(axis.starts)) + 1
    runs = np.concatenate(([0], changes))
    ends = np.concatenate((changes, [len(axis)]))
    length = _span_length(ends - runs)
    parts = -(-(ends - runs) // length)
    part = np.arange(parts.sum()) - np.repeat(parts.cumsum() - parts, parts)
    first = np.repeat(runs, parts) + length * part
    pixels = np.minimum(first[:, None] + np.arange(length), np.repeat(ends, parts)[:, None] - 1)  # (s, p)
    tensors = (axis.starts[first], pixels.T, axis.weights[pixels].transpose(2, 1, 0))
    return Spans(*(torch.from_numpy(np.ascontiguousarray(array)).to(device) for array in tensors))


def find_mixed_tiles(classes: Tensor, rows: Spans, columns: Spans) -> tuple[Tiles, Tensor]:
    """The tiles whose blocks have several winners, and the first cells (b,) of these blocks, ascending.

    Args:
        classes: (h, w) what wins in each cell.
        rows: spans of the rows.
        columns: spans of the columns.
    """
    mixed = _mixed_blocks(classes, len(rows.weights), len(columns.weights))
    places = true_places(mixed.index_select(0, rows.starts).index_select(1, columns.starts))
    row = places // len(columns)
    column = places - row * len(columns)
    cell = rows.starts.index_select(0, row) * classes.shape[1] + columns.starts.index_select(0, column)
    is_read = torch.zeros(classes.numel(), dtype=torch.bool, device=classes.device)
    is_read[cell] = True
    blocks = true_places(is_read)
    position = torch.empty(classes.numel(), dtype=torch.int64, device=classes.device)
    position[blocks] = torch.arange(len(blocks), device=classes.device)
    return Tiles(row, column, position.index_select(0, cell)), blocks


def block_offsets(rows: Spans, columns: Spans, width: int) -> Tensor:
    """(T, T) where a block's cells lie after its first, in a flat grid of this width."""
    down, across = (torch.arange(len(axis.weights), device=axis.starts.device) for axis in (rows, columns))
    return down[:, None] * width + across


def label_tiles(
    cells: Tensor, spans: tuple[Spans, Spans], tiles: Tiles, candidates: Candidates
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """The labels of tiles, by interpolating the logits of their candidates.

    Args:
        cells: (h, w, K) logits.
        spans: of the rows and of the columns.
        tiles: whose pixels to label.
        candidates: the classes that can win in their blocks.

    Yields:
        Rows (p, 1, n), columns (1, q, n) and labels (p, q, n) of the pixels of n tiles at a time.
    """
    rows, columns = spans
    # Tiles with many candidates first, so that those with an i-th one are always the first of a chunk.
    order = candidates.count.index_select(0, tiles.blocks).argsort(descending=True)
    tile_size = len(rows.pixels) * len(columns.pixels)
    for chosen in order.split(max(1, chunk_size(cells.device) // tile_size)):
        some = tiles[chosen]
        row, column = rows.select(some.rows), columns.select(some.columns)
        yield row.pixels[:, None], column.pixels[None], _label_chunk(cells, row, column, candidates, some.blocks)


def _mixed_blocks(classes: Tensor, row_taps: int, column_taps: int) -> Tensor:
    """(h, w) bool: whether the block of row_taps × column_taps cells from here on has several winners."""
    mixed = torch.zeros_like(classes, dtype=torch.bool)
    for row in range(row_taps):
        for column in range(column_taps):
            here = classes[: classes.shape[0] - row, : classes.shape[1] - column]
            mixed[: here.shape[0], : here.shape[1]] |= here != classes[row:, column:]
    return mixed


def _span_length(runs: np.ndarray) -> int:
    typical = int(np.sort(runs)[len(runs) * 9 // 10])  # the runs at the ends are longer
    parts = -(-typical // LONGEST_SPAN)
    return -(-typical // parts)


def _label_chunk(cells: Tensor, rows: Spans, columns: Spans, candidates: Candidates, blocks: Tensor) -> Tensor:
    """(p, q, n) labels of n tiles, given the spans and the block of each; those with most candidates come first."""
    first, count = candidates.first.index_select(0, blocks), candidates.count.index_select(0, blocks)
    shape = (len(rows.pixels), len(columns.pixels), len(blocks))
    best = torch.full(shape, -torch.inf, device=cells.device)
    labels = torch.zeros(shape, dtype=label_dtype(cells.shape[-1]), device=cells.device)
    place, longest = 0, int(count[0])
    while place < longest:
        n = int((count > place).sum())  # tiles that have a candidate in this place
        places = torch.arange(place, min(place + max(1, len(blocks) // n), longest), device=cells.device)
        # All tiles at once in the first places, then several places at once. The last candidate may come again.
        entries = first[:n] + torch.minimum(places[:, None], count[:n] - 1)  # (g, n)
        classes = candidates.classes.index_select(0, entries.flatten()).view_as(entries)
        values = _interpolate(_read_blocks(cells, classes, rows, columns), rows, columns)
        for some, value in zip(classes.to(labels.dtype), values.unbind(2), strict=True):
            # Classes ascend, so a better one is also the greater number. torch.where is many times slower.
            torch.maximum(labels[..., :n], (value > best[..., :n]).to(labels.dtype).mul_(some), out=labels[..., :n])
            torch.maximum(best[..., :n], value, out=best[..., :n])
        place += len(places)
    return labels


def _read_blocks(cells: Tensor, classes: Tensor, rows: Spans, columns: Spans) -> Tensor:
    """(T, T, g, n) float32 logits of g classes (g, n) for each of the first n spans."""
    _, width, num_classes = cells.shape
    n = classes.shape[-1]
    start = (rows.starts[:n] * width + columns.starts[:n]) * num_classes
    offsets = block_offsets(rows, columns, width) * num_classes
    entries = offsets[..., None, None] + (start + classes)
    logits = cells.flatten().index_select(0, entries.flatten()).view(entries.shape).float()
    return logits.clamp_(min=torch.finfo(torch.float32).min)  # 0 times minus infinity would not be a number


def _interpolate(logits: Tensor, rows: Spans, columns: Spans) -> Tensor:
    """(T, T, g, n) logits of cells to (p, q, g, n) logits of pixels."""
    n = logits.shape[-1]
    down = logits[0] * rows.weights[0, :, None, None, :n]  # (p, T, g, n)
    for tap in range(1, len(logits)):
        down.addcmul_(logits[tap], rows.weights[tap, :, None, None, :n])
    values = down[:, :1] * columns.weights[0, :, None, :n]  # (p, q, g, n)
    for tap in range(1, logits.shape[1]):
        values.addcmul_(down[:, tap, None], columns.weights[tap, :, None, :n])
    return values
