"""The parts that a trainer works with, all built beforehand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from segpipe.data import Loader
from segpipe.evaluation import AnyScores

from .callbacks import Callback
from .engine import LocalEngine
from .run.facts import RunFacts

Evaluate = Callable[[Callable[[], bool] | None], AnyScores]
"""Gives scores of the model as it is, or raises EvaluationStopped soon after its argument, if any, has become true."""


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainerParts(RunFacts):
    """The parts of one run.

    Attributes:
        engine: model, loss and optimizer on their device.
        batches: from the number of samples consumed to an endless stream of this process's batches.
        evaluate: gives scores of the model as it is. If None, there is no evaluation data.
        predict: the answer for an image (H, W, 3) uint8 RGB with the model as it is.
        callbacks: called in this order while the run goes on.
        check_data: called before the first step; raises where the data cannot be right. If None, nothing is checked.
        has_learnt_classes: whether the weights that training begins with were trained for the same classes.
    """

    engine: LocalEngine
    batches: Callable[[int], Loader]
    evaluate: Evaluate | None
    predict: Callable[[np.ndarray], np.ndarray]
    callbacks: Sequence[Callback] = ()
    check_data: Callable[[], None] | None = None
    has_learnt_classes: bool = False
