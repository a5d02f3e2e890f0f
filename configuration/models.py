"""The networks that a `configuration.json` can name: one section for each family, told apart by `type`."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from msgspec import Meta
from msgspec.structs import replace

from .fields import PositiveFloat, Section, Share, Size

MAX_CLASSES = 65534
Classes = Annotated[int, Meta(ge=1, le=MAX_CLASSES)]
# The limits keep a document from asking for more memory than any machine has.
Channels = Annotated[int, Meta(ge=1, le=16384)]
Blocks = Annotated[int, Meta(ge=1, le=128)]
Factor = Annotated[int, Meta(ge=1, le=256)]
IMAGENET_MEAN = (123.675, 116.28, 103.53)
IMAGENET_STD = (58.395, 57.12, 57.375)
Dialect = Literal[
    "segpipe", "huggingface", "easycv", "mmseg", "nvlabs", "libai", "segmenter", "vit", "augreg", "unept", "resnet"
]
"""Whose names the tensors of a file have."""


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
    mlp_ratio: Factor = 4
    """Hidden channels of the Mix-FFN over its input channels."""


class HeadConfig(Section, frozen=True, kw_only=True):
    """SegFormer's decode head."""

    type: Literal["mlp", "conv"] = "mlp"
    """mlp: linear per level (NVlabs, Hugging Face, LiBai); conv: convolution, BN, ReLU (mmsegmentation, EasyCV)."""
    channels: Channels | None = None
    """Width of the head; null: 256 for b0 and b1, else 768."""
    dropout: Share = 0.1
    """Channel dropout before the classifier."""


Variant = Literal["b0", "b1", "b2", "b3", "b4", "b5"]
LEVEL_STRIDE = 32
"""Pixels per cell of SegFormer's coarsest level; at sides of other sizes the levels shift against each other."""


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
    """Pictures are zero-padded right and bottom to a multiple of it."""


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
    """Pictures are zero-padded right and bottom to a multiple of it."""


class VitConfig(Section, frozen=True, kw_only=True):
    """Vision Transformer, as an encoder. What is null follows from the variant."""

    image_size: Size = (512, 512)
    """(height, width) that the table of positions is for; for other pictures it is resized as they come."""
    patch_size: Factor = 16
    """Pixels per side of a token; pictures are zero-padded right and bottom to a multiple of it."""
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


VitVariant = Literal["tiny", "small", "base", "large"]
HALF_MEAN = (127.5, 127.5, 127.5)
HALF_STD = (127.5, 127.5, 127.5)


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


class ResNetConfig(Section, tag="resnet", frozen=True, kw_only=True):
    """ResNet-V1c: bottlenecks behind a stem of three convolutions."""

    depths: tuple[Blocks, Blocks, Blocks, Blocks] = (3, 4, 6, 3)
    """Bottlenecks of the four stages; the default is ResNet-50."""
    channels: Annotated[int, Meta(ge=2, le=1024)] = 64
    """Channels of the stem; each stage gives four times as many, doubled from stage to stage."""
    strides: tuple[Factor, Factor, Factor, Factor] = (1, 2, 1, 1)
    """Stride of each stage's first bottleneck; the stem has 4."""
    dilations: tuple[Factor, Factor, Factor, Factor] = (1, 1, 2, 4)
    """Dilation of each stage's 3x3 convolutions."""
    contract_dilation: bool = True
    """Whether the first bottleneck of a dilated stage has half the dilation."""

    def __post_init__(self) -> None:
        if self.channels % 2:
            raise ValueError(f"`channels` {self.channels} is odd; the stem begins with half of them")


class DeitConfig(VitConfig, tag="deit", frozen=True, kw_only=True):
    """DeiT with a distillation token, as UN-EPT's encoder."""

    variant: VitVariant = "base"
    """Size of the encoder: tiny 6 M parameters, small 22 M, base 86 M, large 303 M."""
    image_size: Size = (480, 480)
    """(height, width) that the table of positions is for; for other pictures it is resized as they come."""
    distilled: bool = True
    """A second extra token beside the class token."""
    drop_path_rate: Share = 0.0
    """Stochastic depth of the last block; it grows linearly from 0."""
    norm_eps: PositiveFloat = 1e-6
    """LayerNorm eps."""


class UneptConfig(Section, tag="unept", frozen=True, kw_only=True):
    """UN-EPT: a pyramid of the encoder's features, read by deformable attention; logits at stride 8."""

    num_classes: Classes
    """Outputs of the network; may exceed the names by trailing void outputs."""
    encoder: DeitConfig | ResNetConfig = DeitConfig()
    """What the pyramid's features come from."""
    levels: Annotated[int, Meta(ge=1, le=4)] = 3
    """Feature maps of the pyramid: a ResNet's last stages, or after equal shares of a transformer's blocks."""
    dim: Channels = 256
    """Channels of the pyramid and of both branches."""
    heads: Factor = 8
    """Attention heads."""
    points: Factor = 16
    """Points that a query looks at, per head and level."""
    depth: Blocks = 2
    """Layers of the context branch on the pyramid, and again as many on the queries."""
    hidden: Channels = 2048
    """Hidden channels of their feed-forward networks."""
    dropout: Share = 0.1
    """In the layers of the context branch."""
    query_grid: tuple[Factor, Factor] = (60, 60)
    """(height, width) of the table of learned queries: the training crop / 8. It is resized as pictures come."""
    query_attention: Literal["batch", "query"] = "batch"
    """Whom a query attends to before it looks at the pyramid.

    batch: in training, the same position in the batch's other pictures, as the released implementation does; in
    evaluation itself alone. query: the other positions of its picture, as the paper means; quadratic in their number.
    """
    pixel_mean: tuple[float, float, float] = IMAGENET_MEAN
    """Subtracted from RGB values 0–255."""
    pixel_std: tuple[PositiveFloat, PositiveFloat, PositiveFloat] = IMAGENET_STD
    """RGB values are divided by it."""

    def __post_init__(self) -> None:
        if self.dim % self.heads or self.dim % 4:
            raise ValueError(f"`dim` {self.dim} is no multiple of 4 and of the {self.heads} `heads` that share it")

    @property
    def variant(self) -> str:
        """The encoder in a word, as deit-base or res50."""
        if isinstance(self.encoder, DeitConfig):
            return f"deit-{self.encoder.variant}"
        return f"res{3 * sum(self.encoder.depths) + 2}"

    @property
    def size_multiple(self) -> int:
        """Whole patches, and whole cells of the logits' grid."""
        patch_size = self.encoder.patch_size if isinstance(self.encoder, DeitConfig) else 1
        return math.lcm(8, patch_size)


ModelConfig = SegformerConfig | MitConfig | SegmenterConfig | UneptConfig


def pad_to_levels(model: ModelConfig) -> ModelConfig:
    """Return a SegFormer that pads images to a multiple of `LEVEL_STRIDE`, and any other network unchanged."""
    if isinstance(model, SegformerConfig) and model.size_multiple % LEVEL_STRIDE:
        return replace(model, size_multiple=LEVEL_STRIDE)
    return model
