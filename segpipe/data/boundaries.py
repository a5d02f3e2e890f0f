"""Boundary maps: how far each pixel is from the boundary of its own region, and which way the region's inside is.

Source: openseg's generator of "dt_offset" (Yuan et al. 2020, SegFix), whose maps UN-EPT is trained on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple, get_args

import numpy as np

from segpipe.errors import InputError
from segpipe.extras import import_opencv

cv2 = import_opencv()

Metric = Literal["euclidean", "taxicab"]
DISTANCE = "distance"
"""The extra with distances: uint8, 0 where there is no region. Transforms leave its values as they are: after resizing
they are still in pixels of the file. Pixels that transforms add have 0, and a label that is ignored."""
ANGLE = "angle"
"""The extra with directions: int16 degrees in (-180, 180] as files round them, 0 right, 90 down."""
GREATEST_DISTANCE = 250
DEGREES_PER_STEP = 2
"""Files hold (angle + 180) / 2, cut to whole numbers."""
LEAST_PIXELS = 100
"""A class with fewer pixels in a picture is left out, and its pixels have distance 0 and direction 0."""
KERNEL_SIDE = 5


class BoundaryMaps(NamedTuple):
    """What files hold.

    Attributes:
        distance: (H, W) uint8 pixels to the region's boundary, cut to whole ones, 250 at most; 1 for its outermost
            pixels, 0 where there is no region. The picture's edge is no boundary.
        direction: (H, W) uint8, (angle + 180) / 2 cut to a whole number; 90, which is right, where there is no region.
    """

    distance: np.ndarray
    direction: np.ndarray

    def extras(self) -> Mapping[str, np.ndarray]:
        """The maps as samples carry them."""
        return {DISTANCE: self.distance, ANGLE: self.direction.astype(np.int16) * DEGREES_PER_STEP - 180}


def compute_boundary_maps(label: np.ndarray, num_classes: int, *, metric: Metric = "euclidean") -> BoundaryMaps:
    """The maps of an encoded label.

    For each class with 100 pixels at least: the distance of its pixels to the nearest pixel of anything else, exactly;
    and the direction in which this distance grows, by correlation with the 5 × 5 kernels x / (x² + y²) and
    y / (x² + y²), beyond the picture and outside of the class zero. A class that fills the picture has distance 250.

    Args:
        label: (H, W) class indices; anything from num_classes on, as `ignore_index`, is no region.
        num_classes: how many classes there are.
        metric: euclidean; or taxicab, rows plus columns.
    """
    if metric not in get_args(Metric):
        raise InputError(f"The metric of boundary maps is {metric!r}; it is euclidean or taxicab. Give one of them.")
    distance = np.zeros(label.shape, np.uint8)
    angle = np.zeros(label.shape, np.float64)
    counts = np.bincount(label.ravel(), minlength=num_classes)[:num_classes]
    for index in np.flatnonzero(counts >= LEAST_PIXELS):
        box = _box_of(label == index)
        mask = (label[box] == index).astype(np.uint8)
        depth = _depth(mask, metric)
        inside = mask.astype(bool)
        # Squares of whole numbers are what is exact: 4.9999995 would be cut to 4.
        distance[box][inside] = np.minimum(_cut_to_whole(depth[inside], metric), GREATEST_DISTANCE)
        angle[box][inside] = _angle(depth)[inside]
    # A little is added, so that rounding in the last digit does not make 44 degrees of 45.
    return BoundaryMaps(distance, np.floor((angle + 180.0) / DEGREES_PER_STEP + 1e-6).astype(np.uint8))


def _box_of(mask: np.ndarray) -> tuple[slice, slice]:
    """The box of a class and one pixel around: the nearest pixel of something else is never farther away."""
    ranges = []
    for axis in (1, 0):
        used = np.flatnonzero(mask.any(axis=axis))
        ranges.append(slice(max(int(used[0]) - 1, 0), int(used[-1]) + 2))
    return ranges[0], ranges[1]


def _depth(mask: np.ndarray, metric: Metric) -> np.ndarray:
    """(H, W) float32: distance to the nearest pixel outside of the mask, exact but for rounding."""
    if mask.all():
        return np.full(mask.shape, GREATEST_DISTANCE, np.float32)
    if metric == "taxicab":
        return np.asarray(cv2.distanceTransform(mask, cv2.DIST_L1, 3), np.float32)
    return np.asarray(cv2.distanceTransform(mask, cv2.DIST_L2, cv2.DIST_MASK_PRECISE))


def _cut_to_whole(depth: np.ndarray, metric: Metric) -> np.ndarray:
    if metric == "taxicab":
        return np.rint(depth)
    return np.floor(np.sqrt(np.rint(depth.astype(np.float64) ** 2)))


def _angle(depth: np.ndarray) -> np.ndarray:
    """(H, W) degrees in [-180, 180] of the gradient."""
    reach = KERNEL_SIDE // 2
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1].astype(np.float64)
    square = np.where((x == 0) & (y == 0), 1.0, x * x + y * y)
    slopes = (
        cv2.filter2D(depth.astype(np.float64), cv2.CV_64F, kernel / square, borderType=cv2.BORDER_CONSTANT)
        for kernel in (y, x)
    )
    angle: np.ndarray = np.degrees(np.arctan2(*(np.where(np.abs(slope) < 1e-5, 0.0, slope) for slope in slopes)))
    return angle
