"""The label map of a prediction, exactly, without ever making its logits at the picture's size.

An interpolated logit is a convex combination of a few cells. Where one class wins in all cells that
a pixel reads, it wins at the pixel. That leaves the pixels near class boundaries, and there only the
classes that can win: those whose highest cell reaches the best class's lowest. They are few, and
for them alone the interpolation is carried out. Ties go to the lowest class index, as in argmax.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from segpipe.errors import NumericalError

from .placement import Axis, Placement
from .strips import combined_strips
from .views import Mosaic, Prediction, View

MAX_MIXED_SHARE = 0.75
"""With more mixed pixels than this the pixels are computed densely, in strips."""
CHUNK_FLOATS = 1 << 19
"""How many floats a step on mixed blocks may make: about what the caches hold."""
ABSENT = -1e30
"""Logit of a place in a table that no candidate fills."""


@dataclass(frozen=True, eq=False)
class LabelMap:
    """Class indices of a picture.

    Attributes:
        labels: (H, W) uint8, or int32 with more than 256 classes.
        scores: (K,) float32, mean softmax probability of each class over the cells that it wins on
            the network's grid; for a class that wins between cells only, its highest one. Not a
            number for classes that are not in the map.
    """

    labels: Tensor
    scores: Tensor


def label_map(prediction: Prediction) -> LabelMap:
    """The winning class at each pixel, with a score for each class.

    Equal to interpolating all logits and taking the argmax, but for pixels where two classes are
    closer than rounding. Memory beyond the result does not grow with K·H·W.
    """
    if len(prediction.views) > 1:
        return _label_map_in_strips(prediction)
    view = prediction.views[0]
    if isinstance(view, Mosaic):
        return _label_map_in_strips(Prediction((view,), combine="logits"))
    cells = view.logits.permute(1, 2, 0).float()  # (h, w, K)
    best, winners = cells.max(dim=-1)
    _check_finite(best)
    labels = _label_pixels(view, cells, winners)
    return LabelMap(labels, _class_scores(cells, best, winners, view.placement, labels))


def label_dtype(num_classes: int) -> torch.dtype:
    """The smallest integer type that holds the class indices."""
    return torch.uint8 if num_classes <= 256 else torch.int32


def _check_finite(best: Tensor) -> None:
    if not best.isfinite().all():
        raise NumericalError(
            "The network's logits are not all finite numbers. Compute in float32 or bfloat16; "
            "if that does not help, the weights are broken: load them again."
        )


def _label_pixels(view: View, cells: Tensor, winners: Tensor) -> Tensor:
    """(H, W) labels from the cells (h, w, K) and their winners (h, w)."""
    rows, columns = view.placement.rows, view.placement.columns
    uniform = _uniform_blocks(winners, rows.taps, columns.taps)
    codes = torch.where(uniform, winners, -1).to(torch.int32)
    row_starts, column_starts = (torch.from_numpy(axis.starts).to(cells.device) for axis in (rows, columns))
    labels = codes.index_select(1, column_starts).index_select(0, row_starts)
    mixed_rows, mixed_columns = (labels < 0).nonzero(as_tuple=True)
    if len(mixed_rows) > MAX_MIXED_SHARE * labels.numel():
        return _label_map_in_strips(Prediction((view,), combine="logits")).labels
    if len(mixed_rows):
        found = _label_mixed_pixels(cells, view.placement, (mixed_rows, mixed_columns))
        labels[mixed_rows, mixed_columns] = found.to(labels.dtype)
    return labels.to(label_dtype(view.num_classes))


def _uniform_blocks(winners: Tensor, row_taps: int, column_taps: int) -> Tensor:
    """(h, w) bool: whether the block of row_taps × column_taps cells from here on has one winner."""
    uniform = torch.ones_like(winners, dtype=torch.bool)
    for row in range(row_taps):
        for column in range(column_taps):
            here = winners[: winners.shape[0] - row, : winners.shape[1] - column]
            there = winners[row:, column:]
            uniform[: here.shape[0], : here.shape[1]] &= here == there
    return uniform


def _label_mixed_pixels(cells: Tensor, placement: Placement, pixels: tuple[Tensor, Tensor]) -> Tensor:
    """Labels (n,) of the pixels at (rows (n,), columns (n,)), whose blocks have several winners."""
    row_weights, row_starts = _read_axis(placement.rows, pixels[0])
    column_weights, column_starts = _read_axis(placement.columns, pixels[1])
    width = cells.shape[1]
    keys = row_starts * width + column_starts  # (n,) a block is named by its first cell
    is_used = torch.zeros(cells.shape[0] * width, dtype=torch.bool, device=cells.device)
    is_used[keys] = True
    blocks = is_used.nonzero()[:, 0]  # (m,)
    position = torch.empty(len(is_used), dtype=torch.int64, device=cells.device)
    position[blocks] = torch.arange(len(blocks), device=cells.device)
    weights = (row_weights[:, :, None] * column_weights[:, None, :]).flatten(1)  # (n, T)
    table = _candidate_table(cells, blocks, _block_offsets(placement, width, cells.device))
    return _best_candidates(table, position[keys], weights)


def _read_axis(axis: Axis, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Weights (n, T) and starts (n,) of some pixels of an axis."""
    weights = torch.from_numpy(axis.weights).to(pixels.device)
    starts = torch.from_numpy(axis.starts).to(pixels.device)
    return weights[pixels], starts[pixels]


def _block_offsets(placement: Placement, width: int, device: torch.device) -> Tensor:
    """(T,) where a block's cells lie after its first, in a flat grid."""
    rows = torch.arange(placement.rows.taps, device=device)
    columns = torch.arange(placement.columns.taps, device=device)
    return (rows[:, None] * width + columns).flatten()


@dataclass(frozen=True, eq=False)
class CandidateTable:
    """The classes that can win in each of m blocks, ascending.

    Attributes:
        first: (m,) where a block's candidates begin in the lists.
        count: (m,) how many it has.
        classes: (c,) class index of each candidate.
        logits: (c, T) its logits in the block's cells.
    """

    first: Tensor
    count: Tensor
    classes: Tensor
    logits: Tensor


def _candidate_table(cells: Tensor, blocks: Tensor, offsets: Tensor) -> CandidateTable:
    """Candidates of the blocks that begin at the flat cells `blocks` (m,)."""
    flat = cells.flatten(0, 1)  # (h w, K)
    counts, classes, logits = [], [], []
    for chunk in blocks.split(max(1, CHUNK_FLOATS // (flat.shape[1] * len(offsets)))):
        corners = flat[chunk[:, None] + offsets]  # (b, T, K)
        bound = corners.amin(dim=1).amax(dim=1, keepdim=True)  # (b, 1) the winner is nowhere below
        can_win = corners.amax(dim=1) >= bound  # (b, K)
        block, candidate = can_win.nonzero(as_tuple=True)
        counts.append(can_win.sum(dim=1))
        classes.append(candidate)
        logits.append(corners[block, :, candidate])
    count = torch.cat(counts)
    return CandidateTable(count.cumsum(0) - count, count, torch.cat(classes), torch.cat(logits))


def _best_candidates(table: CandidateTable, block: Tensor, weights: Tensor) -> Tensor:
    """Labels (n,) of pixels in the blocks (n,) that weigh the cells by (n, T)."""
    labels = torch.empty(len(block), dtype=torch.int64, device=block.device)
    count = table.count[block]
    longest, width = int(count.max()), 2
    while True:  # pixels by the number of candidates, in powers of two
        members = ((count <= width) & (count > width // 2 if width > 2 else count > 0)).nonzero()[:, 0]
        for chunk in members.split(max(1, CHUNK_FLOATS // (width * weights.shape[1]))):
            labels[chunk] = _argmax_candidates(table, block[chunk], weights[chunk], min(width, longest))
        if width >= longest:
            return labels
        width *= 2


def _argmax_candidates(table: CandidateTable, block: Tensor, weights: Tensor, width: int) -> Tensor:
    """Labels (n,) of pixels whose blocks have at most `width` candidates."""
    place = torch.arange(width, device=block.device)
    entry = (table.first[block][:, None] + place).clamp_(max=len(table.classes) - 1)  # (n, width)
    logits = (table.logits[entry] * weights[:, None, :]).sum(dim=-1)
    logits.masked_fill_(place >= table.count[block][:, None], ABSENT)
    return table.classes[entry.gather(1, logits.argmax(dim=1, keepdim=True))[:, 0]]


def _class_scores(cells: Tensor, best: Tensor, winners: Tensor, placement: Placement, labels: Tensor) -> Tensor:
    """(K,) mean probability of each class over the cells that it wins and that the picture covers."""
    num_classes = cells.shape[-1]
    covered = placement.rows.read_cells[:, None] & placement.columns.read_cells
    covered = covered.to(cells.device).flatten()
    exponentials = (cells - best[..., None]).exp_()
    probabilities = (1.0 / exponentials.sum(dim=-1)).flatten()[covered]
    won = winners.flatten()[covered]
    scores = torch.bincount(won, probabilities, num_classes) / torch.bincount(won, minlength=num_classes)
    present = torch.bincount(labels.flatten(), minlength=num_classes) > 0
    scores[~present] = torch.nan
    for index in (present & scores.isnan()).nonzero()[:, 0].tolist():
        scores[index] = (exponentials[..., index].flatten()[covered] * probabilities).max()
    return scores.float()


def _label_map_in_strips(prediction: Prediction) -> LabelMap:
    """The same by combining all views densely, a strip of rows at a time."""
    height, width = prediction.size
    device = prediction.views[0].device
    labels = torch.empty(height, width, dtype=label_dtype(prediction.num_classes), device=device)
    sums = torch.zeros(prediction.num_classes, dtype=torch.float64, device=device)
    for rows, strip in combined_strips(prediction):  # (r, W, K)
        best, winners = strip.max(dim=-1)
        _check_finite(best)
        labels[rows] = winners.to(labels.dtype)
        if prediction.combine == "logits":
            best = 1.0 / (strip - best[..., None]).exp_().sum(dim=-1)
        sums += torch.bincount(winners.flatten(), best.flatten().double(), prediction.num_classes)
    counts = torch.bincount(labels.flatten(), minlength=prediction.num_classes)
    return LabelMap(labels, (sums / counts).float())
