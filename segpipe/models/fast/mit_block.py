"""A Mix Transformer's block on CPU where no gradient is asked for: products in place, a large Mix-FFN in strips.

In strips of rows the hidden map of the Mix-FFN, four times as wide as the features, is never whole. A bias added by a
matrix product costs another pass over the whole product, so fc1's bias is left to the convolution. Outside the map,
where the convolution reads zeros, fc1 without its bias must then give minus its bias.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..layers import DropPath
from ..mit.encoder import Attention, Block, MixFFN
from .choosing import is_plain_cpu
from .head_strips import slices

STRIP_ROWS = 8
"""The fewest rows of a strip, 2 or more: matrix products of few rows are slow."""
STRIP_BYTES = 1 << 21
"""Size of a strip's hidden map, where it may have more rows: about what a core's second-level cache holds."""
HIDDEN_BYTES = 1 << 23
"""From which size on a hidden map gains: memory of such a size goes back to the system and is cleared each time."""
STRIP_CELLS = 1 << 12
"""From how many cells on a map gains: in a smaller one the border is too large a part."""


class FastBlock(Block):
    """The same block, in fewer passes over memory where it can."""

    def forward(self, features: Tensor) -> Tensor:
        """(B, H, W, D) → (B, H, W, D)."""
        if self.training or not is_plain_cpu(features) or not self._is_untouched():
            return super().forward(features)
        attended = self.attention.attend(self.norm1(features))
        features = features + self.attention.proj.bias
        _tokens(features).addmm_(_tokens(attended), self.attention.proj.weight.T)
        apply_mix_ffn(features, self.norm2(features), self.mlp)
        return features

    def _is_untouched(self) -> bool:
        """Return whether what `forward` reads weights of, or passes by, has no hooks and no adapters in its place."""
        if not (_is_plain(self.attention, Attention) and _is_plain(self.mlp, MixFFN)):
            return False
        linears = self.attention.proj, self.mlp.fc1, self.mlp.fc2
        return (
            all(_is_plain(linear, nn.Linear) for linear in linears)
            and _is_plain(self.mlp.depthwise, nn.Conv2d)
            and _is_plain(self.drop_path, DropPath)
        )


def apply_mix_ffn(features: Tensor, normed: Tensor, mlp: MixFFN) -> None:
    """Add what a Mix-FFN makes of `normed` to `features`, both (B, H, W, D)."""
    if pays_in_strips(features, mlp.fc1):
        apply_strip_ffn(features, normed, mlp.fc1, mlp.depthwise, mlp.fc2)
        return
    hidden = mlp.fc1(normed).permute(0, 3, 1, 2)
    mixed = mix(hidden, mlp.depthwise.weight, mlp.depthwise.bias, padding=1)
    tokens = mixed.permute(0, 2, 3, 1).flatten(0, 2)  # (B H W, E)
    _tokens(features.add_(mlp.fc2.bias)).addmm_(tokens, mlp.fc2.weight.T)


def pays_in_strips(features: Tensor, fc1: nn.Linear) -> bool:
    """Return whether (B, H, W, D) features are large enough to gain."""
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
    for image, tokens in zip(features, padded, strict=True):
        for rows in slices(height, rows_per_strip):
            known = min(rows.start, 2)  # rows that the strip above has computed too
            workspace[:known] = hidden[len(hidden) - known :]
            hidden = workspace[: rows.stop - rows.start + 2]  # (r + 2, W + 2, E)
            source = tokens[rows.start + known : rows.stop + 2].view(-1, dim)
            torch.mm(source, fc1.weight.T, out=hidden[known:].view(len(source), -1))
            _fill_border(hidden, -fc1.bias, is_top=rows.start == 0, is_bottom=rows.stop == height)
            mixed = mix(hidden[None].permute(0, 3, 1, 2), depthwise.weight, bias, padding=0)
            image[rows].view(-1, dim).addmm_(mixed.permute(0, 2, 3, 1).flatten(0, 2), fc2.weight.T)


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


def mix(hidden: Tensor, weight: Tensor, bias: Tensor | None, *, padding: int) -> Tensor:
    """Compute GELU of the depthwise convolution.

    In one pass where oneDNN does it, which takes two thirds of the time and makes one map instead of two.

    Args:
        hidden: (B, E, H, W).
        weight: (E, 1, 3, 3).
        bias: (E,).
        padding: zeros around the map.
    """
    if torch.backends.mkldnn.enabled and _is_one_pass(hidden.dtype):
        return mix_in_one_pass(hidden, weight, bias, padding=padding)
    return mix_in_two_passes(hidden, weight, bias, padding=padding)


def mix_in_one_pass(hidden: Tensor, weight: Tensor, bias: Tensor | None, *, padding: int) -> Tensor:
    """Compute both by the operator that torch's compiler uses, which is not among torch's public ones."""
    mixed: Tensor = torch.ops.mkldnn._convolution_pointwise(
        hidden, weight, bias, [padding, padding], [1, 1], [1, 1], len(weight), "gelu", [], "none"
    )
    return mixed


def mix_in_two_passes(hidden: Tensor, weight: Tensor, bias: Tensor | None, *, padding: int) -> Tensor:
    """Compute both by torch's convolution and GELU."""
    return functional.gelu(functional.conv2d(hidden, weight, bias, padding=padding, groups=len(weight)))


@cache
def _is_one_pass(dtype: torch.dtype) -> bool:
    """Return whether this torch has the operator, on a processor where oneDNN makes it fast, and it is right."""
    if not torch.backends.cpu.get_cpu_capability().startswith("AVX"):
        return False
    generator = torch.Generator().manual_seed(0)
    shapes = (1, 8, 5, 4), (8, 1, 3, 3), (8,)
    hidden, weight, bias = (torch.randn(*shape, generator=generator).to(dtype) for shape in shapes)
    expected = mix_in_two_passes(hidden.double(), weight.double(), bias.double(), padding=1)
    try:
        found = mix_in_one_pass(hidden, weight, bias, padding=1)
    except Exception:  # not there, with other arguments, not in this type: each raises something else
        return False
    return bool((found - expected).abs().max() <= 8 * torch.finfo(dtype).eps * expected.abs().max())


def _tokens(features: Tensor) -> Tensor:
    """View (B, H, W, D) as (B H W, D)."""
    return features.view(-1, features.shape[-1])


def _is_plain(module: nn.Module, kind: type[nn.Module]) -> bool:
    return type(module) is kind and not module._forward_hooks and not module._forward_pre_hooks
