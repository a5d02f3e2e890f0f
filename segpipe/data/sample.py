"""Samples and batches: what data sets give and networks take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np

from segpipe import advice
from segpipe.configuration import LabelSet
from segpipe.errors import InputError

if TYPE_CHECKING:  # reading images takes no torch
    from torch import Tensor

ANGLE = "angle"
"""The extra with directions in degrees in (-180, 180], 0 right and 90 down. Flips and turns change its values, too."""


@dataclass(frozen=True, eq=False)
class Sample:
    """One image with its label.

    Attributes:
        image: (H, W, 3) uint8, RGB, upright.
        label: (H, W) uint8 or uint16, encoded: class indices and `ignore_index`; None where there is none.
        name: what messages call it: the image's path.
        extras: further (H, W, …) maps that transforms carry along.
        class_index: of the whole image, in classification; such samples have no label.
    """

    image: np.ndarray
    label: np.ndarray | None
    name: str
    extras: Mapping[str, np.ndarray] = field(default_factory=dict)
    class_index: int | None = None


class LabelledSamples(Protocol):
    """A data set, as training and evaluation read it: from several threads at once. `SegmentationDataset` is one."""

    @property
    def labels(self) -> LabelSet:
        """What class indices mean."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Sample: ...


@dataclass(frozen=True, eq=False)
class Batch:
    """Images of one size with their labels.

    Attributes:
        images: (B, 3, H, W) uint8, RGB.
        labels: (B, H, W) uint8, or int32 where a label has more than 256 values, encoded; of images that have one
            class each, (B,) int64 class indices.
        names: what messages call the images.
        extras: the samples' further maps, (B, H, W, …) each; empty where the samples have none.
    """

    images: Tensor
    labels: Tensor
    names: tuple[str, ...]
    extras: Mapping[str, Tensor] = field(default_factory=dict)


def collate(samples: Sequence[Sample]) -> Batch:
    """Make a batch of samples, in their order. InputError unless all have one size, and a label or a class each."""
    import torch

    _check(samples)
    height, width = samples[0].image.shape[:2]
    images = np.empty((len(samples), 3, height, width), np.uint8)
    for index, sample in enumerate(samples):
        images[index] = sample.image.transpose(2, 0, 1)
    is_classified = samples[0].class_index is not None
    labels = np.array([_class_of(sample) for sample in samples]) if is_classified else _stack_labels(samples)
    names = tuple(sample.name for sample in samples)
    extras = {key: torch.from_numpy(_stack_extra(samples, key)) for key in samples[0].extras}
    return Batch(torch.from_numpy(images), torch.from_numpy(labels), names, extras)


def _check(samples: Sequence[Sample]) -> None:
    if not samples:
        raise InputError("There are no samples; a batch has at least one. Give the samples of one step.")
    first = samples[0]
    for sample in samples:
        if sample.image.shape != first.image.shape:
            raise InputError(
                f"{first.name} is {size_text(first.image)} and {sample.name} is {size_text(sample.image)} "
                "(height × width); images of one batch have one size. End the transforms with random_crop and pad of "
                "the same size, or "
                f"give {advice.setting('train.batch_size', 1)}."
            )


def _class_of(sample: Sample) -> int:
    if sample.class_index is None:
        raise InputError(f"{sample.name} has no class; each sample of this batch needs one. Leave it out.")
    return sample.class_index


def _stack_labels(samples: Sequence[Sample]) -> np.ndarray:
    """Stack labels (B, H, W) as read; in int64 they would be most of what loader processes hand over."""
    labels = np.stack([_label_of(sample) for sample in samples])
    return labels if labels.dtype == np.uint8 else labels.astype(np.int32)


def _label_of(sample: Sample) -> np.ndarray:
    if sample.label is None:
        raise InputError(f"{sample.name} has no label; each sample of a batch needs one. Leave it out.")
    if sample.label.shape != sample.image.shape[:2]:
        raise InputError(
            f"{sample.name}: the image is {size_text(sample.image)} and its label {size_text(sample.label)} (height × "
            "width); they must be equal. Check the transforms."
        )
    return sample.label


def _stack_extra(samples: Sequence[Sample], key: str) -> np.ndarray:
    for sample in samples:
        if key not in sample.extras or sample.extras[key].shape[:2] != sample.image.shape[:2]:
            raise InputError(
                f"{sample.name} has no map {key!r} of the image's size, and {samples[0].name} has one; each sample "
                "of a batch needs it. Check the data set and the transforms."
            )
    return np.stack([sample.extras[key] for sample in samples])


def size_text(array: np.ndarray) -> str:
    """Return the height and width of an image or a label, as messages have them."""
    return f"{array.shape[0]} × {array.shape[1]}"
