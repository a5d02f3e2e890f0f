"""After which steps a run is evaluated: a pure function of what `evaluation` of the configuration says."""

from __future__ import annotations

from collections.abc import Iterable

from segpipe.configuration import EvaluationConfig


def is_evaluation_step(config: EvaluationConfig | None, step: int, passes: tuple[float, float], length: float) -> bool:
    """Whether to evaluate after a step; the end of a run, after which it always is, is the caller's.

    Args:
        config: None: only at the end.
        step: optimiser steps done, this one included.
        passes: over the data, before this step and after it.
        length: passes of the whole run.
    """
    if config is None:
        return False
    if config.every_epochs is None:
        return step % config.every == 0
    before, after = (int(count) for count in passes)
    return any(_is_evaluation_epoch(config, epoch, length) for epoch in range(before + 1, after + 1))


def evaluation_epochs(config: EvaluationConfig, epochs: int) -> Iterable[int]:
    """The passes, from 1, after which a run of so many is evaluated; the last one always is."""
    return (epoch for epoch in range(1, epochs + 1) if epoch == epochs or _is_evaluation_epoch(config, epoch, epochs))


def _is_evaluation_epoch(config: EvaluationConfig, epoch: int, length: float) -> bool:
    is_regular = (epoch - 1) % (config.every_epochs or 1) == 0
    return is_regular or epoch <= config.first_epochs or epoch > (1 - config.last_share) * length
