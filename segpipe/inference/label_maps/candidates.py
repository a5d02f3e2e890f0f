"""Which classes can win inside a block of cells: few, and found without interpolating.

Let M be the mean of the logits of the classes that win in the block's cells: one number for each cell. A
class that lies below M in all cells of the block lies below the mean of those classes at each pixel between
them, hence below one of them, and wins nowhere. The others are the candidates.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .cells import CellWinners, chunk_size


@dataclass(frozen=True, eq=False)
class Candidates:
    """The classes that can win in each of b blocks.

    Attributes:
        first: (b,) where a block's classes begin in the list.
        count: (b,) the number of its classes, at least one.
        classes: (c,) all blocks' classes, ascending within a block.
    """

    first: Tensor
    count: Tensor
    classes: Tensor


def find_candidates(cells: Tensor, winners: CellWinners, blocks: Tensor, offsets: Tensor) -> Candidates:
    """Return the candidates of some blocks of a grid.

    Args:
        cells: (h w, K) logits.
        winners: what wins in them.
        blocks: (b,) the first cell of each block, ascending.
        offsets: (T,) where a block's cells lie after its first.
    """
    chunks = blocks.split(max(1, 4 * chunk_size(cells.device) // cells.shape[1]))  # of one byte for each class
    counts, classes = zip(*(_find_in_chunk(cells, winners, chunk, offsets) for chunk in chunks), strict=True)
    count = torch.cat(counts)
    return Candidates(count.cumsum(0) - count, count, torch.cat(classes))


def true_places(mask: Tensor) -> Tensor:
    """Return where a mask is true, as ascending places in the flat mask."""
    if mask.device.type == "cpu":  # numpy's is several times faster
        return torch.from_numpy(np.flatnonzero(mask.numpy()))
    return mask.flatten().nonzero()[:, 0]


def _find_in_chunk(cells: Tensor, winners: CellWinners, blocks: Tensor, offsets: Tensor) -> tuple[Tensor, Tensor]:
    """Return the count (b,) and the classes (c,) of the blocks' candidates."""
    num_classes = cells.shape[1]
    places = blocks + offsets[:, None]  # (T, b)
    can_win, positions = _cells_candidates(cells, places, _bounds(cells, winners, places))
    in_block = can_win.index_select(0, positions[0])  # (b, K)
    for position in positions[1:]:
        in_block |= can_win.index_select(0, position)
    found = true_places(in_block)
    block = found // num_classes
    return torch.bincount(block, minlength=len(blocks)), found - block * num_classes


def _bounds(cells: Tensor, winners: CellWinners, places: Tensor) -> Tensor:
    """Return (T, b) the mean M of the winners' logits in the blocks' cells (T, b)."""
    num_classes = cells.shape[1]
    best = winners.logits.flatten().index_select(0, places.flatten()).view_as(places)
    total = torch.zeros_like(best)
    for classes in winners.classes.flatten().index_select(0, places.flatten()).view_as(places):
        entries = places * num_classes + classes
        total += cells.flatten().index_select(0, entries.flatten()).view_as(places)
    return torch.minimum(total / len(places), best)  # a rounded mean may lie above what it is the mean of


def _cells_candidates(cells: Tensor, places: Tensor, bounds: Tensor) -> tuple[Tensor, Tensor]:
    """Return which classes reach the lowest bound of a cell's blocks: a mask (u, K), its rows for the places (T, b)."""
    start = places[0, 0]
    near = places - start  # the places in the part of the grid from the first block to the last
    lowest = torch.full((int(near[-1, -1]) + 1,), torch.inf, device=cells.device)
    lowest.scatter_reduce_(0, near.flatten(), bounds.flatten(), "amin")
    used = true_places(lowest < torch.inf)
    row = torch.empty(len(lowest), dtype=torch.int64, device=cells.device)
    row[used] = torch.arange(len(used), device=cells.device)
    step = max(1, chunk_size(cells.device) // cells.shape[1])
    parts = zip((used + start).split(step), lowest.index_select(0, used)[:, None].split(step), strict=True)
    can_win = torch.cat([_reaches(cells.index_select(0, some).float(), bound) for some, bound in parts])
    return can_win, row.index_select(0, near.flatten()).view_as(near)


def _reaches(logits: Tensor, bound: Tensor) -> Tensor:
    """Return whether logits reach the bound; overwrites them."""
    return torch.ge(logits, bound, out=logits).bool()  # on a CPU a comparison into bools takes twice as long
