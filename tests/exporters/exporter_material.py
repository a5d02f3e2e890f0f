"""Networks that are quick to trace, for the exporters' own tests."""

import torch
from torch import nn

from segpipe.models import SegformerConfig, SegmentationModel


class Stripes(SegmentationModel):
    """One convolution at stride 4."""

    def __init__(self, *, num_classes: int = 3, size_multiple: int = 8) -> None:
        super().__init__(SegformerConfig(num_classes=num_classes, size_multiple=size_multiple))
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, num_classes, 7, 4, padding=3)

    def forward(self, images):
        return self.conv(self.normalise(images))


class TwoStripes(SegmentationModel):
    """Two convolutions, the last of which decides between three classes."""

    def __init__(self) -> None:
        super().__init__(SegformerConfig(num_classes=3, size_multiple=4))
        torch.manual_seed(0)
        self.first = nn.Conv2d(3, 8, 5, 4, padding=1)
        self.last = nn.Conv2d(8, 3, 1)

    def forward(self, images):
        return self.last(self.first(self.normalise(images)).relu())


def stripes():
    return Stripes().eval()


def random_images(*shape):
    return torch.randint(0, 256, (shape[0], 3, *shape[1:]), generator=torch.Generator().manual_seed(1)).to(torch.uint8)


def relative(found, expected):
    """The largest difference as a share of the largest value."""
    return float((found - expected).abs().max() / expected.abs().max())
