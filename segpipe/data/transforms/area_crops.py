"""Boxes of a drawn area and shape: cropping to one, and putting noise into one."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image

from ..sample import Sample
from .cropping import crop
from .moving import move, size_of, with_image
from .resizing import Size

DRAWS = 10
"""How many boxes are drawn until one lies in the picture."""
Interval = tuple[float, float]


def random_area_crop(
    sample: Sample, rng: np.random.Generator, *, size: Size, area: Interval, ratio: Interval
) -> Sample:
    """Crop a part with a share of the area drawn uniformly and log(width / height) drawn uniformly; resize it to size.

    Where ten boxes do not fit in, the middle is taken with the nearest ratio that does. Source: the crop of
    Inception (Szegedy et al. 2015) as torchvision's RandomResizedCrop has it. The picture is resized with Pillow's
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
    """Replace a box by noise around `mean`, drawn for each pixel and channel; a box that does not fit in, by nothing.

    Source: Zhong et al. 2020, with timm's way of drawing boxes. There the noise is added after normalisation; here it
    is cut to 0 … 255, as pictures are.
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


def _drawn_box(
    size: Size, rng: np.random.Generator, *, area: Interval, ratio: Interval
) -> tuple[int, int, int, int] | None:
    """(top, left, height, width); `ratio` is width / height."""
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
    """As the picture's resize, by the nearest pixel."""
    rows = ((np.arange(size[0]) + 0.5) * array.shape[0] / size[0]).astype(np.int64)
    columns = ((np.arange(size[1]) + 0.5) * array.shape[1] / size[1]).astype(np.int64)
    return array[rows[:, None], columns]
