"""What a configuration says of a UN-EPT."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from msgspec import Meta

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
    Size,
)

from ..resnet.config import ResNetConfig
from ..vit.config import VitConfig, VitVariant


class DeitConfig(VitConfig, tag="deit", frozen=True, kw_only=True):
    """DeiT with a distillation token, as UN-EPT's encoder."""

    variant: VitVariant = "base"
    """Size of the encoder: tiny 6 M parameters, small 22 M, base 86 M, large 303 M."""
    image_size: Size = (480, 480)
    """(height, width) that the table of positions is for; for other images it is resized as they come."""
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
    """Feature maps of the pyramid: a ResNet's last stages, or after equal parts of a transformer's blocks."""
    dim: Channels = 256
    """Channels of the pyramid and of both branches."""
    heads: Factor = 8
    """Attention heads."""
    points: Factor = 16
    """Points that a query reads, per head and level."""
    depth: Blocks = 2
    """Layers of the context branch on the pyramid, and again as many on the queries."""
    hidden: Channels = 2048
    """Hidden channels of their feed-forward networks."""
    dropout: Share = 0.1
    """In the layers of the context branch."""
    query_grid: tuple[Factor, Factor] = (60, 60)
    """(height, width) of the table of learned queries: the training crop / 8. It is resized as images come."""
    query_attention: Literal["batch", "query"] = "batch"
    """What a query attends to before it reads the pyramid.

    batch: in training, the same position in the batch's other images, as the released implementation does; in
    evaluation itself alone. query: the other positions of its image, as the paper means; quadratic in their number.
    """
    pixel_mean: tuple[float, float, float] = IMAGENET_MEAN
    """Subtracted from RGB values 0–255."""
    pixel_std: tuple[PositiveFloat, PositiveFloat, PositiveFloat] = IMAGENET_STD
    """RGB values are divided by it."""

    def __post_init__(self) -> None:
        if self.dim % self.heads or self.dim % 4:
            raise ValueError(f"`dim` {self.dim} is not a multiple of 4 and of the {self.heads} `heads` that share it")

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


# Without the classifier.
_PARAMETERS = {"deit-base": 94_803_776, "res50": 32_319_392}


def count_parameters(config: UneptConfig) -> int | None:
    """Return the learnable numbers of the two published networks. If None, the network must be built to be counted."""
    usual = UneptConfig(num_classes=config.num_classes, encoder=type(config.encoder)())
    return _PARAMETERS[config.variant] + config.num_classes * (config.dim + 1) if config == usual else None
