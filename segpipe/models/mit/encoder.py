"""Mix Transformer (MiT), the encoder of SegFormer (Xie et al. 2021, section 3.1), B0 to B5.

Every feature map is one contiguous (B, H, W, D) tensor: as (B, N, D) tokens and as a
channels-last (B, D, H, W) map it is a view of the same memory, so nothing is ever transposed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from segpipe.errors import InputError

from ..base import AttentionMap, NetworkStage, SegpipeNetwork
from ..layers import Blocks, DropPath, initialize_linear
from .config import KERNELS, STRIDES, EncoderConfig, MitShape, NormEps


class MixTransformer(nn.Module):
    """Four stages of overlapping patches and efficient self-attention.

    Args:
        shape: channels, depths, heads and reductions.
        config: drop path, LayerNorm eps, MLP ratio.
        block: class of the blocks: `Block`, or a faster form of it.
    """

    def __init__(self, shape: MitShape, config: EncoderConfig, block: type[Block]) -> None:
        super().__init__()
        # Stochastic depth grows linearly from 0 over all blocks.
        rates = np.linspace(0, config.drop_path_rate, sum(shape.depths)).tolist()
        self.shape = shape
        self.stages = nn.ModuleList()
        in_channels = 3
        for index, depth in enumerate(shape.depths):
            stage_rates, rates = rates[:depth], rates[depth:]
            block_config = StageConfig(
                shape.dims[index], shape.heads[index], shape.reductions[index], config.mlp_ratio, config.norm_eps
            )
            blocks = Blocks(block(block_config, rate) for rate in stage_rates)
            self.stages.append(Stage(in_channels, KERNELS[index], STRIDES[index], block_config, blocks))
            in_channels = shape.dims[index]
        self.apply(initialize)

    @property
    def min_size(self) -> int:
        """The smallest side whose maps still fill one window of each key-value reduction."""
        side, smallest = 1, 1
        for index, reduction in enumerate(self.shape.reductions):
            side *= STRIDES[index]
            smallest = max(smallest, (reduction - 1) * side + 1)
        return smallest

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return the feature maps of the four stages.

        Args:
            images: (B, 3, H, W), normalized.

        Returns:
            Four (B, h, w, D) maps at strides 4, 8, 16 and 32.
        """
        features = images.permute(0, 2, 3, 1)  # (B, H, W, 3)
        maps = []
        for stage in self.stages:
            features = stage(features)
            maps.append(features)
        return tuple(maps)

    def attention_map(self, images: Tensor, layer: int) -> AttentionMap:
        """Return the attention of a block, counted from 0 over all stages.

        Args:
            images: (B, 3, H, W), normalized.
            layer: number of the block.
        """
        features, before = images.permute(0, 2, 3, 1), 0
        for stage, depth in zip(self.stages, self.shape.depths, strict=True):
            if 0 <= layer - before < depth:
                assert isinstance(stage, Stage)
                return stage.attention_map(features, layer - before)
            features, before = stage(features), before + depth
        raise InputError(f"There is no layer {layer}: the blocks are numbered from 0 to {before - 1}. Name one.")


@dataclass(frozen=True)
class StageConfig:
    """The settings that the blocks of one stage share."""

    dim: int
    heads: int
    reduction: int
    mlp_ratio: int
    eps: NormEps


class Stage(nn.Module):
    """Patch embedding, blocks, LayerNorm."""

    def __init__(self, in_channels: int, kernel: int, stride: int, block: StageConfig, blocks: Blocks) -> None:
        super().__init__()
        self.embed = PatchEmbedding(in_channels, kernel, stride, block)
        self.blocks = blocks
        self.norm = nn.LayerNorm(block.dim, eps=block.eps.stage)

    def forward(self, features: Tensor) -> Tensor:
        """(B, H, W, C) → (B, h, w, D)."""
        return self.norm(self.blocks(self.embed(features)))

    def attention_map(self, features: Tensor, layer: int) -> AttentionMap:
        """Return the attention of the stage's block number `layer`, from 0, for features (B, H, W, C)."""
        features = self.embed(features)
        for block in self.blocks[:layer]:
            features = block(features)
        block = self.blocks[layer]
        assert isinstance(block, Block)
        height, width = features.shape[1:3]
        weights = block.attention.weights(block.norm1(features))
        reduced = block.attention.reduction
        reduction = reduced.proj.kernel_size[0] if isinstance(reduced, Reduction) else 1
        return AttentionMap(weights, (height, width), (height // reduction, width // reduction))


class PatchEmbedding(nn.Module):
    """Overlapping patches: a strided convolution and LayerNorm."""

    def __init__(self, in_channels: int, kernel: int, stride: int, block: StageConfig) -> None:
        super().__init__()
        self.proj = nn.Conv2d(in_channels, block.dim, kernel, stride, padding=kernel // 2)
        self.norm = nn.LayerNorm(block.dim, eps=block.eps.patch)

    def forward(self, features: Tensor) -> Tensor:
        """(B, H, W, C) → (B, h, w, D)."""
        return self.norm(_convolve(self.proj, features))


class Block(nn.Module):
    """Attention and Mix-FFN, each pre-normalized and residual. On a CPU without gradients, `FastBlock` does it."""

    def __init__(self, block: StageConfig, drop_rate: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(block.dim, eps=block.eps.block)
        self.attention = Attention(block)
        self.norm2 = nn.LayerNorm(block.dim, eps=block.eps.block)
        self.mlp = MixFFN(block.dim, block.dim * block.mlp_ratio)
        self.drop_path = DropPath(drop_rate)

    def forward(self, features: Tensor) -> Tensor:
        """(B, H, W, D) → (B, H, W, D)."""
        features = features + self.drop_path(self.attention(self.norm1(features)))
        return features + self.drop_path(self.mlp(self.norm2(features)))


class Attention(nn.Module):
    """Self-attention whose keys and values come from a spatially reduced map (section 3.1, equation 2)."""

    def __init__(self, block: StageConfig) -> None:
        super().__init__()
        self.heads = block.heads
        self.q = nn.Linear(block.dim, block.dim)
        self.kv = nn.Linear(block.dim, 2 * block.dim)
        self.proj = nn.Linear(block.dim, block.dim)
        self.reduction = Reduction(block) if block.reduction > 1 else nn.Identity()

    def forward(self, features: Tensor) -> Tensor:
        """(B, H, W, D) → (B, H, W, D)."""
        return self.proj(self.attend(features))

    def attend(self, features: Tensor) -> Tensor:
        """(B, H, W, D) → (B, H, W, D), before the last projection."""
        reduced = self.reduction(features)
        query = self._split_heads(self.q(features))
        key, value = (self._split_heads(part) for part in self.kv(reduced).chunk(2, dim=-1))
        attended = functional.scaled_dot_product_attention(query, key, value)  # (B, M, N, D / M)
        return attended.transpose(1, 2).reshape(features.shape)

    def weights(self, features: Tensor) -> Tensor:
        """(B, H, W, D) → (B, M, H·W, n) softmax weights over the n cells of the reduced map; a row is a query."""
        query = self._split_heads(self.q(features))
        key = self._split_heads(self.kv(self.reduction(features)).chunk(2, dim=-1)[0])
        return torch.softmax(query @ key.transpose(-2, -1) * query.shape[-1] ** -0.5, dim=-1)

    def _split_heads(self, features: Tensor) -> Tensor:
        tokens = features.flatten(1, 2)  # (B, N, D)
        return tokens.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (B, M, N, D / M)


class Reduction(nn.Module):
    """Shrink a map by windows that do not overlap, then LayerNorm."""

    def __init__(self, block: StageConfig) -> None:
        super().__init__()
        self.proj = nn.Conv2d(block.dim, block.dim, block.reduction, block.reduction)
        self.norm = nn.LayerNorm(block.dim, eps=block.eps.reduction)

    def forward(self, features: Tensor) -> Tensor:
        """(B, H, W, D) → (B, H // r, W // r, D)."""
        return self.norm(_convolve(self.proj, features))


class MixFFN(nn.Module):
    """Feed-forward network with a depthwise 3x3 convolution, which is what tells positions apart."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.depthwise = nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, features: Tensor) -> Tensor:
        """(B, H, W, D) → (B, H, W, D)."""
        hidden = _convolve(self.depthwise, self.fc1(features))
        if not torch.is_grad_enabled():
            return self._project(hidden)
        # What GELU gives is as large as `hidden` and quick to compute: the backward pass does it again.
        return checkpoint(self._project, hidden, use_reentrant=False, preserve_rng_state=False)

    def _project(self, hidden: Tensor) -> Tensor:
        return self.fc2(functional.gelu(hidden))


def encoder_stages(network: SegpipeNetwork, encoder: MixTransformer) -> tuple[NetworkStage, ...]:
    """Return stages from (images,) to the four maps of the network's encoder, each adding one."""

    def run_first(images: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (encoder.stages[0](network.normalise(images[0]).permute(0, 2, 3, 1)),)

    def build_next(stage: nn.Module) -> Callable[[tuple[Tensor, ...]], tuple[Tensor, ...]]:
        return lambda maps: (*maps, stage(maps[-1]))

    runs = [run_first, *(build_next(stage) for stage in encoder.stages[1:])]
    names = (f"encoder.stages.{index}" for index in range(len(runs)))
    return tuple(NetworkStage(name, (f"{name}.",), run) for name, run in zip(names, runs, strict=True))


def _convolve(conv: nn.Conv2d, features: Tensor) -> Tensor:
    """Convolve between (B, H, W, C) maps."""
    return conv(features.permute(0, 3, 1, 2)).permute(0, 2, 3, 1).contiguous()


def initialize(module: nn.Module) -> None:
    """Initialize as published: linear layers from a normal cut at two units with σ 0.02, convolutions by fan-out."""
    initialize_linear(module)
    if isinstance(module, nn.Conv2d):
        fan_out = module.kernel_size[0] * module.kernel_size[1] * module.out_channels // module.groups
        nn.init.normal_(module.weight, std=math.sqrt(2.0 / fan_out))
        if module.bias is not None:
            nn.init.zeros_(module.bias)
