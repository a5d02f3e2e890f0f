"""UN-EPT: a pyramid of features read by deformable attention, with logits at stride 8 (Zhu et al. 2021)."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..base import AttentionMap, BoundaryOutput, NetworkStage, SegmentationModel, check_part
from ..family import Part
from ..layers import ConvNorm
from ..resnet.encoder import ResNet
from ..vit.config import vit_shape
from ..vit.encoder import Resampling, VitTrunk
from .config import DeitConfig, UneptConfig
from .context import ContextBranch


class Unept(SegmentationModel):
    """Spatial branch (detail) and context branch (a pyramid), joined by queries on the spatial branch's grid."""

    def __init__(self, config: UneptConfig) -> None:
        super().__init__(config)
        self.query_grid = config.query_grid
        self.has_class_token = isinstance(config.encoder, DeitConfig)
        self.encoder: DeitEncoder | ResNet
        if isinstance(config.encoder, DeitConfig):
            self.encoder = DeitEncoder(config.encoder, config.levels)
        else:
            self.encoder = ResNet(config.encoder, config.levels)
        self.pyramid = nn.ModuleList(nn.Linear(channels, config.dim) for channels in self.encoder.dims)
        self.spatial = SpatialBranch(config.dim)
        self.context = ContextBranch(config)
        self.queries = nn.Parameter(torch.empty(math.prod(config.query_grid), config.dim).normal_())
        self.classifier = nn.Linear(config.dim, config.num_classes)
        self.mask_head = boundary_head(config.dim, outputs=2)
        self.direction_head = boundary_head(config.dim, outputs=8)

    def forward(self, images: Tensor) -> Tensor | BoundaryOutput:
        """(B, 3, H, W) RGB 0–255 → (B, K, h, w) logits at stride 8; in training, boundaries too."""
        if self.training:
            return self.forward_boundaries(images)
        return self._classify(*self._mix(*self._encode(images)))

    def forward_boundaries(self, images: Tensor) -> BoundaryOutput:
        """(B, 3, H, W) RGB 0–255 → logits of classes, boundaries and directions, in training and in evaluation."""
        spatial, *levels = self._mix(*self._encode(images))
        return BoundaryOutput(self._classify(spatial, *levels), self.mask_head(spatial), self.direction_head(spatial))

    def stages(self) -> tuple[NetworkStage, ...]:
        """Return both branches' convolutions, the levels that attend to one another, the queries that read them."""

        def read(tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            spatial = tensors[0]
            logits = self._classify(*tensors)
            return (logits, self.mask_head(spatial), self.direction_head(spatial)) if self.training else (logits,)

        mixing = ("context.level_embeddings", "context.pyramid_layers.")
        reading = ("queries", "context.query_layers.", "classifier.", "mask_head.", "direction_head.")
        return (
            NetworkStage("encoder", ("encoder.", "pyramid.", "spatial."), lambda images: self._encode(*images)),
            NetworkStage("context.pyramid_layers", mixing, lambda maps: self._mix(*maps)),
            NetworkStage("context.query_layers", reading, read),
        )

    def split_output(self, output: Any) -> tuple[Tensor, tuple[Tensor, ...]]:
        return (output.logits, output[1:]) if isinstance(output, BoundaryOutput) else (output, ())

    def attention(self, images: Tensor, layer: int, *, part: Part = "encoder") -> AttentionMap:
        check_part(part)
        if not isinstance(self.encoder, DeitEncoder):
            return super().attention(images, layer)
        return self.encoder.attention(self.normalise(images), layer)

    def apply_folding(self) -> None:
        """Multiply every BatchNorm into its convolution, see `ConvNorm.apply_folding`."""
        for module in self.modules():
            if isinstance(module, ConvNorm):
                module.apply_folding()

    def _encode(self, images: Tensor) -> tuple[Tensor, ...]:
        """(B, 3, H, W) → the spatial branch's (B, D, h, w), and a (B, h, w, D) map for each level of the pyramid."""
        images = self.normalise(images)
        maps = zip(self.pyramid, self.encoder(images), strict=True)
        return (self.spatial(images), *(level(features) for level, features in maps))

    def _mix(self, spatial: Tensor, *levels: Tensor) -> tuple[Tensor, ...]:
        return (spatial, *self.context.mix(levels))

    def _classify(self, spatial: Tensor, *levels: Tensor) -> Tensor:
        grid = (spatial.shape[2], spatial.shape[3])
        queries = spatial.flatten(2).transpose(1, 2) + self._resized_queries(grid)  # (B, Q, D)
        logits = self.classifier(self.context.read(queries, grid, levels))  # (B, Q, K)
        return logits.unflatten(1, grid).permute(0, 3, 1, 2)

    def _resized_queries(self, grid: tuple[int, int]) -> Tensor:
        """Return (Q, D), the learned table resized bilinearly to a grid of another size than that of training."""
        # A graph for any grid always resizes: to the same one that changes nothing.
        if not torch.compiler.is_compiling() and grid == self.query_grid:
            return self.queries
        table = self.queries.unflatten(0, self.query_grid).permute(2, 0, 1)[None]
        return functional.interpolate(table, grid, mode="bilinear", align_corners=False)[0].flatten(1).t()


class SpatialBranch(nn.Module):
    """Three strided convolutions; the last one's sign is kept."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        widths = (3, dim // 4, dim // 2, dim)
        self.layers = nn.ModuleList(ConvNorm(before, after, kernel=3, stride=2) for before, after in pairwise(widths))

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W), normalized → (B, D, h, w) at stride 8."""
        first, second, last = self.layers
        return last(functional.relu(second(functional.relu(first(images)))))


def boundary_head(dim: int, *, outputs: int) -> nn.Sequential:
    """(B, D, h, w) → (B, outputs, h, w)."""
    return nn.Sequential(ConvNorm(dim, dim, kernel=1), nn.ReLU(), nn.Conv2d(dim, outputs, 1, bias=False))


class DeitEncoder(VitTrunk):
    """The patches of a Vision Transformer after equal parts of its blocks, as they are on the residual path."""

    resampling: ClassVar[Resampling] = "bicubic"

    def __init__(self, config: DeitConfig, levels: int) -> None:
        shape = vit_shape(config.variant, config)
        super().__init__(shape, config)
        self.dims = (shape.dim,) * levels
        self.after = tuple(round(shape.depth * (level + 1) / levels) for level in range(levels))

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """(B, 3, H, W), normalized → a (B, h, w, D) map for each level."""
        return self.features(images, self.after)
