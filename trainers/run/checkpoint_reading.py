"""Checkpoints read back as if a stranger had written them: kind, size, digests, types and numbers of each file."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from segpipe import advice
from segpipe.checkpoints import read_pickle, read_tensors
from segpipe.errors import (
    CacheError,
    ConfigurationError,
    CorruptWeightsError,
    ModelFolderError,
    UnsafePathError,
    WeightsError,
)
from segpipe.files import read_file
from segpipe.hub import Manifest, Problem, find_problems, parse_manifest
from segpipe.limits import limit
from segpipe.log import get_logger

from .call_again import unused_folder
from .checkpoint import (
    CONFIGURATION,
    DATA,
    OPTIMIZER,
    PROGRESS,
    WEIGHTS,
    Checkpoint,
    Snapshot,
    list_checkpoints,
    list_set_aside,
    name_of,
    step_of,
)
from .data_record import decode_record
from .progress import decode_progress

logger = get_logger(__name__)

_UNREADABLE = (ModelFolderError, UnsafePathError, WeightsError, CacheError, OSError)


def load_newest(folder: Path, check: Callable[[Checkpoint], None] = lambda checkpoint: None) -> Checkpoint | None:
    """Load the newest checkpoint that is whole, or None where a run has left none.

    Newer ones that cannot be read are passed over with a warning.

    Args:
        folder: of the checkpoints.
        check: raises WeightsError for one that does not belong to the run; it is passed over, too.

    Raises:
        CorruptWeightsError: there are checkpoints and none can be read, so that a run would begin afresh unnoticed.
        ConfigurationError: one is whole and from a newer segpipe or of another run: going back behind it would lose
            its steps.
    """
    passed: list[str] = []
    for path in reversed(list_checkpoints(folder)):
        try:
            checkpoint = load_checkpoint(path)
            check(checkpoint)
        except ConfigurationError:
            raise
        except _UNREADABLE as error:
            passed.append(str(error))
            continue
        for reason in passed:
            logger.warning("Going on from %s, since a newer checkpoint cannot be read: %s", path.name, reason)
        return checkpoint
    passed += [f"{path} was set aside by an earlier run." for path in list_set_aside(folder)]
    if passed:
        raise CorruptWeightsError(
            f"None of the {len(passed)} checkpoints in {folder} can be read, and nothing in it was changed. "
            f"{' '.join(passed[:3])} Copy them again from where they are whole; or to begin afresh, give "
            f"{advice.argument('work_dir', unused_folder(folder.parent))} or remove {folder}.",
            path=folder,
        )
    return None


def load_checkpoint(path: Path) -> Checkpoint:
    """Read and verify one checkpoint."""
    snapshot, manifest = _read(path, (WEIGHTS, PROGRESS, CONFIGURATION, OPTIMIZER))
    data = None
    if manifest.entry(DATA) is not None:
        text = read_file(path / DATA, max_bytes=limit("run_state_bytes"), error=CorruptWeightsError)
        data = decode_record(text, origin=str(path / DATA))
    optimizer = read_pickle(path / OPTIMIZER)
    return Checkpoint(**vars(snapshot), optimizer=optimizer, data=data, id=manifest.id)


def load_best(folder: Path, step: int | None) -> Snapshot | None:
    """Load the best weights if they are whole and of this step, else None."""
    path = folder / name_of(step or 0)
    if step is None or not os.path.isdir(path):
        return None
    try:
        return _read(path, (WEIGHTS, PROGRESS, CONFIGURATION))[0]
    except (ConfigurationError, *_UNREADABLE) as error:
        logger.warning("Passing over the best weights %s: %s", path.name, error)
        return None


def find_damage(folder: Path) -> tuple[Problem, ...]:
    """Return how a folder differs from its manifest; files that others put beside the listed ones are no damage."""
    return _problems(folder, _read_manifest(folder))


def _read_manifest(folder: Path) -> Manifest:
    path = folder / "manifest.json"
    data = read_file(path, max_bytes=limit("manifest_bytes"), error=CorruptWeightsError)
    return parse_manifest(data, str(path))


def _problems(folder: Path, manifest: Manifest) -> tuple[Problem, ...]:
    return tuple(problem for problem in find_problems(folder, manifest) if problem.kind != "extra")


def _read(path: Path, names: tuple[str, ...]) -> tuple[Snapshot, Manifest]:
    """Return the verified weights of a folder with its progress and configuration, and its manifest."""
    manifest = _read_manifest(path)
    missing = sorted(set(names) - {entry.path for entry in manifest.files})
    if missing:
        raise CorruptWeightsError(f"{path} is not a whole checkpoint: {missing[0]} is not in its manifest.", path=path)
    problems = _problems(path, manifest)
    if problems:
        raise CorruptWeightsError(f"{path} is damaged: {'; '.join(map(str, problems[:3]))}.", path=path)
    data = read_file(path / PROGRESS, max_bytes=limit("run_state_bytes"), error=CorruptWeightsError)
    progress = decode_progress(data, origin=str(path / PROGRESS))
    if progress.step != step_of(path):
        raise CorruptWeightsError(f"{path} says of itself that it is that of step {progress.step}.", path=path)
    return Snapshot(
        progress=progress,
        model=read_tensors(path / WEIGHTS),
        configuration=read_file(
            path / CONFIGURATION, max_bytes=limit("configuration_bytes"), error=CorruptWeightsError
        ),
    ), manifest
