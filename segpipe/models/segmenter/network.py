"""Segmenter: a Vision Transformer and a decoder on its patches, with one logit for each patch (Strudel et al. 2021)."""

from __future__ import annotations

from torch import Tensor, nn

from segpipe.errors import InputError

from ..base import AttentionMap, NetworkStage, SegmentationModel
from ..family import Part
from ..vit.config import vit_shape
from ..vit.encoder import VisionTransformer, trunk_stages
from .config import SegmenterConfig
from .heads import LinearDecoder, MaskTransformer


class Segmenter(SegmentationModel):
    """ViT encoder and decoder."""

    has_class_token = True

    def __init__(self, config: SegmenterConfig) -> None:
        super().__init__(config)
        shape = vit_shape(config.variant, config.encoder)
        self.encoder = VisionTransformer(shape, config.encoder)
        if config.head.type == "mask":
            self.head: nn.Module = MaskTransformer(shape.dim, config.num_classes, config.head)
        else:
            self.head = LinearDecoder(shape.dim, config.num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) RGB 0–255 → (B, K, h, w) logits, one for each patch of the padded image."""
        return self.head(self.encoder(self.normalise(images)))

    def stages(self) -> tuple[NetworkStage, ...]:
        """Return patches to tokens, each block of the encoder, its norm with the decoder."""

        def decode(tokens: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            return (self.head(self.encoder.norm(tokens[1])),)

        return (*trunk_stages(self, self.encoder), NetworkStage("head", ("encoder.norm.", "head."), decode))

    def attention(self, images: Tensor, layer: int, *, part: Part = "encoder") -> AttentionMap:
        """See `SegpipeNetwork.attention`. The decoder's tokens are patches row by row, then the classes."""
        pixels = self.normalise(images)
        if part == "encoder":
            return self.encoder.attention(pixels, layer)
        if not isinstance(self.head, MaskTransformer):
            raise InputError(
                "A linear decoder has no attention; only the mask transformer has. Ask for the part 'encoder'."
            )
        grid = self.encoder.grid_of(pixels)
        return AttentionMap(self.head.attention_map(self.encoder(pixels), layer), grid, grid)
