"""Training losses: how far logits on the network's grid are from a label at its own size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from segpipe import advice
from segpipe.configuration import CrossEntropyLoss, DiceLoss, FocalLoss, OhemLoss, PixelLossConfig
from segpipe.errors import InputError
from segpipe.inference import Axis, Placement
from segpipe.models import can_fuse

from .strip_loss import LogitGrid, Tile, Upsampling, computing_dtype, total_loss


class LossSum(NamedTuple):
    """A loss before it is divided, so that processes and batches can be added up first.

    The mean over several of them is the sum of `total` divided by the sum of `weight`: with gradient accumulation
    either add the weights of all batches beforehand, or divide the gradients by their sum before the optimizer steps.

    Attributes:
        total: scalar with a gradient.
        weight: scalar float64 without: pixels that counted, by class weight where there are any; for Dice, images.
    """

    total: Tensor
    weight: Tensor

    def mean(self, weight: Tensor | None = None) -> Tensor:
        """Return the loss per unit of weight; 0 with a gradient of zeros where nothing counted.

        Args:
            weight: of all processes and batches together, or None for this batch's alone.
        """
        divisor = self.weight if weight is None else weight
        return self.total / torch.where(divisor > 0, divisor, 1.0).to(self.total)


@dataclass(frozen=True, eq=False)
class SegmentationLoss:
    """A loss over the pixels that are not ignored.

    Calling it with logits (B, K, h, w) and labels (B, H, W) int64 gives a `LossSum`. The logits are upsampled
    bilinearly to the labels and compared there, in float32, without making them at that size (`strip_loss.py`).
    """

    config: PixelLossConfig
    num_classes: int
    ignore_index: int

    def __call__(
        self, logits: Tensor | Sequence[Tensor], labels: Tensor, placement: Placement | None = None
    ) -> LossSum:
        """Return the loss, times the configuration's `weight`.

        Args:
            logits: (B, K, h, w); or several, of the main head and of auxiliary heads.
            labels: (B, H, W) class indices and ignore_index.
            placement: where the labels lie on the grid, or None where they cover it.

        Raises:
            InputError: shapes do not fit, or a label is neither a class nor ignored.
        """
        heads = [logits] if isinstance(logits, Tensor) else list(logits)
        factors = [1.0, *self.config.auxiliary_weights]
        if len(heads) not in (1, len(factors)):
            raise InputError(
                f"The network gives {len(heads)} logits and `loss.auxiliary_weights` has {len(factors) - 1} entries. "
                "One entry per auxiliary head is needed, such as "
                f"{advice.setting('train.loss.auxiliary_weights', [0.4] * (len(heads) - 1))}."
            )
        sums = [self._measure(head, labels, placement) for head in heads]
        return _combine(sums, [self.config.weight * factor for factor in factors[: len(heads)]])

    def _measure(self, logits: Tensor, labels: Tensor, placement: Placement | None) -> LossSum:
        self.check(logits, labels)
        labels = labels.long()  # as indices, whatever type they came in
        dtype = computing_dtype(logits)
        weights = None
        if self.config.class_weights is not None:
            weights = torch.tensor(self.config.class_weights, dtype=dtype, device=logits.device)
        target = Target(labels, labels != self.ignore_index, weights)
        if _is_fused(logits, placement, self.config):
            return _weigh_pixels(self._pixel_losses(logits, labels, placement), target, self.config)
        if placement is None:
            upsampling = Upsampling.bilinear(_size(logits), _size(labels), dtype)
        else:
            upsampling = Upsampling.placed(placement, dtype)
        if isinstance(self.config, DiceLoss):
            return _dice(logits, upsampling, target, self.config)
        if isinstance(self.config, OhemLoss):
            return _ohem(logits, upsampling, target, self.config)
        return _focal(logits, upsampling, target, self.config)

    def _pixel_losses(self, logits: Tensor, labels: Tensor, placement: Placement | None) -> Tensor:
        """Return (B, H, W) cross-entropy of each pixel by the kernels for GPUs."""
        from .fused_loss import pixel_losses  # which needs Triton

        if placement is None:
            placement = Placement(*(Axis.resize(*ends) for ends in zip(_size(logits), _size(labels), strict=True)))
        return pixel_losses(logits, labels, placement, ignore_index=self.ignore_index)

    def check(self, logits: Tensor, labels: Tensor) -> None:
        """Raise InputError where shapes do not fit or, on a CPU, a label is neither a class nor ignored."""
        if logits.ndim != 4 or labels.ndim != 3 or len(logits) != len(labels) or logits.shape[1] != self.num_classes:
            raise InputError(
                f"Logits of shape {tuple(logits.shape)} and labels of shape {tuple(labels.shape)} do not fit: a loss "
                f"over {self.num_classes} classes needs (B, {self.num_classes}, h, w) and (B, H, W)."
            )
        if labels.device.type != "cpu":  # The loader has looked; here the processor would wait for the GPU.
            return
        wrong = (labels != self.ignore_index) & ((labels < 0) | (labels >= self.num_classes))
        if wrong.any():
            raise InputError(
                f"A label has the value {int(labels[wrong][0])}, which is neither a class (0 … {self.num_classes - 1}) "
                f"nor ignore_index {self.ignore_index}. Check `labels.raw_ids` and `labels.ignore_index`."
            )


def build_loss(config: PixelLossConfig, *, num_classes: int, ignore_index: int) -> SegmentationLoss:
    """Build the loss of a configuration.

    Raises:
        InputError: class weights are not one per class.
    """
    if config.class_weights is not None and len(config.class_weights) != num_classes:
        raise InputError(
            f"`loss.class_weights` has {len(config.class_weights)} entries for {num_classes} classes. "
            f"Give one per output of the network, or none: {advice.setting('train.loss.class_weights', None)}."
        )
    return SegmentationLoss(config, num_classes, ignore_index)


@dataclass(frozen=True, eq=False)
class Target:
    """The labels that logits are compared with, and their weights.

    Attributes:
        labels: (B, H, W) class indices; anything where pixels do not count.
        counted: (B, H, W) bool, which pixels count.
        class_weights: (K,), or None where all are 1.
    """

    labels: Tensor
    counted: Tensor
    class_weights: Tensor | None

    def classes(self, tile: Tile) -> Tensor:
        """Return (P,) class indices; any where pixels do not count."""
        return tile.read(self.labels).clamp(0, tile.logits.shape[-1] - 1)

    def weights(self, tile: Tile) -> Tensor:
        """Return (P,) the weight of each pixel; 0 where it does not count."""
        counted = tile.read(self.counted).to(tile.logits.dtype)
        return counted if self.class_weights is None else counted * self.class_weights[self.classes(tile)]

    def weight(self) -> Tensor:
        """The weights of all pixels together, float64."""
        if self.class_weights is None:
            return self.counted.sum(dtype=torch.float64)
        pixels = torch.bincount(self.labels[self.counted], minlength=len(self.class_weights))
        return (pixels * self.class_weights.double()).sum()


def _size(values: Tensor) -> tuple[int, int]:
    return values.shape[-2], values.shape[-1]


def _combine(sums: Sequence[LossSum], factors: Sequence[float]) -> LossSum:
    """Return one sum whose mean is the sum of several means, each times its factor."""
    weight = sums[0].weight
    total = sums[0].total * factors[0]
    for part, factor in zip(sums[1:], factors[1:], strict=True):
        total = total + part.mean() * (factor * weight).to(total)
    return LossSum(total, weight)


def _is_fused(logits: Tensor, placement: Placement | None, config: PixelLossConfig) -> bool:
    """Return whether `fused_loss.py` can: pixels read 2 × 2 cells at most, and Dice needs more than their losses."""
    taps = 0 if placement is None else max(placement.rows.taps, placement.columns.taps)
    return taps <= 2 and not isinstance(config, DiceLoss) and can_fuse(logits)


def _weigh_pixels(losses: Tensor, target: Target, config: PixelLossConfig) -> LossSum:
    """Return a loss from the cross-entropy of each pixel, (B, H, W)."""
    if isinstance(config, OhemLoss):
        target = Target(target.labels, _hard_pixels(losses.detach(), target.counted, config), target.class_weights)
    weights = target.counted.to(losses.dtype)
    if target.class_weights is not None:
        weights = weights * target.class_weights[target.labels.clamp(0, len(target.class_weights) - 1)]
    if isinstance(config, FocalLoss):
        # Not quite 0 where the true class is certain, so that the power has a gradient there.
        rest = (-torch.expm1(-losses)).clamp(min=torch.finfo(losses.dtype).tiny)
        losses = (1.0 if config.alpha is None else config.alpha) * rest**config.gamma * losses
    return LossSum((losses * weights).sum(dtype=torch.float64).to(losses.dtype), target.weight())


def _focal(logits: Tensor, upsampling: Upsampling, target: Target, config: CrossEntropyLoss | FocalLoss) -> LossSum:
    """Return Σ w·α·(1 - p)^γ·(-log p) with p the probability of the true class; cross-entropy is γ = 0."""
    gamma, alpha = 0.0, 1.0
    if isinstance(config, FocalLoss):
        gamma, alpha = config.gamma, 1.0 if config.alpha is None else config.alpha
    total = total_loss(logits, upsampling, partial(_measure_focal, target=target, gamma=gamma))
    return LossSum(total * alpha, target.weight())


def _measure_focal(grid: LogitGrid, *, target: Target, gamma: float) -> Tensor:
    def look(tile: Tile) -> tuple[Tensor, Tensor | None]:
        classes, weights = target.classes(tile)[:, None], target.weights(tile)
        log_probabilities = tile.log_probabilities()  # (P, K)
        values, factors = _focus(log_probabilities.gather(1, classes)[:, 0], gamma)
        total = (values * weights).sum(dtype=torch.float64)
        if grid.gradient is None:
            return total, None
        factors = (factors * weights)[:, None]
        return total, log_probabilities.exp_().mul_(factors).scatter_add_(1, classes, -factors)

    return grid.visit(target.counted, look).sum()


def _focus(log_probability: Tensor, gamma: float) -> tuple[Tensor, Tensor]:
    """Return (1 - p)^γ·(-log p) of the true class's log p, and minus its derivative by log p."""
    if gamma == 0:
        return -log_probability, torch.ones_like(log_probability)
    rest = -torch.expm1(log_probability)
    # log p / (1 - p) tends to -1 as p does to 1; so (1 - p)^(γ - 1), infinite there for γ < 1, is not needed.
    ratio = torch.where(rest > 0, log_probability / rest, -1.0)
    factor = rest**gamma
    return -log_probability * factor, factor * (1 - gamma * log_probability.exp() * ratio)


def _ohem(logits: Tensor, upsampling: Upsampling, target: Target, config: OhemLoss) -> LossSum:
    """Sum the cross-entropy over the pixels whose true class has too low a probability, and over a least share of all.

    Which pixels are hard does not depend on class weights.
    """
    losses = torch.zeros(target.labels.shape, dtype=computing_dtype(logits), device=logits.device)
    with torch.no_grad():
        total_loss(logits, upsampling, partial(_write_pixel_losses, target=target, losses=losses))
    hard = Target(target.labels, _hard_pixels(losses, target.counted, config), target.class_weights)
    total = total_loss(logits, upsampling, partial(_measure_focal, target=hard, gamma=0.0))
    return LossSum(total, hard.weight())


def _write_pixel_losses(grid: LogitGrid, *, target: Target, losses: Tensor) -> Tensor:
    def look(tile: Tile) -> tuple[Tensor, None]:
        place = losses[tile.where]
        place.copy_(-tile.log_probabilities().gather(1, target.classes(tile)[:, None]).view(place.shape))
        return place.sum(dtype=torch.float64), None

    return grid.visit(target.counted, look).sum()


def _hard_pixels(losses: Tensor, counted: Tensor, config: OhemLoss) -> Tensor:
    """Return (B, H, W) bool, the pixels that OHEM keeps."""
    hard = counted & (losses > -torch.tensor(config.threshold, dtype=torch.float64).log().item())
    least = int(int(counted.sum()) * config.min_share)
    if int(hard.sum()) >= least:
        return hard
    hardest = losses.where(counted, -1.0).flatten().topk(least, sorted=False).indices
    return torch.zeros_like(counted).flatten().index_fill_(0, hardest, True).view_as(counted)


def _dice(logits: Tensor, upsampling: Upsampling, target: Target, config: DiceLoss) -> LossSum:
    """Return Σ over images of 1 - Tversky's index, the mean over classes (by class weight).

    The index of a class is (TP + s) / (TP + d·FN + (1 - d)·FP + s), which is (TP + s) / (d·N + (1 - d)·P + s) with N
    the pixels of the class and P the sum of its probabilities.
    """
    total = total_loss(logits, upsampling, partial(_measure_dice, target=target, config=config))
    return LossSum(total, target.counted.flatten(1).any(dim=1).sum(dtype=torch.float64))


def _measure_dice(grid: LogitGrid, *, target: Target, config: DiceLoss) -> Tensor:
    overlap, predicted, present = _class_sums(grid, target).unbind(dim=1)
    share = torch.ones_like(overlap[0]) if target.class_weights is None else target.class_weights.double()
    share = share / share.sum().clamp(min=torch.finfo(torch.float32).tiny)
    divisor = config.delta * present + (1 - config.delta) * predicted + config.smooth
    is_known = divisor > 0
    divisor = torch.where(is_known, divisor, 1.0)
    index = torch.where(is_known, (overlap + config.smooth) / divisor, 1.0)
    if grid.gradient is not None:
        by_overlap = torch.where(is_known, -share / divisor, 0.0)
        by_predicted = torch.where(is_known, share * (1 - config.delta) * index / divisor, 0.0)
        _add_dice_gradient(grid, target, by_overlap.to(grid.cells), by_predicted.to(grid.cells))
    return (share * (1 - index)).sum()


def _class_sums(grid: LogitGrid, target: Target) -> Tensor:
    """Return (B, 3, K) float64 per image and class: overlap TP, sum of probabilities P, pixels N."""

    def look(tile: Tile) -> tuple[Tensor, None]:
        classes, counted = target.classes(tile), tile.read(target.counted).to(tile.logits)
        probabilities = tile.log_probabilities().exp_()
        true = probabilities.gather(1, classes[:, None])[:, 0] * counted
        sums = torch.zeros((3, probabilities.shape[1]), dtype=torch.float64, device=probabilities.device)
        sums[0].scatter_add_(0, classes, true.double())
        sums[1] = counted @ probabilities
        sums[2].scatter_add_(0, classes, counted.double())
        return sums, None

    return grid.visit(target.counted, look, shape=(3, grid.cells.shape[-1]))


def _add_dice_gradient(grid: LogitGrid, target: Target, by_overlap: Tensor, by_predicted: Tensor) -> None:
    """Take the gradients (B, K) by TP and by P through the softmax to the logits, in a second pass."""

    def look(tile: Tile) -> tuple[Tensor, Tensor]:
        classes, counted = target.classes(tile), tile.read(target.counted).to(tile.logits)
        factors = by_predicted[tile.image]  # (K,)
        probabilities = tile.log_probabilities().exp_()
        true = probabilities.gather(1, classes[:, None])[:, 0] * by_overlap[tile.image][classes]
        mean = probabilities @ factors + true
        gradient = probabilities.mul_(factors - mean[:, None]).scatter_add_(1, classes[:, None], true[:, None])
        return mean.new_zeros((), dtype=torch.float64), gradient.mul_(counted[:, None])

    grid.visit(target.counted, look)
