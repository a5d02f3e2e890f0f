"""UN-EPT's context branch: deformable attention within a pyramid, and from queries to it (Zhu et al. 2021)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..layers import Blocks
from .config import UneptConfig
from .deformable import DeformableAttention, Grids, grid_centers

SINE_TEMPERATURE = 10000.0


class ContextBranch(nn.Module):
    """Attention among the levels of a pyramid, then from queries to the levels."""

    def __init__(self, config: UneptConfig) -> None:
        super().__init__()
        self.level_embeddings = nn.Parameter(torch.empty(config.levels, config.dim).normal_())
        self.pyramid_layers = Blocks(PyramidLayer(config) for _ in range(config.depth))
        self.query_layers = Blocks(QueryLayer(config) for _ in range(config.depth))

    def mix(self, levels: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Return the levels, (B, h, w, D) each, once they have attended to one another."""
        features, grids = _join_levels(levels)
        positions = self._positions(grids, features)
        centers = torch.cat([grid_centers(grid, features.device) for grid in grids])  # (N, 2)
        mixed = self.pyramid_layers(features, positions, centers, grids)
        parts = mixed.split([height * width for height, width in grids], dim=1)
        return tuple(part.unflatten(1, grid) for part, grid in zip(parts, grids, strict=True))

    def read(self, queries: Tensor, query_grid: tuple[int, int], levels: tuple[Tensor, ...]) -> Tensor:
        """Return what the queries read from the levels.

        Args:
            queries: (B, Q, D).
            query_grid: (height, width) whose cells the queries are, row by row.
            levels: (B, h, w, D) each, mixed.

        Returns:
            (B, Q, D).
        """
        features, grids = _join_levels(levels)
        return self.query_layers(queries, grid_centers(query_grid, queries.device), features, grids)

    def _positions(self, grids: Grids, like: Tensor) -> Tensor:
        """Return (N, D), where a cell is, and on which level."""
        dim = self.level_embeddings.shape[1]
        levels = [
            sine_positions(grid, dim, like.device).to(like.dtype) + embedding
            for grid, embedding in zip(grids, self.level_embeddings, strict=True)
        ]
        return torch.cat(levels)


class PyramidLayer(nn.Module):
    """Deformable attention among the cells of all levels, and a feed-forward network, each normalized afterwards."""

    def __init__(self, config: UneptConfig) -> None:
        super().__init__()
        self.attention = DeformableAttention(config.dim, config.heads, config.levels, config.points)
        self.norm1 = nn.LayerNorm(config.dim)
        self.mlp = FeedForward(config)
        self.norm2 = nn.LayerNorm(config.dim)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, features: Tensor, positions: Tensor, centers: Tensor, grids: Grids) -> Tensor:
        """(B, N, D), (N, D) and (N, 2) → (B, N, D)."""
        attended = self.attention(features + positions, centers, features, grids)
        features = self.norm1(features + self.dropout(attended))
        return self.norm2(features + self.mlp(features))


class QueryLayer(nn.Module):
    """Self-attention, deformable attention to the pyramid, feed-forward network, each normalized afterwards."""

    def __init__(self, config: UneptConfig) -> None:
        super().__init__()
        attention = {"batch": BatchAttention, "query": QueryAttention}[config.query_attention]
        self.self_attention = attention(config.dim, config.heads, config.dropout)
        self.norm1 = nn.LayerNorm(config.dim)
        self.cross_attention = DeformableAttention(config.dim, config.heads, config.levels, config.points)
        self.norm2 = nn.LayerNorm(config.dim)
        self.mlp = FeedForward(config)
        self.norm3 = nn.LayerNorm(config.dim)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, queries: Tensor, centers: Tensor, features: Tensor, grids: Grids) -> Tensor:
        """(B, Q, D), (Q, 2) and (B, N, D) → (B, Q, D)."""
        queries = self.norm1(queries + self.dropout(self.self_attention(queries)))
        attended = self.cross_attention(queries, centers, features, grids)
        queries = self.norm2(queries + self.dropout(attended))
        return self.norm3(queries + self.mlp(queries))


class QueryAttention(nn.Module):
    """Attention of every position of an image to every other."""

    def __init__(self, dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        _apply_xavier(self)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N, D) → (B, N, D)."""
        packed = self.qkv(tokens).unflatten(-1, (3, self.heads, -1)).transpose(1, 3)  # (B, M, 3, N, D / M)
        query, key, value = packed.unbind(2)
        dropout = self.dropout if self.training else 0.0
        attended = functional.scaled_dot_product_attention(query, key, value, dropout_p=dropout)
        return self.proj(attended.transpose(1, 2).flatten(2))


class BatchAttention(QueryAttention):
    """Attention of each position to the same position in the batch's other images.

    The released implementation does so, having its axes in the wrong order, and its checkpoints were
    trained so. It tests images one by one, where attention has one key and gives its value: in
    evaluation that is what every image gets, whatever else is in the batch, unless
    `is_joint_in_evaluation` says otherwise, to compare with that implementation batch by batch.
    """

    is_joint_in_evaluation = False

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N, D) → (B, N, D)."""
        if self.training or self.is_joint_in_evaluation:
            return super().forward(tokens.transpose(0, 1)).transpose(0, 1)
        dim = tokens.shape[-1]
        return self.proj(functional.linear(tokens, self.qkv.weight[2 * dim :], self.qkv.bias[2 * dim :]))


class FeedForward(nn.Module):
    """Two linear layers, ReLU between them."""

    def __init__(self, config: UneptConfig) -> None:
        super().__init__()
        self.fc1 = nn.Linear(config.dim, config.hidden)
        self.fc2 = nn.Linear(config.hidden, config.dim)
        self.dropout = nn.Dropout(config.dropout)
        _apply_xavier(self)

    def forward(self, features: Tensor) -> Tensor:
        """(B, N, D) → (B, N, D)."""
        return self.dropout(self.fc2(self.dropout(functional.relu(self.fc1(features), inplace=True))))


def _join_levels(levels: tuple[Tensor, ...]) -> tuple[Tensor, Grids]:
    """(B, h, w, D) maps → their cells (B, N, D), one level after the other, and each level's (h, w)."""
    grids = tuple((level.shape[1], level.shape[2]) for level in levels)
    return torch.cat([level.flatten(1, 2) for level in levels], dim=1), grids


def sine_positions(grid: tuple[int, int], dim: int, device: torch.device) -> Tensor:
    """Return (h·w, D) float32, sines and cosines of a cell's row, then of its column (Carion et al. 2020, "DETR").

    Rows and columns count from 1 to the last and are scaled to 2π, so an image has the same
    positions at every size.
    """
    half = dim // 2
    octaves = torch.arange(half // 2, dtype=torch.float32, device=device) * 2 / half
    frequencies = SINE_TEMPERATURE**-octaves
    axes = []
    for length in grid:
        steps = torch.arange(1, length + 1, dtype=torch.float32, device=device)
        positions = steps / (steps[-1:] + 1e-6)
        angles = positions[:, None] * 2 * math.pi * frequencies
        axes.append(torch.stack((angles.sin(), angles.cos()), dim=-1).flatten(1))  # (length, D / 2)
    rows, columns = axes
    height, width = grid
    return torch.cat((rows[:, None].expand(-1, width, -1), columns[None].expand(height, -1, -1)), dim=-1).flatten(0, 1)


def _apply_xavier(module: nn.Module) -> None:
    """Initialize as published: matrices of the context branch by Glorot and Bengio 2010, biases zero."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
