"""Mix Transformer (MiT), the encoder of SegFormer (Xie et al. 2021, section 3.1), B0 to B5.

Every feature map is one contiguous (B, H, W, D) tensor: as (B, N, D) tokens and as a
channels-last (B, D, H, W) map it is a view of the same memory, so nothing is ever transposed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from segpipe.configuration import EncoderConfig, MitConfig, NormEps
from segpipe.errors import ConfigurationError, InputError

from .blocks import Blocks
from .contract import NetworkStage, SegpipeNetwork
from .fast.cpu import is_plain_cpu
from .fast.mixing import mix
from .fast.strip_ffn import apply_strip_ffn, pays_in_strips


class Shape(NamedTuple):
    """Channels, depths, attention heads and key-value reductions of the four stages."""

    dims: tuple[int, ...]
    depths: tuple[int, ...]
    heads: tuple[int, ...] = (1, 2, 5, 8)
    reductions: tuple[int, ...] = (8, 4, 2, 1)


# Table 6 of the paper, but MLP ratio 4 in every stage as in the released weights.
VARIANTS = {
    "b0": Shape(dims=(32, 64, 160, 256), depths=(2, 2, 2, 2)),
    "b1": Shape(dims=(64, 128, 320, 512), depths=(2, 2, 2, 2)),
    "b2": Shape(dims=(64, 128, 320, 512), depths=(3, 4, 6, 3)),
    "b3": Shape(dims=(64, 128, 320, 512), depths=(3, 4, 18, 3)),
    "b4": Shape(dims=(64, 128, 320, 512), depths=(3, 8, 27, 3)),
    "b5": Shape(dims=(64, 128, 320, 512), depths=(3, 6, 40, 3)),
}
KERNELS = (7, 3, 3, 3)
STRIDES = (4, 2, 2, 2)


def encoder_shape(variant: str, config: EncoderConfig) -> Shape:
    """The variant's row of the table, with what the configuration says instead."""
    row = VARIANTS[variant]
    shape = Shape(
        dims=config.dims or row.dims,
        depths=config.depths or row.depths,
        heads=config.heads or row.heads,
        reductions=config.reductions or row.reductions,
    )
    if any(dim % heads for dim, heads in zip(shape.dims, shape.heads, strict=True)):
        raise ConfigurationError(
            f"model.encoder: the channels {shape.dims} cannot be split over {shape.heads} attention heads. "
            "Each stage's dims must be a multiple of its heads."
        )
    return shape


class MixTransformer(nn.Module):
    """Four stages of overlapping patches and efficient self-attention.

    Args:
        shape: channels, depths, heads and reductions.
        config: drop path, LayerNorm eps, MLP ratio.
    """

    def __init__(self, shape: Shape, config: EncoderConfig) -> None:
        super().__init__()
        # Stochastic depth grows linearly from 0 over all blocks.
        rates = np.linspace(0, config.drop_path_rate, sum(shape.depths)).tolist()
        self.shape = shape
        self.stages = nn.ModuleList()
        in_channels = 3
        for index, depth in enumerate(shape.depths):
            stage_rates, rates = rates[:depth], rates[depth:]
            block = BlockConfig(
                shape.dims[index], shape.heads[index], shape.reductions[index], config.mlp_ratio, config.norm_eps
            )
            self.stages.append(Stage(in_channels, KERNELS[index], STRIDES[index], block, stage_rates))
            in_channels = shape.dims[index]
        self.apply(_initialise)

    @property
    def min_size(self) -> int:
        """The smallest side whose maps still fill one window of each key-value reduction."""
        side, smallest = 1, 1
        for index, reduction in enumerate(self.shape.reductions):
            side *= STRIDES[index]
            smallest = max(smallest, (reduction - 1) * side + 1)
        return smallest

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Feature maps of the four stages.

        Args:
            images: (B, 3, H, W), normalised.

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
        """The attention of a block, counted from 0 over all stages.

        Args:
            images: (B, 3, H, W), normalised.
            layer: number of the block.
        """
        features, before = images.permute(0, 2, 3, 1), 0
        for stage, depth in zip(self.stages, self.shape.depths, strict=True):
            if 0 <= layer - before < depth:
                assert isinstance(stage, Stage)
                return stage.attention_map(features, layer - before)
            features, before = stage(features), before + depth
        raise InputError(f"There is no layer {layer}: the blocks are numbered from 0 to {before - 1}. Name one.")


class AttentionMap(NamedTuple):
    """Who looks at whom in one block."""

    weights: Tensor
    """(B, M, N, n): a row is a query and adds up to 1."""
    query_grid: tuple[int, int]
    """(height, width) of the N queries, row by row."""
    key_grid: tuple[int, int]
    """(height, width) of the n cells that are looked at, row by row."""


@dataclass(frozen=True)
class BlockConfig:
    """What the blocks of one stage have in common."""

    dim: int
    heads: int
    reduction: int
    mlp_ratio: int
    eps: NormEps


class Stage(nn.Module):
    """Patch embedding, blocks, LayerNorm."""

    def __init__(self, in_channels: int, kernel: int, stride: int, block: BlockConfig, drop_rates: list[float]) -> None:
        super().__init__()
        self.embed = PatchEmbedding(in_channels, kernel, stride, block)
        self.blocks = Blocks(Block(block, rate) for rate in drop_rates)
        self.norm = nn.LayerNorm(block.dim, eps=block.eps.stage)

    def forward(self, features: Tensor) -> Tensor:
        """(B, H, W, C) → (B, h, w, D)."""
        return self.norm(self.blocks(self.embed(features)))

    def attention_map(self, features: Tensor, layer: int) -> AttentionMap:
        """(B, H, W, C) → the attention of the stage's block number `layer`, from 0."""
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

    def __init__(self, in_channels: int, kernel: int, stride: int, block: BlockConfig) -> None:
        super().__init__()
        self.proj = nn.Conv2d(in_channels, block.dim, kernel, stride, padding=kernel // 2)
        self.norm = nn.LayerNorm(block.dim, eps=block.eps.patch)

    def forward(self, features: Tensor) -> Tensor:
        """(B, H, W, C) → (B, h, w, D)."""
        return self.norm(_convolve(self.proj, features))


class Block(nn.Module):
    """Attention and Mix-FFN, each pre-normalised and residual."""

    def __init__(self, block: BlockConfig, drop_rate: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(block.dim, eps=block.eps.block)
        self.attention = Attention(block)
        self.norm2 = nn.LayerNorm(block.dim, eps=block.eps.block)
        self.mlp = MixFFN(block.dim, block.dim * block.mlp_ratio)
        self.drop_path = DropPath(drop_rate)

    def forward(self, features: Tensor) -> Tensor:
        """(B, H, W, D) → (B, H, W, D)."""
        if not self.training and is_plain_cpu(features) and self._is_untouched():
            return self._infer(features)
        features = features + self.drop_path(self.attention(self.norm1(features)))
        return features + self.drop_path(self.mlp(self.norm2(features)))

    def _is_untouched(self) -> bool:
        """Whether what `_infer` reads weights of, or passes by, has no hooks and no adapters in its place."""
        if not (_is_plain(self.attention, Attention) and _is_plain(self.mlp, MixFFN)):
            return False
        linears = self.attention.proj, self.mlp.fc1, self.mlp.fc2
        return (
            all(_is_plain(linear, nn.Linear) for linear in linears)
            and _is_plain(self.mlp.depthwise, nn.Conv2d)
            and _is_plain(self.drop_path, DropPath)
        )

    def _infer(self, features: Tensor) -> Tensor:
        """The same with what is added written by the matrix products themselves."""
        attended = self.attention.attend(self.norm1(features))
        features = features + self.attention.proj.bias
        _tokens(features).addmm_(_tokens(attended), self.attention.proj.weight.T)
        self.mlp.apply_residual(features, self.norm2(features))
        return features


class Attention(nn.Module):
    """Self-attention whose keys and values come from a spatially reduced map (section 3.1, equation 2)."""

    def __init__(self, block: BlockConfig) -> None:
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

    def __init__(self, block: BlockConfig) -> None:
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

    def apply_residual(self, features: Tensor, normed: Tensor) -> None:
        """Add what this network makes of `normed` to `features`, both (B, H, W, D), where no gradient is asked for."""
        if pays_in_strips(features, self.fc1):
            apply_strip_ffn(features, normed, self.fc1, self.depthwise, self.fc2)
            return
        assert self.depthwise.bias is not None
        hidden = self.fc1(normed).permute(0, 3, 1, 2)
        mixed = mix(hidden, self.depthwise.weight, self.depthwise.bias, padding=1)
        tokens = mixed.permute(0, 2, 3, 1).flatten(0, 2)  # (B H W, E)
        _tokens(features.add_(self.fc2.bias)).addmm_(tokens, self.fc2.weight.T)

    def _project(self, hidden: Tensor) -> Tensor:
        return self.fc2(functional.gelu(hidden))


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


def encoder_stages(network: SegpipeNetwork, encoder: MixTransformer) -> tuple[NetworkStage, ...]:
    """From (images,) to the four maps of the network's encoder, each stage adding one."""

    def run_first(images: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (encoder.stages[0](network.normalise(images[0]).permute(0, 2, 3, 1)),)

    def build_next(stage: nn.Module) -> Callable[[tuple[Tensor, ...]], tuple[Tensor, ...]]:
        return lambda maps: (*maps, stage(maps[-1]))

    runs = [run_first, *(build_next(stage) for stage in encoder.stages[1:])]
    names = (f"encoder.stages.{index}" for index in range(len(runs)))
    return tuple(NetworkStage(name, (f"{name}.",), run) for name, run in zip(names, runs, strict=True))


class MitClassifier(SegpipeNetwork):
    """Mix Transformer with a linear classifier on the mean over the last map's positions."""

    def __init__(self, config: MitConfig) -> None:
        super().__init__(config)
        self.encoder = MixTransformer(encoder_shape(config.variant, config.encoder), config.encoder)
        self.classifier = nn.Linear(self.encoder.shape.dims[-1], config.num_classes)
        _initialise(self.classifier)
        self.min_size = self.encoder.min_size

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) RGB 0–255 → (B, K) class logits."""
        return self._classify(self.encoder(self.normalise(images)))

    def stages(self) -> tuple[NetworkStage, ...]:
        """The encoder's four stages and the classifier."""
        classifier = NetworkStage("classifier", ("classifier.",), lambda maps: (self._classify(maps),))
        return (*encoder_stages(self, self.encoder), classifier)

    def _classify(self, maps: tuple[Tensor, ...]) -> Tensor:
        return self.classifier(maps[-1].mean(dim=(1, 2)))


def _convolve(conv: nn.Conv2d, features: Tensor) -> Tensor:
    """A convolution between (B, H, W, C) maps."""
    return conv(features.permute(0, 3, 1, 2)).permute(0, 2, 3, 1).contiguous()


def _tokens(features: Tensor) -> Tensor:
    """(B, H, W, D) as (B H W, D), the same memory."""
    return features.view(-1, features.shape[-1])


def _is_plain(module: nn.Module, kind: type[nn.Module]) -> bool:
    return type(module) is kind and not module._forward_hooks and not module._forward_pre_hooks


def _initialise(module: nn.Module) -> None:
    """As published: linear layers from a normal cut at two units with σ 0.02, convolutions by fan-out."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)
    if isinstance(module, nn.Conv2d):
        fan_out = module.kernel_size[0] * module.kernel_size[1] * module.out_channels // module.groups
        nn.init.normal_(module.weight, std=math.sqrt(2.0 / fan_out))
        if module.bias is not None:
            nn.init.zeros_(module.bias)
