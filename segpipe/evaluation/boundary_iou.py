"""Boundary IoU: how well predictions follow the outlines of classes (Cheng et al., CVPR 2021)."""

from __future__ import annotations

import math

import numpy as np

from segpipe.extras import import_opencv

from .scores import divide


class BoundaryCounts:
    """Counts of boundary pixels by class, int64, over any number of images.

    A class's boundary is what its mask loses by erosion: pixels nearer than a distance to another
    class or to the image's edge, in the maximum norm. Ignored pixels belong to no class on either side, so a
    prediction that is right wherever there is a label scores 1.

    Args:
        num_classes: K.
        ignore_index: label value of pixels that are not counted.
        ratio: the distance, as a fraction of the image's diagonal; at least one pixel.
    """

    def __init__(self, num_classes: int, ignore_index: int = 255, *, ratio: float = 0.02) -> None:
        self.num_classes = num_classes
        self.ignore_index = ignore_index
        self.ratio = ratio
        self.counts = np.zeros((3, num_classes), dtype=np.int64)  # common, label's, prediction's

    def update(self, *, prediction: np.ndarray, label: np.ndarray) -> None:
        """Count one image: two (H, W) maps of class indices."""
        distance = boundary_distance(label.shape, self.ratio)
        expected = self._boundary_classes(label, distance)
        found = self._boundary_classes(np.where(label == self.ignore_index, self.ignore_index, prediction), distance)
        for row, classes in enumerate((expected[expected == found], expected, found)):
            self.counts[row] += np.bincount(classes.ravel(), minlength=self.num_classes + 1)[: self.num_classes]

    def iou(self) -> np.ndarray:
        """Return (K,) boundary IoU by class; NaN where there is no boundary."""
        common, expected, found = self.counts.astype(np.float64)
        return divide(common, expected + found - common)

    def _boundary_classes(self, classes: np.ndarray, distance: int) -> np.ndarray:
        """Return (H, W) int64: the class of boundary pixels, K elsewhere and where there is no class."""
        is_class = (classes >= 0) & (classes < self.num_classes) & (classes != self.ignore_index)
        return np.where(is_class & is_boundary(classes, distance), classes, self.num_classes).astype(np.int64)


def boundary_distance(size: tuple[int, ...], ratio: float) -> int:
    """Return a fraction of the diagonal in pixels, rounded, at least 1."""
    return max(1, round(ratio * math.hypot(*size)))


def is_boundary(classes: np.ndarray, distance: int) -> np.ndarray:
    """Return (H, W) bool: whether another class, or the image's edge, is within `distance` of the pixel.

    One erosion and one dilation of the map serve all classes: where the least and the greatest class
    around a pixel are the same, each class's own erosion would keep it.
    """
    cv2 = import_opencv()
    kernel = np.ones((3, 3), dtype=np.uint8)
    shifted = classes.astype(np.float32) + 1  # holds all class indices exactly; 0 is outside of the image
    around = cv2.copyMakeBorder(shifted, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    least = cv2.erode(around, kernel, iterations=distance)[1:-1, 1:-1]
    greatest = cv2.dilate(around, kernel, iterations=distance)[1:-1, 1:-1]
    return least != greatest
