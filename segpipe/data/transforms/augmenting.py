"""RandAugment (Cubuk et al. 2020): operations drawn from a list, for pictures that have one class each."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from segpipe.errors import InputError

from ..sample import Sample
from .moving import with_image

Color = tuple[int, int, int]
STRONGEST = 10.0
SOLARIZE_ADD_THRESHOLD = 128


class Strength(NamedTuple):
    """How an operation is done.

    Attributes:
        share: of the greatest effect, 0 … 1.
        sign: 1 or -1, for operations that have two directions.
        translate: greatest shift as a share of the side.
        fill: RGB of added pixels.
    """

    share: float
    sign: int = 1
    translate: float = 0.45
    fill: Color = (124, 116, 104)


Operation = Callable[[Image.Image, Strength], Image.Image]


def rand_augment(
    sample: Sample,
    rng: np.random.Generator,
    *,
    operations: int,
    magnitude: float,
    magnitude_deviation: float,
    operation_probability: float,
    translate: float,
    fill: Color,
) -> Sample:
    """Draw operations one after the other, each with its own strength, and do each with a probability.

    The list and the strengths are those of timm's increasing set ("inc1"): the stronger, the farther from the picture.

    Raises:
        InputError: the sample has a label or further maps, which would not follow.
    """
    if sample.label is not None or sample.extras:
        raise InputError(
            f"{sample.name} has a label, and rand_augment moves pixels without it. It is for image-classification; "
            "take random_rotation, affine and the colour transforms instead."
        )
    image = Image.fromarray(sample.image)
    names = list(OPERATIONS)
    for _ in range(operations):
        name = names[int(rng.integers(len(names)))]
        share = float(np.clip(rng.normal(magnitude, magnitude_deviation), 0.0, STRONGEST)) / STRONGEST
        sign, is_done = (-1 if rng.random() < 0.5 else 1), rng.random() < operation_probability
        if is_done:
            image = OPERATIONS[name](image, Strength(share, sign, translate, fill))
    return with_image(sample, np.asarray(image))


def _auto_contrast(image: Image.Image, strength: Strength) -> Image.Image:
    return ImageOps.autocontrast(image)


def _equalize(image: Image.Image, strength: Strength) -> Image.Image:
    return ImageOps.equalize(image)


def _invert(image: Image.Image, strength: Strength) -> Image.Image:
    return ImageOps.invert(image)


def _rotate(image: Image.Image, strength: Strength) -> Image.Image:
    degrees = 30.0 * strength.share * strength.sign
    return image.rotate(degrees, resample=Image.Resampling.BICUBIC, fillcolor=strength.fill)


def _posterize(image: Image.Image, strength: Strength) -> Image.Image:
    """Down from 4 bits to none."""
    return ImageOps.posterize(image, 4 - int(4 * strength.share))


def _solarize(image: Image.Image, strength: Strength) -> Image.Image:
    return ImageOps.solarize(image, 256 - int(256 * strength.share))


def _solarize_add(image: Image.Image, strength: Strength) -> Image.Image:
    """Brighten the dark half of the values by up to 110."""
    amount = min(SOLARIZE_ADD_THRESHOLD, int(110 * strength.share))
    table = [min(255, value + amount) if value < SOLARIZE_ADD_THRESHOLD else value for value in range(256)]
    return image.point(table * 3)


def _enhanced(enhance: Callable[[Image.Image], ImageEnhance._Enhance]) -> Operation:
    """From 0.1 to 1.9; 1 is the picture."""
    return lambda image, strength: enhance(image).enhance(max(0.1, 1.0 + 0.9 * strength.share * strength.sign))


def _shear_x(image: Image.Image, strength: Strength) -> Image.Image:
    return _affine(image, (1, 0.3 * strength.share * strength.sign, 0, 0, 1, 0), strength)


def _shear_y(image: Image.Image, strength: Strength) -> Image.Image:
    return _affine(image, (1, 0, 0, 0.3 * strength.share * strength.sign, 1, 0), strength)


def _translate_x(image: Image.Image, strength: Strength) -> Image.Image:
    pixels = strength.translate * strength.share * strength.sign * image.width
    return _affine(image, (1, 0, pixels, 0, 1, 0), strength)


def _translate_y(image: Image.Image, strength: Strength) -> Image.Image:
    pixels = strength.translate * strength.share * strength.sign * image.height
    return _affine(image, (1, 0, 0, 0, 1, pixels), strength)


def _affine(image: Image.Image, matrix: tuple[float, ...], strength: Strength) -> Image.Image:
    return image.transform(
        image.size,
        Image.Transform.AFFINE,
        matrix,
        resample=Image.Resampling.BICUBIC,
        fillcolor=strength.fill,
    )


OPERATIONS: dict[str, Operation] = {
    "auto_contrast": _auto_contrast,
    "equalize": _equalize,
    "invert": _invert,
    "rotate": _rotate,
    "posterize": _posterize,
    "solarize": _solarize,
    "solarize_add": _solarize_add,
    "color": _enhanced(ImageEnhance.Color),
    "contrast": _enhanced(ImageEnhance.Contrast),
    "brightness": _enhanced(ImageEnhance.Brightness),
    "sharpness": _enhanced(ImageEnhance.Sharpness),
    "shear_x": _shear_x,
    "shear_y": _shear_y,
    "translate_x": _translate_x,
    "translate_y": _translate_y,
}
