"""A network family that is no part of segpipe: two convolutions, installed as a plug-in by `test_plugin_family.py`."""

from typing import Literal

from torch import Tensor, nn

from segpipe import MODELS
from segpipe.configuration import Classes, Section
from segpipe.models import Family, SegmentationModel

CHANNELS = {"small": 8, "large": 64}


class TinyConfig(Section, tag="tiny", frozen=True, kw_only=True):
    """What `model` of a configuration.json may say."""

    variant: Literal["small", "large"] = "small"
    """Width of the network."""
    num_classes: Classes
    """Outputs of the network."""
    pixel_mean: tuple[float, float, float] = (128.0, 128.0, 128.0)
    """Subtracted from RGB values 0–255."""
    pixel_std: tuple[float, float, float] = (64.0, 64.0, 64.0)
    """RGB values are divided by it."""
    size_multiple: int = 4
    """Images are zero-padded right and bottom to a multiple of it."""


class TinyNetwork(SegmentationModel):
    """A strided stem and a classifier; logits at stride 4."""

    def __init__(self, config: TinyConfig) -> None:
        super().__init__(config)
        channels = CHANNELS[config.variant]
        self.stem = nn.Conv2d(3, channels, 7, stride=4, padding=3)
        self.classifier = nn.Conv2d(channels, config.num_classes, 1)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) RGB 0–255 → (B, K, h, w) logits."""
        return self.classifier(self.stem(self.normalise(images)).relu())


def register() -> None:
    """Called once by segpipe, through the entry point."""
    MODELS.register("tiny")(Family(config=TinyConfig, network=TinyNetwork, variants=CHANNELS))
