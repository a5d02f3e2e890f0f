"""The label map of one view, exactly, with interpolation near class boundaries alone.

An interpolated logit is a convex combination of a few cells, a block. Where one class wins in all cells of a block, it
wins at each pixel that reads the block. That leaves the tiles of pixels near class boundaries, and there only the few
classes that can win (`candidates.py`): for them alone the interpolation is carried out. A tile's pixels all read the
same block. Ties go to the lowest class index, as in argmax.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..geometry import Axis, Placement, Prediction, View
from .candidates import Candidates, find_candidates, true_places
from .cells import CellWinners, chunk_size, class_scores, count_classes, find_winners, label_dtype
from .dense import label_densely

MAX_MIXED_SHARE = 0.75
"""With more mixed pixels than this the pixels are computed densely, in strips."""
LONGEST_SPAN = 8
"""At most this many pixels make a span, so that many tiles are worked on at once also where cells are large."""


def label_exactly(view: View) -> tuple[Tensor, Tensor]:
    """Return the labels (H, W) of a view and the scores (K,) of its classes, see `LabelMap`."""
    cells = view.cells.detach().permute(1, 2, 0).contiguous()  # (h, w, K), which is how networks lay them out
    winners = find_winners(cells)
    labels, present = _label_pixels(view, cells, winners)
    return labels, class_scores(cells[None], winners, view.placement, present[None])[0]


def _label_pixels(view: View, cells: Tensor, winners: CellWinners) -> tuple[Tensor, Tensor]:
    """Return (H, W) labels, and (K,) bool whether a class is among them."""
    rows, columns = (_split_axis(axis, cells.device) for axis in (view.placement.rows, view.placement.columns))
    tiles, blocks = _find_mixed_tiles(winners.classes, rows, columns)
    if len(tiles) > MAX_MIXED_SHARE * len(rows) * len(columns):
        labels = label_densely(Prediction((view,), combine="logits"))[0]
        return labels, count_classes(labels, view.num_classes) > 0
    classes = winners.classes.to(label_dtype(view.num_classes))
    labels = _stretch_winners(classes, view.placement)
    # What wins in the first cell of a tile that is not mixed, and each label of those that are: more than 0 where a
    # class is present, and much quicker than counting pixels.
    first = classes.index_select(0, rows.starts).index_select(1, columns.starts)
    counts = count_classes(first, view.num_classes)
    if len(tiles):
        counts -= count_classes(first[tiles.rows, tiles.columns], view.num_classes)
        candidates = find_candidates(
            cells.flatten(0, 1), winners, blocks, _block_offsets(rows, columns, cells.shape[1]).flatten()
        )
        for row, column, found in _label_tiles(cells, (rows, columns), tiles, candidates):
            pixels = row * labels.shape[1] + column
            labels.view(-1).scatter_(0, pixels.flatten(), found.flatten())
            counts += count_classes(found, view.num_classes)
    return labels, counts > 0


def _stretch_winners(classes: Tensor, placement: Placement) -> Tensor:
    """Return (H, W) the winner of the first cell that each pixel reads."""
    rows, columns = (torch.from_numpy(axis.starts).to(classes.device) for axis in (placement.rows, placement.columns))
    return classes.index_select(1, columns).index_select(0, rows)


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
        """Return some of the spans."""
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


def _split_axis(axis: Axis, device: torch.device) -> Spans:
    """Return spans as long as most runs of pixels that read the same cells; long runs are divided."""
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


def _find_mixed_tiles(classes: Tensor, rows: Spans, columns: Spans) -> tuple[Tiles, Tensor]:
    """Return the tiles whose blocks have several winners, and the first cells (b,) of these blocks, ascending.

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


def _block_offsets(rows: Spans, columns: Spans, width: int) -> Tensor:
    """Return (T, T) where a block's cells lie after its first, in a flat grid of this width."""
    down, across = (torch.arange(len(axis.weights), device=axis.starts.device) for axis in (rows, columns))
    return down[:, None] * width + across


def _label_tiles(
    cells: Tensor, spans: tuple[Spans, Spans], tiles: Tiles, candidates: Candidates
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Label tiles by interpolating the logits of their candidates.

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
    """Return (h, w) bool: whether the block of row_taps × column_taps cells from here on has several winners."""
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
    """Return (p, q, n) labels of n tiles, given the spans and the block of each; most candidates come first."""
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
    """Return (T, T, g, n) float32 logits of g classes (g, n) for each of the first n spans."""
    _, width, num_classes = cells.shape
    n = classes.shape[-1]
    start = (rows.starts[:n] * width + columns.starts[:n]) * num_classes
    offsets = _block_offsets(rows, columns, width) * num_classes
    entries = offsets[..., None, None] + (start + classes)
    logits = cells.flatten().index_select(0, entries.flatten()).view(entries.shape).float()
    return logits.clamp_(min=torch.finfo(torch.float32).min)  # 0 times minus infinity would not be a number


def _interpolate(logits: Tensor, rows: Spans, columns: Spans) -> Tensor:
    """Interpolate (T, T, g, n) logits of cells to (p, q, g, n) logits of pixels."""
    n = logits.shape[-1]
    down = logits[0] * rows.weights[0, :, None, None, :n]  # (p, T, g, n)
    for tap in range(1, len(logits)):
        down.addcmul_(logits[tap], rows.weights[tap, :, None, None, :n])
    values = down[:, :1] * columns.weights[0, :, None, :n]  # (p, q, g, n)
    for tap in range(1, logits.shape[1]):
        values.addcmul_(down[:, tap, None], columns.weights[tap, :, None, :n])
    return values
