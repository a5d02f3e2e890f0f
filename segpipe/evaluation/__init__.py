"""Counting right and wrong: the confusion matrix, boundaries, classes, and a model's scores on a data set."""

from .boundaries import BoundaryCounts
from .classification import ClassificationScores, evaluate_classifier
from .confusion import ConfusionMatrix
from .measuring import evaluate
from .scores import Scores

AnyScores = Scores | ClassificationScores
"""What a task's evaluation gives: `means` and `by_class` are in both."""

__all__ = [
    "AnyScores",
    "BoundaryCounts",
    "ClassificationScores",
    "ConfusionMatrix",
    "Scores",
    "evaluate",
    "evaluate_classifier",
]
