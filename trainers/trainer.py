"""The training loop: steps, evaluations, checkpoints, in the order in which they happen."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from segpipe import distributed
from segpipe.configuration import encode_configuration
from segpipe.data import Batch
from segpipe.errors import ConfigurationError, InputError
from segpipe.evaluation import Scores
from segpipe.hub import ModelFolder
from segpipe.log import get_logger

from .checkpoint import Checkpoint, Progress, load_newest, save_checkpoint, with_score
from .parts import TrainerParts
from .results import write_result
from .run_log import RunLog
from .schedules import apply_learning_rate, learning_rate

logger = get_logger(__name__)

PREEMPTED = 75
"""Exit code of a run that was told to stop and can be resumed (EX_TEMPFAIL)."""


class SegmentationTrainer:
    """Trains a segmentation network and leaves a model folder behind. It receives built parts and builds nothing.

    Running `train()` again in the same work directory goes on where the last run stopped.
    """

    def __init__(self, parts: TrainerParts) -> None:
        assert parts.configuration.train is not None
        self.parts = parts
        self.config = parts.configuration.train
        self.progress = Progress()
        self._should_stop = False
        self._last_scores: Scores | None = None

    @property
    def model(self) -> Any:
        """The network that is trained."""
        return self.parts.engine.model

    def train(self) -> ModelFolder:
        """Train to the last step and write the model folder; resumes by itself.

        Raises:
            ConfigurationError: when the work directory holds a run with another configuration.
            InputError: when another run works in the directory.
            SystemExit: with code 75 after SIGTERM or SIGUSR1, with everything saved.
        """
        work_dir = self.parts.work_dir
        work_dir.mkdir(parents=True, exist_ok=True)
        with _sole_run(work_dir), _stop_signals(self._stop):
            self._resume()
            with RunLog(work_dir / "log.jsonl", total=self.parts.max_steps, start=self.progress.step) as log:
                self._run_steps(log)
        distributed.barrier()
        with self.parts.engine.averaged():
            is_last_best = self.progress.best_step == self.progress.step
            return write_result(self.parts, self.progress, self._last_scores if is_last_best else None)

    def evaluate(self) -> Scores:
        """Scores of the model as it is now, on the evaluation data."""
        if self.parts.evaluate is None:
            raise InputError("There is nothing to evaluate on. Pass eval_dataset to build_trainer.")
        return self.parts.evaluate()

    def _run_steps(self, log: RunLog) -> None:
        with closing(self.parts.batches(self.progress.samples)) as batches:
            while self.progress.step < self.parts.max_steps:
                self._run_step(list(islice(batches, self.config.accumulate)), log)
                log.advance()
                if self._is_due(self._evaluation_interval):
                    self._evaluate_and_note(log)
                is_told = distributed.any_process(self._should_stop, self.parts.engine.device)
                if is_told or self._is_due(self.config.checkpoint.every):
                    self._save()
                if is_told and self.progress.step < self.parts.max_steps:
                    logger.warning("Stopped at step %s as told; train() goes on from there", self.progress.step)
                    raise SystemExit(PREEMPTED)

    def _run_step(self, batches: Sequence[Batch], log: RunLog) -> None:
        step = self.progress.step
        rate = learning_rate(self.config.schedule, self.config.optimizer.lr, step, self.parts.max_steps)
        apply_learning_rate(self.parts.engine.optimizer, rate)
        report = self.parts.engine.step(batches, step)
        samples = self.progress.samples + self.config.batch_size * self.config.accumulate
        self.progress = replace(self.progress, step=step + 1, samples=samples)
        if self._is_due(self.config.log_every) or report.is_skipped:
            values = {"step": step + 1, "epoch": samples / self.parts.num_samples, "lr": rate, **vars(report)}
            log.write("step", values)

    def _evaluate_and_note(self, log: RunLog) -> None:
        if self.parts.evaluate is None:
            return
        with self.parts.engine.averaged():
            scores = self._last_scores = self.parts.evaluate()
        key = self.parts.configuration.evaluation.best if self.parts.configuration.evaluation else "miou"
        before = self.progress.best_step
        self.progress = with_score(self.progress, getattr(scores, key))
        log.write("evaluation", {"step": self.progress.step, "miou": scores.miou, "iou": scores.iou})
        if self.progress.best_step != before and distributed.is_main():
            with self.parts.engine.averaged():
                save_checkpoint(self._checkpoint(), self.parts.work_dir / "best", keep=1)
        distributed.barrier()

    def _save(self) -> None:
        if distributed.is_main():
            save_checkpoint(self._checkpoint(), self.parts.work_dir / "checkpoints", keep=self.config.checkpoint.keep)
        distributed.barrier()

    def _checkpoint(self) -> Checkpoint:
        engine = self.parts.engine
        document = encode_configuration(self.parts.configuration)
        return Checkpoint(self.progress, engine.model.state_dict(), engine.state_dict(), document)

    def _resume(self) -> None:
        checkpoint = load_newest(self.parts.work_dir / "checkpoints")
        if checkpoint is None:
            return
        if checkpoint.configuration != encode_configuration(self.parts.configuration):
            raise ConfigurationError(
                f"{self.parts.work_dir} holds a run that was begun with another configuration. "
                "Choose another work_dir, or begin with the configuration of its last checkpoint."
            )
        self.parts.engine.model.load_state_dict(dict(checkpoint.model))
        self.parts.engine.load_state_dict(dict(checkpoint.optimizer))
        self.progress = checkpoint.progress
        logger.info("Resuming at step %s", self.progress.step)

    @property
    def _evaluation_interval(self) -> int:
        evaluation = self.parts.configuration.evaluation
        return evaluation.every if evaluation else self.parts.max_steps

    def _is_due(self, every: int) -> bool:
        """At multiples of an interval, and at the end."""
        return self.progress.step % every == 0 or self.progress.step == self.parts.max_steps

    def _stop(self) -> None:
        self._should_stop = True


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
    """Call `stop` on SIGTERM, and on SIGUSR1 as SLURM sends it, for the time of the block."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [signal.SIGTERM, *([signal.SIGUSR1] if hasattr(signal, "SIGUSR1") else [])]
    before = {number: signal.signal(number, lambda *_: stop()) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
