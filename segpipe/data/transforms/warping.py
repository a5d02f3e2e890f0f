"""Mirror, turn and shear samples."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from segpipe.extras import import_opencv

from ..sample import Sample
from .resize_crop_pad import Move, Padding, Size, move, size_of, turn_angles

cv2 = import_opencv()
Point = tuple[float, float]


def flip_horizontal(sample: Sample, rng: np.random.Generator) -> Sample:
    """Mirror left and right; directions a become 180° - a."""
    flipped = move(sample, _flipped(1), _flipped(1), _copied(np.fliplr))
    return turn_angles(flipped, lambda angles: 180.0 - angles)


def flip_vertical(sample: Sample, rng: np.random.Generator) -> Sample:
    """Mirror top and bottom; directions a become -a."""
    flipped = move(sample, _flipped(0), _flipped(0), _copied(np.flipud))
    return turn_angles(flipped, np.negative)


def rotation(sample: Sample, rng: np.random.Generator, *, degrees: float, padding: Padding) -> Sample:
    """Turn around the center by an angle drawn uniformly from -degrees to degrees; the size stays."""
    linear = linear_map(angle=rng.uniform(-degrees, degrees))
    return warp(sample, linear, size=size_of(sample), padding=padding)


def expanding_rotation(sample: Sample, rng: np.random.Generator, *, degrees: float, padding: Padding) -> Sample:
    """Turn as `rotation` does; the image becomes as large as the turned one needs, so that nothing is lost."""
    linear = linear_map(angle=rng.uniform(-degrees, degrees))
    width, height = np.abs(linear) @ size_of(sample)[::-1]
    return warp(sample, linear, size=(round(height), round(width)), padding=padding)


def affine(
    sample: Sample,
    rng: np.random.Generator,
    *,
    angle: float,
    translate: tuple[int, int],
    scale: float,
    shear: Point,
    padding: Padding,
) -> Sample:
    """Scale, shear, turn clockwise (degrees) around the center, then move by (down, right) pixels; the size stays.

    Matrices as in torchvision's `affine`, whose translation and shear are given the other way round, (x, y).
    """
    linear = linear_map(angle=angle, scale=scale, shear=shear)
    return warp(sample, linear, size=size_of(sample), padding=padding, translate=translate)


def linear_map(*, angle: float, scale: float = 1.0, shear: Point = (0.0, 0.0)) -> np.ndarray:
    """Return the (2, 2) turn · shear along y · shear along x · scale, for columns (x, y) with y downwards.

    Args:
        angle: degrees, clockwise.
        scale: factor.
        shear: (along y, along x) in degrees.
    """
    turn, shear_y, shear_x = (math.radians(value) for value in (angle, *shear))
    turning = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    return scale * turning @ [[1.0, 0.0], [-math.tan(shear_y), 1.0]] @ [[1.0, -math.tan(shear_x)], [0.0, 1.0]]


def warp(
    sample: Sample, linear: np.ndarray, *, size: Size, padding: Padding, translate: tuple[int, int] = (0, 0)
) -> Sample:
    """Apply a linear map that takes the image's center to the center of the new size plus (down, right).

    The image is sampled bilinearly, label and further maps take the nearest pixel.
    """
    height, width = size_of(sample)
    center = np.array([(width - 1) / 2, (height - 1) / 2])
    target = np.array([(size[1] - 1) / 2 + translate[1], (size[0] - 1) / 2 + translate[0]])
    matrix = np.column_stack([linear, target - linear @ center])
    warped = move(
        sample,
        _warped(matrix, size, cv2.INTER_LINEAR, padding.fill),
        _warped(matrix, size, cv2.INTER_NEAREST, (padding.label,)),
        lambda extra: _taken(extra, matrix, size),
    )
    return turn_angles(warped, lambda angles: _turned(angles, linear))


def _flipped(axis: int) -> Move:
    return lambda array: cv2.flip(array, axis)


def _copied(view: Callable[[np.ndarray], np.ndarray]) -> Move:
    """Return a move that copies: tensors cannot have the negative strides of a mirrored view."""
    return lambda array: np.ascontiguousarray(view(array))


def _warped(matrix: np.ndarray, size: Size, interpolation: int, fill: tuple[int, ...]) -> Move:
    return lambda array: cv2.warpAffine(
        array, matrix, size[::-1], flags=interpolation, borderMode=cv2.BORDER_CONSTANT, borderValue=fill
    )


def _taken(extra: np.ndarray, matrix: np.ndarray, size: Size) -> np.ndarray:
    """Do OpenCV's nearest warp for any dtype and number of channels; 0 where it finds no pixel.

    The warp moves each pixel's row and column, counted from 1, in a dtype of labels: others are rounded differently.
    """
    rows, columns = np.indices(extra.shape[:2], dtype=np.uint16)
    take = _warped(matrix, size, cv2.INTER_NEAREST, (0,))
    row, column = (take(places + np.uint16(1)).astype(np.int64) for places in (rows, columns))
    taken: np.ndarray = extra[row - 1, column - 1]
    taken[row == 0] = 0
    return taken


def _turned(angles: np.ndarray, linear: np.ndarray) -> np.ndarray:
    """Return directions in degrees after the map."""
    radians = np.radians(angles)
    x, y = np.tensordot(linear, np.stack([np.cos(radians), np.sin(radians)]), axes=1)
    return np.degrees(np.arctan2(y, x))
