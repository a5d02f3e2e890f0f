"""Functions of a step's number: its learning rate, and whether an evaluation follows."""

from __future__ import annotations

import math
from bisect import bisect_right

from torch.optim import Optimizer

from segpipe.configuration import (
    ConstantSchedule,
    CosineSchedule,
    EvaluationConfig,
    ExponentialSchedule,
    MultistepSchedule,
    PolySchedule,
    ScheduleConfig,
    StepSchedule,
    Warmup,
)


def learning_rate(schedule: ScheduleConfig, base_lr: float, step: int, max_steps: int) -> float:
    """Return the learning rate of a step, the first of which is step 0.

    The formulas are mmcv's: with W steps of warm-up and the schedule's own value reg(t), linear warm-up is
    reg(t)·(1 - (1 - t/W)(1 - ratio)), constant reg(t)·ratio, exponential reg(t)·ratio^(1 - t/W). `warmup.join` has
    the other ways in which a schedule can follow.

    Args:
        base_lr: before the schedule.
        step: optimizer steps already done; from `max_steps` on, the last value stays.
        max_steps: optimizer steps of the whole run.
    """
    warmup = schedule.warmup
    length = 0 if warmup is None else warmup.steps
    if warmup is not None and warmup.join == "before":
        after = scheduled_rate(schedule, base_lr, max(step - length, 0), max(max_steps - length, 1))
    else:
        after = scheduled_rate(schedule, base_lr, step, max_steps)
    if warmup is None or step >= length:
        return after
    if warmup.join == "into":
        return _lead(warmup, base_lr, scheduled_rate(schedule, base_lr, length, max_steps), step)
    return after * warmup_factor(warmup, step)


def scheduled_rate(schedule: ScheduleConfig, base_lr: float, step: int, max_steps: int) -> float:
    """Return the learning rate of a step, without the warm-up."""
    share = min(step / max_steps, 1.0)
    match schedule:
        case PolySchedule():
            share = min(step // schedule.every * schedule.every / max_steps, 1.0)
            return (base_lr - schedule.min_lr) * (1 - share) ** schedule.power + schedule.min_lr
        case CosineSchedule():
            return (base_lr - schedule.min_lr) * (1 + math.cos(math.pi * share)) / 2 + schedule.min_lr
        case StepSchedule():
            return max(base_lr * schedule.gamma ** (step // schedule.every), schedule.min_lr)
        case MultistepSchedule():
            passed = bisect_right(sorted(schedule.milestones), step)
            return max(base_lr * schedule.gamma**passed, schedule.min_lr)
        case ExponentialSchedule():
            return max(base_lr * schedule.gamma**step, schedule.min_lr)
        case ConstantSchedule():
            return base_lr


def warmup_factor(warmup: Warmup, step: int) -> float:
    """Return the share of the learning rate at a step; 1 when the warm-up is over."""
    if step >= warmup.steps:
        return 1.0
    left = 1 - step / warmup.steps
    match warmup.type:
        case "linear":
            return 1 - left * (1 - warmup.ratio)
        case "exponential":
            return warmup.ratio**left
        case "constant":
            return warmup.ratio


def apply_learning_rate(optimizer: Optimizer, rate: float) -> None:
    """Set the learning rate of each parameter group to `rate` times its `lr_factor`."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get("lr_factor", 1.0)


def is_evaluation_step(config: EvaluationConfig | None, step: int, passes: tuple[float, float], length: float) -> bool:
    """Return whether to evaluate after a step. At the end of a run the caller always does.

    Args:
        config: how often. If None, only at the end.
        step: optimizer steps done, this one included.
        passes: over the data, before this step and after it.
        length: passes of the whole run.
    """
    if config is None:
        return False
    if config.every_epochs is None:
        return step % config.every == 0
    before, after = (int(count) for count in passes)
    return any(_is_evaluation_epoch(config, epoch, length) for epoch in range(before + 1, after + 1))


def _lead(warmup: Warmup, base_lr: float, end: float, step: int) -> float:
    """Return the rate on the way from ratio · base_lr at step 0 to `end` at the last step of the warm-up."""
    start = warmup.ratio * base_lr
    share = step / warmup.steps
    match warmup.type:
        case "linear":
            return start + (end - start) * share
        case "exponential":
            return start ** (1 - share) * end**share
        case "constant":
            return start


def _is_evaluation_epoch(config: EvaluationConfig, epoch: int, length: float) -> bool:
    is_regular = (epoch - 1) % (config.every_epochs or 1) == 0
    return is_regular or epoch <= config.first_epochs or epoch > (1 - config.last_share) * length
