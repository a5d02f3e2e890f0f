"""Sizes that a configuration asks for, held against the limits before anything is made of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from segpipe.limits import limit

from .schema import Configuration, CropResize, ExactResize, ShortSideResize
from .transforms import RandomResize, RandomResizedCrop, Resize, ResizeBetween, ResizeChoice, Transform

if TYPE_CHECKING:
    from .fields import Size

Request = tuple[str, float]
"""A path in the document and the pixels that it asks for."""


def oversized(configuration: Configuration) -> str | None:
    """What is wrong with the first size over the limits, beginning with its path; None if all are within."""
    train = configuration.train
    transforms = [] if train is None else list(enumerate(train.transforms))
    requests = list(_inference_requests(configuration))
    for index, transform in transforms:
        requests += [(f"train.transforms[{index}]{path}", pixels) for path, pixels in _transform_requests(transform)]
    most = limit("resized_pixels")
    for path, pixels in requests:
        if pixels > most:
            return f"{path}: this asks for images of {pixels:,.0f} pixels; at most {most:,} are allowed. {_ADVICE}"
    crop = next((pixels for _, each in reversed(transforms) for _, pixels in _transform_requests(each)), 1)
    most = limit("batch_pixels")
    if train is not None and train.batch_size * crop > most:
        return (
            f"train.batch_size: {train.batch_size:,} images of {crop:,.0f} pixels are more than the {most:,} pixels "
            f"allowed in a step. {_ADVICE}"
        )
    return None


_USUAL_IMAGE = (1024, 1024)
_ADVICE = "Make it smaller; docs/limits.md says how to raise the limit."


def _inference_requests(configuration: Configuration) -> Iterator[Request]:
    resize, inference = configuration.preprocessor.resize, configuration.inference
    largest = max(inference.scales) ** 2
    if isinstance(resize, ExactResize):
        yield "preprocessor.resize.size", _area(resize.size) * largest
    elif isinstance(resize, ShortSideResize):
        yield "preprocessor.resize.size", resize.size**2 * largest
    elif isinstance(resize, CropResize):
        yield "preprocessor.resize.size", resize.size**2
    if inference.window is not None:
        yield "inference.window", _area(inference.window)


def _transform_requests(transform: Transform) -> Iterator[Request]:
    """Of the images that a transform makes at most. What only cuts or fills is asked for its size alone."""
    if isinstance(transform, RandomResize | RandomResizedCrop):
        ratio = min(max(transform.ratio), 1e9) ** 2
        yield ".ratio", _area(transform.size or _USUAL_IMAGE) * ratio
    elif isinstance(transform, ResizeBetween):
        yield ".greatest", _area(transform.greatest)
    elif isinstance(transform, ResizeChoice):
        yield ".sizes", max(map(_area, transform.sizes))
    elif isinstance(transform, Resize):
        yield ".size", _area(transform.size)
    elif getattr(transform, "size", None) is not None:
        yield ".size", _area(transform.size)  # type: ignore[attr-defined]


def _area(size: Size) -> int:
    return size[0] * size[1]
