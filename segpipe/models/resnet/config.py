"""What a configuration says of a ResNet."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from segpipe.configuration import Blocks, Factor, Section


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
