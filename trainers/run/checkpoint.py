"""The resumable state of a run on disk: written whole or not at all, the last ones and the best kept."""

from __future__ import annotations

import json
import re
import shutil
import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from segpipe import advice, distributed
from segpipe.atomic import finish_replacements, move, remove_folder, replaced_folder
from segpipe.checkpoints import write_pickle, write_tensors
from segpipe.errors import CacheError, InputError, SegpipeError
from segpipe.hub import RUN_BEST, RUN_CHECKPOINTS, build_manifest, write_manifest
from segpipe.log import get_logger

from .call_again import unused_folder
from .data_record import DataRecord, encode_record
from .progress import Progress

logger = get_logger(__name__)

CHECKPOINTS = RUN_CHECKPOINTS
"""The folder of the last checkpoints in a work directory."""
BEST = RUN_BEST
"""The folder of the best step's weights."""
WEIGHTS = "model.safetensors"
OPTIMIZER = "optimizer.pt"
PROGRESS = "progress.json"
CONFIGURATION = "configuration.json"
DATA = "data.json"
_ASIDE = "damaged-"
_NAME = re.compile("step-[0-9]{8,16}")
_ADVICE = (
    "Older checkpoints are as they were. Make room there, or make it writable, and start the run again: "
    "it goes on from the last one."
)


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
    """State dict of the optimizer, with the loss scaler's and the averaged weights', tensors and plain values only."""
    data: DataRecord | None = None
    """The data that the run trains on; None in checkpoints of segpipe 0.1.0."""
    id: str = ""
    """Digits that stand for all its bytes; empty until it is on disk."""


def save_checkpoint(checkpoint: Checkpoint, folder: Path, *, keep: int) -> Path:
    """Write `step-N`, whole or not at all, then remove all but the last `keep` up to it.

    Raises:
        CacheError: where the disk refuses; older checkpoints are as they were.
    """
    final = _save(checkpoint, folder)
    older = [path for path in list_checkpoints(folder) if step_of(path) < checkpoint.progress.step]
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


def keep_best(folder: Path, steps: Collection[int | None]) -> None:
    """Remove the best weights of all other steps."""
    _remove(path for path in list_checkpoints(folder) if step_of(path) not in steps)


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
            "It must be a folder, old or new, that you may write to. Give another: "
            f"{advice.argument('work_dir', unused_folder(work_dir))}.",
            path=work_dir,
        ) from None


def check_shared(work_dir: Path, found: str) -> None:
    """Raise SegpipeError in all processes unless each has found the same in the work directory.

    Args:
        work_dir: of the run.
        found: which checkpoint this process has found there, in words.
    """
    texts = distributed.gather_texts(found)
    other = next((rank for rank, text in enumerate(texts) if text != texts[0]), None)
    if other is not None:
        raise SegpipeError(
            f"The processes of the run see different checkpoints in {work_dir}: process 0 {texts[0]}, process {other} "
            f"{texts[other]}. It must be on a disk that all machines share. Give such a one "
            f"({advice.argument('work_dir')}) and start again.",
            path=work_dir,
        )


def set_aside_newer(folder: Path, step: int) -> None:
    """Rename the checkpoints after a step, which were passed over, to `damaged-step-N`: the run counts without them."""
    for path in list_checkpoints(folder):
        if step_of(path) > step:
            aside = path.with_name(f"{_ASIDE}{path.name}")
            try:
                remove_folder(aside)
                move(path, aside)
            except OSError as error:  # saving counts without it, too
                logger.warning("Could not rename the damaged checkpoint %s: %s", path, error)
                continue
            logger.info("The checkpoint %s is kept as %s", path, aside.name)


def list_checkpoints(folder: Path) -> list[Path]:
    """Return whatever stands at the name of a checkpoint, oldest first, whether it can be read or not.

    Raises:
        CacheError: there is something else than a folder, or it may not be read.
    """
    try:
        found = [path for path in folder.iterdir() if _NAME.fullmatch(path.name)]
    except FileNotFoundError:
        if not folder.is_symlink():
            return []
        raise CacheError(
            f"{folder} links to a folder that is not there. Make it available, or remove the link.", path=folder
        ) from None
    except OSError as error:
        raise CacheError(
            f"{folder} cannot be read: {error.strerror or error}. It should be the folder of the run's checkpoints. "
            "Make it readable, or give another work directory: "
            f"{advice.argument('work_dir', unused_folder(folder.parent))}.",
            path=folder,
        ) from None
    return sorted(found, key=step_of)


def finish_replacement(folder: Path) -> None:
    """Give checkpoints their names that a kill left whole under the names they are written by."""
    with refusals_explained(folder, _ADVICE):
        finish_replacements(folder)


def list_set_aside(folder: Path) -> list[Path]:
    """Return the checkpoints that `set_aside_newer` renamed."""
    return sorted(folder.glob(f"{_ASIDE}step-*"))


def name_of(step: int) -> str:
    """Return what the checkpoint of a step is called."""
    return f"step-{step:08d}"


def step_of(path: Path) -> int:
    """Return the step that a checkpoint's name says."""
    return int(path.name.removeprefix("step-"))


def _save(snapshot: Snapshot, folder: Path) -> Path:
    """Write a snapshot's folder; one of the same step stays until the new one is whole."""
    final = folder / name_of(snapshot.progress.step)
    with refusals_explained(final, _ADVICE), replaced_folder(final) as path:
        _write(snapshot, path)
    return final


def _write(snapshot: Snapshot, folder: Path) -> None:
    names = [WEIGHTS, PROGRESS, CONFIGURATION]
    write_tensors(snapshot.model, folder / WEIGHTS)
    (folder / PROGRESS).write_text(json.dumps(vars(snapshot.progress)), encoding="utf-8")
    (folder / CONFIGURATION).write_bytes(snapshot.configuration)
    if isinstance(snapshot, Checkpoint):
        write_pickle(snapshot.optimizer, folder / OPTIMIZER)
        names.append(OPTIMIZER)
        if snapshot.data is not None:
            (folder / DATA).write_bytes(encode_record(snapshot.data))
            names.append(DATA)
    write_manifest(folder, build_manifest(folder, names))


@contextmanager
def refusals_explained(final: Path, advice: str) -> Iterator[None]:
    """Raise CacheError where the disk refuses to write the folder `final`; it names path, reason and `advice`."""
    try:
        yield
    except OSError as error:
        origin = error.__cause__ if isinstance(error, CacheError) and error.__cause__ else error
        reason = getattr(origin, "strerror", None) or str(origin).strip(". ")
        message = f"{final} cannot be written: {reason}; {free_space_text(final)}. {advice}"
        raise CacheError(message, path=final) from None


def free_space_text(path: Path) -> str:
    """Return how much is free on the disk of a path that may not exist, as a phrase."""
    for place in (path, *path.parents):
        with suppress(OSError):
            return f"its disk has {shutil.disk_usage(place).free / 2**20:,.1f} MiB free"
    return "its folder is gone"


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        try:
            remove_folder(path)
        except OSError as error:  # the next save tries again
            logger.warning("Could not remove the old checkpoint %s: %s", path, error)
