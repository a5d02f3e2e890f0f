"""What a configuration says of a Vision Transformer, and its sizes (Steiner et al. 2022, table 2)."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

from segpipe.configuration import Blocks, Channels, Factor, PositiveFloat, Section, Share, Size
from segpipe.errors import ConfigurationError

VitVariant = Literal["tiny", "small", "base", "large"]
HEAD_DIM = 64


class VitConfig(Section, frozen=True, kw_only=True):
    """Vision Transformer, as an encoder. What is null follows from the variant."""

    image_size: Size = (512, 512)
    """(height, width) that the table of positions is for; for other images it is resized as they come."""
    patch_size: Factor = 16
    """Pixels per side of a token; images are zero-padded right and bottom to a multiple of it."""
    distilled: bool = False
    """A second extra token beside the class token, as in DeiT's distilled models."""
    drop_path_rate: Share = 0.1
    """Stochastic depth of the last block; it grows linearly from 0."""
    dropout: Share = 0.0
    """After the positions, and in attention and MLP of each block."""
    norm_eps: PositiveFloat = 1e-5
    """LayerNorm eps: 1e-5 in Segmenter's published weights, 1e-6 in its MindSpore version and in DeiT."""
    dim: Channels | None = None
    """Channels of a token."""
    depth: Blocks | None = None
    """Transformer blocks."""
    heads: Factor | None = None
    """Attention heads; null together with a dim of its own: one for 64 channels."""
    mlp_ratio: Factor = 4
    """Hidden channels of a block's MLP over its input channels."""


class VitShape(NamedTuple):
    """Channels of a token, number of blocks, attention heads."""

    dim: int
    depth: int
    heads: int


# DeiT has the same numbers.
VIT_VARIANTS: dict[str, VitShape] = {
    "tiny": VitShape(dim=192, depth=12, heads=3),
    "small": VitShape(dim=384, depth=12, heads=6),
    "base": VitShape(dim=768, depth=12, heads=12),
    "large": VitShape(dim=1024, depth=24, heads=16),
}


def vit_shape(variant: VitVariant, config: VitConfig) -> VitShape:
    """Return the variant's row of the table, with what the configuration says instead."""
    row = VIT_VARIANTS[variant]
    dim = config.dim or row.dim
    heads = config.heads or (row.heads if config.dim is None else max(1, dim // HEAD_DIM))
    check_heads(dim, heads, where="model.encoder")
    return VitShape(dim, config.depth or row.depth, heads)


def check_heads(dim: int, heads: int, *, where: str) -> None:
    """Refuse channels that cannot be split evenly over the attention heads."""
    if dim % heads:
        raise ConfigurationError(
            f"{where}: {dim} channels cannot be split over {heads} attention heads. "
            "The dim must be a multiple of the heads."
        )


def count_encoder(variant: VitVariant, config: VitConfig) -> int:
    """Count the learnable numbers of patches, extra tokens, positions, blocks and the last norm without building."""
    dim, depth, _ = vit_shape(variant, config)
    extra = 2 if config.distilled else 1
    patches = math.prod(side // config.patch_size for side in config.image_size)
    embedding = dim * (3 * config.patch_size**2 + 1) + dim * (2 * extra + patches)
    return embedding + depth * count_block(dim, config.mlp_ratio) + 2 * dim


def count_block(dim: int, mlp_ratio: int) -> int:
    """Count the learnable numbers of a block: two norms, attention and MLP."""
    return 4 * dim + 4 * dim * (dim + 1) + mlp_ratio * dim * (2 * dim + 1) + dim
