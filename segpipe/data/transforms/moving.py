"""Move pixels to other places: one function for the picture, one for its label, one for further maps."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from ..sample import Sample

Move = Callable[[np.ndarray], np.ndarray]
ANGLE = "angle"
"""The extra that holds directions in degrees, 0 right and 90 down: flips and turns change its values too."""


def move(sample: Sample, image: Move, label: Move, extra: Move) -> Sample:
    """The sample with its picture, its label and each extra replaced by what these functions make of them."""
    return dataclasses.replace(
        sample,
        image=image(sample.image),
        label=None if sample.label is None else label(sample.label),
        extras={name: extra(values) for name, values in sample.extras.items()},
    )


def move_alike(sample: Sample, every: Move) -> Sample:
    """As `move`, with one function for all arrays."""
    return move(sample, every, every, every)


def turn_angles(sample: Sample, turn: Move) -> Sample:
    """The sample with its directions turned by `turn` and brought back into (-180, 180]."""
    if ANGLE not in sample.extras:
        return sample
    angles = sample.extras[ANGLE]
    turned = 180.0 - np.mod(180.0 - turn(angles.astype(np.float64)), 360.0)
    if not np.issubdtype(angles.dtype, np.floating):
        turned = np.rint(turned)
    return dataclasses.replace(sample, extras={**sample.extras, ANGLE: turned.astype(angles.dtype)})


def with_image(sample: Sample, image: np.ndarray) -> Sample:
    """The sample with another picture of the same size."""
    return dataclasses.replace(sample, image=image)


def size_of(sample: Sample) -> tuple[int, int]:
    """(height, width) in pixels."""
    return sample.image.shape[0], sample.image.shape[1]
