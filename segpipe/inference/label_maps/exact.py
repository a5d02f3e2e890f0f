"""The label map of a prediction, exactly, without ever making its logits at the picture's size.

An interpolated logit is a convex combination of a few cells, a block. Where one class wins in all cells of a
block, it wins at each pixel that reads the block (`cell_winners.py`). That leaves the tiles of pixels near class
boundaries (`tiles.py`), and there only the few classes that can win (`candidates.py`): for them alone the
interpolation is carried out. Ties go to the lowest class index, as in argmax.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import starmap

import torch
from torch import Tensor

from segpipe.errors import NumericalError
from segpipe.models import can_fuse

from ..placement import Placement
from ..views import Fellows, Mosaic, Prediction, View
from .candidates import find_candidates
from .cell_winners import CellWinners, check_finite, find_winners, label_dtype
from .class_scores import class_scores
from .dense import combined_strips
from .tiles import block_offsets, find_mixed_tiles, label_tiles, split_axis

MAX_MIXED_SHARE = 0.75
"""With more mixed pixels than this the pixels are computed densely, in strips."""


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
    if can_fuse(view.logits):
        return _label_with_fellows(view)
    cells = view.logits.detach().permute(1, 2, 0).contiguous()  # (h, w, K), which is how networks lay them out
    winners = find_winners(cells)
    labels, present = _label_pixels(view, cells, winners)
    return LabelMap(labels, class_scores(cells[None], winners, view.placement, present[None])[0])


def _label_with_fellows(view: View) -> LabelMap:
    """On a GPU, where small steps are slow: all of a batch when the first of them is asked for."""
    if view.fellows is None:
        return _label_fused(view.logits[None], view.placement)[0]
    with view.fellows.lock:
        if view.fellows.label_maps is None:
            view.fellows.label_maps = _label_all(view.fellows, view.placement)
    maps: list[LabelMap] = view.fellows.label_maps
    return maps[view.number] if maps else _label_fused(view.logits[None], view.placement)[0]


def _label_all(fellows: Fellows, placement: Placement) -> list[LabelMap]:
    """Empty where one of them cannot be labelled: each is then asked for by itself, so that only that one fails."""
    try:
        return _label_fused(fellows.logits, placement)
    except NumericalError:
        return []


def _label_fused(logits: Tensor, placement: Placement) -> list[LabelMap]:
    """The label maps of (B, K, h, w) logits, by the kernel."""
    from .fused import fused_label_map  # which needs Triton

    cells = logits.detach().permute(0, 2, 3, 1).contiguous()  # (B, h, w, K), which is how networks lay them out
    winners = find_winners(cells.flatten(0, 1))
    labels = fused_label_map(cells, placement)
    present = torch.stack([_count(one, cells.shape[-1]) for one in labels]) > 0
    return list(starmap(LabelMap, zip(labels, class_scores(cells, winners, placement, present), strict=True)))


def _label_pixels(view: View, cells: Tensor, winners: CellWinners) -> tuple[Tensor, Tensor]:
    """(H, W) labels, and (K,) bool whether a class is among them."""
    rows, columns = (split_axis(axis, cells.device) for axis in (view.placement.rows, view.placement.columns))
    tiles, blocks = find_mixed_tiles(winners.classes, rows, columns)
    if len(tiles) > MAX_MIXED_SHARE * len(rows) * len(columns):
        labels = _label_map_in_strips(Prediction((view,), combine="logits")).labels
        return labels, _count(labels, view.num_classes) > 0
    classes = winners.classes.to(label_dtype(view.num_classes))
    labels = _stretch_winners(classes, view.placement)
    # What wins in the first cell of a tile that is not mixed, and each label of those that are: more than 0 where a
    # class is present, and much quicker than counting pixels.
    first = classes.index_select(0, rows.starts).index_select(1, columns.starts)
    counts = _count(first, view.num_classes)
    if len(tiles):
        counts -= _count(first[tiles.rows, tiles.columns], view.num_classes)
        candidates = find_candidates(
            cells.flatten(0, 1), winners, blocks, block_offsets(rows, columns, cells.shape[1]).flatten()
        )
        for row, column, found in label_tiles(cells, (rows, columns), tiles, candidates):
            pixels = row * labels.shape[1] + column
            labels.view(-1).scatter_(0, pixels.flatten(), found.flatten())
            counts += _count(found, view.num_classes)
    return labels, counts > 0


def _count(classes: Tensor, num_classes: int) -> Tensor:
    """(K,) how often each class occurs."""
    return torch.bincount(classes.flatten(), minlength=num_classes)


def _stretch_winners(classes: Tensor, placement: Placement) -> Tensor:
    """(H, W) the winner of the first cell that each pixel reads."""
    rows, columns = (torch.from_numpy(axis.starts).to(classes.device) for axis in (placement.rows, placement.columns))
    return classes.index_select(1, columns).index_select(0, rows)


def _label_map_in_strips(prediction: Prediction) -> LabelMap:
    """The same by combining all views densely, a strip of rows at a time."""
    height, width = prediction.size
    device = prediction.views[0].device
    labels = torch.empty(height, width, dtype=label_dtype(prediction.num_classes), device=device)
    sums = torch.zeros(prediction.num_classes, dtype=torch.float64, device=device)
    for rows, strip in combined_strips(prediction):  # (r, W, K)
        best, winners = strip.max(dim=-1)
        check_finite(best)
        labels[rows] = winners.to(labels.dtype)
        if prediction.combine == "logits":
            best = 1.0 / (strip - best[..., None]).exp_().sum(dim=-1)
        sums += torch.bincount(winners.flatten(), best.flatten().double(), prediction.num_classes)
    return LabelMap(labels, (sums / _count(labels, prediction.num_classes)).float())
