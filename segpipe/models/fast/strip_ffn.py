"""The Mix-FFN of a large map on CPU, in strips of rows, so that its hidden map, four times as wide, is never whole.

A bias added by a matrix product costs another pass over the whole product, so fc1's bias is left to the convolution.
Outside the map, where the convolution reads zeros, fc1 without its bias must then give minus its bias.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from .mixing import mix
from .strip_fusion import slices

STRIP_ROWS = 8
"""The fewest rows of a strip, 2 or more: matrix products of few rows are slow."""
STRIP_BYTES = 1 << 21
"""Size of a strip's hidden map, where it may have more rows: about what a core's second-level cache holds."""
HIDDEN_BYTES = 1 << 23
"""From which size on a hidden map gains: memory of such a size goes back to the system and is cleared each time."""
STRIP_CELLS = 1 << 12
"""From how many cells on a map gains: in a smaller one the border is too large a part."""


def pays_in_strips(features: Tensor, fc1: nn.Linear) -> bool:
    """Whether (B, H, W, D) features are large enough to gain."""
    cells = features.shape[1] * features.shape[2]
    return cells >= STRIP_CELLS and cells * fc1.out_features * features.element_size() >= HIDDEN_BYTES


def apply_strip_ffn(features: Tensor, normed: Tensor, fc1: nn.Linear, depthwise: nn.Conv2d, fc2: nn.Linear) -> None:
    """Add fc2(GELU(depthwise(fc1(normed)))) to the features.

    Args:
        features: (B, H, W, D), contiguous; changed in place.
        normed: (B, H, W, D), the features after LayerNorm.
        fc1: D → E.
        depthwise: E → E, 3x3 with a zero pad of 1.
        fc2: E → D.
    """
    assert depthwise.bias is not None
    height, width, dim = features.shape[1:]
    padded = functional.pad(normed, (0, 0, 1, 1, 1, 1))  # (B, H + 2, W + 2, D)
    rows_per_strip = _strip_rows(padded, fc1)
    workspace = hidden = features.new_empty(rows_per_strip + 2, width + 2, fc1.out_features)
    bias = depthwise.bias + fc1.bias * depthwise.weight.sum(dim=(1, 2, 3))
    features.add_(fc2.bias)
    for picture, tokens in zip(features, padded, strict=True):
        for rows in slices(height, rows_per_strip):
            known = min(rows.start, 2)  # rows that the strip above has computed too
            workspace[:known] = hidden[len(hidden) - known :]
            hidden = workspace[: rows.stop - rows.start + 2]  # (r + 2, W + 2, E)
            source = tokens[rows.start + known : rows.stop + 2].view(-1, dim)
            torch.mm(source, fc1.weight.T, out=hidden[known:].view(len(source), -1))
            _fill_border(hidden, -fc1.bias, is_top=rows.start == 0, is_bottom=rows.stop == height)
            mixed = mix(hidden[None].permute(0, 3, 1, 2), depthwise.weight, bias, padding=0)
            picture[rows].view(-1, dim).addmm_(mixed.permute(0, 2, 3, 1).flatten(0, 2), fc2.weight.T)


def _strip_rows(padded: Tensor, fc1: nn.Linear) -> int:
    row_bytes = padded.shape[2] * fc1.out_features * padded.element_size()
    return min(max(STRIP_ROWS, STRIP_BYTES // row_bytes), padded.shape[1] - 2)


def _fill_border(hidden: Tensor, value: Tensor, *, is_top: bool, is_bottom: bool) -> None:
    hidden[:, 0] = value
    hidden[:, -1] = value
    if is_top:
        hidden[0] = value
    if is_bottom:
        hidden[-1] = value
