"""Callbacks of a run: a base to override, TensorBoard, and the scores as text."""

from __future__ import annotations

import math
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segpipe import distributed
from segpipe.atomic import write_atomically
from segpipe.errors import InputError
from segpipe.evaluation import AnyScores, Scores, mmseg_tables
from segpipe.extras import import_extra
from segpipe.files import read_file
from segpipe.hub import ModelFolder
from segpipe.limits import limit
from segpipe.log import get_logger

from .engine import StepReport
from .run.run_log import LOG, counted_lines, read_log_if_there

if TYPE_CHECKING:
    from .trainer import Trainer


logger = get_logger(__name__)
RESULTS = "results.txt"
"""Its name in a work directory."""
_HEADER = re.compile(r"^step (\d+), epoch ", re.MULTILINE)


class Callback:
    """Override what is needed; `trainer.progress` says where the run stands.

    All processes of a run call the same callbacks at the same points, so they may work together there, as
    `trainer.evaluate()` does. What writes or prints asks `segpipe.distributed.is_main()` first. An error ends the run.
    Steps that are done again after a resumption are reported again.
    """

    def on_step(self, trainer: Trainer, report: StepReport) -> None:
        """Act after each optimizer step."""

    def on_evaluation(self, trainer: Trainer, scores: AnyScores) -> None:
        """Act after each evaluation; `trainer.progress.best_step` is this step where the score is the best so far.

        One before the first step has `trainer.progress.step` 0, and is never the best.
        """

    def on_checkpoint(self, trainer: Trainer, path: Path) -> None:
        """Act after the state of the run was saved in a folder; only the main process need see it."""

    def on_end(self, trainer: Trainer, folder: ModelFolder) -> None:
        """Act when the model folder is written; not for a run that stops to be resumed."""


class TensorBoard(Callback):
    """Writes scalars, in the main process alone.

    train/loss, train/lr and train/grad_norm every `train.log_every` steps; eval/miou, eval/pixel_accuracy,
    eval/mean_accuracy and eval/iou/NAME after each evaluation. Each point is on disk when the step is over, and a
    resumed run takes back the points after its checkpoint: curves have neither gaps nor double points.

    Args:
        folder: for the event files. If None, `tensorboard` in the run's work directory.

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
        """Begin a new file, which takes back the points of older ones from this step on."""
        self._close()
        self._writer = self._open(str(self._folder or trainer.parts.work_dir / "tensorboard"), purge_step=step)

    def _write(self, values: dict[str, float], step: int) -> None:
        for name, value in values.items():
            if math.isfinite(value):  # a class that is in no image has no score, a step that overflowed no norm
                self._writer.add_scalar(name, value, step)
        self._writer.flush()  # or a kill would take points away that a checkpoint is already beyond

    def _close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None


class ResultsText(Callback):
    """Writes `results.txt`, in the main process alone.

    A block has the step, the epoch, the mean of the losses that the log has since the evaluation before, the learning
    rate, and the scores: of a segmentation mmsegmentation's tables with IoU and accuracy of each class, aAcc, mIoU and
    mAcc, in percent. A resumed run takes back the blocks of the steps that it does again.
    """

    def __init__(self) -> None:
        self._is_failing = False

    def on_evaluation(self, trainer: Trainer, scores: AnyScores) -> None:
        if not distributed.is_main():
            return
        step, epoch = trainer.progress.step, trainer.progress.samples / trainer.parts.num_samples
        loss = _mean_loss(trainer.parts.work_dir / LOG, step)
        first = f"step {step}, epoch {epoch:.2f}: train loss {loss}, learning rate {trainer.learning_rate:.4g}"
        table = mmseg_tables(scores) if isinstance(scores, Scores) else scores.table()
        try:
            add_block(trainer.parts.work_dir / RESULTS, step, f"{first}\n{table}\n\n")
        except (OSError, InputError) as error:  # the scores are in the log as well
            reason = error.strerror if isinstance(error, OSError) else error
            if not self._is_failing:
                logger.warning("Cannot write %s: %s. Training goes on without it.", RESULTS, reason or error)
            self._is_failing = True


def add_block(path: Path, step: int, block: str) -> None:
    """Put a block at the end of the file, where no block of this step or a later one stays."""
    data = read_file(path, max_bytes=limit("run_state_bytes"), error=InputError) if os.path.lexists(path) else b""
    before = data.decode("utf-8", errors="replace")
    kept = _blocks_before(before, step)
    if kept == before:
        with open(path, "a", encoding="utf-8") as file:
            file.write(block)
        return
    write_atomically(path, (kept + block).encode())


def _blocks_before(text: str, step: int) -> str:
    """Return the text up to the first block of this step or a later one."""
    void = (found.start() for found in _HEADER.finditer(text) if int(found[1]) >= step)
    return text[: next(void, len(text))]


def _mean_loss(log: Path, step: int) -> str:
    """Return the mean loss of the logged steps since the evaluation before this step; a dash where none was logged."""
    losses: list[float] = []
    for line in counted_lines(read_log_if_there(log)):
        if line["event"] == "evaluation" and line["step"] < step:
            losses = []
        elif line["event"] == "step" and math.isfinite(line.get("loss", math.nan)):
            losses.append(line["loss"])
    return f"{sum(losses) / len(losses):.4f}" if losses else "–"
