"""What a user may have called while a run goes on: after steps, evaluations and checkpoints, and at its end."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from segpipe.evaluation import AnyScores
from segpipe.hub import ModelFolder

from .engine import StepReport

if TYPE_CHECKING:
    from .trainer import Trainer


class Callback:
    """Override what is needed; `trainer.progress` says where the run stands.

    All processes of a run call the same callbacks at the same points, so they may work together there, as
    `trainer.evaluate()` does. What writes or prints asks `segpipe.distributed.is_main()` first. An error ends the run.
    Steps that are done again after a resumption are reported again.
    """

    def on_step(self, trainer: Trainer, report: StepReport) -> None:
        """After each optimiser step."""

    def on_evaluation(self, trainer: Trainer, scores: AnyScores) -> None:
        """After each evaluation; `trainer.progress.best_step` is this step where the score is the best so far.

        One before the first step has `trainer.progress.step` 0, and is never the best.
        """

    def on_checkpoint(self, trainer: Trainer, path: Path) -> None:
        """After the state of the run was saved in a folder; only the main process need see it."""

    def on_end(self, trainer: Trainer, folder: ModelFolder) -> None:
        """When the model folder is written; not for a run that stops to be resumed."""
