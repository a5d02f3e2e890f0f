"""The label map of any prediction, with all its views combined densely, a strip of rows at a time.

Memory is bounded by the strip. Several views, too many mixed pixels, and class scores that are not linear in the cells
take this way.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from segpipe.models import Scoring

from ..geometry import Axis, Mosaic, Prediction, View
from .cells import check_finite, count_classes, label_dtype

STRIP_FLOATS = 1 << 20
"""A strip has at most this many floats, unless one row has more."""


def label_densely(prediction: Prediction) -> tuple[Tensor, Tensor]:
    """Return the labels (H, W) of a prediction and the scores (K,) of its classes, see `LabelMap`."""
    first = prediction.first
    (height, width), device = first.size, first.device
    labels = torch.empty(height, width, dtype=label_dtype(prediction.num_classes), device=device)
    sums = torch.zeros(prediction.num_classes, dtype=torch.float64, device=device)
    step = max(1, STRIP_FLOATS // (width * first.channels))
    for start in range(0, height, step):
        rows = slice(start, min(start + step, height))
        strip = _combine(prediction, rows)
        best, winners = strip.max(dim=-1)
        check_finite(best)
        labels[rows] = winners.to(labels.dtype)
        if prediction.combine == "logits":
            best = _best_probability(first.scoring, strip, best, winners)
        sums += torch.bincount(winners.flatten(), best.flatten().double(), prediction.num_classes)
    return labels, (sums / count_classes(labels, prediction.num_classes)).float()


def _combine(prediction: Prediction, rows: slice) -> Tensor:
    """Return (r, W, K) averaged probabilities, or averaged class scores, of some rows of the image."""
    parts = _covering_parts(prediction, rows)
    total, cover = next(parts)  # every pixel lies in some view
    for values, weight in parts:
        total.add_(values)
        cover = cover + weight
    return total if (cover == 1).all() else total.div_(cover.to(total.device)[..., None])


def _covering_parts(prediction: Prediction, rows: slice) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield (r, W, K) values and (r, W) coverage of each view that covers any of the pixels."""
    for view in prediction.views:
        weight = _coverage(view, rows)
        if not weight.any():
            continue
        values = _rows_of(view, rows)
        if prediction.combine == "probabilities":
            scoring = view.windows[0].scoring
            values = torch.softmax(values, dim=-1) if scoring is None else scoring.probabilities(values)
        if not weight.all():
            values *= weight.to(values.device)[..., None]
        yield values, weight


def _coverage(view: View | Mosaic, rows: slice) -> Tensor:
    """Return (r, W) float: 1 where the view covers the pixel, else 0."""
    if isinstance(view, Mosaic):
        return torch.ones(rows.stop - rows.start, view.windows[0].size[1])
    inside_rows = torch.from_numpy(view.placement.rows.weights[rows].any(axis=1))
    inside_columns = torch.from_numpy(view.placement.columns.weights.any(axis=1))
    return (inside_rows[:, None] & inside_columns).float()


def _rows_of(view: View | Mosaic, rows: slice) -> Tensor:
    """Return (r, W, K) class scores of some rows of the image."""
    if isinstance(view, View):
        return _score(view, rows, slice(0, view.size[1]))
    first = view.windows[0]
    total = torch.zeros(rows.stop - rows.start, first.size[1], first.num_classes, device=first.device)
    for window in view.windows:
        covered, columns = window.placement.rows.span, window.placement.columns.span
        common = slice(max(rows.start, covered.start), min(rows.stop, covered.stop))
        if common.start < common.stop:
            place = slice(common.start - rows.start, common.stop - rows.start)
            total[place, columns] += _score(window, common, columns)
    return total


def _score(view: View, rows: slice, columns: slice) -> Tensor:
    """Return (r, c, K) class scores of a rectangle of the image, times its part among overlapping windows."""
    cells = _upsample(view, rows, columns)
    if view.scoring is None:
        return cells
    axes = view.placement.rows.weights[rows], view.placement.columns.weights[columns]
    down, across = (torch.from_numpy(weights.sum(axis=1)).to(cells.device) for weights in axes)
    part = (down[:, None] * across)[..., None]  # a scoring that is not linear needs the window's own values
    return view.scoring.scores(cells / part.clamp(min=torch.finfo(part.dtype).tiny)).mul_(part)


def _best_probability(scoring: Scoring | None, scores: Tensor, best: Tensor, winners: Tensor) -> Tensor:
    """Return (r, W) the winners' probabilities."""
    if scoring is None:
        return 1.0 / (scores - best[..., None]).exp_().sum(dim=-1)
    return scoring.probabilities(scores).gather(-1, winners[..., None])[..., 0]


def _upsample(view: View, rows: slice, columns: slice) -> Tensor:
    """Return (r, c, C) interpolated cells of a rectangle of the image."""
    down = view.placement.rows.crop(rows.start, rows.stop - rows.start)
    first, last = int(down.starts.min()), int(down.starts.max()) + down.taps
    across = view.placement.columns.crop(columns.start, columns.stop - columns.start)
    cells = view.cells[:, first:last].permute(1, 2, 0).float().contiguous()  # (those that are read, w, K)
    cells = cells.clamp(min=torch.finfo(torch.float32).min)  # 0 times minus infinity would not be a number
    wide = _stretch(cells, across)  # (those that are read, c, K)
    # A strip reads few rows of cells, so that one small product is faster than gathering rows.
    matrix = Axis(last - first, down.starts - first, down.weights).matrix.to(wide.device)
    return (matrix @ wide.flatten(1)).unflatten(1, wide.shape[1:])


def _stretch(cells: Tensor, axis: Axis) -> Tensor:
    """Stretch (h, w, K) to (h, n, K): each pixel's weighted sum of cells."""
    starts = torch.from_numpy(axis.starts).to(cells.device)
    weights = torch.from_numpy(axis.weights).to(cells.device)[..., None]
    total = cells.index_select(1, starts).mul_(weights[:, 0])
    for tap in range(1, axis.taps):
        total.addcmul_(cells.index_select(1, starts + tap), weights[:, tap])
    return total
