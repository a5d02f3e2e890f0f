"""Counting right and wrong pixels: the confusion matrix, boundaries, and a model's scores on a data set."""

from .boundaries import BoundaryCounts
from .confusion import ConfusionMatrix
from .measuring import evaluate
from .scores import Scores

__all__ = ["BoundaryCounts", "ConfusionMatrix", "Scores", "evaluate"]
