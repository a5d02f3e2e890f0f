"""The resumable state of a run on disk: written whole, verified when read, the last ones and the best kept."""

from __future__ import annotations

import json
import os
import re
import shutil
import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import msgspec
import torch
from safetensors import SafetensorError
from torch import Tensor

from segpipe import __version__, distributed
from segpipe.errors import (
    CacheError,
    ConfigurationError,
    CorruptWeightsError,
    InputError,
    ModelFolderError,
    SegpipeError,
    WeightsError,
)
from segpipe.hub import atomic_folder
from segpipe.hub.manifest import build_manifest, check_folder, read_manifest, write_manifest
from segpipe.hub.storage import fsync_folder, remove_folder
from segpipe.log import get_logger
from segpipe.models import read_tensors, write_tensors

logger = get_logger(__name__)

CHECKPOINTS = "checkpoints"
"""Where in a work directory the last checkpoints are."""
BEST = "best"
"""Where the weights of the best step are."""
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
class Snapshot:
    """A model at a step of a run; no run goes on from it alone."""

    progress: Progress
    model: Mapping[str, Tensor]
    configuration: bytes
    """The configuration.json of the run."""


@dataclass(frozen=True, eq=False)
class Checkpoint(Snapshot):
    """The whole state of a run: with it, a run goes on as if it had never stopped."""

    optimizer: Mapping[str, Any]
    """State dict of the optimiser, with the loss scaler's and the averaged weights', tensors and plain values only."""
    id: str = ""
    """Digits that stand for all its bytes; empty until it is on disk."""


def save_checkpoint(checkpoint: Checkpoint, folder: Path, *, keep: int) -> Path:
    """Write `step-N`, whole or not at all, then remove all but the last `keep` up to it.

    Raises:
        CacheError: where the disk refuses; older checkpoints are as they were.
    """
    final = _save(checkpoint, folder)
    older = [path for path in list_checkpoints(folder) if _step_of(path) < checkpoint.progress.step]
    _remove(older[: max(0, len(older) + 1 - keep)])
    return final


def save_best(best: Snapshot, folder: Path, *, counted_on: int | None) -> Path:
    """Write the best weights so far as `step-N`, whole or not at all, then remove the others.

    Args:
        best: the weights as they are evaluated.
        folder: for them alone.
        counted_on: the best step that the last checkpoint knows; it stays, since the run may go back there.

    Raises:
        CacheError: where the disk refuses; older ones are as they were.
    """
    final = _save(best, folder)
    keep_best(folder, {best.progress.step, counted_on})
    return final


def load_best(folder: Path, step: int | None) -> Snapshot | None:
    """The best weights if they are whole and of this step, else None."""
    path = folder / _name(step or 0)
    if step is None or not path.is_dir():
        return None
    try:
        return _read(path)
    except (ModelFolderError, WeightsError, OSError) as error:
        logger.warning("Passing over the best weights %s: %s", path.name, error)
        return None


def keep_best(folder: Path, steps: Collection[int | None]) -> None:
    """Remove the best weights of all other steps."""
    _remove(path for path in list_checkpoints(folder) if _step_of(path) not in steps)


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


def check_shared(work_dir: Path, found: str) -> None:
    """SegpipeError in all processes unless each has found the same in the work directory.

    Args:
        work_dir: of the run.
        found: which checkpoint this process has found there, in words.
    """
    texts = distributed.gather_texts(found)
    other = next((rank for rank, text in enumerate(texts) if text != texts[0]), None)
    if other is not None:
        raise SegpipeError(
            f"The processes of the run see different checkpoints in {work_dir}: process 0 {texts[0]}, process {other} "
            f"{texts[other]}. work_dir must be on a disk that all machines share. Choose such a one and start again."
        )


def load_newest(folder: Path) -> Checkpoint | None:
    """The newest checkpoint whose digests are right; damaged ones are passed over with a warning.

    ConfigurationError where it is whole and from a newer segpipe: going back behind it would lose its steps.
    """
    for path in reversed(list_checkpoints(folder)):
        try:
            return load_checkpoint(path)
        except ConfigurationError:
            raise
        except (ModelFolderError, WeightsError, OSError, ValueError) as error:
            logger.warning("Passing over the checkpoint %s: %s", path.name, error)
    return None


def load_checkpoint(path: Path) -> Checkpoint:
    """Read and verify one checkpoint."""
    whole = _read(path)
    manifest = read_manifest(path)
    optimizer = torch.load(path / OPTIMIZER, map_location="cpu", weights_only=True)
    return Checkpoint(**vars(whole), optimizer=optimizer, id=manifest.id if manifest else "")


def set_aside_newer(folder: Path, step: int) -> None:
    """Rename the checkpoints after a step, which were passed over, to `damaged-step-N`: the run counts without them."""
    for path in list_checkpoints(folder):
        if _step_of(path) > step:
            aside = path.with_name(f"damaged-{path.name}")
            try:
                remove_folder(aside)
                path.rename(aside)
            except OSError as error:  # saving counts without it, too
                logger.warning("Could not rename the damaged checkpoint %s: %s", path, error)
                continue
            logger.warning("The checkpoint %s is damaged; it is kept as %s, remove it at will", path, aside.name)


def list_checkpoints(folder: Path) -> list[Path]:
    """The checkpoints of a run, oldest first, whole ones only."""
    found = folder.glob("step-*") if folder.is_dir() else ()
    whole = (path for path in found if re.fullmatch(r"step-\d{8,}", path.name) and (path / "manifest.json").is_file())
    return sorted(whole, key=_step_of)


def with_score(progress: Progress, score: float) -> Progress:
    """Progress after an evaluation; a score that is not a number is never the best."""
    is_best = score == score and (progress.best_score is None or score > progress.best_score)
    if not is_best:
        return replace(progress, worse_evaluations=progress.worse_evaluations + 1)
    return replace(progress, best_score=score, best_step=progress.step, worse_evaluations=0)


def _name(step: int) -> str:
    return f"step-{step:08d}"


def _step_of(path: Path) -> int:
    return int(path.name.removeprefix("step-"))


def _save(snapshot: Snapshot, folder: Path) -> Path:
    """Write a snapshot's folder; one of the same step stays until the new one is whole."""
    final = folder / _name(snapshot.progress.step)
    fresh = final.with_name(f".fresh-{final.name}")
    with _refusals_explained(final):
        if not final.exists():
            with atomic_folder(final) as path:
                _write(snapshot, path)
            return final
        remove_folder(fresh)  # left by a kill
        with atomic_folder(fresh) as path:
            _write(snapshot, path)
        remove_folder(final)
        os.rename(fresh, final)
        fsync_folder(folder)
    return final


def _write(snapshot: Snapshot, folder: Path) -> None:
    names = [WEIGHTS, PROGRESS, CONFIGURATION]
    write_tensors(snapshot.model, folder / WEIGHTS)
    (folder / PROGRESS).write_text(json.dumps(vars(snapshot.progress)), encoding="utf-8")
    (folder / CONFIGURATION).write_bytes(snapshot.configuration)
    if isinstance(snapshot, Checkpoint):
        torch.save(snapshot.optimizer, folder / OPTIMIZER)
        names.append(OPTIMIZER)
    write_manifest(folder, build_manifest(folder, names))


def _read(path: Path) -> Snapshot:
    """The verified weights of a folder, with its progress and configuration."""
    problems = check_folder(path)
    if problems:
        raise CorruptWeightsError(f"{path} is damaged: {'; '.join(map(str, problems[:3]))}. Use an older one.")
    return Snapshot(
        progress=_read_progress(path / PROGRESS),
        model=read_tensors(path / WEIGHTS),
        configuration=(path / CONFIGURATION).read_bytes(),
    )


def _read_progress(path: Path) -> Progress:
    """Its bytes are those that were written, so what is not understood comes from another version."""
    document = json.loads(path.read_text(encoding="utf-8"))
    try:
        progress = msgspec.convert(document, Progress)
    except msgspec.ValidationError as error:
        raise ConfigurationError(_other_version(path, str(error))) from error
    unknown = sorted(document.keys() - {field.name for field in fields(Progress)})
    if unknown:
        raise ConfigurationError(_other_version(path, f"it has the key {unknown[0]!r}"))
    return progress


def _other_version(path: Path, reason: str) -> str:
    return (
        f"{path} was written by another version of segpipe: {reason}, which this version, {__version__}, does not "
        "know. Upgrade segpipe: pip install --upgrade segpipe; or choose another work_dir."
    )


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


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        try:
            shutil.rmtree(path)
        except OSError as error:  # the next save tries again
            logger.warning("Could not remove the old checkpoint %s: %s", path, error)
