"""The dense way, in bounded memory: a prediction's values at the picture's size, a strip of rows at a time."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from ..placement import Axis
from ..views import Mosaic, Prediction, View

STRIP_FLOATS = 1 << 20
"""How many floats a strip may have, unless one row has more."""


def combined_strips(prediction: Prediction) -> Iterator[tuple[slice, Tensor]]:
    """Strips of rows of a prediction, top to bottom.

    Yields:
        Rows and their (r, W, K) values: averaged probabilities, or averaged logits.
    """
    height, width = prediction.size
    step = max(1, STRIP_FLOATS // (width * prediction.num_classes))
    for start in range(0, height, step):
        rows = slice(start, min(start + step, height))
        yield rows, _combine(prediction, rows)


def _combine(prediction: Prediction, rows: slice) -> Tensor:
    total = cover = None
    for view in prediction.views:
        weight = _coverage(view, rows)
        if not weight.any():
            continue
        values = _rows_of(view, rows)
        if prediction.combine == "probabilities":
            values = torch.softmax(values, dim=-1)
        if not weight.all():
            values *= weight.to(values.device)[..., None]
        total = values if total is None else total.add_(values)
        cover = weight if cover is None else cover + weight
    assert total is not None, "every pixel lies in some view"
    assert cover is not None
    return total if (cover == 1).all() else total.div_(cover.to(total.device)[..., None])


def _coverage(view: View | Mosaic, rows: slice) -> Tensor:
    """(r, W) float: 1 where the view covers the pixel, else 0."""
    if isinstance(view, Mosaic):
        return torch.ones(rows.stop - rows.start, view.size[1])
    inside_rows = torch.from_numpy(view.placement.rows.weights[rows].any(axis=1))
    inside_columns = torch.from_numpy(view.placement.columns.weights.any(axis=1))
    return (inside_rows[:, None] & inside_columns).float()


def _rows_of(view: View | Mosaic, rows: slice) -> Tensor:
    """(r, W, K) logits of some rows of the picture."""
    if isinstance(view, View):
        return _upsample(view, rows, slice(0, view.size[1]))
    total = torch.zeros(rows.stop - rows.start, view.size[1], view.num_classes, device=view.device)
    for window in view.windows:
        covered, columns = window.placement.rows.span, window.placement.columns.span
        common = slice(max(rows.start, covered.start), min(rows.stop, covered.stop))
        if common.start < common.stop:
            place = slice(common.start - rows.start, common.stop - rows.start)
            total[place, columns] += _upsample(window, common, columns)
    return total


def _upsample(view: View, rows: slice, columns: slice) -> Tensor:
    """(r, c, K) logits of a rectangle of the picture."""
    down = view.placement.rows.crop(rows.start, rows.stop - rows.start)
    first, last = int(down.starts.min()), int(down.starts.max()) + down.taps
    across = view.placement.columns.crop(columns.start, columns.stop - columns.start)
    cells = view.logits[:, first:last].permute(1, 2, 0).float().contiguous()  # (those that are read, w, K)
    cells = cells.clamp(min=torch.finfo(torch.float32).min)  # 0 times minus infinity would not be a number
    wide = _stretch(cells, across)  # (those that are read, c, K)
    # A strip reads few rows of cells, so that one small product is faster than gathering rows.
    matrix = Axis(last - first, down.starts - first, down.weights).matrix.to(wide.device)
    return (matrix @ wide.flatten(1)).unflatten(1, wide.shape[1:])


def _stretch(cells: Tensor, axis: Axis) -> Tensor:
    """(h, w, K) → (h, n, K): each pixel's weighted sum of cells."""
    starts = torch.from_numpy(axis.starts).to(cells.device)
    weights = torch.from_numpy(axis.weights).to(cells.device)[..., None]
    total = cells.index_select(1, starts).mul_(weights[:, 0])
    for tap in range(1, axis.taps):
        total.addcmul_(cells.index_select(1, starts + tap), weights[:, tap])
    return total
