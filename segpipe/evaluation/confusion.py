"""The confusion matrix: counts of pixels, from which the scores follow."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from segpipe.errors import InputError

from .boundary_iou import BoundaryCounts
from .scores import Scores, divide, mean


class ConfusionMatrix:
    """Counts of pixels by label and prediction, int64, over any number of images.

    Args:
        num_classes: K.
        ignore_index: label value of pixels that are not counted.
    """

    def __init__(self, num_classes: int, ignore_index: int = 255) -> None:
        self.num_classes = num_classes
        self.ignore_index = ignore_index
        # The last column takes predictions that are not a class, such as a void output.
        self.counts = np.zeros((num_classes, num_classes + 1), dtype=np.int64)

    def update(self, *, prediction: np.ndarray, label: np.ndarray) -> None:
        """Count one image: two (H, W) maps of class indices."""
        if prediction.shape != label.shape:
            raise InputError(
                f"The prediction is {prediction.shape} and the label {label.shape}; they must be one size."
            )
        is_counted = label != self.ignore_index
        labels = label[is_counted].astype(np.int64)
        wrong = labels[(labels < 0) | (labels >= self.num_classes)]
        if wrong.size:
            raise InputError(
                f"The label has the value {wrong[0]}, and there are {self.num_classes} classes. "
                f"Values must be 0 to {self.num_classes - 1}, or {self.ignore_index} for pixels to ignore."
            )
        predictions = prediction[is_counted].astype(np.int64)
        predictions[(predictions < 0) | (predictions >= self.num_classes)] = self.num_classes
        cells = np.bincount(labels * (self.num_classes + 1) + predictions, minlength=self.counts.size)
        self.counts += cells.reshape(self.counts.shape)

    def scores(self, names: Sequence[str] | None = None, *, boundaries: BoundaryCounts | None = None) -> Scores:
        """Return the scores of what was counted (mmsegmentation's and Cityscapes' formulas), see `POLICY`."""
        keys = names if names is not None else [f"class {index}" for index in range(self.num_classes)]
        if len(keys) != self.num_classes:
            raise InputError(f"There are {len(keys)} names for {self.num_classes} classes. Give one for each.")
        right = np.diagonal(self.counts).astype(np.float64)
        labelled = self.counts.sum(axis=1)
        predicted = self.counts[:, : self.num_classes].sum(axis=0)
        iou, accuracy = divide(right, labelled + predicted - right), divide(right, labelled)
        dice, precision = divide(2 * right, labelled + predicted), divide(right, predicted)
        boundary_iou = None if boundaries is None else boundaries.iou()
        return Scores(
            miou=mean(iou),
            iou=_by_name(keys, iou),
            pixel_accuracy=float(divide(right.sum(), labelled.sum())),
            mean_accuracy=mean(accuracy),
            accuracy=_by_name(keys, accuracy),
            mean_dice=mean(dice),
            dice=_by_name(keys, dice),
            mean_precision=mean(precision),
            precision=_by_name(keys, precision),
            boundary_miou=None if boundary_iou is None else mean(boundary_iou),
            boundary_iou=None if boundary_iou is None else _by_name(keys, boundary_iou),
        )


def _by_name(names: Sequence[str], values: np.ndarray) -> dict[str, float]:
    return dict(zip(names, values.tolist(), strict=True))
