"""SegFormer: a Mix Transformer and a light decode head, with logits at stride 4 (Xie et al. 2021)."""

from __future__ import annotations

import math
from collections.abc import Mapping

from torch import Tensor

from ..base import AttentionMap, NetworkStage, SegmentationModel, check_part
from ..family import Part
from ..fast.mit_block import FastBlock
from ..mit.config import LEVEL_STRIDE, encoder_shape
from ..mit.encoder import MixTransformer, encoder_stages
from .config import SegformerConfig, head_channels
from .heads import ConvHead, MLPHead

HEADS = {"mlp": MLPHead, "conv": ConvHead}


class Segformer(SegmentationModel):
    """MiT encoder and decode head."""

    def __init__(self, config: SegformerConfig) -> None:
        super().__init__(config)
        shape = encoder_shape(config.variant, config.encoder)
        channels = head_channels(config.variant, config.head)
        self.encoder = MixTransformer(shape, config.encoder, FastBlock)
        self.head = HEADS[config.head.type](shape.dims, channels, config.num_classes, config.head.dropout)
        self.min_size = self.encoder.min_size
        self.best_multiple = LEVEL_STRIDE

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) RGB 0–255 → (B, K, h, w) logits at stride 4 of the padded image."""
        return self.head(self.encoder(self.normalise(images)))

    def stages(self) -> tuple[NetworkStage, ...]:
        """Return the encoder's four stages, which hand all maps on, and the head."""
        head = NetworkStage("head", ("head.",), lambda maps: (self.head(maps),))
        return (*encoder_stages(self, self.encoder), head)

    def apply_folding(self) -> None:
        """Multiply out the head's weights, see `DecodeHead.apply_folding`."""
        self.head.apply_folding()

    def attention(self, images: Tensor, layer: int, *, part: Part = "encoder") -> AttentionMap:
        check_part(part)
        return self.encoder.attention_map(self.normalise(images), layer)

    def published_macs(self, size: tuple[int, int], by_part: Mapping[str, int]) -> int:
        """Count the head as published: levels projected, brought to stride 4, concatenated, fused, classified."""
        channels, dims = self.head.fuse.out_channels, self.encoder.shape.dims
        grids = [[-(-side // stride) for side in self.input_size(size)] for stride in (4, 8, 16, 32)]
        levels = sum(math.prod(grid) * dim * channels for grid, dim in zip(grids, dims, strict=True))
        fusion = math.prod(grids[0]) * channels * (len(dims) * channels + self.num_classes)
        return super().published_macs(size, by_part) - by_part.get("head", 0) + levels + fusion
