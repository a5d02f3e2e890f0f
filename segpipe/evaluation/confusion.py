"""The confusion matrix and the scores that follow from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from segpipe.errors import InputError


@dataclass(frozen=True)
class Scores:
    """Scores over all counted pixels, as shares of 1; a class that is nowhere is not a number and not averaged.

    Attributes:
        miou: mean of the intersection over union of the classes.
        iou: intersection over union, by class name.
        pixel_accuracy: share of the labelled pixels that are right.
        mean_accuracy: mean over the classes of the share of their pixels that are right.
    """

    miou: float
    iou: dict[str, float]
    pixel_accuracy: float
    mean_accuracy: float


class ConfusionMatrix:
    """Counts of pixels by label and prediction, int64, over any number of pictures.

    Args:
        num_classes: K.
        ignore_index: label value of pixels that are not counted.
    """

    def __init__(self, num_classes: int, ignore_index: int = 255) -> None:
        self.num_classes = num_classes
        self.ignore_index = ignore_index
        # The last column takes predictions that are no class, such as a void output.
        self.counts = np.zeros((num_classes, num_classes + 1), dtype=np.int64)

    def update(self, *, prediction: np.ndarray, label: np.ndarray) -> None:
        """Count one picture: two (H, W) maps of class indices."""
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

    def scores(self, names: Sequence[str] | None = None) -> Scores:
        """The scores of what was counted (mmsegmentation's and Cityscapes' formulas)."""
        keys = names if names is not None else [f"class {index}" for index in range(self.num_classes)]
        if len(keys) != self.num_classes:
            raise InputError(f"There are {len(keys)} names for {self.num_classes} classes. Give one for each.")
        right = np.diagonal(self.counts).astype(np.float64)
        labelled = self.counts.sum(axis=1)
        predicted = self.counts[:, : self.num_classes].sum(axis=0)
        iou = _divide(right, labelled + predicted - right)
        return Scores(
            miou=_mean(iou),
            iou=dict(zip(keys, iou.tolist(), strict=True)),
            pixel_accuracy=float(_divide(right.sum(), labelled.sum())),
            mean_accuracy=_mean(_divide(right, labelled)),
        )


def _divide(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.true_divide(numerator, denominator)


def _mean(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")
