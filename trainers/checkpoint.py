"""The resumable state of a run on disk: written whole, verified when read, the last ones and the best kept."""

from __future__ import annotations

import json
import re
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor

from segpipe import distributed
from segpipe.errors import CacheError, CorruptWeightsError, InputError, ModelFolderError, WeightsError
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
        worse_evaluations: evaluations in a row since then without a better score.
        is_evaluation_due: whether the run was stopped during this step's evaluation, which then comes first.
    """

    step: int = 0
    samples: int = 0
    best_score: float | None = None
    best_step: int | None = None
    worse_evaluations: int = 0
    is_evaluation_due: bool = False


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
    """Write `step-N`, whole or not at all, then remove all but the last `keep`.

    Raises:
        CacheError: where the disk refuses; older checkpoints are as they were.
    """
    final = folder / f"step-{checkpoint.progress.step:08d}"
    with _refusals_explained(final):
        if final.exists():  # damaged, or the run would have gone on from it
            remove_folder(final)
        with atomic_folder(final) as path:
            _write(checkpoint, path)
    _remove_old(folder, keep)
    return final


def prepare_work_dir(work_dir: Path) -> None:
    """Make the folder of a run and see that the main process can write there. InputError if it cannot."""
    probe = work_dir / f".probe-{uuid.uuid4().hex[:8]}"
    try:
        work_dir.mkdir(parents=True, exist_ok=True)
        if distributed.is_main():
            probe.touch()
            probe.unlink()
    except OSError as error:
        raise InputError(
            f"The work directory {work_dir} cannot be written: {error.strerror or error}. "
            "It must be a folder, old or new, that you may write to. Choose another work_dir."
        ) from error


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
    if not is_best:
        return replace(progress, worse_evaluations=progress.worse_evaluations + 1)
    return replace(progress, best_score=score, best_step=progress.step, worse_evaluations=0)


def _write(checkpoint: Checkpoint, folder: Path) -> None:
    write_tensors(checkpoint.model, folder / WEIGHTS)
    torch.save(checkpoint.optimizer, folder / OPTIMIZER)
    (folder / PROGRESS).write_text(json.dumps(vars(checkpoint.progress)), encoding="utf-8")
    (folder / CONFIGURATION).write_bytes(checkpoint.configuration)
    write_manifest(folder, build_manifest(folder, [WEIGHTS, OPTIMIZER, PROGRESS, CONFIGURATION]))


@contextmanager
def _refusals_explained(final: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, SafetensorError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not re.match("PytorchStreamWriter|Parent directory", str(error)):
            raise  # only these are torch.save's words for what the disk refuses
        origin = error.__cause__ if isinstance(error, CacheError) and error.__cause__ else error
        reason = getattr(origin, "strerror", None) or str(origin).strip(". ")
        raise CacheError(
            f"The checkpoint {final} cannot be written: {reason}. Older ones are as they were. "
            "Make room there, or make it writable, and start the run again: it goes on from the last one."
        ) from error


def _remove_old(folder: Path, keep: int) -> None:
    for path in list_checkpoints(folder)[:-keep]:
        try:
            shutil.rmtree(path)
        except OSError as error:  # the next save tries again
            logger.warning("Could not remove the old checkpoint %s: %s", path, error)
