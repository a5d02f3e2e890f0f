"""MiT: a Mix Transformer with a linear classifier, as ImageNet trains it."""

from __future__ import annotations

from torch import Tensor, nn

from ..base import AttentionMap, NetworkStage, SegpipeNetwork, check_part
from ..family import Part
from ..fast.mit_block import FastBlock
from .config import MitConfig, encoder_shape
from .encoder import MixTransformer, encoder_stages, initialize


class MitClassifier(SegpipeNetwork):
    """Mix Transformer with a linear classifier on the mean over the last map's positions."""

    def __init__(self, config: MitConfig) -> None:
        super().__init__(config)
        shape = encoder_shape(config.variant, config.encoder)
        self.encoder = MixTransformer(shape, config.encoder, FastBlock)
        self.classifier = nn.Linear(self.encoder.shape.dims[-1], config.num_classes)
        initialize(self.classifier)
        self.min_size = self.encoder.min_size

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) RGB 0–255 → (B, K) class logits."""
        return self._classify(self.encoder(self.normalise(images)))

    def stages(self) -> tuple[NetworkStage, ...]:
        """Return the encoder's four stages and the classifier."""
        classifier = NetworkStage("classifier", ("classifier.",), lambda maps: (self._classify(maps),))
        return (*encoder_stages(self, self.encoder), classifier)

    def attention(self, images: Tensor, layer: int, *, part: Part = "encoder") -> AttentionMap:
        check_part(part)
        return self.encoder.attention_map(self.normalise(images), layer)

    def _classify(self, maps: tuple[Tensor, ...]) -> Tensor:
        return self.classifier(maps[-1].mean(dim=(1, 2)))
