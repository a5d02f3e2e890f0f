"""What a finished run leaves behind: a model folder with its configuration, weights, card, log and manifest."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import msgspec

from segpipe import distributed
from segpipe.configuration import Configuration
from segpipe.evaluation import AnyScores
from segpipe.hub import ModelFolder, atomic_folder, seal_folder
from segpipe.hub.card import card_text
from segpipe.hub.storage import remove_folder
from segpipe.log import get_logger
from segpipe.models import write_tensors

from .card import training_text
from .checkpoint import Progress, load_newest
from .curves import write_curves
from .parts import TrainerParts
from .run_log import counted_lines, read_log

logger = get_logger(__name__)

FOLDER = "model"
LOG = "log.jsonl"


def write_result(parts: TrainerParts, progress: Progress, scores: AnyScores | None = None) -> ModelFolder:
    """Write `work_dir/model` from the best checkpoint, or from the model as it is where nothing was evaluated.

    Args:
        scores: of the best checkpoint where they are known; else it is evaluated once more.
    """
    best = load_newest(parts.work_dir / "best")
    if best is not None:
        parts.engine.model.load_state_dict(dict(best.model))
    elif progress.best_step not in (None, progress.step):
        logger.warning("The weights of the best step %s are gone; those of the last are taken", progress.best_step)
        progress = replace(progress, best_score=None, best_step=None)
    if scores is None and parts.evaluate is not None:
        scores = parts.evaluate()  # every process takes its share
    final = parts.work_dir / FOLDER
    if distributed.is_main():
        if final.exists():
            remove_folder(final)
        with atomic_folder(final) as path:
            write_tensors(parts.engine.model.state_dict(), path / "model.safetensors")
            _write_record(parts, progress, scores, path)
            seal_folder(path, _without_root(parts.configuration), name=str(final))
    distributed.barrier()
    return ModelFolder.open(final)


def _write_record(parts: TrainerParts, progress: Progress, scores: AnyScores | None, folder: Path) -> None:
    """Draw the curves, and put them, the log and the card into the folder."""
    curves, log = write_curves(parts.work_dir), parts.work_dir / LOG
    for path in (curves, log):
        if path is not None and path.is_file():
            shutil.copyfile(path, folder / path.name)
    lines = counted_lines(read_log(log)) if log.is_file() else []
    name = parts.work_dir.resolve().name
    text = card_text(parts.configuration, name) + training_text(parts, progress, scores, lines)
    (folder / "README.md").write_text(text, encoding="utf-8")


def _without_root(configuration: Configuration) -> Configuration:
    """A folder may be published, so it does not say where one machine has its data."""
    data = configuration.dataset
    if data is None or data.root is None or not os.path.isabs(os.path.expanduser(data.root)):
        return configuration
    return msgspec.structs.replace(configuration, dataset=msgspec.structs.replace(data, root=None))
