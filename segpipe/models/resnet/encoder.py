"""ResNet-V1c: bottlenecks behind a stem of three 3x3 convolutions, dilated instead of strided (He et al. 2019)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from ..layers import ConvNorm
from .config import ResNetConfig

EXPANSION = 4


class ResNet(nn.Module):
    """Stem and four stages of bottlenecks.

    Where a stage is dilated, its neighbor's stride is usually 1: with strides (1, 2, 1, 1) and
    dilations (1, 1, 2, 4) the last three stages share one grid at stride 8.

    Args:
        config: depths, channels, strides and dilations.
        levels: of how many stages, the last ones, the maps are wanted.
    """

    def __init__(self, config: ResNetConfig, levels: int = 4) -> None:
        super().__init__()
        half, channels = config.channels // 2, config.channels
        self.dims = tuple(config.channels * 2**index * EXPANSION for index in range(len(config.depths)))[-levels:]
        self.stem = nn.Sequential(
            ConvNorm(3, half, kernel=3, stride=2),
            nn.ReLU(inplace=True),
            ConvNorm(half, half, kernel=3),
            nn.ReLU(inplace=True),
            ConvNorm(half, channels, kernel=3),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, stride=2, padding=1),
        )
        self.stages = nn.ModuleList()
        for index, depth in enumerate(config.depths):
            width = config.channels * 2**index
            dilation = config.dilations[index]
            first = Bottleneck(
                channels,
                width,
                stride=config.strides[index],
                dilation=dilation // 2 if config.contract_dilation and dilation > 1 else dilation,
            )
            channels = width * EXPANSION
            rest = [Bottleneck(channels, width, stride=1, dilation=dilation) for _ in range(depth - 1)]
            self.stages.append(nn.Sequential(first, *rest))
        self.apply(_initialize)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """(B, 3, H, W), normalized → a (B, h, w, D) map for each wanted stage."""
        features = self.stem(images)
        maps = []
        for stage in self.stages:
            features = stage(features)
            maps.append(features.permute(0, 2, 3, 1))
        return tuple(maps[-len(self.dims) :])


class Bottleneck(nn.Module):
    """1x1, 3x3 (which strides and dilates) and 1x1 convolutions around a shortcut."""

    def __init__(self, in_channels: int, width: int, *, stride: int, dilation: int) -> None:
        super().__init__()
        out_channels = width * EXPANSION
        self.conv1 = ConvNorm(in_channels, width, kernel=1)
        self.conv2 = ConvNorm(width, width, kernel=3, stride=stride, dilation=dilation)
        self.conv3 = ConvNorm(width, out_channels, kernel=1)
        is_plain = stride == 1 and in_channels == out_channels
        self.shortcut = nn.Identity() if is_plain else ConvNorm(in_channels, out_channels, kernel=1, stride=stride)

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W) → (B, D, h, w)."""
        hidden = functional.relu(self.conv1(features), inplace=True)
        hidden = functional.relu(self.conv2(hidden), inplace=True)
        return functional.relu(self.conv3(hidden) + self.shortcut(features), inplace=True)


def _initialize(module: nn.Module) -> None:
    """Initialize as published: convolutions by fan-out (He et al. 2015)."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
