"""How the scores of classes come from a network's output, wherever the network is executed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from torch import Tensor


class Scoring(Protocol):
    """The way from one image's cells to its class scores, where these are not linear in the cells.

    Attributes:
        num_classes: K.
    """

    num_classes: int

    def scores(self, cells: Tensor) -> Tensor:
        """Return the scores (…, K), the highest of which wins, of interpolated cells (…, C) float32."""

    def probabilities(self, scores: Tensor) -> Tensor:
        """Return (…, K) in 0–1 of scores (…, K): what views average, and what a class's mask reports as its score."""


class GridScores(NamedTuple):
    """An output of a batch in the form that label maps are made from."""

    cells: Tensor
    """(B, C, h, w) on the network's grid, interpolated bilinearly between cells; (B, K) logits of a classifier."""
    scorings: Sequence[Scoring | None]
    """How each image's class scores come from its cells. If None, the cells are class logits."""
