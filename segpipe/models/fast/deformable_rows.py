"""Sampling of deformable attention on CPU as sums over rows of a table, several times as fast, without gradients."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def sum_rows(features: Tensor, x: Tensor, y: Tensor, weights: Tensor) -> Tensor:
    """Sum one level as `deformable.sum_samples`: (B, h, w, D) features, (B, Q, M, P) points and weights → (B, Q, D)."""
    _, height, width, _ = features.shape
    batch, queries, heads, _ = x.shape
    # A ring of zeros, so that every point within one cell of the map has four neighbors.
    table = functional.pad(features, (0, 0, 1, 1, 1, 1)).unflatten(-1, (heads, -1)).flatten(0, 3)
    x, y = x.clamp(-1, width), y.clamp(-1, height)
    left, top = x.floor().clamp_(max=width - 1), y.floor().clamp_(max=height - 1)
    right, below = x.sub_(left), y.sub_(top)  # weights of the neighbors there
    lower = weights * below
    upper = weights - lower
    lower_right, upper_right = lower * right, upper * right
    corners = torch.stack((upper - upper_right, upper_right, lower - lower_right, lower_right), dim=3)
    # Clamped once more, so that a NaN gives NaN instead of a bad index.
    first = torch.add(left, top, alpha=width + 2).add_(width + 3).to(torch.int32)
    first = first.clamp_(0, (height + 1) * (width + 2) - 2).mul_(heads)
    neighbours = first.new_tensor((0, 1, width + 2, width + 3)).mul_(heads)[:, None]
    maps = torch.arange(batch, dtype=torch.int32) * ((height + 2) * (width + 2) * heads)
    starts = maps[:, None] + torch.arange(heads, dtype=torch.int32)  # (B, M)
    rows = first.unsqueeze(3) + (starts[:, None, :, None, None] + neighbours)  # (B, Q, M, 4, P)
    summed = functional.embedding_bag(
        rows.flatten(0, 2).flatten(1), table, per_sample_weights=corners.flatten(0, 2).flatten(1), mode="sum"
    )
    return summed.view(batch, queries, -1)
