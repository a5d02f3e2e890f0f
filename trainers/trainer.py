"""The training loop: steps, evaluations, checkpoints, in the order in which they happen."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from segpipe import distributed
from segpipe.configuration import encode_configuration
from segpipe.data import Batch, read_source
from segpipe.errors import InputError, NumericalError
from segpipe.evaluation import AnyScores, EvaluationStopped
from segpipe.hub import ModelFolder
from segpipe.log import get_logger
from segpipe.progress_bars import ProgressBar, tell

from .engine import StepReport
from .parts import TrainerParts
from .run.checkpoint import (
    BEST,
    CHECKPOINTS,
    Checkpoint,
    Snapshot,
    keep_best,
    list_checkpoints,
    prepare_work_dir,
    save_best,
    save_checkpoint,
    step_of,
)
from .run.messages import evaluation_line, interrupted_text, opening_line, stopped_text, worse_text
from .run.outcome import find_result, take_best, write_result
from .run.progress import Progress, with_score
from .run.resume import resume
from .run.run_log import LOG, RunLog
from .run.signals import PREEMPTED, sole_run, stop_signals
from .schedules import apply_learning_rate, is_evaluation_step, learning_rate

logger = get_logger(__name__)


class Trainer:
    """Trains a network and leaves a model folder behind. It receives built parts and builds nothing.

    Running `train()` again in the same work directory goes on where the last run stopped.
    """

    def __init__(self, parts: TrainerParts) -> None:
        self.parts = parts
        self.config = parts.config
        self.progress = Progress()
        self._should_stop = False
        self._last_scores: AnyScores | None = None
        self._samples_without_loss = 0
        self._saved_best: int | None = None
        """The best step that the last checkpoint knows."""

    @property
    def model(self) -> Any:
        """The network that is trained."""
        return self.parts.engine.model

    @property
    def is_over(self) -> bool:
        """Whether the last step is done, or no score was better for as long as `evaluation.patience` says."""
        return self.progress.step >= self.parts.max_steps or self._is_out_of_patience

    @property
    def learning_rate(self) -> float:
        """That of the last step, before the factors of parameter groups."""
        return self._learning_rate_at(max(self.progress.step - 1, 0))

    @property
    def evaluates_first(self) -> bool:
        """Whether an evaluation comes before the next step, since none was made and the classes are known already."""
        evaluation = self.parts.configuration.evaluation
        is_wanted = self.parts.has_learnt_classes and (evaluation is None or evaluation.before_training)
        return is_wanted and self.parts.evaluate is not None and self.progress.step == 0

    def is_due(self, every: int) -> bool:
        """Return whether the run is at a multiple of an interval, or over."""
        return self.progress.step % every == 0 or self.is_over

    def train(self) -> ModelFolder:
        """Train to the end and write the model folder; resumes by itself.

        Progress is shown as `build_trainer(progress=...)` says. A run that is over trains no further; where its model
        folder stands, nothing is evaluated or called again.
        Signals are heard between steps and evaluated batches. A process that waits for another one hears none until
        that one answers or is given up, after `distributed.TIMEOUT`.

        Raises:
            ConfigurationError: when the work directory holds a run with another configuration, or of a newer segpipe.
            InputError: when another run works in the directory, or the data cannot be right.
            NumericalError: when a loss or gradient is not finite; it names the images and the last checkpoint.
            SegpipeError: when another process of the run or a loader worker is gone, nothing can be written, or the
                processes see different work directories.
            SystemExit: with code 75 after SIGTERM, SIGUSR1 or Ctrl-C, with everything saved.
        """
        try:
            with distributed.lost_processes_explained():
                return self._train()
        except KeyboardInterrupt:
            kept = list_checkpoints(self.parts.work_dir / CHECKPOINTS)
            if distributed.is_main():
                logger.warning("%s", interrupted_text(step_of(kept[-1]) if kept else None))
            raise
        finally:
            self._should_stop = False  # obeyed; the next call goes on

    def _train(self) -> ModelFolder:
        work_dir = self.parts.work_dir
        prepare_work_dir(work_dir)
        with sole_run(work_dir), stop_signals(self._stop):
            self.progress = resume(self.parts)
            self._saved_best = self.progress.best_step
            was_over = self.is_over and not self.progress.is_evaluation_due
            self._tell(opening_line(self.parts, self.progress, is_over=was_over))
            if self.progress.step == 0 and self.parts.check_data is not None:
                self.parts.check_data()
            if not was_over:
                with RunLog(work_dir / LOG) as log:
                    self._run_steps(log)
            with self.parts.engine.averaged():
                shipped = take_best(self.parts, self.progress)
                before = find_result(self.parts) if was_over else None
                folder = before or self._write_result(shipped)
        if before is None:
            self._advise()
            for callback in self.parts.callbacks:
                callback.on_end(self, folder)
        return folder

    def _advise(self) -> None:
        if self.progress.is_worse_than_at_first and self.config.optimizer.lr and distributed.is_main():
            logger.warning("%s", worse_text(self.parts, self.progress))

    def _tell(self, text: str | None) -> None:
        if text is not None and distributed.is_main():
            tell(logger, text, is_shown=self.parts.shows_progress)

    def _end_stopped(self) -> NoReturn:
        if distributed.is_main():
            logger.warning("%s", stopped_text(self.parts, self.progress))
        raise SystemExit(PREEMPTED) from None

    def _write_result(self, shipped: Progress) -> ModelFolder:
        """Write the model folder, after the last checkpoint: a run that stops in here writes it when it goes on."""
        scores = self._last_scores if shipped.best_step == shipped.step else None
        if scores is None and self.parts.evaluate is not None:
            try:
                scores = self.parts.evaluate(lambda: self._should_stop)
            except EvaluationStopped:
                self._end_stopped()
        return write_result(self.parts, shipped, scores)

    def evaluate(self) -> AnyScores:
        """Return scores on the evaluation data with the current weights, the averaged ones where there are any."""
        if self.parts.evaluate is None:
            raise InputError("There is nothing to evaluate on. Pass eval_dataset to build_trainer.")
        with self.parts.engine.averaged():
            return self.parts.evaluate(None)

    def predict(self, image: Any) -> np.ndarray:
        """Return the answer for an image with the weights as they are now, the averaged ones where there are any.

        Args:
            image: (H, W, 3) uint8 RGB, a path, or what else `segpipe.data.read_source` reads.

        Returns:
            (H, W) class indices, uint8, or uint16 with more than 256 classes; in classification (K,) probabilities.
        """
        pixels = read_source(image)
        with self.parts.engine.averaged():
            return self.parts.predict(pixels)

    def _run_steps(self, log: RunLog) -> None:
        log.write("start", self._opening())
        if self.progress.is_evaluation_due:  # the last run was stopped in the middle of it
            self._evaluate_and_note(log)
            if self.progress.is_evaluation_due:  # stopped again; all is saved
                self._end_stopped()
            self._save()
        elif self.evaluates_first:
            self._evaluate_first(log)
        with self.parts.batches(self.progress.samples) as batches, self._bar() as bar:
            while not self.is_over:
                before = self.progress.samples
                report = self._run_step(list(islice(batches, self.config.accumulate)), log)
                bar.update(note=f"loss {report.loss:.4g}, lr {self.learning_rate:.3g}")
                if self._should_evaluate(before):
                    self._evaluate_and_note(log)
                self._stop_or_save()

    def _evaluate_first(self, log: RunLog) -> None:
        """Note the score of the weights that were taken over. It is never the best, which training has to reach."""
        assert self.parts.evaluate is not None
        begun = time.monotonic()
        try:
            with self.parts.engine.averaged():
                scores = self.parts.evaluate(lambda: self._should_stop)
        except EvaluationStopped:
            self._end_stopped()
        key, score = self._main_score(scores)
        self.progress = replace(self.progress, first_score=score if math.isfinite(score) else None)
        self._tell(evaluation_line(self.parts, self.progress, (key, score), time.monotonic() - begun))
        log.write("evaluation", {"step": 0, **scores.means, **scores.by_class})
        for callback in self.parts.callbacks:
            callback.on_evaluation(self, scores)

    def _main_score(self, scores: AnyScores) -> tuple[str, float]:
        """Return key and value of the score that chooses the best step."""
        evaluation = self.parts.configuration.evaluation
        key = evaluation.best if evaluation else next(iter(scores.means))
        return key, scores.means[key]

    def _bar(self) -> ProgressBar:
        steps, done, is_shown = self.parts.max_steps, self.progress.step, self.parts.shows_progress
        return ProgressBar("train", steps, "steps", start=done, is_shown=is_shown, stays=True)

    def _stop_or_save(self) -> None:
        is_told = distributed.any_process(self._should_stop, self.parts.engine.device)
        if is_told or self.is_due(self.config.checkpoint.every):
            self._save()
        if is_told and (not self.is_over or self.progress.is_evaluation_due):
            self._end_stopped()

    def _opening(self) -> dict[str, int]:
        """Return what the log says when a run begins or goes on."""
        parameters = list(self.model.parameters())
        return {
            "step": self.progress.step,
            "max_steps": self.parts.max_steps,
            "parameters": sum(parameter.numel() for parameter in parameters),
            "trainable_parameters": sum(parameter.numel() for parameter in parameters if parameter.requires_grad),
            "processes": distributed.world_size(),
        }

    def _run_step(self, batches: Sequence[Batch], log: RunLog) -> StepReport:
        step = self.progress.step
        rate = self._learning_rate_at(step)
        apply_learning_rate(self.parts.engine.optimizer, rate)
        try:
            report = self.parts.engine.step(batches, step)
        except NumericalError as error:
            kept = list_checkpoints(self.parts.work_dir / CHECKPOINTS)
            last = f"The last checkpoint is {kept[-1]}." if kept else "There is no checkpoint yet."
            raise NumericalError(f"{error} {last}") from None
        samples = self.progress.samples + self.config.batch_size * self.config.accumulate
        self.progress = replace(self.progress, step=step + 1, samples=samples)
        self._check_learning(report)
        if self.is_due(self.config.log_every) or report.is_skipped:
            values = {"step": step + 1, "epoch": samples / self.parts.num_samples, "lr": rate, **vars(report)}
            log.write("step", values)
        for callback in self.parts.callbacks:
            callback.on_step(self, report)
        return report

    def _check_learning(self, report: StepReport) -> None:
        """Stop where the labels of a whole pass, or of a whole run, have given neither loss nor gradient."""
        if report.loss or report.grad_norm:
            self._samples_without_loss = 0
            return
        self._samples_without_loss += self.config.batch_size * self.config.accumulate
        is_whole_run = self.is_over and self._samples_without_loss == self.progress.samples
        if self._samples_without_loss >= self.parts.num_samples or is_whole_run:
            raise InputError(
                f"The labels of {self._samples_without_loss} samples in a row gave a loss of 0 and no gradient: they "
                "hold nothing but ignored pixels, or there is a single class, and nothing is learnt. Look at them with "
                "segpipe data check."
            )

    def _evaluate_and_note(self, log: RunLog) -> None:
        if self.parts.evaluate is None:
            self.progress = replace(self.progress, is_evaluation_due=False)
            return
        begun = time.monotonic()
        try:
            with self.parts.engine.averaged():
                scores = self._last_scores = self.parts.evaluate(lambda: self._should_stop)
        except EvaluationStopped:
            self.progress = replace(self.progress, is_evaluation_due=True)
            return
        self.progress = replace(self.progress, is_evaluation_due=False)
        before = self.progress.best_step
        key, score = self._main_score(scores)
        self.progress = with_score(self.progress, score)
        self._tell(evaluation_line(self.parts, self.progress, (key, score), time.monotonic() - begun))
        log.write("evaluation", {"step": self.progress.step, **scores.means, **scores.by_class})
        if self.progress.best_step != before and distributed.is_main():
            with self.parts.engine.averaged():
                save_best(self._snapshot(), self.parts.work_dir / BEST, counted_on=self._saved_best)
        distributed.barrier()
        for callback in self.parts.callbacks:
            callback.on_evaluation(self, scores)
        if self._is_out_of_patience and self.progress.step < self.parts.max_steps:
            self._note_early_stop(log)

    def _note_early_stop(self, log: RunLog) -> None:
        worse, best = self.progress.worse_evaluations, self.progress.best_step
        log.write("early_stop", {"step": self.progress.step, "worse_evaluations": worse, "best_step": best})
        step = self.progress.step
        self._tell(f"Ending early at step {step}: {worse} evaluations in a row gave no better score than step {best}")

    def _save(self) -> None:
        saved = ""
        if distributed.is_main():
            checkpoint = Checkpoint(
                **vars(self._snapshot()), optimizer=self.parts.engine.state_dict(), data=self.parts.data
            )
            place = self.parts.work_dir / CHECKPOINTS
            saved = str(save_checkpoint(checkpoint, place, keep=self.config.checkpoint.keep))
            keep_best(self.parts.work_dir / BEST, {self.progress.best_step})
        self._saved_best = self.progress.best_step
        path = Path(distributed.gather_texts(saved)[0])  # the others wait here for the main process
        for callback in self.parts.callbacks:
            callback.on_checkpoint(self, path)

    def _snapshot(self) -> Snapshot:
        document = encode_configuration(self.parts.configuration)
        return Snapshot(self.progress, self.parts.engine.model.state_dict(), document)

    def _should_evaluate(self, samples_before: int) -> bool:
        size, per_step = self.parts.num_samples, self.config.batch_size * self.config.accumulate
        passes = samples_before / size, self.progress.samples / size
        length = self.config.max_epochs or self.parts.max_steps * per_step / size
        evaluation = self.parts.configuration.evaluation
        return self.is_over or is_evaluation_step(evaluation, self.progress.step, passes, length)

    @property
    def _is_out_of_patience(self) -> bool:
        """Return the same in all processes, since the scores are the same."""
        evaluation = self.parts.configuration.evaluation
        patience = evaluation.patience if evaluation else None
        return patience is not None and self.progress.worse_evaluations >= patience

    def _learning_rate_at(self, step: int) -> float:
        return learning_rate(self.config.schedule, self.config.optimizer.lr, step, self.parts.max_steps)

    def _stop(self) -> None:
        self._should_stop = True
