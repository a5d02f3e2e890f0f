"""The work directory of a training run, which stands for the model that was trained in it."""

from __future__ import annotations

import os
import re
from functools import cache
from pathlib import Path

from segpipe.errors import ModelFolderError
from segpipe.log import get_logger

logger = get_logger(__name__)

RUN_MODEL, RUN_CHECKPOINTS, RUN_BEST, RUN_LOG = "model", "checkpoints", "best", "log.jsonl"
"""What a work directory holds: the finished model, the last states of the run, its best weights, its log."""
_STEP = re.compile("step-([0-9]{8,16})")


def trained_model(folder: Path) -> Path:
    """Return the model folder of a run's work directory; any other path as it is.

    Raises:
        ModelFolderError: a run that is not finished, so that there is no model folder yet.
    """
    if not _is_work_dir(folder):
        return folder
    if os.path.isfile(folder / RUN_MODEL / "configuration.json"):
        _say_once(folder)
        return folder / RUN_MODEL
    if any(os.path.isfile(folder / name) for name in ("configuration.json", "config.json")):
        return folder
    raise ModelFolderError(_unfinished_text(folder))


def last_weights(folder: Path) -> Path | None:
    """Return what can be used as the model of a work directory now, or None.

    It is the finished one, else the best weights so far, else the last checkpoint.
    """
    if os.path.isfile(folder / RUN_MODEL / "configuration.json"):
        return folder / RUN_MODEL
    return newest_step(folder / RUN_BEST) or newest_step(folder / RUN_CHECKPOINTS)


def newest_step(folder: Path) -> Path | None:
    """Return the newest of the checkpoints in a folder, or None where there is none."""
    if not os.path.isdir(folder):
        return None
    steps = {entry.name: int(match[1]) for entry in folder.iterdir() if (match := _STEP.fullmatch(entry.name))}
    return folder / max(steps, key=steps.__getitem__) if steps else None


def _is_work_dir(folder: Path) -> bool:
    """Whether a run has worked in a folder. A model folder may hold a log, too, and weights beside it."""
    has_log = os.path.isfile(folder / RUN_LOG) and not os.path.isfile(folder / "model.safetensors")
    return has_log or os.path.isdir(folder / RUN_CHECKPOINTS)


@cache
def _say_once(folder: Path) -> None:
    """One command may look a model up several times."""
    logger.info("%s is the work directory of a run; its model is %s", folder, folder / RUN_MODEL)


def _unfinished_text(folder: Path) -> str:
    weights = last_weights(folder)
    text = (
        f"{folder} holds a run that is not finished, so it has no folder {RUN_MODEL} yet. To finish it, make the call "
        "that began it again."
    )
    if weights is None:
        return f"{text} It has saved no checkpoint so far."
    kind = "Its best weights so far" if weights.parent.name == RUN_BEST else "The weights of its last checkpoint"
    return f"{text} {kind} can be used as a model: {weights}."
