"""Tell what a run will do, try it for a few steps that leave nothing behind, and name its best evaluation."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from segpipe import distributed
from segpipe.configuration import EvaluationConfig, model_type

from .optimizers import summarize_groups
from .run.run_log import LOG, read_log_if_there
from .trainer import Trainer


@dataclass(frozen=True)
class RunDescription:
    """The plan of a run in words.

    Attributes:
        model: family, variant and outputs.
        length: steps, passes over the data, and when it is evaluated.
        optimizer: its kind and rate, then each group of parameters.
        device: where it runs, in which precision and in how many processes.
    """

    model: str
    length: str
    optimizer: tuple[str, ...]
    device: str


def describe_run(trainer: Trainer) -> RunDescription:
    """Describe the plan of a run."""
    model, count = trainer.parts.configuration.model, distributed.world_size()
    processes = f", {count} processes" if count > 1 else ""
    return RunDescription(
        model=f"{model_type(model)} {model.variant} with {model.num_classes} outputs",
        length=_length_text(trainer),
        optimizer=_optimizer_texts(trainer),
        device=f"{trainer.parts.engine.device}, {trainer.config.precision}{processes}",
    )


def try_out(trainer: Trainer) -> float:
    """Train a run to its end, remove its work directory, and return the seconds that it took."""
    place, start = trainer.parts.work_dir, perf_counter()
    try:
        trainer.train()
        distributed.barrier()
    finally:
        if distributed.is_main():
            shutil.rmtree(place, ignore_errors=True)
    return perf_counter() - start


def best_evaluation(trainer: Trainer) -> dict[str, Any] | None:
    """Return the line of the log on the step whose weights the model folder has, or None without an evaluation."""
    lines = read_log_if_there(trainer.parts.work_dir / LOG)
    found = [line for line in lines if line["event"] == "evaluation" and line["step"] == trainer.progress.best_step]
    return found[-1] if found else None  # a step that was done again is there twice


def _length_text(trainer: Trainer) -> str:
    parts, config = trainer.parts, trainer.config
    batch = f"{config.batch_size}" + (f" × {config.accumulate}" if config.accumulate > 1 else "")
    passes = parts.max_steps * config.batch_size * config.accumulate / parts.num_samples
    evaluation = parts.configuration.evaluation
    when = f"every {_interval_text(evaluation)} and at the end" if evaluation else "at the end"
    when = f"before the first step, {when}" if trainer.evaluates_first else when
    if evaluation and evaluation.patience:
        when += f"; over after {evaluation.patience} without a better one"
    return f"{parts.max_steps:,} of {batch} images, {passes:.3g} passes over the data; scores {when}"


def _interval_text(evaluation: EvaluationConfig) -> str:
    if evaluation.every_epochs is None:
        return f"{evaluation.every:,} steps"
    return f"{evaluation.every_epochs} epochs" if evaluation.every_epochs > 1 else "epoch"


def _optimizer_texts(trainer: Trainer) -> tuple[str, ...]:
    config = trainer.config.optimizer
    kind = f"{type(config).__struct_config__.tag}, learning rate {config.lr:g}; parameters by group:"
    still = [parameter for parameter in trainer.model.parameters() if not parameter.requires_grad]
    values = sum(parameter.numel() for parameter in still)
    frozen = [f"frozen: {values:,} values in {len(still)} tensors"] if still else []
    return (kind, *map(str, summarize_groups(trainer.parts.engine.optimizer)), *frozen)
