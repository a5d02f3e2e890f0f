"""The dense way, in bounded memory: a prediction's values at the picture's size, a strip of rows at a time."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from .placement import Axis
from .views import Prediction, View

STRIP_FLOATS = 1 << 20
"""How many floats a strip may have, unless one row has more."""


def combined_strips(prediction: Prediction) -> Iterator[tuple[slice, Tensor]]:
    """Strips of rows of a prediction, top to bottom.

    Yields:
        Rows and their (r, W, K) values: averaged probabilities, or averaged logits.
    """
    height, width = prediction.size
    step = max(1, STRIP_FLOATS // (width * prediction.num_classes))
    cells = [view.logits.permute(1, 2, 0).float().contiguous() for view in prediction.views]
    for start in range(0, height, step):
        rows = slice(start, min(start + step, height))
        yield rows, _combine(prediction, cells, rows)


def _combine(prediction: Prediction, cells: list[Tensor], rows: slice) -> Tensor:
    total = cover = None
    for view, view_cells in zip(prediction.views, cells, strict=True):
        weight = _coverage(view, rows, view_cells.device)
        if not weight.any():
            continue
        values = _upsampled_rows(view, view_cells, rows)
        if prediction.combine == "probabilities":
            values = torch.softmax(values, dim=-1)
        values = values * weight[..., None]
        total = values if total is None else total + values
        cover = weight if cover is None else cover + weight
    assert total is not None, "every pixel lies in some view"
    assert cover is not None
    return total / cover[..., None]


def _upsampled_rows(view: View, cells: Tensor, rows: slice) -> Tensor:
    """(r, W, K) logits of some rows of the picture."""
    stretched = _weigh(cells, view.placement.rows.crop(rows.start, rows.stop - rows.start))  # (r, w, K)
    return _weigh(stretched.transpose(0, 1), view.placement.columns).transpose(0, 1)


def _weigh(values: Tensor, axis: Axis) -> Tensor:
    """(cells, …) → (n, …): each pixel's weighted sum of cells."""
    starts = torch.from_numpy(axis.starts).to(values.device)
    weights = torch.from_numpy(axis.weights).to(values.device).view(len(axis), axis.taps, *(1,) * (values.dim() - 1))
    total = values[starts] * weights[:, 0]
    for tap in range(1, axis.taps):
        total = total.addcmul_(values[starts + tap], weights[:, tap])
    return total


def _coverage(view: View, rows: slice, device: torch.device) -> Tensor:
    """(r, W) float: 1 where the view covers the pixel, else 0."""
    inside_rows = torch.from_numpy(view.placement.rows.weights[rows].any(axis=1))
    inside_columns = torch.from_numpy(view.placement.columns.weights.any(axis=1))
    return (inside_rows[:, None] & inside_columns).float().to(device)
