"""The scores of a run as text: a file in the work directory that grows by a block with each evaluation."""

from __future__ import annotations

import math
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from segpipe import distributed
from segpipe.atomic import write_atomically
from segpipe.errors import InputError
from segpipe.evaluation import AnyScores, Scores, mmseg_tables
from segpipe.files import read_file
from segpipe.limits import limit
from segpipe.log import get_logger

from .callbacks import Callback
from .run.run_log import LOG, counted_lines, read_log_if_there

if TYPE_CHECKING:
    from .trainer import Trainer

logger = get_logger(__name__)

RESULTS = "results.txt"
"""Its name in a work directory."""

_HEADER = re.compile(r"^step (\d+), epoch ", re.MULTILINE)


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
    """The text up to the first block of this step or a later one."""
    void = (found.start() for found in _HEADER.finditer(text) if int(found[1]) >= step)
    return text[: next(void, len(text))]


def _mean_loss(log: Path, step: int) -> str:
    """Over the logged steps since the evaluation before that of this step; a dash where there is none."""
    losses: list[float] = []
    for line in counted_lines(read_log_if_there(log)):
        if line["event"] == "evaluation" and line["step"] < step:
            losses = []
        elif line["event"] == "step" and math.isfinite(line.get("loss", math.nan)):
            losses.append(line["loss"])
    return f"{sum(losses) / len(losses):.4f}" if losses else "–"
