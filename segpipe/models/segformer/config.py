"""What a configuration says of a SegFormer."""

from __future__ import annotations

from typing import Literal

from segpipe.configuration import IMAGENET_MEAN, IMAGENET_STD, Channels, Classes, Factor, PositiveFloat, Section, Share

from ..mit.config import EncoderConfig, Variant, count_encoder, encoder_shape


class HeadConfig(Section, frozen=True, kw_only=True):
    """SegFormer's decode head."""

    type: Literal["mlp", "conv"] = "mlp"
    """mlp: linear per level (NVlabs, Hugging Face, LiBai); conv: convolution, BN, ReLU (mmsegmentation, EasyCV)."""
    channels: Channels | None = None
    """Width of the head; null: 256 for b0 and b1, else 768."""
    dropout: Share = 0.1
    """Channel dropout before the classifier."""


class SegformerConfig(Section, tag="segformer", frozen=True, kw_only=True):
    """Mix Transformer encoder with a decode head; logits at stride 4."""

    variant: Variant = "b0"
    """Size of the encoder, from b0 (3.3 M parameters) to b5 (81 M)."""
    num_classes: Classes
    """Outputs of the network; may exceed the names by trailing void outputs."""
    head: HeadConfig = HeadConfig()
    """The decode head."""
    encoder: EncoderConfig = EncoderConfig()
    """The Mix Transformer."""
    pixel_mean: tuple[float, float, float] = IMAGENET_MEAN
    """Subtracted from RGB values 0–255."""
    pixel_std: tuple[PositiveFloat, PositiveFloat, PositiveFloat] = IMAGENET_STD
    """RGB values are divided by it."""
    size_multiple: Factor = 1
    """Images are zero-padded right and bottom to a multiple of it."""


def head_channels(variant: Variant, config: HeadConfig) -> int:
    """Return the width of the head."""
    return config.channels or (256 if variant in ("b0", "b1") else 768)


def count_parameters(config: SegformerConfig) -> int:
    """Count the learnable numbers of encoder and head without building them."""
    shape = encoder_shape(config.variant, config.encoder)
    width, levels = head_channels(config.variant, config.head), len(shape.dims)
    # Per level a bias (mlp), or the scale and shift of a norm (conv).
    projections = width * (sum(shape.dims) + levels * (1 if config.head.type == "mlp" else 2))
    fusion = levels * width**2 + 2 * width
    return count_encoder(shape, config.encoder.mlp_ratio) + projections + fusion + config.num_classes * (width + 1)
