"""What a finished run leaves behind: a model folder with its configuration, weights, card and manifest."""

from __future__ import annotations

import platform
import sys
from pathlib import Path

import numpy as np
import torch

import segpipe
from segpipe import distributed
from segpipe.evaluation import Scores
from segpipe.hub import ModelFolder, atomic_folder, seal_folder
from segpipe.hub.card import card_text
from segpipe.hub.storage import remove_folder
from segpipe.models import write_tensors

from .checkpoint import Progress, load_newest
from .curves import write_curves
from .parts import TrainerParts

FOLDER = "model"


def write_result(parts: TrainerParts, progress: Progress, scores: Scores | None = None) -> ModelFolder:
    """Write `work_dir/model` from the best checkpoint, or from the model as it is where nothing was evaluated.

    Args:
        scores: of the best checkpoint where they are known; else it is evaluated once more.
    """
    best = load_newest(parts.work_dir / "best")
    if best is not None:
        parts.engine.model.load_state_dict(dict(best.model))
    if scores is None and parts.evaluate is not None:
        scores = parts.evaluate()  # every process takes its share
    final = parts.work_dir / FOLDER
    if distributed.is_main():
        if final.exists():
            remove_folder(final)
        with atomic_folder(final) as path:
            write_tensors(parts.engine.model.state_dict(), path / "model.safetensors")
            text = card_text(parts.configuration, str(final)) + training_text(parts, progress, scores)
            (path / "README.md").write_text(text, encoding="utf-8")
            seal_folder(path, parts.configuration, name=str(final))
        write_curves(parts.work_dir)
    distributed.barrier()
    return ModelFolder.open(final)


def training_text(parts: TrainerParts, progress: Progress, scores: Scores | None) -> str:
    """The part of the card that says how the model came to be and how good it is."""
    config = parts.configuration
    taken = progress.best_step if progress.best_step is not None else progress.step
    lines = [
        "",
        "## Training",
        "",
        f"{progress.step} steps, {progress.samples} samples of {parts.num_samples} pictures"
        f"{f' of {config.dataset.type}' if config.dataset else ''}; the weights are those of step {taken}.",
        "The recipe is the section `train` of configuration.json, the run's log is log.jsonl.",
        "",
        f"    {command()}",
        "",
        f"segpipe {segpipe.__version__}, torch {torch.__version__}, numpy {np.__version__}, "
        f"Python {platform.python_version()}.",
    ]
    return "\n".join([*lines, *(_score_lines(scores) if scores else [])]) + "\n"


def command() -> str:
    """How this process was started, without the folders of this machine."""
    return " ".join([Path(sys.argv[0]).name or "python", *sys.argv[1:]])


def _score_lines(scores: Scores) -> list[str]:
    rows = [f"| {name} | {100 * iou:.2f} |" for name, iou in scores.iou.items()]
    return [
        "",
        "## Scores on the evaluation data",
        "",
        f"mIoU {100 * scores.miou:.2f} %, pixel accuracy {100 * scores.pixel_accuracy:.2f} %, "
        f"mean accuracy {100 * scores.mean_accuracy:.2f} %.",
        "",
        "| class | IoU % |",
        "| --- | --- |",
        *rows,
    ]
