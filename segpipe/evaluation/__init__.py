"""Counting right and wrong pixels."""

from .confusion import ConfusionMatrix, Scores

__all__ = ["ConfusionMatrix", "Scores"]
