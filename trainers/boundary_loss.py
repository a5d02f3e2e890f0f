"""The loss of networks that learn boundaries beside classes, as UN-EPT is trained (Zhu et al. 2021).

A pixel at a boundary is near a neighbor that is easier: the one a step to the inside of its region. The network says
which pixels are at a boundary and where their inside is, and is asked for their class there too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from segpipe.configuration import BoundaryLoss, CrossEntropyLoss
from segpipe.inference import place_image
from segpipe.models import BoundaryOutput

from .losses import LossSum, SegmentationLoss, build_loss
from .strip_loss import LogitGrid, Tile, Upsampling, computing_dtype, total_loss

Size = tuple[int, int]
MOVES = ((0, -1), (-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1))
"""(down, right) of each bin of directions: left, then clockwise."""
BIN_DEGREES = 45.0
SURE = 0.5
"""A pixel is refined where the logit, not the probability, of its being at a boundary is greater."""


class BoundaryMaps(NamedTuple):
    """The boundaries of a label.

    Attributes:
        distance: (B, H, W) pixels to the own region's boundary.
        angle: (B, H, W) degrees of the direction to the region's inside, 0 right, 90 down.
    """

    distance: Tensor
    angle: Tensor


class Targets(NamedTuple):
    """Labels that class logits are compared with, and what that counts.

    Attributes:
        labels: (B, H, W) int32 class indices, -1 where there is nothing to compare with.
        factor: of these labels' cross-entropy.
    """

    labels: Tensor
    factor: float


@dataclass(frozen=True, eq=False)
class BoundarySegmentationLoss:
    """Four cross-entropies: of classes, of boundaries, of directions, and of classes after refinement.

    Pixels whose label is ignored count nowhere. (In the released implementation they count in the second and third.)
    The weights of the second and third depend on the batch; they are those of this process's batch, as published, not
    of the whole step: the network's own attention across the batch could not be spread over processes either.
    """

    config: BoundaryLoss
    classes: SegmentationLoss

    def __call__(
        self, output: BoundaryOutput, labels: Tensor, maps: BoundaryMaps, padded: Size | None = None
    ) -> LossSum:
        """Return the loss, times the configuration's factors.

        Args:
            output: logits (B, K, h, w), (B, 2, h, w) and (B, 8, h, w).
            labels: (B, H, W) class indices and ignore_index.
            maps: of the labels.
            padded: (height, width) of the images after the network's pad, right and bottom, which the grid covers;
                or None where there was no pad.
        """
        self.classes.check(output.logits, labels)
        counted = labels != self.classes.ignore_index
        mask, direction = (upsample_corners(logits, labels, padded) for logits in (output.mask, output.direction))
        is_boundary = (maps.distance <= self.config.width).long()
        boundary = balanced_cross_entropy(mask, is_boundary, counted)
        found = counted & (mask[:, 1] > mask[:, 0])
        directions = balanced_cross_entropy(direction, direction_bins(maps.angle), found)
        upsampling = _upsampling(output.logits, labels, padded)
        classes = self._measure_classes(output.logits, upsampling, labels, inward_moves(mask, direction))
        extra = self.config.boundary_factor * boundary.mean() + self.config.direction_factor * directions.mean()
        return LossSum(classes.total + extra * classes.weight.to(extra), classes.weight)

    def _measure_classes(self, logits: Tensor, upsampling: Upsampling, labels: Tensor, moves: Tensor) -> LossSum:
        """Sum both cross-entropies of classes. They weigh the same, since each pixel is compared once in each."""
        known = torch.where(labels != self.classes.ignore_index, labels, -1).to(torch.int32)
        targets = [Targets(known, self.config.class_factor)]
        if self.config.refined_factor > 0:
            targets += [Targets(moved, self.config.refined_factor) for moved in moved_labels(known, moves)]
        weights = torch.ones(logits.shape[1], dtype=computing_dtype(logits), device=logits.device)
        if self.config.class_weights is not None:
            weights = weights.new_tensor(self.config.class_weights)
        total = total_loss(logits, upsampling, partial(_measure, targets=targets, class_weights=weights))
        pixels = torch.bincount(known[known >= 0], minlength=len(weights))
        return LossSum(total, (pixels * weights.double()).sum())


def build_boundary_loss(config: BoundaryLoss, *, num_classes: int, ignore_index: int) -> BoundarySegmentationLoss:
    """Build the loss of a configuration; InputError where class weights are not one per class."""
    classes = build_loss(
        CrossEntropyLoss(class_weights=config.class_weights), num_classes=num_classes, ignore_index=ignore_index
    )
    return BoundarySegmentationLoss(config, classes)


def upsample_corners(logits: Tensor, labels: Tensor, padded: Size | None = None) -> Tensor:
    """Resize to (B, C, H, W) float32 at the labels' size, bilinear with corners aligned, as published.

    Where the network padded the image, corners are those of the padded one.
    """
    height, width = labels.shape[1:]
    size = (height, width) if padded is None else padded
    full = functional.interpolate(logits.to(computing_dtype(logits)), size, mode="bilinear", align_corners=True)
    return full[:, :, :height, :width]


def balanced_cross_entropy(logits: Tensor, classes: Tensor, counted: Tensor) -> LossSum:
    """Sum the cross-entropy with each class weighed by 1 minus its fraction of the counted pixels.

    With one class alone, that is 0.

    Args:
        logits: (B, C, H, W).
        classes: (B, H, W) below C.
        counted: (B, H, W) bool, which pixels count.
    """
    pixels = torch.bincount(classes[counted], minlength=logits.shape[1]).double()
    weights = 1.0 - pixels / pixels.sum().clamp(min=1.0)
    classes = classes.where(counted, -100)
    total = functional.cross_entropy(logits, classes, weights.to(logits), ignore_index=-100, reduction="sum")
    return LossSum(total, (weights * pixels).sum())


def direction_bins(angle: Tensor) -> Tensor:
    """Return (B, H, W) int64: 0 is left, 180 ± 22.5 degrees, then clockwise; only its upper bound belongs to a bin."""
    turned = torch.ceil((angle.double() + 180.0) / BIN_DEGREES - 0.5)
    return turned.long().remainder(len(MOVES))


def inward_moves(mask: Tensor, direction: Tensor) -> Tensor:
    """Return (B, H, W, 2) int64 steps (down, right), -1 to 1: to the inside at boundary pixels, 0 elsewhere.

    They do not leave the image: at its edge a pixel takes the nearest one that is there.
    """
    table = torch.tensor(MOVES, device=mask.device)
    moves = table[direction.argmax(dim=1)] * (mask[:, 1] > SURE)[..., None]
    places = torch.stack(
        torch.meshgrid(*(torch.arange(side, device=mask.device) for side in mask.shape[2:]), indexing="ij"), dim=-1
    )
    last = torch.tensor(mask.shape[2:], device=mask.device) - 1
    return (places + moves).clamp(min=torch.zeros_like(last), max=last) - places


def moved_labels(labels: Tensor, moves: Tensor) -> list[Tensor]:
    """Return the labels of all pixels at the places that they move to, a map (B, H, W) for each kind of move.

    Sampling logits at whole pixels is reading them, so what moves are the labels: the cross-entropy of a pixel's label
    and the logits of another place is found at that place.
    """
    height, width = labels.shape[1:]
    maps = []
    for down in (-1, 0, 1):
        for right in (-1, 0, 1):
            chosen = labels.where((moves[..., 0] == down) & (moves[..., 1] == right), -1)
            if (chosen >= 0).any():
                moved = torch.full_like(labels, -1)
                moved[:, max(down, 0) : height + min(down, 0), max(right, 0) : width + min(right, 0)] = chosen[
                    :, max(-down, 0) : height + min(-down, 0), max(-right, 0) : width + min(-right, 0)
                ]
                maps.append(moved)
    return maps


def _upsampling(logits: Tensor, labels: Tensor, padded: Size | None) -> Upsampling:
    """Return the upsampling of class logits: without corner alignment, as everywhere else."""
    grid, size = (logits.shape[2], logits.shape[3]), (labels.shape[1], labels.shape[2])
    if padded in (None, size):
        return Upsampling.bilinear(grid, size, computing_dtype(logits))
    placement = place_image(size, size, padded, grid, upsampling="one-step")
    return Upsampling.placed(placement, computing_dtype(logits))


def _measure(grid: LogitGrid, *, targets: Sequence[Targets], class_weights: Tensor) -> Tensor:
    def look(tile: Tile) -> tuple[Tensor, Tensor | None]:
        log_probabilities = tile.log_probabilities()  # (P, K)
        total = log_probabilities.new_zeros((), dtype=torch.float64)
        asked = []
        for target in targets:
            labels = tile.read(target.labels).long()
            classes = labels.clamp(min=0)[:, None]  # (P, 1)
            weights = (labels >= 0) * class_weights[classes[:, 0]] * target.factor
            total = total - (log_probabilities.gather(1, classes)[:, 0] * weights).sum(dtype=torch.float64)
            asked.append((classes, weights))
        if grid.gradient is None:
            return total, None
        amount = torch.stack([weights for _, weights in asked]).sum(dim=0)  # (P,)
        gradient = log_probabilities.exp_().mul_(amount[:, None])
        for classes, weights in asked:
            gradient.scatter_add_(1, classes, -weights[:, None])
        return total, gradient

    counted = torch.stack([target.labels >= 0 for target in targets]).any(dim=0)
    return grid.visit(counted, look).sum()
