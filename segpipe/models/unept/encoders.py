"""The encoders that UN-EPT's pyramid is built on."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from ..resnet.encoder import ResNet
from ..vit.config import vit_shape
from ..vit.encoder import Resampling, VitTrunk
from .config import DeitConfig, UneptConfig


class DeitEncoder(VitTrunk):
    """The patches of a Vision Transformer after equal parts of its blocks, as they are on the residual path."""

    resampling: ClassVar[Resampling] = "bicubic"

    def __init__(self, config: DeitConfig, levels: int) -> None:
        shape = vit_shape(config.variant, config)
        super().__init__(shape, config)
        self.dims = (shape.dim,) * levels
        self.after = tuple(round(shape.depth * (level + 1) / levels) for level in range(levels))

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """(B, 3, H, W), normalised → a (B, h, w, D) map for each level."""
        return self.features(images, self.after)


def build_encoder(config: UneptConfig) -> DeitEncoder | ResNet:
    """Build the encoder with freshly initialised weights; it gives as many maps as the pyramid has levels."""
    if isinstance(config.encoder, DeitConfig):
        return DeitEncoder(config.encoder, config.levels)
    return ResNet(config.encoder, config.levels)
