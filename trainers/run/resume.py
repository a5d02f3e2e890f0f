"""Resuming a run: from the newest whole checkpoint, the same in all processes, of a run with the same configuration."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from segpipe import advice, distributed
from segpipe.configuration import Configuration, decode_configuration, to_document
from segpipe.errors import ConfigurationError, CorruptWeightsError, InputError
from segpipe.log import get_logger
from segpipe.progress_bars import tell

from ..schedules import learning_rate
from .call_again import unused_folder
from .checkpoint import BEST, CHECKPOINTS, Checkpoint, check_shared, finish_replacement, keep_best, set_aside_newer
from .checkpoint_reading import load_newest
from .data_record import describe_changes
from .facts import RunFacts, recipe_of, run_steps
from .messages import longer_text
from .progress import Progress
from .run_log import LOG, read_log_if_there

logger = get_logger(__name__)

# They change no weight. A longer patience ends the run where it would have ended with it from the start.
_MAY_CHANGE = re.compile(
    r"train\.(workers|log_every|checkpoint\.\w+)|evaluation\.(batch_size|patience|before_training)"
    r"|dataset\.(mixed\[\d+\]\.)?root"
)
# With other data, what is fitted to the length of the run changes as well.
_FITTED = r"train\.schedule\.warmup\.steps|evaluation\.every"
_FOLLOWS_DATA = re.compile(rf"dataset\..*|{_FITTED}")
_LENGTH = re.compile(r"train\.max_(steps|epochs)")
_FOLLOWS_LENGTH = re.compile(rf"{_LENGTH.pattern}|{_FITTED}")
_SETTABLE = re.compile(r"(train|evaluation|preprocessor|inference)(\.\w+)+|model\.size_multiple")


def resume(run: RunFacts) -> Progress:
    """Put the newest checkpoint into the engine; return where it stood, or the start where the run has left none.

    What a later run of another course left is put out of the way: newer checkpoints, and other steps' best weights.
    Where a run gets a new end, its evaluations without a better score are counted anew.

    Raises:
        ConfigurationError: the checkpoint is of a run with another configuration or length, or of a newer segpipe.
        CorruptWeightsError: there are checkpoints, and none of them can be read.
        SegpipeError: the processes of the run see different checkpoints.
    """
    place = run.work_dir / CHECKPOINTS
    if distributed.is_main():
        finish_replacement(place)
    distributed.barrier()
    checkpoint = load_newest(place, lambda found: _check_belongs(found, run))
    found = "none" if checkpoint is None else f"that of step {checkpoint.progress.step} ({checkpoint.id})"
    check_shared(run.work_dir, found)
    progress = Progress()
    if checkpoint is not None:
        run.engine.model.load_state_dict(dict(checkpoint.model))
        run.engine.load_state_dict(dict(checkpoint.optimizer))
        progress = checkpoint.progress
        before = _steps(_configuration_of(checkpoint, run), run)
        if before != run.max_steps:
            progress = replace(progress, worse_evaluations=0)
            _say_how_it_is_extended(run, progress.step, before)
    if distributed.is_main():
        if checkpoint is None:
            _say_what_was_here(run)
        set_aside_newer(place, progress.step)
        keep_best(run.work_dir / BEST, {progress.best_step})
    return progress


def _check_belongs(checkpoint: Checkpoint, run: RunFacts) -> None:
    """Raise an error unless the run can go on from a checkpoint; nothing is changed.

    Raises:
        ConfigurationError: it is of a run with another configuration.
        CorruptWeightsError: its tensors or numbers are not this run's.
    """
    origin = f"{run.work_dir}: its checkpoint"
    is_changed = _check_data(checkpoint, run)
    begun_with = _configuration_of(checkpoint, run)
    may_change = [_MAY_CHANGE, *([_FOLLOWS_DATA] if is_changed else []), *([_FOLLOWS_LENGTH] if run.extend else [])]
    changed = [key for key in _changed_keys(begun_with, run) if not any(each.fullmatch(key) for each in may_change)]
    progress, config = checkpoint.progress, run.config
    is_beyond = progress.step > run.max_steps and not is_changed
    if changed or (is_beyond and run.extend):
        raise ConfigurationError(_other_run_text(begun_with, run, changed, progress.step))
    if progress.samples != progress.step * config.batch_size * config.accumulate or is_beyond:
        raise CorruptWeightsError(
            f"{origin} says {progress.samples} samples in {progress.step} steps; the run has {run.max_steps} steps "
            f"of {config.batch_size * config.accumulate}. Use an older checkpoint.",
            path=run.work_dir,
        )
    run.engine.check_weights(checkpoint.model, origin=origin)
    run.engine.check_state(checkpoint.optimizer, origin=origin)


def _configuration_of(checkpoint: Checkpoint, run: RunFacts) -> Configuration:
    # Decoded first: an older version of segpipe did not write the fields that have come since.
    return decode_configuration(checkpoint.configuration, origin=f"{run.work_dir}: its checkpoint")


def _say_what_was_here(run: RunFacts) -> None:
    """Say where training begins afresh although something else may be expected.

    A run may have ended before its first checkpoint, or its checkpoints were removed.
    """
    work_dir = run.work_dir
    steps = [line["step"] for line in read_log_if_there(work_dir / LOG) if line.get("step", 0) > 0]
    if steps:
        logger.warning(
            "%s holds the log of a run that came to step %s and no checkpoint of it: training begins afresh there",
            work_dir,
            max(steps),
        )
    elif run.extend:
        logger.warning("There is no run in %s to extend: a new one begins there", work_dir)


def _say_how_it_is_extended(run: RunFacts, step: int, before: int) -> None:
    config = run.config
    if step < run.max_steps and distributed.is_main():
        rate = learning_rate(config.schedule, config.optimizer.lr, step, run.max_steps)
        text = f"The run had {before:,} steps and now has {run.max_steps:,}: the learning rate goes on at {rate:.3g}"
        tell(logger, text, is_shown=run.shows_progress)


def _check_data(checkpoint: Checkpoint, run: RunFacts) -> bool:
    """Return whether the data has changed since the checkpoint; InputError unless `accept_changed_data` allows it."""
    step, now = checkpoint.progress.step, run.data
    if checkpoint.data is None or now is None:
        logger.warning("The checkpoint of step %s does not say which data it is of, so a change goes unnoticed", step)
        return False
    change = describe_changes(checkpoint.data, now)
    if change is None:
        return False
    if not run.accept_changed_data:
        raise InputError(
            f"{run.work_dir} holds a run, and since its step {step} {change}. A run goes on with the data that it "
            f"began with. Bring that back, give {advice.argument('work_dir', unused_folder(run.work_dir))}, or go on "
            f"with the data as it is now: {advice.argument('accept_changed_data', True)}."
        )
    logger.warning("Going on from step %s with changed data: %s", step, change)
    return True


def _changed_keys(begun_with: Configuration, run: RunFacts) -> list[str]:
    """Return the keys in which a run's configuration differs from that of its checkpoint."""
    before, after = (dict(_values(to_document(each))) for each in (begun_with, run.configuration))
    return [key for key in {**before, **after} if before.get(key) != after.get(key)]


def _other_run_text(begun_with: Configuration, run: RunFacts, changed: list[str], step: int) -> str:
    """Say in which key the configuration differs from the one that the run was begun with, and what to do."""
    others = [key for key in changed if not _FOLLOWS_LENGTH.fullmatch(key)]
    if not others and (not changed or any(map(_LENGTH.fullmatch, changed))):
        return _other_length_text(begun_with, run, step)
    key = (others or changed)[0]
    before, after = (dict(_values(to_document(each))) for each in (begun_with, run.configuration))
    back = "set it back"
    if key in before and _SETTABLE.fullmatch(key):
        back = f"give {advice.setting(key, before[key], keyword='cfg_options')}"
    return (
        f"{key}: {run.work_dir} holds a run that was begun with another configuration, in which this was "
        f"{_text(before, key)}; now it is {_text(after, key)}. To go on with that run, {back}. To begin another run, "
        f"choose another work directory: {advice.argument('work_dir', unused_folder(run.work_dir))}."
    )


def _other_length_text(begun_with: Configuration, run: RunFacts, step: int) -> str:
    key = "train.max_epochs" if run.config.max_epochs else "train.max_steps"
    lengths = f"was begun for {_length(begun_with, run)} and is now to have {_length(run.configuration, run)}"
    text = f"{key}: the run in {run.work_dir} {lengths}"
    if run.max_steps < step:
        other = advice.argument("work_dir", unused_folder(run.work_dir))
        return f"{text}, but it has done {step:,} steps already. Give a length beyond them, or begin another: {other}."
    return f"{text}.\n{longer_text(run)}"


def _length(configuration: Configuration, run: RunFacts) -> str:
    steps = f"{_steps(configuration, run):,} steps"
    epochs = configuration.train.max_epochs if configuration.train else None
    return f"{epochs:,} epochs ({steps})" if epochs else steps


def _steps(configuration: Configuration, run: RunFacts) -> int:
    return run_steps(recipe_of(configuration), run.num_samples)


def _values(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each plain value of a JSON document with its path, such as dataset.mixed[0].root."""
    if isinstance(value, dict) and value:
        for key, member in value.items():
            yield from _values(member, f"{path}.{key}" if path else key)
    elif isinstance(value, list) and value:
        for index, member in enumerate(value):
            yield from _values(member, f"{path}[{index}]")
    else:
        yield path, value


def _text(values: dict[str, Any], key: str) -> str:
    return json.dumps(values[key], ensure_ascii=False) if key in values else "not there"
