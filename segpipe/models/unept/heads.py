"""UN-EPT's spatial branch, and the heads that read boundaries from it in training."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional

from ..layers import ConvNorm


class SpatialBranch(nn.Module):
    """Three strided convolutions; the last one's sign is kept."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        widths = (3, dim // 4, dim // 2, dim)
        self.layers = nn.ModuleList(ConvNorm(before, after, kernel=3, stride=2) for before, after in pairwise(widths))

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W), normalised → (B, D, h, w) at stride 8."""
        first, second, last = self.layers
        return last(functional.relu(second(functional.relu(first(images)))))


def boundary_head(dim: int, *, outputs: int) -> nn.Sequential:
    """(B, D, h, w) → (B, outputs, h, w)."""
    return nn.Sequential(ConvNorm(dim, dim, kernel=1), nn.ReLU(), nn.Conv2d(dim, outputs, 1, bias=False))
