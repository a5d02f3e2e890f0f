"""Scores of a segmentation: what follows from counts, as numbers, JSON and a table."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from segpipe.text import html_table, printable_line

POLICY = (
    "Counts are summed over all images before anything is divided. Pixels labelled with the ignore index are left "
    "out; a labelled pixel whose prediction is no class counts against its class. A class is left out of the mean of "
    "IoU, boundary IoU and Dice (F1) where neither labels nor predictions have it, of accuracy (recall) where labels "
    "do not, of precision where predictions do not."
)
"""What is counted and what is averaged."""


@dataclass(frozen=True)
class Scores:
    """Scores over all counted pixels, as fractions of 1; 0/0 is NaN and not averaged, see `policy`.

    Attributes:
        miou: mean of the intersection over union of the classes.
        iou: intersection over union, by class name.
        pixel_accuracy: fraction of the labelled pixels that are right.
        mean_accuracy: mean of `accuracy`.
        accuracy: fraction of the class's pixels that are right, which is recall.
        mean_dice: mean of `dice`.
        dice: 2 · right / (labelled + predicted), which is F1.
        mean_precision: mean of `precision`.
        precision: fraction of the pixels predicted as the class that are right.
        boundary_miou: mean of `boundary_iou`.
        boundary_iou: IoU of the classes' boundaries (Cheng et al. 2021); None where it was not asked for.
        policy: what is counted and what is averaged.
    """

    miou: float
    iou: dict[str, float]
    pixel_accuracy: float
    mean_accuracy: float
    accuracy: dict[str, float]
    mean_dice: float
    dice: dict[str, float]
    mean_precision: float
    precision: dict[str, float]
    boundary_miou: float | None = None
    boundary_iou: dict[str, float] | None = None
    policy: str = POLICY

    @property
    def means(self) -> dict[str, float]:
        """The figures that stand for all classes, the main one first."""
        return {
            "miou": self.miou,
            "pixel_accuracy": self.pixel_accuracy,
            "mean_accuracy": self.mean_accuracy,
        }

    @property
    def by_class(self) -> dict[str, dict[str, float]]:
        """What a log keeps of each class."""
        return {"iou": self.iou}

    @property
    def recall(self) -> dict[str, float]:
        """Another name for `accuracy`."""
        return self.accuracy

    @property
    def mean_recall(self) -> float:
        """Another name for `mean_accuracy`."""
        return self.mean_accuracy

    @property
    def f1(self) -> dict[str, float]:
        """Another name for `dice`."""
        return self.dice

    @property
    def mean_f1(self) -> float:
        """Another name for `mean_dice`."""
        return self.mean_dice

    def to_dict(self) -> dict[str, Any]:
        """Return what JSON can hold: the attributes, with null for NaN."""
        return {key: without_nan(value) for key, value in asdict(self).items()}

    def table(self) -> str:
        """Return a line for each class and one for the means, in percent."""
        return f"{_aligned(self._rows())}\n{self._accuracy_line()}"

    def _repr_html_(self) -> str:
        return f"{html_table(self._rows())}<p>{self._accuracy_line()}</p>"

    def _rows(self) -> list[list[str]]:
        columns = {"IoU": self.iou, "accuracy": self.accuracy, "precision": self.precision, "Dice": self.dice}
        means = [self.miou, self.mean_accuracy, self.mean_precision, self.mean_dice]
        if self.boundary_iou is not None and self.boundary_miou is not None:
            columns["boundary IoU"] = self.boundary_iou
            means.append(self.boundary_miou)
        rows = [["class", *columns]]
        rows += [[printable_line(name), *(_percent(column[name]) for column in columns.values())] for name in self.iou]
        return [*rows, ["mean", *(_percent(mean) for mean in means)]]

    def _accuracy_line(self) -> str:
        return f"pixel accuracy {_percent(self.pixel_accuracy)}"

    __str__ = table


def divide(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Divide, with NaN where the denominator is 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.true_divide(numerator, denominator)


def mean(values: np.ndarray) -> float:
    """Return the mean of those that are numbers."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")


def without_nan(value: Any) -> Any:
    """Return what JSON can hold, with None for NaN, in a dict too."""
    if isinstance(value, dict):
        return {key: without_nan(one) for key, one in value.items()}
    return None if isinstance(value, float) and math.isnan(value) else value


def _percent(value: float) -> str:
    return "–" if math.isnan(value) else f"{100 * value:.2f}"


def _aligned(rows: list[list[str]]) -> str:
    """Align the first column to the left, numbers to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for name, *numbers in rows:
        cells = [number.rjust(width) for number, width in zip(numbers, widths[1:], strict=True)]
        lines.append("  ".join([name.ljust(widths[0]), *cells]))
    return "\n".join(lines)
