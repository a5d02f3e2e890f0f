"""The training loop: steps, evaluations, checkpoints, in the order in which they happen."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from segpipe import distributed
from segpipe.configuration import decode_configuration, encode_configuration
from segpipe.data import Batch
from segpipe.data.sources import read_source
from segpipe.errors import ConfigurationError, InputError, NumericalError
from segpipe.evaluation import AnyScores
from segpipe.evaluation.measuring import EvaluationStopped
from segpipe.hub import ModelFolder
from segpipe.log import get_logger

from .checkpoint import (
    Checkpoint,
    Progress,
    list_checkpoints,
    load_newest,
    prepare_work_dir,
    save_checkpoint,
    with_score,
)
from .evaluation_times import is_evaluation_step
from .parts import TrainerParts
from .results import write_result
from .run_log import RunLog
from .schedules import apply_learning_rate, learning_rate

logger = get_logger(__name__)

PREEMPTED = 75
"""Exit code of a run that was told to stop and can be resumed (EX_TEMPFAIL)."""


class Trainer:
    """Trains a network and leaves a model folder behind. It receives built parts and builds nothing.

    Running `train()` again in the same work directory goes on where the last run stopped.
    """

    def __init__(self, parts: TrainerParts) -> None:
        assert parts.configuration.train is not None
        self.parts = parts
        self.config = parts.configuration.train
        self.progress = Progress()
        self._should_stop = False
        self._last_scores: AnyScores | None = None

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

    def is_due(self, every: int) -> bool:
        """Whether the run is at a multiple of an interval, or over."""
        return self.progress.step % every == 0 or self.is_over

    def train(self) -> ModelFolder:
        """Train to the end and write the model folder; resumes by itself. A run that is over trains no further.

        Raises:
            ConfigurationError: when the work directory holds a run with another configuration.
            InputError: when another run works in the directory.
            NumericalError: when a loss or gradient is not finite; it names the pictures and the last checkpoint.
            SegpipeError: when another process of the run or a loader worker is gone, or nothing can be written.
            SystemExit: with code 75 after SIGTERM, SIGUSR1 or Ctrl-C, with everything saved.
        """
        with distributed.lost_processes_explained():
            return self._train()

    def _train(self) -> ModelFolder:
        work_dir = self.parts.work_dir
        prepare_work_dir(work_dir)
        with _sole_run(work_dir), _stop_signals(self._stop):
            self._resume()
            with RunLog(work_dir / "log.jsonl", total=self.parts.max_steps, start=self.progress.step) as log:
                self._run_steps(log)
        distributed.barrier()
        with self.parts.engine.averaged():
            is_last_best = self.progress.best_step == self.progress.step
            folder = write_result(self.parts, self.progress, self._last_scores if is_last_best else None)
        for callback in self.parts.callbacks:
            callback.on_end(self, folder)
        return folder

    def evaluate(self) -> AnyScores:
        """Scores on the evaluation data with the weights as they are now, the averaged ones where there are any."""
        if self.parts.evaluate is None:
            raise InputError("There is nothing to evaluate on. Pass eval_dataset to build_trainer.")
        with self.parts.engine.averaged():
            return self.parts.evaluate()

    def predict(self, image: Any) -> np.ndarray:
        """The answer for a picture with the weights as they are now, the averaged ones where there are any.

        Args:
            image: (H, W, 3) uint8 RGB, a path, or what else `segpipe.data.sources.read_source` reads.

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
                raise SystemExit(PREEMPTED)
        with self.parts.batches(self.progress.samples) as batches:
            while not self.is_over:
                before = self.progress.samples
                self._run_step(list(islice(batches, self.config.accumulate)), log)
                log.advance()
                if self._should_evaluate(before):
                    self._evaluate_and_note(log)
                self._stop_or_save()

    def _stop_or_save(self) -> None:
        is_told = distributed.any_process(self._should_stop, self.parts.engine.device)
        if is_told or self.is_due(self.config.checkpoint.every):
            self._save()
        if is_told and (not self.is_over or self.progress.is_evaluation_due):
            logger.warning("Stopped at step %s as told; train() goes on from there", self.progress.step)
            raise SystemExit(PREEMPTED)

    def _opening(self) -> dict[str, int]:
        """What the log says when a run begins or goes on."""
        parameters = list(self.model.parameters())
        return {
            "step": self.progress.step,
            "max_steps": self.parts.max_steps,
            "parameters": sum(parameter.numel() for parameter in parameters),
            "trainable_parameters": sum(parameter.numel() for parameter in parameters if parameter.requires_grad),
            "processes": distributed.world_size(),
        }

    def _run_step(self, batches: Sequence[Batch], log: RunLog) -> None:
        step = self.progress.step
        rate = self._learning_rate_at(step)
        apply_learning_rate(self.parts.engine.optimizer, rate)
        try:
            report = self.parts.engine.step(batches, step)
        except NumericalError as error:
            kept = list_checkpoints(self.parts.work_dir / "checkpoints")
            last = f"The last checkpoint is {kept[-1]}." if kept else "There is no checkpoint yet."
            raise NumericalError(f"{error} {last}") from error
        samples = self.progress.samples + self.config.batch_size * self.config.accumulate
        self.progress = replace(self.progress, step=step + 1, samples=samples)
        if self.is_due(self.config.log_every) or report.is_skipped:
            values = {"step": step + 1, "epoch": samples / self.parts.num_samples, "lr": rate, **vars(report)}
            log.write("step", values)
        for callback in self.parts.callbacks:
            callback.on_step(self, report)

    def _evaluate_and_note(self, log: RunLog) -> None:
        if self.parts.evaluate is None:
            return
        try:
            with self.parts.engine.averaged():
                scores = self._last_scores = self.parts.evaluate(lambda: self._should_stop)
        except EvaluationStopped:
            self.progress = replace(self.progress, is_evaluation_due=True)
            return
        self.progress = replace(self.progress, is_evaluation_due=False)
        evaluation = self.parts.configuration.evaluation
        key = evaluation.best if evaluation else next(iter(scores.means))
        before = self.progress.best_step
        self.progress = with_score(self.progress, scores.means[key])
        log.write("evaluation", {"step": self.progress.step, **scores.means, **scores.by_class})
        if self.progress.best_step != before and distributed.is_main():
            with self.parts.engine.averaged():
                save_checkpoint(self._checkpoint(), self.parts.work_dir / "best", keep=1)
        distributed.barrier()
        for callback in self.parts.callbacks:
            callback.on_evaluation(self, scores)
        if self._is_out_of_patience and self.progress.step < self.parts.max_steps:
            self._note_early_stop(log)

    def _note_early_stop(self, log: RunLog) -> None:
        worse, best = self.progress.worse_evaluations, self.progress.best_step
        log.write("early_stop", {"step": self.progress.step, "worse_evaluations": worse, "best_step": best})
        if distributed.is_main():
            text = "Ending early at step %s: %s evaluations in a row gave no better score than step %s"
            logger.info(text, self.progress.step, worse, best)

    def _save(self) -> None:
        saved = ""
        if distributed.is_main():
            place = self.parts.work_dir / "checkpoints"
            saved = str(save_checkpoint(self._checkpoint(), place, keep=self.config.checkpoint.keep))
        path = Path(distributed.gather_texts(saved)[0])  # the others wait here for the main process
        for callback in self.parts.callbacks:
            callback.on_checkpoint(self, path)

    def _checkpoint(self) -> Checkpoint:
        engine = self.parts.engine
        document = encode_configuration(self.parts.configuration)
        return Checkpoint(self.progress, engine.model.state_dict(), engine.state_dict(), document)

    def _resume(self) -> None:
        checkpoint = load_newest(self.parts.work_dir / "checkpoints")
        if checkpoint is None:
            return
        # Decoded first: an older version of segpipe did not write the fields that have come since.
        begun_with = decode_configuration(checkpoint.configuration, origin=f"{self.parts.work_dir}: its checkpoint")
        if encode_configuration(begun_with) != encode_configuration(self.parts.configuration):
            raise ConfigurationError(
                f"{self.parts.work_dir} holds a run that was begun with another configuration. "
                "Choose another work_dir, or begin with the configuration of its last checkpoint."
            )
        self.parts.engine.model.load_state_dict(dict(checkpoint.model))
        self.parts.engine.load_state_dict(dict(checkpoint.optimizer))
        self.progress = checkpoint.progress
        logger.info("Resuming at step %s", self.progress.step)

    def _should_evaluate(self, samples_before: int) -> bool:
        size, per_step = self.parts.num_samples, self.config.batch_size * self.config.accumulate
        passes = samples_before / size, self.progress.samples / size
        length = self.config.max_epochs or self.parts.max_steps * per_step / size
        evaluation = self.parts.configuration.evaluation
        return self.is_over or is_evaluation_step(evaluation, self.progress.step, passes, length)

    @property
    def _is_out_of_patience(self) -> bool:
        """The same in all processes, since the scores are."""
        evaluation = self.parts.configuration.evaluation
        patience = evaluation.patience if evaluation else None
        return patience is not None and self.progress.worse_evaluations >= patience

    def _learning_rate_at(self, step: int) -> float:
        return learning_rate(self.config.schedule, self.config.optimizer.lr, step, self.parts.max_steps)

    def _stop(self) -> None:
        self._should_stop = True


SegmentationTrainer = Trainer
"""Its name from when there was one task."""


@contextmanager
def _sole_run(work_dir: Path) -> Iterator[None]:
    """Hold the work directory; a second run is refused. Only the main process writes, so only it holds the lock."""
    lock = FileLock(work_dir / ".lock")
    try:
        if distributed.is_main():
            lock.acquire(timeout=0)
    except Timeout as error:
        raise InputError(f"Another run works in {work_dir}. Choose another work_dir, or wait for it to end.") from error
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _stop_signals(stop: Callable[[], None]) -> Iterator[None]:
    """Call `stop` on SIGTERM, SIGUSR1 as SLURM sends it, and Ctrl-C, which interrupts at once the second time."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [signal.SIGTERM, signal.SIGINT, *([signal.SIGUSR1] if hasattr(signal, "SIGUSR1") else [])]
    before = {number: signal.getsignal(number) for number in numbers}

    def handle(number: int, _: object) -> None:
        stop()
        if number == signal.SIGINT:
            signal.signal(signal.SIGINT, before[signal.SIGINT])
            logger.warning("Saving after this step; interrupt again to stop at once, without")

    for number in numbers:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
