"""What a trainer works with, all built beforehand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from segpipe.configuration import Configuration
from segpipe.data.loader import Loader
from segpipe.evaluation import Scores

from .engine import LocalEngine


@dataclass(frozen=True, eq=False)
class TrainerParts:
    """The parts of one run.

    Attributes:
        configuration: the whole document of the run.
        engine: model, loss and optimiser on their device.
        batches: from the number of samples consumed to an endless stream of this process's batches.
        num_samples: pictures of an epoch.
        evaluate: scores of the model as it is, None without evaluation data.
        work_dir: where everything is written.
        max_steps: optimiser steps of the run.
    """

    configuration: Configuration
    engine: LocalEngine
    batches: Callable[[int], Loader]
    num_samples: int
    evaluate: Callable[[], Scores] | None
    work_dir: Path
    max_steps: int
