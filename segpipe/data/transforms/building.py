"""From the transforms of a configuration to one function that changes samples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from segpipe import configuration as documents
from segpipe.configuration import TransformConfig
from segpipe.errors import InputError

from ..sample import Sample
from . import (
    augmenting,
    augmenting as area_crops,
    color,
    resize_crop_pad,
    resize_crop_pad as cropping,
    resize_crop_pad as padding,
    warping,
)
from .resize_crop_pad import Padding

Transform = Callable[[Sample, np.random.Generator], Sample]
"""Gives a new sample and leaves the arrays of the given one as they are. All chance comes from the generator."""


@dataclass(frozen=True)
class Chain:
    """Transforms, one after the other."""

    steps: tuple[Transform, ...]

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        for step in self.steps:
            sample = step(sample, rng)
        return sample


def build_transforms(
    configs: Sequence[TransformConfig | Transform], *, ignore_index: int, fill: tuple[int, int, int]
) -> Chain:
    """The chain of these steps, in their order.

    Args:
        configs: from a configuration; or any callable (Sample, rng) → Sample, which joins as it is. With loader
            processes on systems without fork, callables must be picklable.
        ignore_index: value of added pixels of the label, and of the pixels that `random_crop` does not count.
        fill: RGB of added pixels where a step's `value` is null: the model's pixel_mean, rounded.

    Raises:
        InputError: something that is neither.
    """
    border = Padding(fill, ignore_index)
    return Chain(tuple(_build_step(config, border) for config in configs))


def _build_step(config: TransformConfig | Transform, border: Padding) -> Transform:
    builder = _BUILDERS.get(type(config))
    if builder is not None:
        transform = builder(config, border)
        probability = getattr(config, "probability", 1.0)
        return transform if probability == 1.0 else partial(_sometimes, transform=transform, probability=probability)
    if callable(config):
        return config
    raise InputError(
        f"{config!r} is no transform. Give a transform of segpipe.configuration, or a function "
        "(Sample, numpy.random.Generator) -> Sample."
    )


def _sometimes(sample: Sample, rng: np.random.Generator, *, transform: Transform, probability: float) -> Sample:
    return transform(sample, rng) if rng.random() < probability else sample


def _padding(config: TransformConfig, border: Padding) -> Padding:
    """Return what the step says, else the border of the chain."""
    value, label = getattr(config, "value", None), getattr(config, "label_value", None)
    fill = border.fill if value is None else (value,) * 3
    return Padding(fill, border.label if label is None else label)


def _build_flip(config: documents.RandomFlip, border: Padding) -> Transform:
    return warping.flip_horizontal if config.direction == "horizontal" else warping.flip_vertical


def _build_rotation(config: documents.RandomRotation, border: Padding) -> Transform:
    turn = warping.expanding_rotation if config.expand else warping.rotation
    return partial(turn, degrees=config.degrees, padding=_padding(config, border))


def _build_random_crop(config: documents.RandomCrop, border: Padding) -> Transform:
    return partial(
        cropping.random_crop,
        size=config.size,
        max_class_share=config.max_class_share,
        ignore_index=border.label,
    )


def _build_rand_augment(config: documents.RandAugment, border: Padding) -> Transform:
    return partial(
        augmenting.rand_augment,
        operations=config.operations,
        magnitude=config.magnitude,
        magnitude_deviation=config.magnitude_deviation,
        operation_probability=config.operation_probability,
        translate=config.translate,
        fill=_padding(config, border).fill,
    )


def _build_erasing(config: documents.RandomErasing, border: Padding) -> Transform:
    return partial(
        area_crops.random_erasing,
        area=config.area,
        ratio=config.ratio,
        mean=border.fill,
        deviation=config.deviation,
    )


def _build_affine(config: documents.Affine, border: Padding) -> Transform:
    return partial(
        warping.affine,
        angle=config.angle,
        translate=config.translate,
        scale=config.scale,
        shear=config.shear,
        padding=_padding(config, border),
    )


def _forward(function: Callable[..., Sample], *fields: str) -> Callable[[Any, Padding], Transform]:
    """A builder that hands these fields of the configuration to the function under the same names."""
    return lambda config, border: partial(function, **{field: getattr(config, field) for field in fields})


def _forward_padded(function: Callable[..., Sample], *fields: str) -> Callable[[Any, Padding], Transform]:
    """As `_forward`, for functions that pad."""
    return lambda config, border: partial(
        function, **{field: getattr(config, field) for field in fields}, padding=_padding(config, border)
    )


_BUILDERS: dict[type, Callable[[Any, Padding], Transform]] = {
    documents.Resize: _forward(resize_crop_pad.resize, "size"),
    documents.RandomResize: _forward(resize_crop_pad.random_resize, "size", "ratio"),
    documents.ResizeBetween: _forward(resize_crop_pad.resize_between, "least", "greatest"),
    documents.ResizeChoice: _forward(resize_crop_pad.resize_choice, "sizes"),
    documents.AlignedResize: _forward(resize_crop_pad.aligned_resize, "size", "multiple"),
    documents.ResizePad: _forward_padded(padding.resize_pad, "size"),
    documents.RandomCrop: _build_random_crop,
    documents.RandomResizedCrop: _forward_padded(cropping.random_resized_crop, "size", "ratio"),
    documents.RandomAreaCrop: _forward(area_crops.random_area_crop, "size", "area", "ratio"),
    documents.CenterCrop: _forward(cropping.center_crop, "size"),
    documents.Pad: _forward_padded(padding.pad, "size"),
    documents.PadToMultiple: _forward_padded(padding.pad_to_multiple, "multiple"),
    documents.RandomFlip: _build_flip,
    documents.RandomRotation: _build_rotation,
    documents.Affine: _build_affine,
    documents.PhotometricDistortion: _forward(
        color.photometric_distortion, "brightness", "contrast", "saturation", "hue"
    ),
    documents.ColorJitter: _forward(color.color_jitter, "brightness", "contrast", "saturation", "hue"),
    documents.Gamma: _forward(color.gamma_curve, "gamma", "gain"),
    documents.Sharpness: _forward(color.sharpness, "factor"),
    documents.AutoContrast: _forward(color.auto_contrast),
    documents.Rerange: _forward(color.rerange, "least", "greatest"),
    documents.Equalize: _forward(color.equalize),
    documents.Clahe: _forward(color.clahe, "clip_limit", "tiles"),
    documents.Posterize: _forward(color.posterize, "bits"),
    documents.GaussianBlur: _forward(color.gaussian_blur, "kernel", "sigma"),
    documents.Grayscale: _forward(color.grayscale),
    documents.RandAugment: _build_rand_augment,
    documents.RandomErasing: _build_erasing,
}
