"""What a network learns that says where boundaries are: the loss of `boundary_loss.py`, from a batch with its maps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from segpipe.configuration import BoundaryLoss
from segpipe.data import ANGLE, DISTANCE, Batch
from segpipe.errors import ConfigurationError, InputError
from segpipe.models import BoundaryOutput, SegmentationModel, family_of

from .boundary_loss import BoundaryMaps, BoundarySegmentationLoss, build_boundary_loss
from .losses import LossSum
from .objectives import Forward


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


def build_boundary_objective(
    network: SegmentationModel, config: BoundaryLoss, *, ignore_index: int
) -> BoundaryObjective:
    """The objective of a configuration.

    Raises:
        ConfigurationError: the network gives class logits alone.
        InputError: class weights that are not one per class.
    """
    if "boundary" not in family_of(network.config).losses:
        raise _no_boundaries(network)
    return BoundaryObjective(
        network, build_boundary_loss(config, num_classes=network.num_classes, ignore_index=ignore_index)
    )


def _no_boundaries(network: SegmentationModel) -> ConfigurationError:
    return ConfigurationError(
        f"train.loss.type: 'boundary' needs a network that says where boundaries are, as UN-EPT does; "
        f"{type(network).__name__} gives class logits alone. Take 'cross_entropy', 'ohem', 'dice' or 'focal'."
    )
