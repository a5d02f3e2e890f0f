"""SegFormer's decode heads: all-MLP (NVlabs, Hugging Face, LiBai) and convolutional (mmsegmentation, EasyCV).

Resizing and 1x1 convolutions commute. So the four maps of E channels at stride 4 and their
concatenation of 4E are never made: each level is projected by its part of the fusion weights at
its own resolution, and what comes out is brought to stride 4 and added.

    fuse(concat(up(y_i))) = Σ up(fuse_i · y_i)

The identity is exact and holds in training. Where y_i is itself a linear map of the encoder's x_i
(the all-MLP head), both matrices become one. For inference `apply_folding` also multiplies the
BatchNorms in.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..fast.choosing import is_plain_cpu
from ..fast.head_strips import FusionLayers, classify_strips
from ..layers import affine, initialize_linear


class DecodeHead(nn.Module):
    """The part that both heads share: adding the projected levels up, normalizing, classifying.

    Args:
        dims: channels D_i of the encoder's maps.
        channels: width E of the head.
        num_classes: K.
        dropout: rate of the channel dropout before the classifier.
    """

    def __init__(self, dims: Sequence[int], channels: int, num_classes: int, dropout: float) -> None:
        super().__init__()
        self.fuse = nn.Conv2d(len(dims) * channels, channels, 1, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        self.dropout = nn.Dropout2d(dropout)
        self.classifier = nn.Conv2d(channels, num_classes, 1)
        self.folded: FoldedHead | None = None
        self.register_load_state_dict_pre_hook(_remove_folding)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """(B, h_i, w_i, D_i) maps, the finest first → (B, K, h_0, w_0) logits."""
        if self.folded is not None and not torch.is_grad_enabled():
            return self.folded(maps)
        fused = add_levels(self.project_levels(maps))
        fused = self.dropout(functional.relu(self.norm(fused)))
        return _classify(fused, *_linear(self.classifier))

    def project_levels(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """(B, h_i, w_i, D_i) maps → the (B, h_i, w_i, E) summands of the fusion."""
        raise NotImplementedError

    def fold(self) -> FoldedHead:
        """Return the same function for evaluation, with the BatchNorms multiplied into the weights."""
        raise NotImplementedError

    @torch.no_grad()
    def apply_folding(self) -> None:
        """Compute with multiplied weights where no gradient is asked for, until `train()` or `load_state_dict()`."""
        self.folded = self.fold()

    def train(self, mode: bool = True) -> DecodeHead:
        if mode:
            self.folded = None
        return super().train(mode)

    def fuse_weights(self) -> tuple[Tensor, ...]:
        """Return the fusion's weights by level, each (E, E), the finest first."""
        return self.fuse.weight.flatten(1).split(self.fuse.out_channels, dim=1)


class MLPHead(DecodeHead):
    """A linear layer per level. Its fusion weights are stored the coarsest level first, as published."""

    def __init__(self, dims: Sequence[int], channels: int, num_classes: int, dropout: float) -> None:
        super().__init__(dims, channels, num_classes, dropout)
        self.levels = nn.ModuleList(nn.Linear(dim, channels) for dim in dims)
        _initialize_head(self)

    def project_levels(self, maps: Sequence[Tensor]) -> list[Tensor]:
        return [functional.linear(x, *layer) for x, layer in zip(maps, self._projections(), strict=True)]

    def fold(self) -> FoldedHead:
        scale, shift = affine(self.norm)
        layers = [(weight.double() * scale[:, None], bias.double() * scale) for weight, bias in self._projections()]
        layers[0] = (layers[0][0], layers[0][1] + shift)
        return FoldedHead([], layers, _linear(self.classifier))

    def fuse_weights(self) -> tuple[Tensor, ...]:
        return super().fuse_weights()[::-1]

    def _projections(self) -> list[LinearLayer]:
        """Return the product of fusion and level, weights (E, D_i) and biases (E,)."""
        pairs: Iterable[tuple[Tensor, nn.Linear]] = zip(self.fuse_weights(), self.levels, strict=True)  # type: ignore[arg-type]
        return [(fuse @ level.weight, fuse @ level.bias) for fuse, level in pairs]


class ConvHead(DecodeHead):
    """A 1x1 convolution, BatchNorm and ReLU per level."""

    def __init__(self, dims: Sequence[int], channels: int, num_classes: int, dropout: float) -> None:
        super().__init__(dims, channels, num_classes, dropout)
        self.levels = nn.ModuleList(nn.Conv2d(dim, channels, 1, bias=False) for dim in dims)
        self.level_norms = nn.ModuleList(nn.BatchNorm2d(channels) for _ in dims)
        _initialize_head(self)

    def project_levels(self, maps: Sequence[Tensor]) -> list[Tensor]:
        summands = []
        for x, (level, norm, fuse) in zip(maps, self._layers(), strict=True):
            hidden = functional.relu(norm(functional.linear(x, level.weight.flatten(1)).permute(0, 3, 1, 2)))
            summands.append(functional.linear(hidden.permute(0, 2, 3, 1), fuse))
        return summands

    def fold(self) -> FoldedHead:
        scale, shift = affine(self.norm)
        levels, layers = [], []
        for level, norm, fuse in self._layers():
            level_scale, level_shift = affine(norm)
            levels.append((level.weight.flatten(1).double() * level_scale[:, None], level_shift))
            layers.append((fuse.double() * scale[:, None], shift))
            shift = torch.zeros_like(shift)
        return FoldedHead(levels, layers, _linear(self.classifier))

    def _layers(self) -> Iterable[tuple[nn.Conv2d, nn.BatchNorm2d, Tensor]]:
        """Yield convolution, norm and fusion weights of each level."""
        return zip(self.levels, self.level_norms, self.fuse_weights(), strict=True)  # type: ignore[arg-type]


class FoldedHead(nn.Module):
    """Either head in evaluation: only matrices, ReLUs and resizes are left.

    Args:
        levels: (weight (E, D_i), bias) before each level's ReLU; empty where a level has none.
        projections: (weight, bias) of each summand.
        classifier: (weight (K, E), bias).
    """

    def __init__(self, levels: list[LinearLayer], projections: list[LinearLayer], classifier: LinearLayer) -> None:
        super().__init__()
        self.levels = nn.ModuleList(FrozenLinear(*layer, dtype=classifier[0].dtype) for layer in levels)
        self.projections = nn.ModuleList(FrozenLinear(*layer, dtype=classifier[0].dtype) for layer in projections)
        self.classifier = FrozenLinear(*classifier, dtype=classifier[0].dtype)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """(B, h_i, w_i, D_i) maps, the finest first → (B, K, h_0, w_0) logits."""
        if self.levels:
            maps = [functional.relu(level(x)) for level, x in zip(self.levels, maps, strict=True)]
        finest, *coarser = list[FrozenLinear](self.projections)  # type: ignore[arg-type]
        levels = [projection(x) for projection, x in zip(coarser, maps[1:], strict=True)]
        if is_plain_cpu(maps[0]):
            return classify_strips(maps[0], levels, FusionLayers(*finest, *self.classifier))
        fused = functional.relu(add_levels([finest(maps[0]), *levels]))
        return _classify(fused, *self.classifier)


class FrozenLinear(nn.Module):
    """A linear layer of buffers that no checkpoint sees."""

    weight: Tensor
    bias: Tensor

    def __init__(self, weight: Tensor, bias: Tensor, *, dtype: torch.dtype) -> None:
        super().__init__()
        self.register_buffer("weight", weight.detach().to(dtype).contiguous(), persistent=False)
        self.register_buffer("bias", bias.detach().to(dtype), persistent=False)

    def __iter__(self) -> Iterator[Tensor]:
        return iter((self.weight, self.bias))

    def forward(self, features: Tensor) -> Tensor:
        """(…, D) → (…, E)."""
        return functional.linear(features, self.weight, self.bias)


LinearLayer = tuple[Tensor, Tensor]
"""Weight (E, D) and bias (E,)."""


def add_levels(levels: Sequence[Tensor]) -> Tensor:
    """Bring (B, h_i, w_i, E) maps to the size of the first and add them up: (B, E, h_0, w_0)."""
    total, *others = (level.permute(0, 3, 1, 2) for level in levels)
    for level in others:
        total = total + functional.interpolate(level, total.shape[-2:], mode="bilinear", align_corners=False)
    return total


def _classify(fused: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """(B, E, h, w) → (B, K, h, w)."""
    return functional.linear(fused.permute(0, 2, 3, 1), weight, bias).permute(0, 3, 1, 2)


def _linear(conv: nn.Conv2d) -> LinearLayer:
    """Return a 1x1 convolution as a linear layer."""
    assert conv.bias is not None
    return conv.weight.flatten(1), conv.bias


def _remove_folding(head: DecodeHead, *_: object) -> None:
    head.folded = None


def _initialize_head(head: DecodeHead) -> None:
    """Initialize as published: linear layers cut at two units, convolutions by fan-out, classifier with σ 0.01."""
    for module in head.modules():
        initialize_linear(module)
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out")
    nn.init.normal_(head.classifier.weight, std=0.01)
    nn.init.zeros_(head.classifier.bias)  # type: ignore[arg-type]
