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

    def attention_map(self, images: Tensor, layer: int, *, part: Part = "encoder") -> Tensor:
        """Return how much each token of one block attends to each.

        Args:
            images: (B, 3, H, W) RGB 0–255.
            layer: number of the block, from 0.
            part: the encoder's tokens are class token, distillation token where there is one, then patches row by
                row; the decoder's are patches row by row, then the classes.

        Returns:
            (B, M, N, N) softmax weights: a row is a query and adds up to 1.
        """
        pixels = self.normalise(images)
        if part == "encoder":
            return self.encoder.attention_map(pixels, layer)
        if not isinstance(self.head, MaskTransformer):
            raise InputError(
                "A linear decoder has no attention; only the mask transformer has. Ask for the part 'encoder'."
            )
        return self.head.attention_map(self.encoder(pixels), layer)

    def attention(self, images: Tensor, layer: int, *, part: Part = "encoder") -> AttentionMap:
        """See `SegpipeNetwork.attention`."""
        patch, (height, width) = self.encoder.patch_size, self.input_size((images.shape[2], images.shape[3]))
        grid = height // patch, width // patch
        extra = len(self.encoder.extra_tokens) if part == "encoder" else 0
        return AttentionMap(self.attention_map(images, layer, part=part), grid, grid, extra)
