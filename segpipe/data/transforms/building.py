"""Build one function that changes samples from the transforms of a configuration."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from segpipe import configuration as documents
from segpipe.configuration import TransformConfig
from segpipe.errors import InputError

from ..sample import Sample
from . import augmenting, color, resize_crop_pad, warping
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
    """Build the chain of these steps, in their order.

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
    function = _function_of(config)
    if function is not None:
        transform = partial(function, **_arguments(function, config, border))
        probability = getattr(config, "probability", 1.0)
        return transform if probability == 1.0 else partial(_sometimes, transform=transform, probability=probability)
    if callable(config):
        return config
    raise InputError(
        f"{config!r} is not a transform. Give a transform of segpipe.configuration, or a function "
        "(Sample, numpy.random.Generator) -> Sample."
    )


def _function_of(config: TransformConfig | Transform) -> Callable[..., Sample] | None:
    if isinstance(config, documents.RandomFlip) and config.direction == "vertical":
        return warping.flip_vertical
    if isinstance(config, documents.RandomRotation) and config.expand:
        return warping.expanding_rotation
    return _FUNCTIONS.get(type(config))


def _arguments(function: Callable[..., Sample], config: Any, border: Padding) -> dict[str, Any]:
    """Return the keyword arguments of a transform: fields of its configuration, and what follows from the border."""
    sources: dict[str, Callable[[], Any]] = {
        "padding": lambda: _padding(config, border),
        "fill": lambda: _padding(config, border).fill,
        "mean": lambda: border.fill,
        "ignore_index": lambda: border.label,
    }
    parameters = inspect.signature(function).parameters.values()
    names = [parameter.name for parameter in parameters if parameter.kind is inspect.Parameter.KEYWORD_ONLY]
    return {name: sources[name]() if name in sources else getattr(config, name) for name in names}


def _sometimes(sample: Sample, rng: np.random.Generator, *, transform: Transform, probability: float) -> Sample:
    return transform(sample, rng) if rng.random() < probability else sample


def _padding(config: TransformConfig, border: Padding) -> Padding:
    """Return the padding of the step, else the border of the chain."""
    value, label = getattr(config, "value", None), getattr(config, "label_value", None)
    fill = border.fill if value is None else (value,) * 3
    return Padding(fill, border.label if label is None else label)


_FUNCTIONS: dict[type, Callable[..., Sample]] = {
    documents.Resize: resize_crop_pad.resize,
    documents.RandomResize: resize_crop_pad.random_resize,
    documents.ResizeBetween: resize_crop_pad.resize_between,
    documents.ResizeChoice: resize_crop_pad.resize_choice,
    documents.AlignedResize: resize_crop_pad.aligned_resize,
    documents.ResizePad: resize_crop_pad.resize_pad,
    documents.RandomCrop: resize_crop_pad.random_crop,
    documents.RandomResizedCrop: resize_crop_pad.random_resized_crop,
    documents.RandomAreaCrop: augmenting.random_area_crop,
    documents.CenterCrop: resize_crop_pad.center_crop,
    documents.Pad: resize_crop_pad.pad,
    documents.PadToMultiple: resize_crop_pad.pad_to_multiple,
    documents.RandomFlip: warping.flip_horizontal,
    documents.RandomRotation: warping.rotation,
    documents.Affine: warping.affine,
    documents.PhotometricDistortion: color.photometric_distortion,
    documents.ColorJitter: color.color_jitter,
    documents.Gamma: color.gamma_curve,
    documents.Sharpness: color.sharpness,
    documents.AutoContrast: color.auto_contrast,
    documents.Rerange: color.rerange,
    documents.Equalize: color.equalize,
    documents.Clahe: color.clahe,
    documents.Posterize: color.posterize,
    documents.GaussianBlur: color.gaussian_blur,
    documents.Grayscale: color.grayscale,
    documents.RandAugment: augmenting.rand_augment,
    documents.RandomErasing: augmenting.random_erasing,
}
"""Configuration → function whose keyword arguments have the names of its fields."""
