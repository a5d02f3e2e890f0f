"""What a trainer works with, all built beforehand."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from segpipe.configuration import Configuration
from segpipe.data import Loader
from segpipe.evaluation import AnyScores

from .callbacks import Callback
from .engine import LocalEngine
from .run.data_record import DataRecord


class Evaluate(Protocol):
    """Scores of the model as it is, or EvaluationStopped soon after `should_stop` has become true."""

    def __call__(self, should_stop: Callable[[], bool] | None = None) -> AnyScores: ...


@dataclass(frozen=True, eq=False)
class TrainerParts:
    """The parts of one run.

    Attributes:
        configuration: the whole document of the run.
        engine: model, loss and optimiser on their device.
        batches: from the number of samples consumed to an endless stream of this process's batches.
        num_samples: pictures of an epoch.
        evaluate: scores of the model as it is, None without evaluation data.
        predict: the answer for a picture (H, W, 3) uint8 RGB with the model as it is.
        work_dir: where everything is written.
        max_steps: optimiser steps of the run.
        callbacks: called in this order while the run goes on.
        check_data: called before the first step; raises where the data cannot be right. If None, nothing is checked.
        data: what is trained on, by name; it goes into checkpoints.
        has_learnt_classes: whether the weights that training begins with were trained for the same classes.
        accept_changed_data: whether a run goes on that was begun with other data.
        extend: whether a run goes on to another end than the one that it was begun with.
        adaptations: how the configuration differs from its recipe by what follows from the data, in phrases.
        arguments: what the caller of `build_trainer` gave.
        shows_progress: whether the main process shows bars and lines.
    """

    configuration: Configuration
    engine: LocalEngine
    batches: Callable[[int], Loader]
    num_samples: int
    evaluate: Evaluate | None
    predict: Callable[[np.ndarray], np.ndarray]
    work_dir: Path
    max_steps: int
    callbacks: Sequence[Callback] = ()
    check_data: Callable[[], None] | None = None
    data: DataRecord | None = None
    has_learnt_classes: bool = False
    accept_changed_data: bool = False
    extend: bool = False
    adaptations: tuple[str, ...] = ()
    arguments: Mapping[str, Any] = field(default_factory=dict)
    shows_progress: bool = False
