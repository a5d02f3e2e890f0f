"""SegFormer: a Mix Transformer and a light decode head, with logits at stride 4 (Xie et al. 2021)."""

from __future__ import annotations

from torch import Tensor

from segpipe.configuration import LEVEL_STRIDE, SegformerConfig

from .contract import NetworkStage, SegmentationModel
from .decode_heads import ConvHead, MLPHead
from .mit import MixTransformer, encoder_shape, encoder_stages

HEADS = {"mlp": MLPHead, "conv": ConvHead}


class Segformer(SegmentationModel):
    """MiT encoder and decode head."""

    def __init__(self, config: SegformerConfig) -> None:
        super().__init__(config)
        shape = encoder_shape(config.variant, config.encoder)
        channels = config.head.channels or (256 if config.variant in ("b0", "b1") else 768)
        self.encoder = MixTransformer(shape, config.encoder)
        self.head = HEADS[config.head.type](shape.dims, channels, config.num_classes, config.head.dropout)
        self.min_size = self.encoder.min_size
        self.best_multiple = LEVEL_STRIDE

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) RGB 0–255 → (B, K, h, w) logits at stride 4 of the padded picture."""
        return self.head(self.encoder(self.normalise(images)))

    def stages(self) -> tuple[NetworkStage, ...]:
        """The encoder's four stages, which hand all maps on, and the head."""
        head = NetworkStage("head", ("head.",), lambda maps: (self.head(maps),))
        return (*encoder_stages(self, self.encoder), head)

    def apply_folding(self) -> None:
        """Multiply out the head's weights, see `DecodeHead.apply_folding`."""
        self.head.apply_folding()
