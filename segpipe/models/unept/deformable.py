"""Multi-scale deformable attention in plain torch (Zhu et al. 2021, "Deformable DETR", section 4.1, equation 3)."""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext
from functools import reduce

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..fast.choosing import can_fuse, is_plain_cpu
from ..fast.deformable_rows import sum_rows

Grids = tuple[tuple[int, int], ...]


class DeformableAttention(nn.Module):
    """Attention of each query to a few points around its reference point, on every level.

    Where the points lie, and what is read there, is computed in float32 under autocast too: a
    location in half precision is off by parts of a pixel.

    Args:
        dim: channels D of queries and values.
        heads: attention heads M.
        levels: feature maps L.
        points: points P per head and level.
    """

    def __init__(self, dim: int, heads: int, levels: int, points: int) -> None:
        super().__init__()
        self.heads, self.levels, self.points = heads, levels, points
        self.offsets = nn.Linear(dim, heads * levels * points * 2)
        self.weights = nn.Linear(dim, heads * levels * points)
        self.value = nn.Linear(dim, dim)
        self.proj = nn.Linear(dim, dim)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initialize as published: the points of head m lie in a row in direction 2πm/M, equally weighted."""
        for linear in (self.offsets, self.weights):
            nn.init.zeros_(linear.weight)
            nn.init.zeros_(linear.bias)
        for linear in (self.value, self.proj):
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)
        angles = torch.arange(self.heads, dtype=torch.float32) * (2 * math.pi / self.heads)
        directions = torch.stack((angles.cos(), angles.sin()), dim=-1)  # (M, 2), x and y
        directions = directions / directions.abs().amax(dim=-1, keepdim=True)
        steps = torch.arange(1, self.points + 1, dtype=torch.float32).view(1, 1, -1, 1)
        bias = (directions.view(-1, 1, 1, 2) * steps).expand(-1, self.levels, -1, -1)  # (M, L, P, 2)
        with torch.no_grad():
            self.offsets.bias.copy_(bias.reshape(-1))

    def forward(self, queries: Tensor, references: Tensor, features: Tensor, grids: Grids) -> Tensor:
        """Read the features around the references.

        Args:
            queries: (B, Q, D).
            references: (Q, 2), x and y as fractions of the image's width and height.
            features: (B, N, D), the levels one after the other, each row by row.
            grids: (height, width) of each level; N is the sum of their areas.

        Returns:
            (B, Q, D).
        """
        values = self.value(features)
        with _without_autocast(queries.device):
            steady = queries.to(self.offsets.weight.dtype)
            offsets = self.offsets(steady).float().unflatten(-1, (self.heads, self.levels, self.points, 2))
            weights = self.weights(steady).float().unflatten(-1, (self.heads, -1)).softmax(dim=-1)  # (B, Q, M, L·P)
            weights = weights.unflatten(-1, (self.levels, self.points))
            sampled = sample_levels(values.float(), references.float(), offsets, weights, grids)
        return self.proj(sampled.to(values.dtype))


def sample_levels(values: Tensor, references: Tensor, offsets: Tensor, weights: Tensor, grids: Grids) -> Tensor:
    """Return weighted sums of values of several feature maps, read bilinearly between cells, zero beyond the border.

    Args:
        values: (B, N, D), the levels one after the other.
        references: (Q, 2), x and y as fractions of the width and the height.
        offsets: (B, Q, M, L, P, 2) from the references, x and y in cells of each level.
        weights: (B, Q, M, L, P).
        grids: (height, width) of each level.

    Returns:
        (B, Q, D): head m reads channels m·D/M to (m+1)·D/M.
    """
    if can_fuse(values):
        from ..fast.fused_deformable import fused_sample_levels  # which needs Triton

        return fused_sample_levels(values, references, offsets, weights, grids)
    sample = sum_rows if is_plain_cpu(values) else sum_samples
    maps = values.split([height * width for height, width in grids], dim=1)
    sums = []
    for level, (features, (height, width)) in enumerate(zip(maps, grids, strict=True)):
        # In cells, with the first cell's center at 0.
        x = references[:, 0, None, None] * width - 0.5 + offsets[:, :, :, level, :, 0]  # (B, Q, M, P)
        y = references[:, 1, None, None] * height - 0.5 + offsets[:, :, :, level, :, 1]
        sums.append(sample(features.unflatten(1, (height, width)), x, y, weights[:, :, :, level]))
    return reduce(torch.add, sums)


def grid_centers(grid: tuple[int, int], device: torch.device) -> Tensor:
    """Return (h·w, 2) float32, x and y of each cell's center as fractions of the width and the height, row by row."""
    height, width = grid
    y = (torch.arange(height, dtype=torch.float32, device=device) + 0.5) / height
    x = (torch.arange(width, dtype=torch.float32, device=device) + 0.5) / width
    rows, columns = torch.meshgrid(y, x, indexing="ij")
    return torch.stack((columns, rows), dim=-1).flatten(0, 1)


def sum_samples(features: Tensor, x: Tensor, y: Tensor, weights: Tensor) -> Tensor:
    """Sum one level by torch's sampler: (B, h, w, D) features, (B, Q, M, P) points and weights → (B, Q, D)."""
    _, height, width, _ = features.shape
    heads = x.shape[2]
    maps = features.unflatten(-1, (heads, -1)).permute(0, 3, 4, 1, 2).flatten(0, 1)  # (B·M, D / M, h, w)
    points = torch.stack(((2 * x + 1) / width - 1, (2 * y + 1) / height - 1), dim=-1)
    points = points.transpose(1, 2).flatten(0, 1)  # (B·M, Q, P, 2), from -1 to 1
    read = functional.grid_sample(maps, points, align_corners=False)  # (B·M, D / M, Q, P)
    summed = torch.einsum("bcqp,bqp->bqc", read, weights.transpose(1, 2).flatten(0, 1))
    return summed.unflatten(0, (-1, heads)).transpose(1, 2).flatten(2)


def _without_autocast(device: torch.device) -> AbstractContextManager[object]:
    # Networks on "meta", of shapes alone, are never under autocast, and torch refuses to be asked.
    if device.type == "meta" or not torch.is_autocast_enabled(device.type):
        return nullcontext()
    return torch.autocast(device.type, enabled=False)
