"""Layers that several networks are built of."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint


class Blocks(nn.ModuleList):
    """A ModuleList that runs its blocks one after another.

    With `is_checkpointed`, of each block only the input is kept in training, and the backward pass computes the rest
    again, with the same numbers drawn at random. Results and gradients are the same, bit for bit.
    """

    is_checkpointed = False

    def forward(self, features: Tensor, *shared: Any) -> Tensor:
        """Any shape that the blocks take, and what every block gets besides."""
        is_recomputed = self.is_checkpointed and self.training and torch.is_grad_enabled()
        for block in self:
            if is_recomputed:
                features = checkpoint(block, features, *shared, use_reentrant=False)
            else:
                features = block(features, *shared)
        return features


class DropPath(nn.Module):
    """Stochastic depth: drop a residual branch per sample, scale the others by 1 / keep (Huang et al. 2016)."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, branch: Tensor) -> Tensor:
        """Any shape that begins with B."""
        if not self.training or self.rate == 0.0:
            return branch
        keep = 1.0 - self.rate
        mask = branch.new_empty(branch.shape[0], *(1,) * (branch.dim() - 1)).bernoulli_(keep)
        return branch * (mask / max(keep, 1e-6))

    def extra_repr(self) -> str:
        return f"rate={self.rate:.3f}"


class ConvNorm(nn.Module):
    """A convolution without bias, padded to keep the size, and BatchNorm."""

    folded_weight: Tensor | None
    folded_bias: Tensor | None

    def __init__(self, in_channels: int, out_channels: int, *, kernel: int, stride: int = 1, dilation: int = 1) -> None:
        super().__init__()
        padding = dilation * (kernel // 2)
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, stride, padding, dilation, bias=False)
        self.norm = nn.BatchNorm2d(out_channels)
        self.register_buffer("folded_weight", None, persistent=False)
        self.register_buffer("folded_bias", None, persistent=False)
        self.register_load_state_dict_pre_hook(_remove_folding)

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W) → (B, D, h, w)."""
        conv = self.conv
        if self.folded_weight is None or torch.is_grad_enabled():
            return self.norm(conv(features))
        return functional.conv2d(
            features, self.folded_weight, self.folded_bias, conv.stride, conv.padding, conv.dilation
        )

    @torch.no_grad()
    def apply_folding(self) -> None:
        """Compute with one convolution where no gradient is asked for, until `train()` or `load_state_dict()`."""
        weight, (scale, shift) = self.conv.weight, affine(self.norm)
        self.folded_weight = (weight.double() * scale[:, None, None, None]).to(weight.dtype)
        self.folded_bias = shift.to(weight.dtype)

    def train(self, mode: bool = True) -> ConvNorm:
        if mode:
            _remove_folding(self)
        return super().train(mode)


def initialize_linear(module: nn.Module) -> None:
    """Initialize a linear layer as published: weights from a normal cut at two units with σ 0.02, biases zero."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)


def affine(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Return BatchNorm in evaluation as the scale and the shift of x · scale + shift, in double precision."""
    averages = norm.get_buffer("running_mean"), norm.get_buffer("running_var")
    mean, variance = (average.double() for average in averages)
    scale = norm.weight.double() / torch.sqrt(variance + norm.eps)
    return scale, norm.bias.double() - mean * scale


def _remove_folding(module: ConvNorm, *_: object) -> None:
    module.folded_weight = module.folded_bias = None
