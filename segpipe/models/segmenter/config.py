"""What a configuration says of a Segmenter."""

from __future__ import annotations

from typing import Literal

from segpipe.configuration import HALF_MEAN, HALF_STD, Blocks, Channels, Classes, Factor, PositiveFloat, Section, Share

from ..vit.config import VitConfig, VitVariant, count_block, count_encoder, vit_shape


class SegmenterHeadConfig(Section, frozen=True, kw_only=True):
    """Segmenter's decoder. All but `type` is the mask transformer's alone."""

    type: Literal["mask", "linear"] = "mask"
    """mask: a transformer over patches and one token per class, compared by cosine; linear: one layer."""
    depth: Blocks = 2
    """Transformer blocks; the published Cityscapes weights and the MindSpore version have one."""
    dim: Channels | None = None
    """Channels of a token; null: the encoder's."""
    heads: Factor | None = None
    """Attention heads; null: one for 64 channels."""
    mlp_ratio: Factor = 4
    """Hidden channels of a block's MLP over its input channels."""
    dropout: Share = 0.1
    """In attention and MLP of each block."""
    drop_path_rate: Share = 0.0
    """Stochastic depth of the last block; it grows linearly from 0."""
    norm_eps: PositiveFloat = 1e-5
    """LayerNorm eps in the blocks; 1e-7 in the MindSpore version."""
    output_norm_eps: PositiveFloat = 1e-5
    """LayerNorm eps after the last block and over the classes."""


class SegmenterConfig(Section, tag="segmenter", frozen=True, kw_only=True):
    """Vision Transformer with a linear decoder or a mask transformer; logits on the grid of patches."""

    variant: VitVariant = "tiny"
    """Size of the encoder: tiny 6 M parameters, small 22 M, base 86 M, large 303 M."""
    num_classes: Classes
    """Outputs of the network; may exceed the names by trailing void outputs."""
    head: SegmenterHeadConfig = SegmenterHeadConfig()
    """The decoder."""
    encoder: VitConfig = VitConfig()
    """The Vision Transformer."""
    pixel_mean: tuple[float, float, float] = HALF_MEAN
    """Subtracted from RGB values 0–255; ImageNet's mean for weights that began as DeiT."""
    pixel_std: tuple[PositiveFloat, PositiveFloat, PositiveFloat] = HALF_STD
    """RGB values are divided by it; ImageNet's deviation for weights that began as DeiT."""

    @property
    def size_multiple(self) -> int:
        """A network of patches needs whole ones."""
        return self.encoder.patch_size


def count_parameters(config: SegmenterConfig) -> int:
    """Count the learnable numbers of encoder and decoder without building them."""
    dim, head = vit_shape(config.variant, config.encoder).dim, config.head
    encoder = count_encoder(config.variant, config.encoder)
    if head.type == "linear":
        return encoder + config.num_classes * (dim + 1)
    width = head.dim or dim
    decoder = width * (dim + 1) + head.depth * count_block(width, head.mlp_ratio) + 2 * width + 2 * width**2
    return encoder + decoder + config.num_classes * (width + 2)
