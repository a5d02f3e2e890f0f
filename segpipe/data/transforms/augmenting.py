"""Augment images that have one class each: RandAugment (Cubuk et al. 2020), crops by area, erased boxes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from segpipe.errors import InputError

from ..sample import Sample
from .resize_crop_pad import Size, crop, move, size_of, with_image

Color = tuple[int, int, int]
Interval = tuple[float, float]
STRONGEST = 10.0
SOLARIZE_ADD_THRESHOLD = 128
DRAWS = 10
"""How many boxes are drawn until one lies in the image."""


class Strength(NamedTuple):
    """How strongly an operation is done, and in which direction.

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

    @property
    def shift(self) -> float:
        """As a share of the side."""
        return self.translate * self.share * self.sign


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
    """Apply operations drawn one after the other, each with its own strength and with a probability.

    The list and the strengths are those of timm's increasing set ("inc1"): the stronger, the farther from the image.

    Raises:
        InputError: the sample has a label or further maps, which would not follow.
    """
    if sample.label is not None or sample.extras:
        raise InputError(
            f"{sample.name} has a label, and rand_augment moves pixels without it. It is for image-classification; "
            "take random_rotation, affine and the color transforms instead."
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


def random_area_crop(
    sample: Sample, rng: np.random.Generator, *, size: Size, area: Interval, ratio: Interval
) -> Sample:
    """Crop a part with a share of the area drawn uniformly and log(width / height) drawn uniformly; resize it to size.

    Where ten boxes do not fit in, the middle is taken with the nearest ratio that does. Source: the crop of
    Inception (Szegedy et al. 2015) as torchvision's RandomResizedCrop has it. The image is resized with Pillow's
    bicubic filter; labels and further maps take the nearest pixel.
    """
    height, width = size_of(sample)
    box = _drawn_box((height, width), rng, area=area, ratio=ratio) or _middle_box((height, width), ratio)
    part = crop(sample, box[:2], box[2:])
    return move(
        part,
        lambda image: np.asarray(Image.fromarray(image).resize(size[::-1], Image.Resampling.BICUBIC)),
        lambda label: _nearest(label, size),
        lambda extra: _nearest(extra, size),
    )


def random_erasing(
    sample: Sample,
    rng: np.random.Generator,
    *,
    area: Interval,
    ratio: Interval,
    mean: tuple[int, int, int],
    deviation: tuple[float, float, float],
) -> Sample:
    """Replace a box by noise around `mean`, drawn for each pixel and channel; nothing, if no box fits.

    Source: Zhong et al. 2020, with timm's way of drawing boxes. There the noise is added after normalization; here it
    is cut to 0 … 255, as images are.
    """
    height, width = size_of(sample)
    box = _drawn_box((height, width), rng, area=area, ratio=(1 / ratio[1], 1 / ratio[0]))
    if box is None:
        return sample
    top, left, rows, columns = box
    noise = rng.normal(mean, deviation, (rows, columns, 3))
    image = sample.image.copy()
    image[top : top + rows, left : left + columns] = np.clip(np.rint(noise), 0, 255).astype(np.uint8)
    return with_image(sample, image)


def _rotate(image: Image.Image, strength: Strength) -> Image.Image:
    degrees = 30.0 * strength.share * strength.sign
    return image.rotate(degrees, resample=Image.Resampling.BICUBIC, fillcolor=strength.fill)


def _posterize(image: Image.Image, strength: Strength) -> Image.Image:
    """Keep at most 4 bits, at full strength none."""
    return ImageOps.posterize(image, 4 - int(4 * strength.share))


def _solarize_add(image: Image.Image, strength: Strength) -> Image.Image:
    """Brighten the dark half of the values by up to 110."""
    amount = min(SOLARIZE_ADD_THRESHOLD, int(110 * strength.share))
    table = [min(255, value + amount) if value < SOLARIZE_ADD_THRESHOLD else value for value in range(256)]
    return image.point(table * 3)


def _enhanced(enhance: Callable[[Image.Image], ImageEnhance._Enhance]) -> Operation:
    """Return the operation that enhances by 0.1 to 1.9; 1 is the image itself."""
    return lambda image, strength: enhance(image).enhance(max(0.1, 1.0 + 0.9 * strength.share * strength.sign))


def _affine(image: Image.Image, matrix: tuple[float, ...], strength: Strength) -> Image.Image:
    return image.transform(
        image.size,
        Image.Transform.AFFINE,
        matrix,
        resample=Image.Resampling.BICUBIC,
        fillcolor=strength.fill,
    )


def _drawn_box(
    size: Size, rng: np.random.Generator, *, area: Interval, ratio: Interval
) -> tuple[int, int, int, int] | None:
    """Draw a box (top, left, height, width); `ratio` is width / height."""
    height, width = size
    for _ in range(DRAWS):
        pixels = height * width * rng.uniform(*area)
        shape = math.exp(rng.uniform(math.log(ratio[0]), math.log(ratio[1])))
        rows, columns = round(math.sqrt(pixels / shape)), round(math.sqrt(pixels * shape))
        if 0 < rows <= height and 0 < columns <= width:
            top = int(rng.integers(height - rows, endpoint=True))
            return top, int(rng.integers(width - columns, endpoint=True)), rows, columns
    return None


def _middle_box(size: Size, ratio: Interval) -> tuple[int, int, int, int]:
    height, width = size
    rows, columns = height, width
    if width / height < ratio[0]:
        rows = max(1, round(width / ratio[0]))
    elif width / height > ratio[1]:
        columns = max(1, round(height * ratio[1]))
    return (height - rows) // 2, (width - columns) // 2, rows, columns


def _nearest(array: np.ndarray, size: Size) -> np.ndarray:
    """Resize by the nearest pixel, as the image is resized."""
    rows = ((np.arange(size[0]) + 0.5) * array.shape[0] / size[0]).astype(np.int64)
    columns = ((np.arange(size[1]) + 0.5) * array.shape[1] / size[1]).astype(np.int64)
    return array[rows[:, None], columns]


OPERATIONS: dict[str, Operation] = {
    "auto_contrast": lambda image, strength: ImageOps.autocontrast(image),
    "equalize": lambda image, strength: ImageOps.equalize(image),
    "invert": lambda image, strength: ImageOps.invert(image),
    "rotate": _rotate,
    "posterize": _posterize,
    "solarize": lambda image, strength: ImageOps.solarize(image, 256 - int(256 * strength.share)),
    "solarize_add": _solarize_add,
    "color": _enhanced(ImageEnhance.Color),
    "contrast": _enhanced(ImageEnhance.Contrast),
    "brightness": _enhanced(ImageEnhance.Brightness),
    "sharpness": _enhanced(ImageEnhance.Sharpness),
    "shear_x": lambda image, strength: _affine(image, (1, 0.3 * strength.share * strength.sign, 0, 0, 1, 0), strength),
    "shear_y": lambda image, strength: _affine(image, (1, 0, 0, 0.3 * strength.share * strength.sign, 1, 0), strength),
    "translate_x": lambda image, strength: _affine(image, (1, 0, strength.shift * image.width, 0, 1, 0), strength),
    "translate_y": lambda image, strength: _affine(image, (1, 0, 0, 0, 1, strength.shift * image.height), strength),
}
