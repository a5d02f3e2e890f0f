"""The outcome of a finished run: a model folder with its configuration, weights, card, log and manifest."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import msgspec
import torch

from segpipe import distributed
from segpipe.atomic import replaced_folder
from segpipe.checkpoints import read_tensors, write_tensors
from segpipe.configuration import Configuration
from segpipe.errors import CorruptWeightsError, SegpipeError
from segpipe.evaluation import AnyScores
from segpipe.hub import RUN_MODEL, ModelFolder, card_text, place_in_card, seal_folder
from segpipe.log import get_logger

from .card import training_text
from .checkpoint import BEST, Snapshot, check_shared, refusals_explained
from .checkpoint_reading import find_damage, load_best
from .curves import write_curves
from .facts import RunFacts
from .progress import Progress
from .run_log import LOG, counted_lines, read_log_if_there

logger = get_logger(__name__)

FOLDER = RUN_MODEL
WEIGHTS = "model.safetensors"
_ADVICE = (
    "The run itself is saved. Make room there, or make it writable, and start the run again: it trains no further and "
    "writes the folder."
)


def take_best(run: RunFacts, progress: Progress) -> Progress:
    """Give the model the best step's weights; return the progress, without a best step where these are gone.

    The model stays as it is where nothing was evaluated, and where the best weights are gone.
    """
    best = _load_best(run, progress)
    check_shared(run.work_dir, "no best weights" if best is None else f"the best ones of step {progress.best_step}")
    if best is not None:
        run.engine.model.load_state_dict(dict(best.model))
    elif progress.best_step not in (None, progress.step):
        logger.warning("The weights of the best step %s are gone; those of the last are taken", progress.best_step)
        return replace(progress, best_score=None, best_step=None)
    return progress


def _load_best(run: RunFacts, progress: Progress) -> Snapshot | None:
    best = load_best(run.work_dir / BEST, progress.best_step)
    try:
        if best is not None:
            run.engine.check_weights(best.model, origin=str(run.work_dir / BEST))
    except CorruptWeightsError as error:
        logger.warning("Passing over the best weights: %s", error)
        return None
    return best


def find_result(run: RunFacts) -> ModelFolder | None:
    """Return `work_dir/model` where it is whole and has the weights that the model has now, else None."""
    final = run.work_dir / FOLDER
    is_there = distributed.is_main() and _has_weights(final, run.engine.model)
    return ModelFolder.open(final) if distributed.any_process(is_there, run.engine.device) else None


def write_result(run: RunFacts, progress: Progress, scores: AnyScores | None) -> ModelFolder:
    """Write `work_dir/model` from the model as it is.

    Args:
        run: its model has the weights that `take_best` gave it.
        progress: as `take_best` gave it.
        scores: of these weights. If None, there is nothing to evaluate on.
    """
    final = run.work_dir / FOLDER
    if distributed.is_main():
        with refusals_explained(final, _ADVICE), replaced_folder(final) as path:
            write_tensors(run.engine.model.state_dict(), path / WEIGHTS)
            _write_record(run, progress, scores, path)
            seal_folder(path, _without_root(run.configuration), name=str(final))
    distributed.barrier()
    return ModelFolder.open(final)


def _has_weights(folder: Path, model: torch.nn.Module) -> bool:
    try:
        if find_damage(folder) or not os.path.isfile(folder / WEIGHTS):
            return False
    except SegpipeError:
        return False
    written, own = read_tensors(folder / WEIGHTS), model.state_dict()
    return written.keys() == own.keys() and all(torch.equal(written[key], own[key].cpu()) for key in own)


def _write_record(run: RunFacts, progress: Progress, scores: AnyScores | None, folder: Path) -> None:
    """Draw the curves, and put them, the log and the card into the folder."""
    curves, log = write_curves(run.work_dir), run.work_dir / LOG
    for path in (curves, log):
        if path is not None and os.path.isfile(path):
            shutil.copyfile(path, folder / path.name)
    lines = counted_lines(read_log_if_there(log))
    name = Path(os.path.abspath(run.work_dir)).name
    place = place_in_card(run.work_dir / FOLDER)
    text = card_text(run.configuration, name, place) + training_text(run, progress, scores, lines)
    (folder / "README.md").write_text(text, encoding="utf-8")


def _without_root(configuration: Configuration) -> Configuration:
    """Leave out where this machine has its data, since the folder may be published."""
    data = configuration.dataset
    if data is None or data.root is None or not os.path.isabs(os.path.expanduser(data.root)):
        return configuration
    return msgspec.structs.replace(configuration, dataset=msgspec.structs.replace(data, root=None))
