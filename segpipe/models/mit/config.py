"""What a configuration says of a Mix Transformer, and the sizes B0 to B5 (Xie et al. 2021, table 6)."""

from __future__ import annotations

from typing import Literal, NamedTuple

from segpipe.configuration import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Blocks,
    Channels,
    Classes,
    Factor,
    PositiveFloat,
    Section,
    Share,
)
from segpipe.errors import ConfigurationError

Variant = Literal["b0", "b1", "b2", "b3", "b4", "b5"]
MLP_RATIO = 4
KERNELS = (7, 3, 3, 3)
STRIDES = (4, 2, 2, 2)
LEVEL_STRIDE = 32
"""Pixels per cell of the coarsest level; at sides of other sizes the levels shift against each other."""


class NormEps(Section, frozen=True, kw_only=True):
    """LayerNorm eps by place; it differs between the implementations that published weights."""

    patch: PositiveFloat = 1e-5
    """After each overlap patch embedding."""
    reduction: PositiveFloat = 1e-5
    """On the reduced keys and values of attention."""
    block: PositiveFloat = 1e-6
    """norm1 and norm2 of each block."""
    stage: PositiveFloat = 1e-6
    """After the last block of each stage."""


class EncoderConfig(Section, frozen=True, kw_only=True):
    """Mix Transformer. What is null follows from the variant."""

    drop_path_rate: Share = 0.1
    """Stochastic depth of the last block; it grows linearly from 0."""
    norm_eps: NormEps = NormEps()
    """LayerNorm eps of the implementation that the weights come from."""
    dims: tuple[Channels, Channels, Channels, Channels] | None = None
    """Channels of the four stages."""
    depths: tuple[Blocks, Blocks, Blocks, Blocks] | None = None
    """Blocks of the four stages."""
    heads: tuple[Factor, Factor, Factor, Factor] | None = None
    """Attention heads of the four stages."""
    reductions: tuple[Factor, Factor, Factor, Factor] | None = None
    """By how much keys and values are reduced, per side."""
    mlp_ratio: Factor = MLP_RATIO
    """Hidden channels of the Mix-FFN over its input channels."""


class MitConfig(Section, tag="mit", frozen=True, kw_only=True):
    """Mix Transformer with a linear classifier on the mean of the last stage."""

    variant: Variant = "b0"
    """Size of the encoder, from b0 (3.3 M parameters) to b5 (81 M)."""
    num_classes: Classes = 1000
    """Outputs of the classifier."""
    encoder: EncoderConfig = EncoderConfig()
    """The Mix Transformer."""
    pixel_mean: tuple[float, float, float] = IMAGENET_MEAN
    """Subtracted from RGB values 0–255."""
    pixel_std: tuple[PositiveFloat, PositiveFloat, PositiveFloat] = IMAGENET_STD
    """RGB values are divided by it."""
    size_multiple: Factor = 1
    """Images are zero-padded right and bottom to a multiple of it."""


class MitShape(NamedTuple):
    """Channels, depths, attention heads and key-value reductions of the four stages."""

    dims: tuple[int, ...]
    depths: tuple[int, ...]
    heads: tuple[int, ...] = (1, 2, 5, 8)
    reductions: tuple[int, ...] = (8, 4, 2, 1)


# The paper's table, but with MLP ratio 4 in every stage as in the released weights.
MIT_VARIANTS: dict[str, MitShape] = {
    "b0": MitShape(dims=(32, 64, 160, 256), depths=(2, 2, 2, 2)),
    "b1": MitShape(dims=(64, 128, 320, 512), depths=(2, 2, 2, 2)),
    "b2": MitShape(dims=(64, 128, 320, 512), depths=(3, 4, 6, 3)),
    "b3": MitShape(dims=(64, 128, 320, 512), depths=(3, 4, 18, 3)),
    "b4": MitShape(dims=(64, 128, 320, 512), depths=(3, 8, 27, 3)),
    "b5": MitShape(dims=(64, 128, 320, 512), depths=(3, 6, 40, 3)),
}


def encoder_shape(variant: Variant, config: EncoderConfig) -> MitShape:
    """Return the variant's row of the table, with what the configuration says instead."""
    row = MIT_VARIANTS[variant]
    shape = MitShape(
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


def count_encoder(shape: MitShape, mlp_ratio: int) -> int:
    """Count the encoder's learnable numbers without building it."""
    total, before = 0, 3
    for dim, depth, reduction, kernel in zip(shape.dims, shape.depths, shape.reductions, KERNELS, strict=True):
        hidden = dim * mlp_ratio
        embedding = kernel**2 * before * dim + 3 * dim
        attention = 4 * dim * (dim + 1) + (reduction**2 * dim**2 + 3 * dim if reduction > 1 else 0)
        mix_ffn = 2 * dim * hidden + dim + 11 * hidden
        total += embedding + depth * (attention + mix_ffn + 4 * dim) + 2 * dim
        before = dim
    return total


def count_parameters(config: MitConfig) -> int:
    """Count the learnable numbers of encoder and classifier."""
    shape = encoder_shape(config.variant, config.encoder)
    return count_encoder(shape, config.encoder.mlp_ratio) + config.num_classes * (shape.dims[-1] + 1)
