"""What is called while a run goes on: after steps, evaluations and checkpoints, and at its end; and TensorBoard."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segpipe import distributed
from segpipe.evaluation import AnyScores
from segpipe.extras import import_extra
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


class TensorBoard(Callback):
    """Writes scalars, in the main process alone.

    train/loss, train/lr and train/grad_norm every `train.log_every` steps; eval/miou, eval/pixel_accuracy,
    eval/mean_accuracy and eval/iou/NAME after each evaluation. Each point is on disk when the step is over, and a
    resumed run takes back the points after its checkpoint: curves have neither gaps nor double points.

    Args:
        folder: for the event files; None: `tensorboard` in the run's work directory.

    Raises:
        MissingExtraError: the package tensorboard is not installed.
    """

    def __init__(self, folder: str | Path | None = None) -> None:
        self._folder = folder
        self._open = import_extra("torch.utils.tensorboard", extra="tensorboard").SummaryWriter
        self._writer: Any = None
        self._last_step = 0

    def on_step(self, trainer: Trainer, report: StepReport) -> None:
        if not distributed.is_main():
            return
        step = trainer.progress.step
        if self._writer is None or step <= self._last_step:
            self._begin(trainer, step)
        self._last_step = step
        if trainer.is_due(trainer.config.log_every):
            values = {"loss": report.loss, "lr": trainer.learning_rate, "grad_norm": report.grad_norm}
            self._write({f"train/{name}": value for name, value in values.items()}, step)

    def on_evaluation(self, trainer: Trainer, scores: AnyScores) -> None:
        if not distributed.is_main():
            return
        if self._writer is None:  # the evaluation that the last run was stopped in
            self._begin(trainer, trainer.progress.step + 1)
        classes = {f"{key}/{name}": share for key, of in scores.by_class.items() for name, share in of.items()}
        self._write({f"eval/{name}": value for name, value in (scores.means | classes).items()}, trainer.progress.step)

    def on_end(self, trainer: Trainer, folder: ModelFolder) -> None:
        self._close()

    def _begin(self, trainer: Trainer, step: int) -> None:
        """A new file, which takes back the points of older ones from this step on."""
        self._close()
        self._writer = self._open(str(self._folder or trainer.parts.work_dir / "tensorboard"), purge_step=step)

    def _write(self, values: dict[str, float], step: int) -> None:
        for name, value in values.items():
            if math.isfinite(value):  # a class that is in no picture has no score, a step that overflowed no norm
                self._writer.add_scalar(name, value, step)
        self._writer.flush()  # or a kill would take points away that a checkpoint is already beyond

    def _close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None
