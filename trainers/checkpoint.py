"""The resumable state of a run on disk: written whole, verified when read, the last ones and the best kept."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from segpipe.errors import CorruptWeightsError, ModelFolderError, WeightsError
from segpipe.hub import atomic_folder
from segpipe.hub.manifest import build_manifest, check_folder, write_manifest
from segpipe.hub.storage import remove_folder
from segpipe.log import get_logger
from segpipe.models import read_tensors, write_tensors

logger = get_logger(__name__)

WEIGHTS = "model.safetensors"
OPTIMIZER = "optimizer.pt"
PROGRESS = "progress.json"
CONFIGURATION = "configuration.json"


@dataclass(frozen=True)
class Progress:
    """Where a run stands.

    Attributes:
        step: optimiser steps done.
        samples: samples consumed over all processes; the loader goes on from there.
        best_score: the best evaluation so far, None before the first.
        best_step: when it was.
    """

    step: int = 0
    samples: int = 0
    best_score: float | None = None
    best_step: int | None = None


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """The whole state of a run: with it, a run goes on as if it had never stopped."""

    progress: Progress
    model: Mapping[str, Tensor]
    optimizer: Mapping[str, Any]
    """State dict of the optimiser, with the loss scaler's and the averaged weights', tensors and plain values only."""
    configuration: bytes
    """The configuration.json that the run was begun with."""


def save_checkpoint(checkpoint: Checkpoint, folder: Path, *, keep: int) -> Path:
    """Write `step-N`, whole or not at all, then remove all but the last `keep`."""
    final = folder / f"step-{checkpoint.progress.step:08d}"
    if final.exists():  # damaged, or the run would have gone on from it
        remove_folder(final)
    with atomic_folder(final) as path:
        write_tensors(checkpoint.model, path / WEIGHTS)
        torch.save(checkpoint.optimizer, path / OPTIMIZER)
        (path / PROGRESS).write_text(json.dumps(vars(checkpoint.progress)), encoding="utf-8")
        (path / CONFIGURATION).write_bytes(checkpoint.configuration)
        write_manifest(path, build_manifest(path, [WEIGHTS, OPTIMIZER, PROGRESS, CONFIGURATION]))
    _remove_old(folder, keep)
    return final


def load_newest(folder: Path) -> Checkpoint | None:
    """The newest checkpoint whose digests are right; damaged ones are passed over with a warning."""
    for path in reversed(list_checkpoints(folder)):
        try:
            return load_checkpoint(path)
        except (ModelFolderError, WeightsError, OSError, ValueError) as error:
            logger.warning("Passing over the checkpoint %s: %s", path.name, error)
    return None


def load_checkpoint(path: Path) -> Checkpoint:
    """Read and verify one checkpoint."""
    problems = check_folder(path)
    if problems:
        raise CorruptWeightsError(f"{path} is damaged: {'; '.join(map(str, problems[:3]))}. Use an older one.")
    return Checkpoint(
        progress=Progress(**json.loads((path / PROGRESS).read_text(encoding="utf-8"))),
        model=read_tensors(path / WEIGHTS),
        optimizer=torch.load(path / OPTIMIZER, map_location="cpu", weights_only=True),
        configuration=(path / CONFIGURATION).read_bytes(),
    )


def list_checkpoints(folder: Path) -> list[Path]:
    """The checkpoints of a run, oldest first, whole ones only."""
    found = folder.glob("step-*") if folder.is_dir() else ()
    return sorted(
        path for path in found if re.fullmatch(r"step-\d{8,}", path.name) and (path / "manifest.json").is_file()
    )


def with_score(progress: Progress, score: float) -> Progress:
    """Progress after an evaluation; a score that is not a number is never the best."""
    is_best = score == score and (progress.best_score is None or score > progress.best_score)
    return replace(progress, best_score=score, best_step=progress.step) if is_best else progress


def _remove_old(folder: Path, keep: int) -> None:
    for path in list_checkpoints(folder)[:-keep]:
        try:
            shutil.rmtree(path)
        except OSError as error:  # the next save tries again
            logger.warning("Could not remove the old checkpoint %s: %s", path, error)
