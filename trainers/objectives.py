"""Objectives, to be minimized: the loss over labels, over labels with their boundaries, or over whole images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from segpipe import advice
from segpipe.configuration import BoundaryLoss, CrossEntropyLoss, LossConfig, SoftCrossEntropyLoss
from segpipe.data import ANGLE, DISTANCE, Batch
from segpipe.errors import ConfigurationError, InputError
from segpipe.inference import Placement, place_image
from segpipe.models import BoundaryOutput, SegmentationModel, family_of

from .boundary_loss import BoundaryMaps, BoundarySegmentationLoss, build_boundary_loss
from .losses import LossSum, SegmentationLoss
from .mixing import draw_mix

Forward = Callable[[Tensor], Any]
"""(B, 3, H, W) images → the output of the network, in the precision of the recipe."""


class Objective(Protocol):
    """The loss to be minimized."""

    def __call__(self, forward: Forward, batch: Batch, rng: np.random.Generator) -> LossSum:
        """Return the loss of a batch.

        Args:
            forward: the network.
            batch: on the network's device.
            rng: the same in all processes of the run, made from the seed and the step.
        """


@dataclass(frozen=True, eq=False)
class SegmentationObjective:
    """The loss over the labels' pixels, which lie on the logits' grid where the network pads its images."""

    model: SegmentationModel
    loss: SegmentationLoss

    def __call__(self, forward: Forward, batch: Batch, rng: np.random.Generator) -> LossSum:
        output = forward(batch.images)
        logits, others = self.model.split_output(output)
        loss = self.loss(logits, batch.labels, self._placement(batch.images, logits))
        if not others:
            return loss
        # Heads that this loss leaves out get gradients of zero: processes wait for one of each parameter.
        unused = torch.stack([tensor.float().sum() for tensor in others]).sum()
        return loss._replace(total=loss.total + 0.0 * unused)

    def _placement(self, images: Tensor, logits: Tensor) -> Placement | None:
        """Return where the labels lie on the logits' grid, which covers the padded image; None if they cover it."""
        size, grid = (images.shape[-2], images.shape[-1]), (logits.shape[-2], logits.shape[-1])
        padded = self.model.input_size(size)
        return None if padded == size else place_image(size, size, padded, grid, upsampling="one-step")


@dataclass(frozen=True, eq=False)
class BoundaryObjective:
    """The loss over the labels' pixels and their boundary maps."""

    model: SegmentationModel
    loss: BoundarySegmentationLoss

    def __call__(self, forward: Forward, batch: Batch, rng: np.random.Generator) -> LossSum:
        missing = [key for key in (DISTANCE, ANGLE) if key not in batch.extras]
        if missing:
            raise InputError(
                f"{batch.names[0]} carries no {' and no '.join(missing)}, which the boundary loss needs. Make the data "
                "set with segpipe.data.with_boundaries, or let its samples have them among their extras."
            )
        output = forward(batch.images)
        if not isinstance(output, BoundaryOutput):
            raise _no_boundaries(self.model)
        maps = BoundaryMaps(batch.extras[DISTANCE].to(batch.labels.device), batch.extras[ANGLE].to(batch.labels.device))
        height, width = batch.images.shape[-2:]
        return self.loss(output, batch.labels, maps, self.model.input_size((height, width)))


@dataclass(frozen=True, eq=False)
class ClassificationObjective:
    """Cross-entropy over images, each of which counts as one, with soft targets where images are mixed."""

    config: CrossEntropyLoss | SoftCrossEntropyLoss
    num_classes: int

    def __call__(self, forward: Forward, batch: Batch, rng: np.random.Generator) -> LossSum:
        if isinstance(self.config, CrossEntropyLoss):
            return self._weighted(forward(batch.images).float(), batch.labels, self.config)
        images, mix = batch.images, draw_mix(self.config, batch.images.shape[-2:], rng)
        targets = soft_targets(batch.labels, self.num_classes, self.config.smoothing)
        if mix is not None:
            images, targets = mix.images(images), mix.targets(targets)
        losses = functional.cross_entropy(forward(images).float(), targets, reduction="sum")
        return LossSum(losses, torch.tensor(len(targets), dtype=torch.float64, device=losses.device))

    def _weighted(self, logits: Tensor, classes: Tensor, config: CrossEntropyLoss) -> LossSum:
        weights = torch.ones(self.num_classes) if config.class_weights is None else torch.tensor(config.class_weights)
        weights = weights.to(logits)
        total = functional.cross_entropy(logits, classes, weights, reduction="sum") * config.weight
        return LossSum(total, weights[classes].sum().double())


def build_boundary_objective(
    network: SegmentationModel, config: BoundaryLoss, *, ignore_index: int
) -> BoundaryObjective:
    """Build the objective of a configuration.

    Raises:
        ConfigurationError: the network gives class logits alone.
        InputError: class weights are not one per class.
    """
    if "boundary" not in family_of(network.config).losses:
        raise _no_boundaries(network)
    return BoundaryObjective(
        network, build_boundary_loss(config, num_classes=network.num_classes, ignore_index=ignore_index)
    )


def build_classification_objective(config: LossConfig, *, num_classes: int) -> ClassificationObjective:
    """Build the objective of a configuration's loss.

    Raises:
        ConfigurationError: it is a loss over pixels, or class weights are not one per class.
    """
    if not isinstance(config, CrossEntropyLoss | SoftCrossEntropyLoss):
        kind = type(config).__struct_config__.tag
        raise ConfigurationError(
            f"train.loss.type: {kind!r} is a loss over pixels, and image-classification has none. "
            f"Give {advice.setting('train.loss.type', 'cross_entropy')}."
        )
    weights = config.class_weights if isinstance(config, CrossEntropyLoss) else None
    if weights is not None and len(weights) != num_classes:
        raise ConfigurationError(
            f"train.loss.class_weights: there are {len(weights)} for {num_classes} classes. Give one each, or none: "
            f"{advice.setting('train.loss.class_weights', None)}."
        )
    return ClassificationObjective(config, num_classes)


def soft_targets(classes: Tensor, num_classes: int, smoothing: float) -> Tensor:
    """Return (B, K) float32: 1 for the own class, of which a share is spread over all classes, its own included."""
    hard = functional.one_hot(classes, num_classes).float()
    return hard * (1.0 - smoothing) + smoothing / num_classes


def _no_boundaries(network: SegmentationModel) -> ConfigurationError:
    return ConfigurationError(
        f"train.loss.type: 'boundary' needs a network that says where boundaries are, as UN-EPT does; "
        f"{type(network).__name__} gives class logits alone. Take 'cross_entropy', 'ohem', 'dice' or 'focal'."
    )
